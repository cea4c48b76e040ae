/* system_sentences_words.c - see system_sentences_words.h. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/system/system_sentences_words.h"

#define LIST_MAX 256

void words_check(const char *cause, const char *sentence, const char *says, const char *never)
{
	char must[LIST_MAX], must_not[LIST_MAX], *save = NULL;

	assert_true(strlen(says) < LIST_MAX && strlen(never) < LIST_MAX);
	strcpy(must, says);
	strcpy(must_not, never);
	for (char *word = strtok_r(must, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (!strstr(sentence, word))
			fail_msg("%s: \"%s\" is not in \"%s\"", cause, word, sentence);
	for (char *word = strtok_r(must_not, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (strstr(sentence, word))
			fail_msg("%s: \"%s\" misleads in \"%s\"", cause, word, sentence);
}

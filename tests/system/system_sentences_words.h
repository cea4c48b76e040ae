/* system_sentences_words.h - what a sentence must say, and what it must not. */
#pragma once

/* Asserts that `sentence` has all of `says`, and none of `never`, both parted by |; `cause` is for who reads
 * the failure. */
void words_check(const char *cause, const char *sentence, const char *says, const char *never);

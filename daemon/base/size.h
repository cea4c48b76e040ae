/* size.h - the words for sizes that people write: 4K, 2M, 1G, 512M, or plain bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Reads a decimal number with an optional K, M, G or T (powers of 1024; a trailing B or iB is allowed).
 * -EINVAL: not such a word; -ERANGE: does not fit 64 bits. *ret_bytes is untouched on failure. */
int size_parse(const char *word, uint64_t *ret_bytes);

#define SIZE_WORD_MAX 24
/* The shortest exact word: 2097152 is "2M", 4097 is "4097". `word` has room for SIZE_WORD_MAX. Returns it. */
char *size_format(uint64_t bytes, char *word);

/* readfile.h - small text files of /proc, /sys and cgroups: one read, numbers by their names.
 *
 * No state. Files that are not there are an answer, not an error: what they would tell has no limit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READFILE_MAX 16384

/* The whole file, or its first bytes, as a string. Returns 1; 0: there is none, or none for us; or negative
 * errno: it could not be read, for want of descriptors or memory. */
int readfile_text(const char *path, char text[READFILE_MAX]);

/* The number that a file consists of; UINT64_MAX for "max", and for what is that large that it means the
 * same. Returns as readfile_text(). */
int readfile_number(const char *path, uint64_t *ret);

/* The number behind the word `key` in a text, as in "key 12", "key:   12 kB" and "Node 0 key: 12 kB". False:
 * no such key, and *ret is untouched. */
bool readfile_find(const char *text, const char *key, uint64_t *ret);

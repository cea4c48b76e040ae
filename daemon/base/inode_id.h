/* inode_id.h - which file this is: an identity that a path does not have.
 *
 * Device and inode number are used again by later files on some file systems; the time of birth, where the
 * file system knows it, is not. Two ids of one file are equal, and those of two files that ever lived at one
 * path differ as far as the kernel can tell them apart.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct inode_id {
	uint64_t device, inode;
	uint64_t born_s, born_ns; /* 0: the file system does not say */
};

#define INODE_ID_WORDS_MAX 96 /* with the zero byte */

/* Of what `name` in the directory is, a symlink itself; "": of the descriptor. Returns 0 and sets *ret_mode,
 * or negative errno. */
int inode_id_read(int directory_fd, const char *name, struct inode_id *ret, uint32_t *ret_mode);
bool inode_id_equal(const struct inode_id *a, const struct inode_id *b);

/* "DEVICE INODE BORN_S BORN_NS", all decimal. Returns `words`. */
char *inode_id_format(const struct inode_id *id, char words[INODE_ID_WORDS_MAX]);
/* The other way round. Returns how many bytes of `words` were read; 0: it is something else. */
unsigned inode_id_parse(const char *words, struct inode_id *ret);

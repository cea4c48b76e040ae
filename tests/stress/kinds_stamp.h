/* kinds_stamp.h - marks in memory that several may write, and that may go away meanwhile: who has it, who
 * had.
 *
 * Every 4 KiB of a lease are stamped at both ends with the lease's id and the uid that made it, and may have
 * between them the mark of another who opened it for writing. What is wrong is printed, and the process exits
 * with 1. But a lease that may be ended by others can raise SIGBUS at any access: then the look at it ends,
 * and says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/include/hugepool.h"

/* What a look at memory is to find. */
enum kinds_look {
	KINDS_BLANK,    /* zero, but for a mark where it is open */
	KINDS_TAKE,     /* the same; then it is stamped */
	KINDS_TAKE_OLD, /* zero, or of any lease of the maker's before; then it is stamped */
	KINDS_KEPT,     /* stamped */
	KINDS_OPENED,   /* zero, or stamped, all for one lease of the maker's */
	KINDS_MARK,     /* the same, and it is marked */
};

struct kinds_memory {
	uint8_t *data;
	uint64_t from_bytes, to_bytes;
	uint64_t lease; /* the maker's id of it */
	uid_t maker;
	bool is_mortal; /* others may end it */
	bool is_open;   /* others may mark it */
	const char *pool;
	unsigned flags; /* these are for what is said when it is wrong */
};

/* Once a process: SIGBUS is ours. */
void kinds_stamp_init(void);
/* False: the memory is gone. */
bool kinds_look(const struct kinds_memory *memory, enum kinds_look look);

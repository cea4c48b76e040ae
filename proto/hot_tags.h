/* hot_tags.h - the first byte of each field that hot_pack.c writes and hot_unpack.c reads: its number in
 * hugepool.proto, and whether a number follows or bytes with their length.
 */
#pragma once

#define HOT_NUMBER(field) (field << 3)
#define HOT_BYTES(field)  (field << 3 | 2)

enum {
	/* Request and Reply */
	MESSAGE_ID = HOT_NUMBER(1),
	REQUEST_AGAIN = HOT_NUMBER(2),
	MESSAGE_ALLOC = HOT_BYTES(4),
	MESSAGE_FREE = HOT_BYTES(5),

	ALLOC_POOL = HOT_NUMBER(1),
	ALLOC_N_PAGES = HOT_BYTES(2),
	ALLOC_ALIGN_PAGES = HOT_NUMBER(3),
	ALLOC_DETACHED = HOT_NUMBER(4),
	ALLOC_MAX_RUNS = HOT_NUMBER(6),
	ALLOC_WAIT_MS = HOT_NUMBER(7),
	ALLOC_LIFETIME_MS = HOT_NUMBER(8),
	ALLOC_REVOCABLE = HOT_NUMBER(9),
	ALLOC_MODE = HOT_NUMBER(10),
	ALLOC_NO_ZERO = HOT_NUMBER(12),
	ALLOC_NODE = HOT_NUMBER(13),

	FREE_LEASES = HOT_BYTES(1),
	FREE_COLD = HOT_NUMBER(3),

	ALLOC_REPLY_GRANTS = HOT_BYTES(1),
	GRANT_LEASE = HOT_NUMBER(1),
	GRANT_RUNS = HOT_BYTES(2),
	RUN_ARENA = HOT_NUMBER(1),
	RUN_FIRST_PAGE = HOT_NUMBER(2),
	RUN_N_PAGES = HOT_NUMBER(3),
};

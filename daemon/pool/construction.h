/* construction.h - an arena in the making, slice by slice, so that whoever asks for something else meanwhile
 * waits for a slice and not for an arena: zeroing is the kernel's, and takes long.
 *
 * One mechanism for all that is made: for the stock and the reserve (refill.c), and for requests (stock.c),
 * shared or sole. What a slice holds is made at once; a longer one is the pool's `making`, at most one, and
 * grows by a slice in each of the stocker's steps. Its pages count as stock, as far as it has got. When it is
 * as long as it shall be, or the kernel has no more, it becomes a blank arena in the stock.
 *
 * On the stocker's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct backing_file;
struct pool;
struct want;

struct construction {
	struct backing_file *file; /* NULL: nothing is in the making */
	uint64_t n_pages;          /* that it has, and that are counted */
	uint64_t want_pages;       /* that it shall have */
	uint64_t min_pages;        /* with fewer it is of no use to its owner */
	int node;
	const struct want *owner; /* a request, known by its address; NULL: the stock */
};

/* Pages of the pool that the kernel can zero in one or two milliseconds. */
uint64_t construction_slice_pages(const struct pool *pool);

/* Begin with an empty file. 0 or negative errno. */
int construction_begin(struct pool *pool, struct construction *construction, uint64_t min_pages,
		       uint64_t want_pages, int node);
/* A slice, of at most `most_pages`, or what the kernel has of it: 0, BACKING_SHORT with pool->shortage set,
 * or negative errno. The pages count with the stock, but for those that complete it: when it is finished. */
int construction_extend(struct pool *pool, struct construction *construction, uint64_t most_pages);
bool construction_is_complete(const struct construction *construction);
/* Mapping and sealing it: a blank arena, counted with the stock, in no list. 0; POOL_NO_STOCK: it had no
 * page; or negative errno. It is gone in any case. */
int construction_finish(struct pool *pool, struct construction *construction, struct arena **ret);

/* ---- the pool's own ---- */

/* Pages of what is in the making for the stock. */
uint64_t construction_stock_pages(const struct pool *pool);
/* What is in the making becomes an arena of the stock now, as long as it is. Returns whether there was one.
 */
bool construction_stop(struct pool *pool);
/* The request has been answered: what is in the making for it is the stock's. */
void construction_disown(struct pool *pool, const struct want *owner);
/* Start or go on making an arena for a request: POOL_MAKING, as when another request's is in the making; or
 * negative errno. */
int construction_start(struct pool *pool, const struct want *owner, uint64_t min_pages, uint64_t want_pages,
		       int node);
/* A slice of what is in the making for a request. Returns whether there was anything to do. */
bool construction_step(struct pool *pool);

/* pcache.c - the rings of cached runs, one for each length.
 *
 * A ring can hold a cache full of its length, so that none of them ever overflows: 3.4 slots for each page of
 * high_pages, and no links to follow. Time is counted in takes and puts.
 *
 * One thread owns it; only `pages` is read by others. Invariant (pcache_check): `pages` is the sum over the
 * rings of runs times length and at most high_pages; a ring is not fuller than it is large.
 */
#include <config.h>

#include "daemon/core/pcache.h"

#include <stdatomic.h>

#include "daemon/base/assert.h"

#define PCACHE_MAGIC 0xca4e5e7u

/* The runs of one length: from the coldest, at `coldest`, round to the hottest. */
struct pcache_ring {
	uint32_t first_slot; /* constant after init: where in slots[] the ring is */
	uint32_t capacity;   /* constant after init */
	uint32_t coldest;
	uint32_t n_runs;
	uint32_t n_fetch;   /* what a refill gets: doubled by each, halved when some are drained */
	uint64_t last_used; /* the clock at the last take or put of this length */
};

struct pcache {
	unsigned magic;                           /* constant after init */
	struct pcache_limits limits;              /* constant after init */
	_Atomic uint64_t pages;                   /* written by the owner, read by anybody */
	uint64_t clock;                           /* takes and puts so far */
	struct pcache_ring rings[PCACHE_MAX_RUN]; /* by length - 1 */
	uint64_t slots[];
};

static uint32_t ring_capacity(const struct pcache_limits *limits, uint32_t length)
{
	return limits->high_pages / length;
}

size_t pcache_bytes(const struct pcache_limits *limits)
{
	size_t n_slots = 0;

	for (uint32_t length = 1; length <= PCACHE_MAX_RUN; length++)
		n_slots += ring_capacity(limits, length);
	return sizeof(struct pcache) + n_slots * sizeof(uint64_t);
}

struct pcache *pcache_init(void *memory, const struct pcache_limits *limits)
{
	struct pcache *pcache = memory;
	uint32_t n_slots = 0;

	hp_assert(limits->batch_pages <= limits->high_pages);
	pcache->magic = PCACHE_MAGIC;
	pcache->limits = *limits;
	for (uint32_t length = 1; length <= PCACHE_MAX_RUN; length++) {
		struct pcache_ring *ring = &pcache->rings[length - 1];

		ring->first_slot = n_slots;
		ring->capacity = ring_capacity(limits, length);
		ring->n_fetch = 1;
		n_slots += ring->capacity;
	}
	return pcache;
}

/* The slot of the run that is `n_hotter` runs hotter than the coldest. */
static inline uint64_t *ring_slot(struct pcache *pcache, const struct pcache_ring *ring, uint32_t n_hotter)
{
	uint32_t place = ring->coldest + n_hotter;

	return &pcache->slots[ring->first_slot + (place < ring->capacity ? place : place - ring->capacity)];
}

static inline void set_pages(struct pcache *pcache, uint64_t pages)
{
	atomic_store_explicit(&pcache->pages, pages, memory_order_relaxed);
}

uint64_t pcache_pages(const struct pcache *pcache)
{
	return atomic_load_explicit(&pcache->pages, memory_order_relaxed);
}

int pcache_take(struct pcache *pcache, uint64_t n_pages, uint64_t *ret_run)
{
	struct pcache_ring *ring;

	hp_assert_alive(pcache, PCACHE_MAGIC);
	hp_assert(n_pages > 0);
	if (n_pages > PCACHE_MAX_RUN)
		return PCACHE_EMPTY;
	ring = &pcache->rings[n_pages - 1];
	ring->last_used = ++pcache->clock;
	if (ring->n_runs == 0)
		return PCACHE_EMPTY;
	*ret_run = *ring_slot(pcache, ring, --ring->n_runs);
	set_pages(pcache, pcache_pages(pcache) - n_pages);
	return 0;
}

int pcache_put(struct pcache *pcache, uint64_t run, uint64_t n_pages, bool hot)
{
	struct pcache_ring *ring;
	uint64_t pages = pcache_pages(pcache);

	hp_assert_alive(pcache, PCACHE_MAGIC);
	hp_assert(n_pages > 0);
	if (n_pages > PCACHE_MAX_RUN || pages + n_pages > pcache->limits.high_pages)
		return PCACHE_FULL;
	ring = &pcache->rings[n_pages - 1];
	ring->last_used = ++pcache->clock;
	if (!hot)
		ring->coldest = (ring->coldest > 0 ? ring->coldest : ring->capacity) - 1;
	*ring_slot(pcache, ring, hot ? ring->n_runs : 0) = run;
	ring->n_runs++;
	set_pages(pcache, pages + n_pages);
	return 0;
}

uint32_t pcache_refill_runs(struct pcache *pcache, uint64_t n_pages)
{
	uint64_t room = pcache->limits.high_pages - pcache_pages(pcache), most, wanted;
	struct pcache_ring *ring;

	hp_assert(n_pages > 0);
	if (n_pages > PCACHE_MAX_RUN)
		return 0;
	ring = &pcache->rings[n_pages - 1];
	most = pcache->limits.batch_pages / n_pages;
	if (most == 0)
		most = 1;
	wanted = ring->n_fetch < most ? ring->n_fetch : most;
	ring->n_fetch = (uint32_t)(2 * wanted < most ? 2 * wanted : most);
	return (uint32_t)(wanted < room / n_pages ? wanted : room / n_pages);
}

/* The length that was neither taken nor put for the longest time, among those that are cached; there is one.
 * Which it is changes all the time, so there is no branch: the least of times with their lengths behind. */
static struct pcache_ring *longest_unused(struct pcache *pcache)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < PCACHE_MAX_RUN; i++) {
		const struct pcache_ring *ring = &pcache->rings[i];
		const uint64_t is_empty = ring->n_runs == 0;
		const uint64_t time = (ring->last_used * PCACHE_MAX_RUN + i) | -is_empty;

		oldest = time < oldest ? time : oldest;
	}
	return &pcache->rings[oldest % PCACHE_MAX_RUN];
}

uint32_t pcache_drain(struct pcache *pcache, uint64_t n_pages, struct pcache_run *runs, uint32_t room)
{
	uint64_t pages = pcache_pages(pcache), drained = 0;
	uint32_t n_runs = 0;

	hp_assert_alive(pcache, PCACHE_MAGIC);
	while (n_runs < room && drained < n_pages && drained < pages) {
		struct pcache_ring *ring = longest_unused(pcache);
		uint64_t length = (uint64_t)(ring - pcache->rings) + 1;

		while (ring->n_runs > 0 && n_runs < room && drained < n_pages) {
			runs[n_runs++] = (struct pcache_run){*ring_slot(pcache, ring, 0), length};
			ring->coldest = ring->coldest + 1 < ring->capacity ? ring->coldest + 1 : 0;
			ring->n_runs--;
			drained += length;
		}
		if (ring->n_fetch > 1)
			ring->n_fetch /= 2;
	}
	set_pages(pcache, pages - drained);
	return n_runs;
}

/* ---- checking ---- */

void pcache_for_each(const struct pcache *pcache, void (*visit)(void *arg, uint64_t run, uint64_t n_pages),
		     void *arg)
{
	for (uint64_t length = 1; length <= PCACHE_MAX_RUN; length++) {
		const struct pcache_ring *ring = &pcache->rings[length - 1];

		for (uint32_t i = 0; i < ring->n_runs; i++)
			visit(arg, pcache->slots[ring->first_slot + (ring->coldest + i) % ring->capacity],
			      length);
	}
}

void pcache_check(const struct pcache *pcache)
{
	uint64_t pages = 0;

	hp_assert_alive(pcache, PCACHE_MAGIC);
	for (uint32_t length = 1; length <= PCACHE_MAX_RUN; length++) {
		const struct pcache_ring *ring = &pcache->rings[length - 1];

		hp_assert(ring->n_runs <= ring->capacity);
		hp_assert(ring->coldest < ring->capacity || ring->capacity == 0);
		pages += (uint64_t)ring->n_runs * length;
	}
	hp_assert(pages == pcache_pages(pcache));
	hp_assert(pages <= pcache->limits.high_pages);
}

#include "config.h"

#include "daemon/core/pcache.h"

#include "daemon/base/assert.h"

#define PCACHE_MAGIC 0xca4e5e7u

/* The runs of one length: a ring with the coldest at `coldest` and the hottest `count - 1` places further on.
 */
struct pcache_list {
	uint32_t first_slot; /* constant after init: where in slots[] the ring is */
	uint32_t capacity;   /* constant after init */
	uint32_t coldest, count;
	uint64_t last_used; /* the cache's clock at the last take or put */
};

struct pcache {
	unsigned magic;				  /* constant after init */
	struct pcache_limits limits;		  /* constant after init */
	_Atomic uint64_t pages;			  /* written by the owner, read by anybody */
	uint64_t clock;				  /* counts takes and puts */
	struct pcache_list lists[PCACHE_MAX_RUN]; /* by length - 1 */
	uint64_t slots[];
};

/* A ring for each length, large enough for a cache full of it. */
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
		struct pcache_list *list = &pcache->lists[length - 1];

		list->first_slot = n_slots;
		list->capacity = ring_capacity(limits, length);
		n_slots += list->capacity;
	}
	return pcache;
}

static inline uint64_t *list_slot(struct pcache *pcache, const struct pcache_list *list, uint32_t place)
{
	uint32_t index = list->coldest + place;

	return &pcache->slots[list->first_slot + (index < list->capacity ? index : index - list->capacity)];
}

static inline void count_pages(struct pcache *pcache, uint64_t pages)
{
	__atomic_store_n((uint64_t *)&pcache->pages, pages, __ATOMIC_RELAXED);
}
uint64_t pcache_pages(const struct pcache *pcache)
{
	return __atomic_load_n((const uint64_t *)&pcache->pages, __ATOMIC_RELAXED);
}

int pcache_take(struct pcache *pcache, uint64_t n_pages, uint64_t *ret_run)
{
	struct pcache_list *list;

	hp_assert_alive(pcache, PCACHE_MAGIC);
	hp_assert(n_pages > 0);
	if (n_pages > PCACHE_MAX_RUN)
		return PCACHE_EMPTY;
	list = &pcache->lists[n_pages - 1];
	list->last_used = ++pcache->clock;
	if (list->count == 0)
		return PCACHE_EMPTY;
	*ret_run = *list_slot(pcache, list, --list->count);
	count_pages(pcache, pcache_pages(pcache) - n_pages);
	return 0;
}

int pcache_put(struct pcache *pcache, uint64_t run, uint64_t n_pages, bool hot)
{
	struct pcache_list *list;
	uint64_t pages = pcache_pages(pcache);

	hp_assert_alive(pcache, PCACHE_MAGIC);
	hp_assert(n_pages > 0);
	if (n_pages > PCACHE_MAX_RUN || pages + n_pages > pcache->limits.high_pages)
		return PCACHE_FULL;
	list = &pcache->lists[n_pages - 1];
	list->last_used = ++pcache->clock;
	if (!hot)
		list->coldest = (list->coldest > 0 ? list->coldest : list->capacity) - 1;
	*list_slot(pcache, list, hot ? list->count : 0) = run;
	list->count++;
	count_pages(pcache, pages + n_pages);
	return 0;
}

uint32_t pcache_refill_runs(const struct pcache *pcache, uint64_t n_pages)
{
	uint64_t room = pcache->limits.high_pages - pcache_pages(pcache);
	uint64_t wanted = pcache->limits.batch_pages;

	if (n_pages > PCACHE_MAX_RUN)
		return 0;
	if (wanted < n_pages)
		wanted = n_pages;
	return (uint32_t)((wanted < room ? wanted : room) / n_pages);
}

/* The length that was neither taken nor put for the longest time, among those that are cached. */
static struct pcache_list *longest_unused(struct pcache *pcache)
{
	struct pcache_list *oldest = NULL;

	for (struct pcache_list *list = pcache->lists; list < pcache->lists + PCACHE_MAX_RUN; list++)
		if (list->count > 0 && (!oldest || list->last_used < oldest->last_used))
			oldest = list;
	return oldest;
}

uint32_t pcache_drain(struct pcache *pcache, uint64_t n_pages, struct pcache_run *runs, uint32_t room)
{
	uint64_t pages = pcache_pages(pcache), drained = 0;
	uint32_t n_runs = 0;

	hp_assert_alive(pcache, PCACHE_MAGIC);
	while (n_runs < room && drained < n_pages && drained < pages) {
		struct pcache_list *list = longest_unused(pcache);
		uint64_t length = (uint64_t)(list - pcache->lists) + 1;

		while (list->count > 0 && n_runs < room && drained < n_pages) {
			runs[n_runs++] = (struct pcache_run){*list_slot(pcache, list, 0), length};
			list->coldest = list->coldest + 1 < list->capacity ? list->coldest + 1 : 0;
			list->count--;
			drained += length;
		}
	}
	count_pages(pcache, pages - drained);
	return n_runs;
}

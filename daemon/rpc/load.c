/* load.c - see load.h. */
#include <config.h>

#include <search.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/rpc/load.h"

#define WINDOW_NS     (10 * NS_PER_MS) /* what lies further back is forgotten */
#define CHARGE_MAX_NS (NS_PER_MS / 2)  /* at once: what takes longer was most likely interrupted by others */

struct load {
	uid_t uid;
	unsigned n_refs;
	uint64_t busy_ns; /* of the window that ended at at_ns */
	uint64_t at_ns;
};

static int compare_uid(const void *a, const void *b)
{
	uid_t x = ((const struct load *)a)->uid, y = ((const struct load *)b)->uid;

	return (x > y) - (x < y);
}

struct load *load_get(void **users, uid_t uid)
{
	struct load key = {.uid = uid}, *load, **node = tfind(&key, users, compare_uid);

	if (node)
		return load_ref(*node);
	load = calloc(1, sizeof(*load));
	if (!load)
		return NULL;
	load->uid = uid;
	load->n_refs = 1;
	if (!tsearch(load, users, compare_uid)) {
		free(load);
		return NULL;
	}
	return load;
}

struct load *load_ref(struct load *load)
{
	load->n_refs++;
	return load;
}

struct load *load_put(void **users, struct load *load)
{
	if (!load)
		return NULL;
	hp_assert(load->n_refs > 0);
	if (--load->n_refs == 0) {
		tdelete(load, users, compare_uid);
		free(load);
	}
	return NULL;
}

/* What of it lies in the window that ends now, as if it had been spread evenly. */
static uint64_t busy_until(const struct load *load, uint64_t now_ns)
{
	const uint64_t age_ns = now_ns - load->at_ns;

	return age_ns < WINDOW_NS ? load->busy_ns * (WINDOW_NS - age_ns) / WINDOW_NS : 0;
}

void load_add(struct load *load, uint64_t begin_ns, uint64_t end_ns)
{
	const uint64_t took_ns = end_ns - begin_ns;

	load->busy_ns = busy_until(load, end_ns) + (took_ns < CHARGE_MAX_NS ? took_ns : CHARGE_MAX_NS);
	load->at_ns = end_ns;
}

unsigned load_level(const struct load *load, uint64_t now_ns)
{
	static const unsigned shares[LOAD_LEVELS - 1] = {16, 4, 2};
	const uint64_t busy_ns = busy_until(load, now_ns);
	unsigned level = 0;

	while (level < LOAD_LEVELS - 1 && busy_ns >= WINDOW_NS / shares[level])
		level++;
	return level;
}

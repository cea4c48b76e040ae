/* balance.c - see the header for what is counted and how it can err. */
#include <config.h>

#include "daemon/backing/balance.h"
#include "daemon/base/assert.h"

static uint64_t min_pages(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t minus_or_zero(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void balance_add(struct balance *balance, struct limbo *limbo)
{
	struct limbo **tail = &balance->oldest;

	while (*tail)
		tail = &(*tail)->next;
	*limbo = (struct limbo){0};
	*tail = limbo;
}

void balance_remove(struct balance *balance, struct limbo *limbo)
{
	struct limbo **link = &balance->oldest;

	while (*link != limbo) {
		hp_assert(*link);
		link = &(*link)->next;
	}
	*link = limbo->next;
	balance->limbo_pages -= limbo->pages;
	*limbo = (struct limbo){0};
}

void balance_gain(struct balance *balance, uint64_t n_pages)
{
	balance->live_pages += n_pages;
}

void balance_lose(struct balance *balance, uint64_t n_pages)
{
	hp_assert(balance->live_pages >= n_pages);
	balance->live_pages -= n_pages;
}

void balance_settle(struct balance *balance, uint64_t used_pages)
{
	uint64_t excess = minus_or_zero(used_pages, balance->live_pages);
	uint64_t returned;

	if (balance->limbo_pages > 0 && excess >= balance->floor_pages)
		return;

	returned = min_pages(balance->limbo_pages, minus_or_zero(balance->floor_pages, excess));
	balance->floor_pages = excess;
	balance->limbo_pages -= returned;
	for (struct limbo *limbo = balance->oldest; returned > 0; limbo = limbo->next) {
		uint64_t share = min_pages(limbo->pages, returned);

		limbo->pages -= share;
		limbo->returned_pages += share;
		returned -= share;
	}
}

uint64_t balance_lose_watched(struct balance *balance, struct limbo *limbo, uint64_t n_pages,
			      uint64_t used_before, uint64_t used_after)
{
	uint64_t excess_before = minus_or_zero(used_before, balance->live_pages);
	uint64_t excess_after, missing;

	balance_settle(balance, used_before);
	balance_lose(balance, n_pages);
	excess_after = minus_or_zero(used_after, balance->live_pages);

	missing = min_pages(n_pages, minus_or_zero(excess_after, excess_before));
	limbo->pages += missing;
	balance->limbo_pages += missing;
	balance->floor_pages += missing;
	/* Copies that the truncation dropped make the excess fall; below the floor it is a return. */
	balance_settle(balance, used_after);
	return missing;
}

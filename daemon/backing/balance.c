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

/* Nobody can miss more than all together do: what a limbo has too much of is credited to it. */
static void limit_all(struct balance *balance)
{
	for (struct limbo *limbo = balance->oldest; limbo; limbo = limbo->next) {
		const uint64_t pages = min_pages(limbo->pages, balance->limbo_pages);

		limbo->returned_pages += limbo->pages - pages;
		limbo->pages = pages;
	}
}

void balance_remove(struct balance *balance, struct limbo *limbo)
{
	struct limbo **link = &balance->oldest;
	uint64_t others_pages = 0;

	while (*link != limbo) {
		hp_assert(*link);
		link = &(*link)->next;
	}
	*link = limbo->next;
	for (const struct limbo *other = balance->oldest; other; other = other->next)
		others_pages += other->pages;
	balance->limbo_pages = min_pages(balance->limbo_pages, others_pages);
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

uint64_t balance_foreign(const struct balance *balance, uint64_t used_pages)
{
	return minus_or_zero(used_pages, balance->live_pages + balance->limbo_pages);
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
	limit_all(balance);
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

/* raised.c - see raised.h.
 *
 * The journal's entry: "raised:PAGE_BYTES" has the era, the counter before and after the change, and
 * POOL=PAGES for each account, that of the change first. The two counters are equal when no change is under
 * way.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/backing/raised.h"
#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/journal.h"

#define KEY_MAX 48

struct raised_account *raised_find(struct raised *raised, const char *pool)
{
	struct raised_account *account = raised->accounts;

	while (account && strcmp(account->pool, pool) != 0)
		account = account->next;
	if (account)
		return account;
	account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->pool = strdup(pool);
	if (!account->pool) {
		free(account);
		return NULL;
	}
	account->next = raised->accounts;
	raised->accounts = account;
	return account;
}

/* ---- writing ---- */

/* Returns false when there is no memory. */
static bool append_account(char **words, const char *pool, uint64_t pages)
{
	_cleanup_free_ char *pool_word = journal_escape(pool), *before = *words;

	if (pool_word && asprintf(words, "%s %s=%" PRIu64, before, pool_word, pages) >= 0)
		return true;
	*words = NULL;
	return false;
}

static int write_down(const struct raised *raised, const struct raised_account *changed, uint64_t pages,
		      uint64_t from, uint64_t to)
{
	_cleanup_free_ char *words = strdup("");
	bool is_any = pages > 0 || from != to, is_fine = words;
	char key[KEY_MAX];

	if (!raised->host)
		return 0;
	snprintf(key, sizeof(key), "raised:%" PRIu64, raised->page_bytes);
	if (is_fine)
		is_fine = append_account(&words, changed->pool, pages);
	for (const struct raised_account *account = raised->accounts; is_fine && account;
	     account = account->next) {
		if (account == changed || account->pages == 0)
			continue;
		is_any = true;
		is_fine = append_account(&words, account->pool, account->pages);
	}
	if (!is_fine)
		return -ENOMEM;
	if (!is_any)
		return journal_drop(raised->host->journal, key);
	return journal_put(raised->host->journal, key, "%" PRIu64 " %" PRIu64 " %" PRIu64 "%s", raised->era,
			   from, to, words);
}

int raised_begin(struct raised *raised, struct raised_account *account, uint64_t pages, uint64_t from,
		 uint64_t to)
{
	return write_down(raised, account, pages, from, to);
}

void raised_end(struct raised *raised, struct raised_account *account, uint64_t pages)
{
	raised->pages = raised->pages - account->pages + pages;
	account->pages = pages;
	/* If it cannot be written down the next daemon reads from where to where the counter was to go. */
	(void)write_down(raised, account, pages, 0, 0);
}

void raised_forget(struct raised *raised)
{
	for (struct raised_account *account = raised->accounts; account; account = account->next)
		account->pages = 0;
	raised->pages = 0;
	if (raised->accounts)
		(void)write_down(raised, raised->accounts, 0, 0, 0);
}

/* ---- what a dead daemon left ---- */

/* One " POOL=PAGES". NULL: it is something else; else where it ends. */
static const char *parse_account(struct raised *raised, const char *words, struct raised_account **ret)
{
	size_t length = strcspn(words + 1, " ");
	_cleanup_free_ char *word = strndup(words + 1, length), *pool = NULL;
	char *equals = word ? strrchr(word, '=') : NULL, *end;
	unsigned long long pages;

	if (words[0] != ' ' || !equals || equals == word)
		return NULL;
	*equals = '\0';
	errno = 0;
	pages = strtoull(equals + 1, &end, 10);
	if (equals[1] < '0' || equals[1] > '9' || *end != '\0' || errno != 0 || pages > INT64_MAX / 2)
		return NULL;
	pool = journal_unescape(word);
	*ret = pool && pool[0] ? raised_find(raised, pool) : NULL;
	if (!*ret || (*ret)->pages > 0)
		return NULL;
	(*ret)->pages = pages;
	return words + 1 + length;
}

/* How far the change from `from` to `to` had come when the counter stood at `now`. */
static int64_t count_done(uint64_t from, uint64_t to, uint64_t now)
{
	int64_t whole = (int64_t)to - (int64_t)from, done = (int64_t)now - (int64_t)from;

	if (whole >= 0)
		return done < 0 ? 0 : done < whole ? done : whole;
	return done > 0 ? 0 : done > whole ? done : whole;
}

/* The account has what it would have after the whole change: take back what was not done of it. */
static int64_t settle(struct raised_account *account, uint64_t from, uint64_t to, uint64_t now)
{
	int64_t done = count_done(from, to, now), not_done = (int64_t)to - (int64_t)from - done;

	account->pages = (int64_t)account->pages > not_done ? account->pages - (uint64_t)not_done : 0;
	return done;
}

int64_t raised_take_over(struct raised *raised, const struct backing_host *host, uint64_t persistent_pages)
{
	struct raised_account *account = NULL, *first = NULL;
	uint64_t from, to, sum = 0;
	char key[KEY_MAX];
	const char *words;
	int length = 0;
	int64_t done = 0;

	raised->host = host;
	for (account = raised->accounts; account; account = account->next)
		account->is_wanted = false;
	account = NULL;
	snprintf(key, sizeof(key), "raised:%" PRIu64, raised->page_bytes);
	words = journal_get(host->journal, key);
	if (!words)
		return 0;
	if (journal_is_of_another_boot(host->journal) ||
	    sscanf(words, "%" SCNu64 " %" SCNu64 " %" SCNu64 "%n", &raised->era, &from, &to, &length) != 3 ||
	    from > INT64_MAX / 2 || to > INT64_MAX / 2) {
		(void)journal_drop(host->journal, key);
		return 0;
	}
	words += length;
	while (words && *words) {
		words = parse_account(raised, words, &account);
		first = first ? first : account;
	}
	if (!words || !first) {
		raised_forget(raised);
		(void)journal_drop(host->journal, key);
		return 0;
	}
	done = settle(first, from, to, persistent_pages);
	for (account = raised->accounts; account; account = account->next)
		sum += account->pages;
	raised->pages = sum;
	raised_end(raised, first, first->pages);
	return done;
}

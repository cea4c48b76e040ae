/* test_memoryerror.c - pages that the hardware breaks, in the stock, in a lease and nowhere: with the house's
 * pool and real files. What the kernel would tell is forged: such a signal a thread may send to itself.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/guard.h"
#include "daemon/backing/kinds.h"
#include "daemon/lease/audit.h"
#include "tests/support/house.h"

#define MAX_PAGES     256
#define ARENA_PAGES   64
#define RESERVE_PAGES 128
#define PAGE          UINT64_C(4096)
#define WORDS_MAX     4096

static int set_up(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, RESERVE_PAGES, MAX_PAGES);
	assert_int_equal(pool_fill_reserve(house.pools[0]), 0);
	*state = &house;
	return 0;
}

static int tear_down(void **state)
{
	house_fini(*state);
	return 0;
}

static char *address_of(const struct arena *arena, uint64_t page)
{
	return (char *)arena->file->memory + page * PAGE;
}

/* The kernel says: what is there is broken, and nobody has touched it yet. */
static void break_memory(void *address)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AO};

	guard_install(); /* over cmocka's */
	info.si_addr = address;
	info.si_addr_lsb = 12;
	assert_int_equal(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGBUS, &info), 0);
}

/* A tick of the stocker's; what was logged meanwhile, until the next one. */
static const char *tick(struct house *house)
{
	static char words[WORDS_MAX];
	int log_fd = memfd_create("log", MFD_CLOEXEC), stderr_fd = dup(STDERR_FILENO);
	ssize_t n;

	assert_true(log_fd >= 0 && stderr_fd >= 0);
	assert_int_equal(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
	house_tick(house);
	assert_int_equal(dup2(stderr_fd, STDERR_FILENO), STDERR_FILENO);
	n = pread(log_fd, words, sizeof(words) - 1, 0);
	assert_true(n >= 0);
	words[n] = '\0';
	close(log_fd);
	close(stderr_fd);
	audit_walk(house->pools, 1, house->ledger);
	return words;
}

static uint64_t lost_pages(struct house *house)
{
	return atomic_load(&house->pools[0]->lost_pages);
}

static void assert_says(const char *words, uint64_t page, uint64_t arena_id)
{
	char wanted[128];

	snprintf(wanted, sizeof(wanted), "page %llu of arena %llu has a memory error",
		 (unsigned long long)page, (unsigned long long)arena_id);
	if (!strstr(words, wanted))
		fail_msg("\"%s\" is not in \"%s\"", wanted, words);
}

static bool is_in_stock(const struct pool *pool, uint64_t arena_id)
{
	for (const struct arena *arena = pool->stock; arena; arena = arena->stock_next)
		if (arena->id == arena_id)
			return true;
	return false;
}

/* All that it was counted as is made anew elsewhere. */
static void memoryerror_in_the_stock_takes_the_arena_out(void **state)
{
	struct house *house = *state;
	struct pool *pool = house->pools[0];
	struct arena *arena = pool->stock->stock_next; /* not the one that would go next by itself */
	const uint64_t id = arena->id, other_id = pool->stock->id;
	const uint32_t slot = arena->slot;

	assert_int_equal(pool->stock_pages, RESERVE_PAGES);
	break_memory(address_of(arena, 5) + 17);
	assert_says(tick(house), 5, id);
	assert_int_equal(lost_pages(house), 1);
	assert_false(is_in_stock(pool, id));
	assert_true(is_in_stock(pool, other_id));
	assert_false(pool_has_arena(pool, slot, id));
	tick(house);
	tick(house);
	assert_int_equal(pool->stock_pages, RESERVE_PAGES);
	assert_int_equal(pool->limbo_pages, 0);
	assert_int_equal(lost_pages(house), 1);
}

/* What is leased stays its holder's; nothing more comes from the arena, and it goes with the last lease. */
static void memoryerror_in_a_lease_condemns_its_arena(void **state)
{
	struct house *house = *state;
	struct pool *pool = house->pools[0];
	struct session *session = house_session(house, 0, 1000);
	uint64_t first, second;
	struct arena *arena, *other;
	uint64_t id;
	uint32_t slot;

	assert_int_equal(house_alloc(house, session, 8, &first), LEASE_OK);
	arena = pool_arena(pool, (uint32_t)(house_record(house, first)->address >> 32));
	id = arena->id;
	slot = arena->slot;
	break_memory(address_of(arena, 3));
	break_memory(address_of(arena, 3));
	assert_says(tick(house), 3, arena->id);
	assert_int_equal(lost_pages(house), 1);
	assert_true(arena->condemned);
	assert_int_equal(house_alloc(house, session, 8, &second), LEASE_OK);
	other = pool_arena(pool, (uint32_t)(house_record(house, second)->address >> 32));
	assert_ptr_not_equal(other, arena);
	/* Told again, as whoever touches it is. */
	break_memory(address_of(arena, 3));
	assert_string_equal(tick(house), "");
	assert_int_equal(lost_pages(house), 1);
	house_end_session(house, session);
	for (unsigned i = 0; i < 3; i++)
		tick(house);
	assert_false(pool_has_arena(pool, slot, id));
}

/* No arena is taken out for it; and there may be many at once. */
static void memoryerror_elsewhere_is_told_and_takes_nothing(void **state)
{
	struct house *house = *state;
	char *memory = mmap(NULL, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned n_told = 0;

	assert_true(memory != MAP_FAILED);
	for (unsigned i = 0; i < 20; i++)
		break_memory(memory + i * PAGE);
	for (unsigned i = 0; i < 20; i++)
		for (const char *at = tick(house); (at = strstr(at, "in no arena")); at++)
			n_told++;
	assert_int_equal(n_told, 20);
	assert_int_equal(lost_pages(house), 0);
	assert_int_equal(house->pools[0]->stock_pages, RESERVE_PAGES);
	munmap(memory, 20 * PAGE);
}

/* Else the kernel would tell nobody before the page is touched. */
static void memoryerror_is_told_early(void **state)
{
	(void)state;
	assert_int_equal(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(memoryerror_in_the_stock_takes_the_arena_out),
		TEST(memoryerror_in_a_lease_condemns_its_arena),
		TEST(memoryerror_elsewhere_is_told_and_takes_nothing),
		TEST(memoryerror_is_told_early),
	};

	return cmocka_run_group_tests_name("test_memoryerror", tests, NULL, NULL);
}

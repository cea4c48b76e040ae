/* system_kinds.c - every kind of lease, by the built daemon and clients of several users: what it is made of,
 * who may open it, how long it lives, how it changes, how it is mapped.
 *
 * Clients are actors, or this process where only its own mapping is asked. 4 KiB pages; what 2 MiB pages do
 * to the kernel's counters is system_mapping.c's, what can be typed is system_ctl_lease.c's.
 * Lines that were taken out to see a test fail are named beside it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/operator.h"
#include "tests/support/wait.h"

#define PAGE     UINT64_C(4096)
#define MIB      (UINT64_C(1) << 20)
#define OWNER    12345
#define OTHER    12346
#define STRANGER 12347
#define MAX_WORD 24

/* A pool of tenants' arenas, and one whose leases have files of their own. What is empty stays for ages, so
 * that only the end of a lease gives pages back. */
#define SHARED "p=4K:1M,arena=1M,users=*,decay=1000s"
#define ALONE  "alone=4K:8M,arena=1M,users=*,decay=1000s,isolation=lease"
#define POOLS  DUT_WORDS("--pool", SHARED, "--pool", ALONE)

static struct dut dut;
static struct actor owner, other;

static int set_up(void **state)
{
	dut_need_root();
	dut_start(&dut, POOLS);
	actor_start(&owner, OWNER, &dut);
	actor_start(&other, OTHER, &dut);
	return 0;
}

/* Everybody goes, and nothing is left. */
static void end_scene(void)
{
	actor_quit(&owner);
	actor_quit(&other);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_wait_pool(&dut, "alone", "pages_backed", 0);
	dut_stop(&dut);
}

static uint64_t alloc(struct actor *actor, uint64_t n_pages, const struct hp_alloc_options *options)
{
	uint64_t lease = 0;

	assert_int_equal(actor_alloc(actor, n_pages * PAGE, options, &lease), 0);
	return lease;
}

static uint64_t lease_open(struct actor *actor, const char *name, unsigned flags)
{
	uint64_t lease = 0;

	assert_int_equal(actor_open_lease(actor, name, flags, &lease), 0);
	return lease;
}

static const char *word_of(uint64_t number, char word[MAX_WORD])
{
	snprintf(word, MAX_WORD, "%" PRIu64, number);
	return word;
}

static hp_client *open_here(void)
{
	hp_client *client = NULL;

	assert_int_equal(hp_open(dut.socket, &client), 0);
	return client;
}

static hp_lease *alloc_here(hp_client *client, uint64_t n_pages, const struct hp_alloc_options *options)
{
	hp_lease *lease = NULL;

	if (hp_alloc(client, n_pages * PAGE, options, &lease) < 0)
		fail_msg("hp_alloc: %s", hp_error());
	return lease;
}

static uint64_t offset_of(const hp_lease *lease)
{
	uint64_t offset;
	int fd = hp_lease_dup_fd(lease, 0, &offset, NULL);

	assert_true(fd >= 0);
	close(fd);
	return offset;
}

/* ---- several runs ---- */

#define N_PIECES    64
#define PIECE_PAGES 4

/* All of pool p in pieces, every other one of them free. */
static void fragment(hp_client *client)
{
	hp_lease *leases[N_PIECES];
	uint64_t bytes[N_PIECES];

	for (unsigned i = 0; i < N_PIECES; i++)
		bytes[i] = PIECE_PAGES * PAGE;
	assert_int_equal(hp_alloc_batch(client, bytes, N_PIECES, NULL, leases), 0);
	for (unsigned i = 0; i < N_PIECES; i++)
		if (offset_of(leases[i]) / (PIECE_PAGES * PAGE) % 2 == 1)
			assert_int_equal(hp_free(leases[i]), 0);
}

/* Each run's file has what the program wrote over the one range, in order. */
static unsigned count_runs_with_their_data(const hp_lease *lease)
{
	const uint8_t *data = hp_lease_data(lease);
	uint64_t offset, bytes, at = 0;
	unsigned n = 0;
	int fd;

	for (; (fd = hp_lease_dup_fd(lease, n, &offset, &bytes)) >= 0; n++, at += bytes) {
		uint8_t *file = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);

		assert_ptr_not_equal(file, MAP_FAILED);
		assert_memory_equal(file, data + at, bytes);
		munmap(file, bytes);
		close(fd);
	}
	assert_int_equal(fd, -ENOENT);
	assert_int_equal(at, hp_lease_bytes(lease));
	return n;
}

static void kinds_several_runs_are_one_range(void **state)
{
	const uint64_t n_pages = N_PIECES / 2 * PIECE_PAGES;
	const struct hp_alloc_options few = {.max_runs = N_PIECES / 2 - 1};
	const struct hp_alloc_options one = {.flags = HP_CONTIGUOUS};
	hp_client *client = open_here();
	hp_lease *lease = NULL;
	uint64_t *words;

	fragment(client);
	assert_int_equal(hp_alloc(client, n_pages * PAGE, &few, &lease), -ENOSPC);
	assert_int_equal(hp_alloc(client, n_pages * PAGE, &one, &lease), -ENOSPC);
	lease = alloc_here(client, n_pages, NULL);
	words = hp_lease_data(lease);
	for (uint64_t i = 0; i < n_pages * PAGE / sizeof(*words); i++) {
		assert_int_equal(words[i], 0);
		words[i] = i + 1;
	}
	assert_int_equal(count_runs_with_their_data(lease), N_PIECES / 2);
	for (uint64_t i = 0; i < n_pages * PAGE / sizeof(*words); i++)
		assert_int_equal(words[i], i + 1);
	hp_close(client);
	end_scene();
}

/* ---- isolation=lease ---- */

static int64_t file_bytes(struct actor *actor, uint64_t lease, ino_t *ret_inode)
{
	struct stat status;
	int fd = actor_dup_fd(actor, lease, NULL);

	assert_int_equal(fstat(fd, &status), 0);
	close(fd);
	if (ret_inode)
		*ret_inode = status.st_ino;
	return status.st_size;
}

static void kinds_isolated_lease_is_a_file_exact_to_the_page(void **state)
{
	const struct hp_alloc_options alone = {.pool = "alone"};
	uint64_t three = alloc(&owner, 3, &alone), five = alloc(&owner, 5, &alone);
	ino_t inodes[2];
	struct stat status;
	int fd = actor_dup_fd(&owner, three, NULL);

	assert_int_equal(file_bytes(&owner, three, &inodes[0]), 3 * PAGE);
	assert_int_equal(file_bytes(&owner, five, &inodes[1]), 5 * PAGE);
	assert_int_not_equal(inodes[0], inodes[1]);
	assert_int_equal(dut_pool(&dut, "alone", "pages_leased"), 8);

	/* Whoever still has the file has nothing of it. */
	assert_int_equal(actor_free(&owner, three), 0);
	dut_wait_pool(&dut, "alone", "pages_backed", dut_pool(&dut, "alone", "pages_stock") + 5);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, 0);
	assert_int_equal(status.st_blocks, 0);
	close(fd);
	assert_int_equal(actor_free(&owner, five), 0);
	end_scene();
}

static void kinds_isolated_lease_trimmed_has_a_shorter_file(void **state)
{
	const struct hp_alloc_options alone = {.pool = "alone"};
	uint64_t lease = alloc(&owner, 16, &alone);

	actor_fill(&owner, lease, 7);
	assert_int_equal(actor_resize(&owner, lease, 4 * PAGE, 0), 0);
	dut_wait_pool(&dut, "alone", "pages_limbo", 0);
	assert_int_equal(file_bytes(&owner, lease, NULL), 4 * PAGE);
	assert_int_equal(dut_pool(&dut, "alone", "pages_leased"), 4);
	assert_int_equal(actor_count_other(&owner, lease, 7), 0);

	/* It grows by another file. */
	assert_int_equal(actor_resize(&owner, lease, 6 * PAGE, HP_MAY_MOVE), 0);
	assert_int_equal(actor_peek(&owner, lease, 4 * PAGE - 1), 7);
	assert_int_equal(actor_peek(&owner, lease, 4 * PAGE), 0);
	assert_int_equal(file_bytes(&owner, lease, NULL), 4 * PAGE);
	assert_int_equal(dut_pool(&dut, "alone", "pages_leased"), 6);
	end_scene();
}

/* ---- opened by others ---- */

static int64_t try_writable_mapping(int fd)
{
	void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? -errno : 0;
}

static int64_t try_reopening(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC) < 0 ? -errno : 0;
}

/* Fails if introduce() of rpc/grants.c always sends backing_file_fd(). */
static void kinds_opened_read_only_cannot_be_written(void **state)
{
	uint64_t made = alloc(&owner, 2, &(struct hp_alloc_options){.name = "n", .mode = 0644}), opened, none;

	actor_fill(&owner, made, 3);
	assert_int_equal(actor_open_lease(&other, "n", 0, &none), -EPERM);
	opened = lease_open(&other, "n", HP_READ_ONLY);
	assert_int_equal(actor_count_other(&other, opened, 3), 0);
	assert_int_equal(actor_poke(&other, opened, 0, 9), -SIGSEGV);
	assert_int_equal(actor_act(&other, opened, try_writable_mapping), -EACCES);
	assert_int_equal(actor_act(&other, opened, try_reopening), -EACCES);
	assert_int_equal(actor_poke(&owner, made, PAGE, 4), 0);
	assert_int_equal(actor_peek(&other, opened, PAGE), 4);
	end_scene();
}

static void kinds_opened_for_writing_is_the_same_memory(void **state)
{
	const struct hp_access access[] = {{.id = OTHER, .may_write = 1}};
	const struct hp_alloc_options by_mode = {.name = "m", .mode = 0666};
	const struct hp_alloc_options by_list = {.name = "l", .access = access, .n_access = 1};
	const struct hp_alloc_options *ways[] = {&by_mode, &by_list};
	struct actor stranger;
	uint64_t none;

	actor_start(&stranger, STRANGER, &dut);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t made = alloc(&owner, 2, ways[i]), opened = lease_open(&other, ways[i]->name, 0);

		assert_int_equal(actor_poke(&other, opened, PAGE, 9), 0);
		assert_int_equal(actor_peek(&owner, made, PAGE), 9);
	}
	assert_int_equal(actor_open_lease(&stranger, "m", 0, &none), 0);
	assert_int_equal(actor_open_lease(&stranger, "l", HP_READ_ONLY, &none), -EPERM);
	actor_quit(&stranger);
	end_scene();
}

static void expect_kept(uint64_t opened)
{
	uint64_t none;

	assert_int_equal(actor_open_lease(&other, "n", HP_READ_ONLY, &none), -ENOENT);
	assert_int_equal(actor_count_other(&other, opened, 6), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 8);
	assert_int_equal(actor_free(&other, opened), 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
}

static void kinds_opened_stays_when_its_maker_frees_or_dies(void **state)
{
	const struct hp_alloc_options named = {.name = "n", .mode = 0644};
	struct actor mortal;
	uint64_t made = alloc(&owner, 8, &named), opened = lease_open(&other, "n", HP_READ_ONLY);

	actor_fill(&owner, made, 6);
	assert_int_equal(actor_free(&owner, made), 0);
	expect_kept(opened);

	actor_start(&mortal, OWNER, &dut);
	made = alloc(&mortal, 8, &named);
	actor_fill(&mortal, made, 6);
	opened = lease_open(&other, "n", HP_READ_ONLY);
	actor_kill(&mortal);
	dut_wait_pool(&dut, "p", "leases", 1);
	expect_kept(opened);
	end_scene();
}

/* ---- ends against one's will ---- */

static void expect_revoked(struct actor *actor, uint64_t lease)
{
	uint64_t told, arena;

	actor_wait_event(actor, HP_EVENT_REVOKED, &told, &arena);
	assert_int_equal(told, lease);
	assert_int_equal(actor_free(actor, lease), 0);
}

/* The file is truncated before the event comes: then it is a signal, for whoever has it mapped. */
static void wait_gone(struct actor *actor, uint64_t lease)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (actor_peek(actor, lease, 0) != -SIGBUS) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
}

static void kinds_deadline_ends_a_lease(void **state)
{
	uint64_t brief, lasting;

	actor_subscribe(&owner, HP_EVENT_REVOKED);
	lasting = alloc(&owner, 2, &(struct hp_alloc_options){.lifetime_ms = 1000 * WAIT_MAX_MS});
	brief = alloc(&owner, 4, &(struct hp_alloc_options){.lifetime_ms = 100});
	wait_gone(&owner, brief);
	expect_revoked(&owner, brief);
	dut_wait_pool(&dut, "p", "leases", 1);
	dut_wait_pool(&dut, "p", "pages_limbo", 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 2);
	assert_int_equal(actor_poke(&owner, lasting, 0, 1), 0);
	end_scene();
}

static void kinds_revoke_ends_all_holds_of_a_lease(void **state)
{
	const struct hp_alloc_options options = {.name = "n", .mode = 0644, .flags = HP_REVOCABLE};
	uint64_t made = alloc(&owner, 4, &options), opened = lease_open(&other, "n", HP_READ_ONLY);
	char word[MAX_WORD];

	actor_subscribe(&owner, HP_EVENT_REVOKED);
	actor_subscribe(&other, HP_EVENT_REVOKED);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("revoke", word_of(made, word)));
	wait_gone(&owner, made);
	wait_gone(&other, opened);
	expect_revoked(&owner, made);
	expect_revoked(&other, opened);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	dut_wait_pool(&dut, "p", "pages_limbo", 0);
	end_scene();
}

static void kinds_revoke_of_what_shares_its_arena_is_refused(void **state)
{
	uint64_t lease = alloc(&owner, 4, NULL);
	char word[MAX_WORD];

	operator_expect(&dut, 0, FAILED, "not made revocable", DUT_WORDS("revoke", word_of(lease, word)));
	assert_int_equal(actor_poke(&owner, lease, 0, 1), 0);
	assert_int_equal(actor_free(&owner, lease), 0);
	end_scene();
}

/* It would take the memory from its maker. Fails without `record->opened` in revoke_here() of rpc/operate.c.
 */
static void kinds_revoke_by_who_opened_it_is_refused(void **state)
{
	uint64_t made = alloc(&owner, 4, &(struct hp_alloc_options){.name = "n", .mode = 0644});
	uint64_t opened = lease_open(&other, "n", HP_READ_ONLY);
	char word[MAX_WORD];

	operator_expect(&dut, OTHER, FAILED, "opened", DUT_WORDS("revoke", word_of(opened, word)));
	assert_int_equal(actor_poke(&owner, made, 0, 1), 0);
	assert_int_equal(actor_peek(&other, opened, 0), 1);
	operator_expect(&dut, OWNER, DONE, "", DUT_WORDS("revoke", word_of(made, word)));
	wait_gone(&other, opened);
	end_scene();
}

static void kinds_evict_ends_all_leases_of_an_arena(void **state)
{
	uint64_t leases[3], theirs = alloc(&other, 4, NULL), arena;
	char word[MAX_WORD];

	for (unsigned i = 0; i < 3; i++)
		leases[i] = alloc(&owner, 4, NULL);
	arena = (uint64_t)operator_number(&dut, "leases", "leases", "lease", word_of(leases[0], word),
					  "arena");
	actor_subscribe(&owner, HP_EVENT_REVOKED);
	operator_expect(&dut, 0, DONE, "3 leases", DUT_WORDS("evict", word_of(arena, word)));
	for (unsigned i = 0; i < 3; i++)
		wait_gone(&owner, leases[i]);
	assert_int_equal(actor_poke(&other, theirs, 0, 1), 0);
	dut_wait_pool(&dut, "p", "pages_leased", 4);
	end_scene();
}

/* ---- draining ---- */

static void kinds_drain_and_restore_are_told(void **state)
{
	uint64_t kept = alloc(&owner, 1, NULL), lease, arena;

	actor_subscribe(&other, HP_EVENT_DRAINED | HP_EVENT_RESTORED);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "p"));
	actor_wait_event(&other, HP_EVENT_DRAINED, &lease, &arena);
	assert_int_equal(arena, 0);
	assert_int_equal(actor_alloc(&owner, PAGE, NULL, &lease), -ESHUTDOWN);
	assert_int_equal(actor_resize(&owner, kept, 2 * PAGE, HP_MAY_MOVE), -ESHUTDOWN);
	assert_int_equal(actor_poke(&owner, kept, 0, 1), 0);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("restore", "p"));
	actor_wait_event(&other, HP_EVENT_RESTORED, &lease, &arena);
	assert_int_equal(actor_alloc(&owner, PAGE, NULL, &lease), 0);
	end_scene();
}

/* ---- waiting ---- */

/* Its first request has come to the daemon. */
static void wait_asked(const struct actor *actor)
{
	char word[MAX_WORD];

	operator_wait_number(&dut, "sessions", "sessions", "pid", word_of((uint64_t)actor->pid, word),
			     "requests", 1);
}

static void kinds_waiting_is_served_in_order_of_arrival(void **state)
{
	const struct hp_alloc_options patient = {.wait_ms = WAIT_MAX_MS}, brief = {.wait_ms = 50};
	uint64_t halves[2] = {alloc(&owner, 128, NULL), alloc(&owner, 128, NULL)}, lease;
	struct actor waiters[3];

	for (unsigned i = 0; i < 3; i++) {
		actor_start(&waiters[i], OWNER, &dut);
		actor_alloc_begin(&waiters[i], 128 * PAGE, i < 2 ? &patient : &brief);
		wait_asked(&waiters[i]);
	}
	assert_int_equal(actor_alloc_end(&waiters[2], &lease), -ETIME);
	assert_true(actor_is_busy(&waiters[0]));
	for (unsigned i = 0; i < 2; i++) {
		assert_true(actor_is_busy(&waiters[1]));
		assert_int_equal(actor_free(&owner, halves[i]), 0);
		assert_int_equal(actor_alloc_end(&waiters[i], &lease), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		actor_quit(&waiters[i]);
	end_scene();
}

static void kinds_waiting_ends_when_the_pool_is_drained(void **state)
{
	const struct hp_alloc_options patient = {.wait_ms = WAIT_MAX_MS};
	uint64_t lease;

	alloc(&owner, 256, NULL);
	actor_alloc_begin(&other, PAGE, &patient);
	wait_asked(&other);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "p"));
	assert_int_equal(actor_alloc_end(&other, &lease), -ESHUTDOWN);
	end_scene();
}

/* ---- resizing ---- */

/* What was freed has gone from the worker to the zone, and through the scrubber. */
static void wait_clean(void)
{
	dut_wait_pool(&dut, "p", "pages_cached", 0);
	dut_wait_pool(&dut, "p", "pages_dirty", 0);
}

static void kinds_resize_trims_and_grows_in_place(void **state)
{
	uint64_t lease = alloc(&owner, 16, NULL);

	actor_fill(&owner, lease, 5);
	assert_int_equal(actor_resize(&owner, lease, 4 * PAGE, 0), 0);
	wait_clean();
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 4);
	assert_int_equal(actor_resize(&owner, lease, 8 * PAGE, 0), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(actor_peek(&owner, lease, (int64_t)(i * PAGE)), i < 4 ? 5 : 0);
	assert_int_equal(actor_poke(&owner, lease, 8 * PAGE - 1, 1), 0);
	assert_int_equal(actor_resize(&owner, lease, 257 * PAGE, HP_MAY_MOVE), -EINVAL);
	assert_int_equal(actor_peek(&owner, lease, 8 * PAGE - 1), 1);
	end_scene();
}

static void kinds_resize_grows_by_runs_if_it_may_move(void **state)
{
	uint64_t leases[2];

	assert_int_equal(actor_alloc_batch(&owner, 2, 4 * PAGE, NULL, leases), 0);
	for (unsigned i = 0; i < 2; i++)
		actor_fill(&owner, leases[i], (uint8_t)(1 + i));
	/* One of them has the other behind it. */
	for (unsigned i = 0; i < 2; i++) {
		if (actor_resize(&owner, leases[i], 6 * PAGE, 0) == -ENOSPC)
			assert_int_equal(actor_resize(&owner, leases[i], 6 * PAGE, HP_MAY_MOVE), 0);
		else
			assert_int_equal(i, 1);
		for (unsigned k = 0; k < 6; k++)
			assert_int_equal(actor_peek(&owner, leases[i], (int64_t)(k * PAGE)),
					 k < 4 ? 1 + i : 0);
	}
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 12);
	end_scene();
}

/* ---- hints ---- */

#define MAX_TRIES 1000 /* the worker's cache keeps what is freed for a few milliseconds */

static void kinds_no_zero_shows_only_what_the_tenant_wrote(void **state)
{
	const struct hp_alloc_options no_zero = {.flags = HP_NO_ZERO};
	unsigned n_tries = 0;
	uint64_t lease;
	int seen = 0;

	while (seen == 0 && n_tries++ < MAX_TRIES) {
		lease = alloc(&owner, 1, NULL);
		actor_fill(&owner, lease, 0xab);
		assert_int_equal(actor_free(&owner, lease), 0);
		lease = alloc(&owner, 1, &no_zero);
		seen = actor_peek(&owner, lease, PAGE - 1);
		assert_true(seen == 0 || seen == 0xab);
		assert_int_equal(actor_free(&owner, lease), 0);
	}
	assert_int_equal(seen, 0xab);
	lease = alloc(&other, 256, &no_zero);
	assert_int_equal(actor_count_other(&other, lease, 0), 0);
	end_scene();
}

static void kinds_cold_frees_as_well(void **state)
{
	uint64_t lease = alloc(&owner, 8, NULL);

	actor_fill(&owner, lease, 1);
	assert_int_equal(actor_free_cold(&owner, lease), 0);
	wait_clean();
	lease = alloc(&owner, 256, NULL);
	assert_int_equal(actor_count_other(&owner, lease, 0), 0);
	end_scene();
}

/* ---- mappings ---- */

static void kinds_guard_makes_an_overrun_a_signal(void **state)
{
	uint64_t lease = alloc(&owner, 2, &(struct hp_alloc_options){.flags = HP_GUARD});

	assert_int_equal(actor_poke(&owner, lease, 0, 1), 0);
	assert_int_equal(actor_poke(&owner, lease, 2 * PAGE - 1, 1), 0);
	assert_int_equal(actor_peek(&owner, lease, -1), -SIGSEGV);
	assert_int_equal(actor_peek(&owner, lease, 2 * PAGE), -SIGSEGV);
	end_scene();
}

static void kinds_read_only_cannot_be_written_here(void **state)
{
	uint64_t lease = alloc(&owner, 2, &(struct hp_alloc_options){.flags = HP_READ_ONLY});

	assert_int_equal(actor_peek(&owner, lease, PAGE), 0);
	assert_int_equal(actor_poke(&owner, lease, PAGE, 1), -SIGSEGV);
	end_scene();
}

static void kinds_private_leaves_the_file_unchanged(void **state)
{
	uint64_t lease = alloc(&owner, 2, &(struct hp_alloc_options){.flags = HP_PRIVATE}), offset;
	int fd = actor_dup_fd(&owner, lease, &offset);
	uint8_t byte = 9;

	assert_int_equal(actor_poke(&owner, lease, PAGE, 1), 0);
	assert_int_equal(actor_peek(&owner, lease, PAGE), 1);
	assert_int_equal(pread(fd, &byte, 1, (off_t)(offset + PAGE)), 1);
	assert_int_equal(byte, 0);
	close(fd);
	end_scene();
}

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

static unsigned count_present(const hp_lease *lease)
{
	uint64_t n_pages = hp_lease_bytes(lease) / PAGE, entry;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned n = 0;

	assert_true(fd >= 0);
	for (uint64_t i = 0; i < n_pages; i++) {
		const uint64_t page = (uintptr_t)hp_lease_data(lease) / PAGE + i;

		assert_int_equal(pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))),
				 sizeof(entry));
		n += (entry & PAGEMAP_PRESENT) != 0;
	}
	close(fd);
	return n;
}

static uint64_t locked_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	uint64_t kib = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmLck: %" SCNu64, &kib) == 1)
			break;
	fclose(file);
	return kib * 1024;
}

static void kinds_populate_and_lock_fill_the_page_tables(void **state)
{
	hp_client *client = open_here();
	uint64_t before = locked_bytes();
	hp_lease *lease;

	/* A mapping of its own that is not populated, to compare with. */
	lease = alloc_here(client, 16, &(struct hp_alloc_options){.flags = HP_GUARD});
	assert_int_equal(count_present(lease), 0);
	lease = alloc_here(client, 16, &(struct hp_alloc_options){.flags = HP_POPULATE});
	assert_int_equal(count_present(lease), 16);
	lease = alloc_here(client, 16, &(struct hp_alloc_options){.flags = HP_POPULATE | HP_READ_ONLY});
	assert_int_equal(count_present(lease), 16);
	assert_int_equal(locked_bytes(), before);
	lease = alloc_here(client, 16, &(struct hp_alloc_options){.flags = HP_LOCK});
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their mlock() does nothing */
	assert_int_equal(count_present(lease), 16);
	assert_int_equal(locked_bytes(), before + 16 * PAGE);
#endif
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(locked_bytes(), before);
	hp_close(client);
	end_scene();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(kinds_several_runs_are_one_range),
		TEST(kinds_isolated_lease_is_a_file_exact_to_the_page),
		TEST(kinds_isolated_lease_trimmed_has_a_shorter_file),
		TEST(kinds_opened_read_only_cannot_be_written),
		TEST(kinds_opened_for_writing_is_the_same_memory),
		TEST(kinds_opened_stays_when_its_maker_frees_or_dies),
		TEST(kinds_deadline_ends_a_lease),
		TEST(kinds_revoke_ends_all_holds_of_a_lease),
		TEST(kinds_revoke_of_what_shares_its_arena_is_refused),
		TEST(kinds_revoke_by_who_opened_it_is_refused),
		TEST(kinds_evict_ends_all_leases_of_an_arena),
		TEST(kinds_drain_and_restore_are_told),
		TEST(kinds_waiting_is_served_in_order_of_arrival),
		TEST(kinds_waiting_ends_when_the_pool_is_drained),
		TEST(kinds_resize_trims_and_grows_in_place),
		TEST(kinds_resize_grows_by_runs_if_it_may_move),
		TEST(kinds_no_zero_shows_only_what_the_tenant_wrote),
		TEST(kinds_cold_frees_as_well),
		TEST(kinds_guard_makes_an_overrun_a_signal),
		TEST(kinds_read_only_cannot_be_written_here),
		TEST(kinds_private_leaves_the_file_unchanged),
		TEST(kinds_populate_and_lock_fill_the_page_tables),
	};

	return cmocka_run_group_tests_name("system_kinds", tests, NULL, NULL);
}

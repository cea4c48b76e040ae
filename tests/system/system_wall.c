/* system_wall.c - attacks on another tenant's memory by what was kept: descriptors, mappings, pins, children.
 *
 * The intruder leases all there is, keeps what it can, and lets go; then the victim, another user, leases all
 * there is, finds zeros and fills it. The intruder must see none of that and change none of it. Attacks by
 * rights are in system_wall_rights.c. Lines of defence that were taken out to see a test fail are named
 * beside it. All fail here without ftruncate() in file_truncate() of backing/backing.c, but for the 4 KiB
 * pins, and all without exception in a daemon that uses files again, zeroed, instead of truncating them.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/intruder.h"
#include "tests/support/wait.h"
#include "tests/system/system_hugetlb_scene.h"

#define KIB4 UINT64_C(4096)

/* A pool that one arena fills. */
struct wall {
	struct dut dut;
	uint64_t page_bytes, n_pages;
	struct actor intruder, victim;
	uint64_t of_intruder, of_victim; /* leases */
};

static void wall_begin(struct wall *wall, uint64_t page_bytes, const char *more_words)
{
	bool huge = page_bytes == MIB2;

	*wall = (struct wall){.page_bytes = page_bytes, .n_pages = huge ? 4 : 256};
	if (huge)
		scene_begin(MIB2, wall->n_pages);
	else
		dut_need_root();
	dut_start(&wall->dut,
		  DUT_WORDS("--pool", scene_words("p=%s,users=*%s",
						  huge ? "2M:8M,arena=8M" : "4K:1M,arena=1M", more_words)));
	actor_start(&wall->intruder, SOMEUID, &wall->dut);
	actor_start(&wall->victim, OTHERUID, &wall->dut);
}

static void wall_end(struct wall *wall)
{
	actor_quit(&wall->victim);
	dut_wait_pool(&wall->dut, "p", "pages_leased", 0);
	dut_stop(&wall->dut);
	if (wall->page_bytes == MIB2)
		scene_wait_all_back();
}

static void intruder_takes_all(struct wall *wall, const struct hp_alloc_options *options)
{
	assert_int_equal(
		actor_alloc(&wall->intruder, wall->n_pages * wall->page_bytes, options, &wall->of_intruder),
		0);
	actor_fill(&wall->intruder, wall->of_intruder, INTRUDER_BYTE);
}

static void victim_takes(struct wall *wall, uint64_t n_pages)
{
	assert_int_equal(actor_alloc(&wall->victim, n_pages * wall->page_bytes, NULL, &wall->of_victim), 0);
	assert_int_equal(actor_count_other(&wall->victim, wall->of_victim, 0), 0);
	actor_fill(&wall->victim, wall->of_victim, VICTIM_BYTE);
}

static void assert_victim_untouched(struct wall *wall)
{
	assert_int_equal(actor_count_other(&wall->victim, wall->of_victim, VICTIM_BYTE), 0);
}

/* Truncating is under way, and the actor does not hear of it. */
static void wait_gone(struct wall *wall)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (actor_act(&wall->intruder, 0, intruder_is_gone) != 1) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
}

/* By all that it has kept the intruder reads nothing of the victim's and writes nothing. A writable mapping
 * of a hugetlb file makes it longer, whatever its seals: there it may write, to pages that are new, as it
 * could in an anonymous mapping. */
static void assert_kept_is_gone(struct wall *wall)
{
	int64_t n_written;

	assert_int_equal(actor_act(&wall->intruder, 0, intruder_look), 0);
	wait_gone(wall);
	assert_int_equal(actor_act(&wall->intruder, 0, intruder_look), 0);
	n_written = actor_act(&wall->intruder, 0, intruder_overwrite);
	if (wall->page_bytes == KIB4)
		assert_int_equal(n_written, 0);
	assert_victim_untouched(wall);
	assert_int_equal(actor_act(&wall->intruder, 0, intruder_look), 0);
}

static ino_t file_of(struct actor *actor, uint64_t lease)
{
	int fd = actor_dup_fd(actor, lease, NULL);
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	close(fd);
	return status.st_ino;
}

/* ---- descriptors and mappings ---- */

static void keep_after_free(uint64_t page_bytes)
{
	struct wall wall;
	ino_t file;

	wall_begin(&wall, page_bytes, "");
	intruder_takes_all(&wall, NULL);
	file = file_of(&wall.intruder, wall.of_intruder);
	assert_int_equal(actor_act(&wall.intruder, wall.of_intruder, intruder_keep), 0);
	assert_int_equal(actor_free(&wall.intruder, wall.of_intruder), 0);
	/* All is the other tenant's own still. */
	assert_int_equal(actor_act(&wall.intruder, 0, intruder_is_gone), 0);

	victim_takes(&wall, wall.n_pages);
	assert_int_not_equal(file_of(&wall.victim, wall.of_victim), file);
	assert_kept_is_gone(&wall);
	actor_quit(&wall.intruder);
	wall_end(&wall);
}

/* Both fail if tenant_of() of pool/pool.c says the same of all: the file is then the victim's, too. */
static void wall_4k_kept_after_free_shows_nothing(void **state)
{
	keep_after_free(KIB4);
}

static void wall_2m_kept_after_free_shows_nothing(void **state)
{
	keep_after_free(MIB2);
}

/* Leases of files of their own: gone as soon as it is free, whoever comes next. */
static void wall_isolation_by_lease_ends_with_the_lease(void **state)
{
	struct wall wall;

	wall_begin(&wall, KIB4, ",isolation=lease");
	intruder_takes_all(&wall, NULL);
	assert_int_equal(actor_act(&wall.intruder, wall.of_intruder, intruder_keep), 0);
	assert_int_equal(actor_free(&wall.intruder, wall.of_intruder), 0);
	wait_gone(&wall);
	victim_takes(&wall, wall.n_pages);
	assert_kept_is_gone(&wall);
	actor_quit(&wall.intruder);
	wall_end(&wall);
}

/* ---- a process that is stopped while its lease ends ---- */

static void stop(struct actor *actor)
{
	siginfo_t info;

	assert_int_equal(kill(actor->pid, SIGSTOP), 0);
	assert_int_equal(waitid(P_PID, (id_t)actor->pid, &info, WSTOPPED), 0);
}

static void stop_over_revocation(struct wall *wall)
{
	intruder_takes_all(wall, &(struct hp_alloc_options){.flags = HP_REVOCABLE});
	assert_int_equal(actor_act(&wall->intruder, wall->of_intruder, intruder_keep), 0);
	stop(&wall->intruder);
	assert_int_equal(dut_ctl(&wall->dut, 0,
				 DUT_WORDS("revoke", scene_words("%" PRIu64, wall->of_intruder)), NULL, NULL),
			 0);
}

/* Where the machine is so busy that the lease ends before its holder is stopped, a longer one is tried. */
static void stop_over_deadline(struct wall *wall)
{
	struct hp_alloc_options options = {.lifetime_ms = 250, .wait_ms = WAIT_MAX_MS};
	const uint64_t bytes = wall->n_pages * wall->page_bytes;

	for (;; options.lifetime_ms *= 2) {
		bool is_granted, is_kept;

		assert_true(options.lifetime_ms < WAIT_MAX_MS);
		is_granted = actor_alloc(&wall->intruder, bytes, &options, &wall->of_intruder) == 0;
		is_kept = is_granted &&
			  actor_poke(&wall->intruder, wall->of_intruder, 0, INTRUDER_BYTE) == 0 &&
			  actor_act(&wall->intruder, wall->of_intruder, intruder_keep) == 0;
		stop(&wall->intruder);
		if (is_kept && dut_pool(&wall->dut, "p", "pages_leased") > 0)
			return;
		assert_int_equal(kill(wall->intruder.pid, SIGCONT), 0);
		if (is_granted)
			assert_int_equal(actor_free(&wall->intruder, wall->of_intruder), 0);
	}
}

static void stop_over_the_end(uint64_t page_bytes, void (*stop_until_then)(struct wall *wall))
{
	struct wall wall;

	wall_begin(&wall, page_bytes, "");
	stop_until_then(&wall);
	dut_wait_pool(&wall.dut, "p", "pages_leased", 0);
	victim_takes(&wall, wall.n_pages);

	assert_int_equal(kill(wall.intruder.pid, SIGCONT), 0);
	assert_kept_is_gone(&wall);
	/* It has the handle still; that ends, and nothing else does. */
	assert_int_equal(actor_free(&wall.intruder, wall.of_intruder), 0);
	assert_victim_untouched(&wall);
	assert_int_equal(dut_pool(&wall.dut, "p", "pages_leased"), wall.n_pages);
	actor_quit(&wall.intruder);
	wall_end(&wall);
}

static void wall_4k_stopped_over_revocation_has_nothing(void **state)
{
	stop_over_the_end(KIB4, stop_over_revocation);
}

static void wall_2m_stopped_over_revocation_has_nothing(void **state)
{
	stop_over_the_end(MIB2, stop_over_revocation);
}

static void wall_4k_stopped_over_its_deadline_has_nothing(void **state)
{
	stop_over_the_end(KIB4, stop_over_deadline);
}

/* ---- a child that outlives its parent ---- */

static void child_of_the_dead(uint64_t page_bytes)
{
	struct wall wall;
	pid_t parent;

	wall_begin(&wall, page_bytes, "");
	intruder_takes_all(&wall, NULL);
	assert_int_equal(actor_act(&wall.intruder, wall.of_intruder, intruder_keep), 0);
	parent = wall.intruder.pid;
	assert_int_equal(actor_act(&wall.intruder, 0, intruder_leave_it_to_a_child), 0);
	/* It holds the parent's socket, and writes to the parent's memory. Both are the parent's. */
	assert_true(actor_act(&wall.intruder, 0, intruder_overwrite) > 0);
	assert_int_equal(dut_pool(&wall.dut, "p", "pages_leased"), wall.n_pages);
	assert_int_equal(kill(parent, SIGKILL), 0);
	dut_wait_child(parent);
	dut_wait_pool(&wall.dut, "p", "pages_leased", 0);

	victim_takes(&wall, wall.n_pages);
	assert_kept_is_gone(&wall);
	close(wall.intruder.fd); /* ends the child */
	wall_end(&wall);
}

/* Both fail if tenant_of() says the same of all, and without the event for the pidfd in server_add_session()
 * of rpc/server.c. */
static void wall_4k_child_of_the_dead_has_nothing(void **state)
{
	child_of_the_dead(KIB4);
}

static void wall_2m_child_of_the_dead_has_nothing(void **state)
{
	child_of_the_dead(MIB2);
}

/* ---- pins, which outlive every descriptor and mapping ---- */

static void pin_and_let_go(struct wall *wall, const struct hp_alloc_options *options)
{
	int64_t r;

	intruder_takes_all(wall, options);
	r = actor_act(&wall->intruder, wall->of_intruder, intruder_pin);
	if (r < 0) {
		fprintf(stderr, "SKIPPED: no io_uring buffers or vmsplice here: %s\n", strerror((int)-r));
		skip();
	}
	actor_close(&wall->intruder);
	dut_wait_pool(&wall->dut, "p", "pages_leased", 0);
}

static void assert_pin_is_harmless(struct wall *wall)
{
	assert_int_equal(actor_act(&wall->intruder, 0, intruder_look_pinned), 0);
	/* That page it can still write, and it is nobody's but its own. */
	assert_true(actor_act(&wall->intruder, 0, intruder_overwrite_pinned) > 0);
	assert_victim_untouched(wall);
}

/* Fails if tenant_of() says the same of all: zeroing alone is no wall. */
static void wall_4k_pinned_page_is_never_anothers(void **state)
{
	struct wall wall;

	wall_begin(&wall, KIB4, "");
	pin_and_let_go(&wall, NULL);
	victim_takes(&wall, wall.n_pages);
	assert_pin_is_harmless(&wall);
	actor_quit(&wall.intruder);
	wall_end(&wall);
}

/* Hugepages that did not come back are counted, and charged. */
static void pin_2m(const struct hp_alloc_options *options)
{
	struct wall wall;

	wall_begin(&wall, MIB2, "");
	pin_and_let_go(&wall, options);
	victim_takes(&wall, wall.n_pages - 1);
	assert_int_equal(dut_pool(&wall.dut, "p", "pages_limbo"), 1);
	assert_int_equal(dut_pool(&wall.dut, "p", "pages_backed"), wall.n_pages);
	assert_pin_is_harmless(&wall);

	actor_quit(&wall.intruder);
	dut_wait_pool(&wall.dut, "p", "pages_limbo", 0);
	assert_victim_untouched(&wall);
	wall_end(&wall);
}

/* Both fail if file_truncate() takes what is missing for returned. */
static void wall_2m_pinned_page_is_limbo_and_never_anothers(void **state)
{
	pin_2m(NULL);
}

static void wall_2m_pinned_page_of_a_revocable_lease_is_limbo(void **state)
{
	pin_2m(&(struct hp_alloc_options){.flags = HP_REVOCABLE});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Without the turn for hugepages. */
		cmocka_unit_test_teardown(wall_4k_kept_after_free_shows_nothing, scene_end),
		cmocka_unit_test_teardown(wall_isolation_by_lease_ends_with_the_lease, scene_end),
		cmocka_unit_test_teardown(wall_4k_stopped_over_revocation_has_nothing, scene_end),
		cmocka_unit_test_teardown(wall_4k_stopped_over_its_deadline_has_nothing, scene_end),
		cmocka_unit_test_teardown(wall_4k_child_of_the_dead_has_nothing, scene_end),
		cmocka_unit_test_teardown(wall_4k_pinned_page_is_never_anothers, scene_end),
		cmocka_unit_test_teardown(wall_2m_kept_after_free_shows_nothing, scene_end),
		cmocka_unit_test_teardown(wall_2m_stopped_over_revocation_has_nothing, scene_end),
		cmocka_unit_test_teardown(wall_2m_child_of_the_dead_has_nothing, scene_end),
		cmocka_unit_test_teardown(wall_2m_pinned_page_is_limbo_and_never_anothers, scene_end),
		cmocka_unit_test_teardown(wall_2m_pinned_page_of_a_revocable_lease_is_limbo, scene_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

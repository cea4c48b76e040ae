/* system_lease.c - what a lease is: granted to one, zeroed, whole, known by an id and perhaps a name; freed
 * once.
 *
 * Clients are processes of other users (actors), or this one, where only the library is asked. 4 KiB pages:
 * nothing here depends on their size.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"

#define PAGE    UINT64_C(4096)
#define MIB     (UINT64_C(1) << 20)
#define NOBODY  65534
#define SOMEUID 12345

/* 16 MiB in arenas of 4, for everybody. */
#define POOL DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*")

static const struct hp_alloc_options detached = {.flags = HP_DETACHED};

static hp_client *open_client(const struct dut *dut)
{
	hp_client *client = NULL;

	assert_int_equal(hp_open(dut->socket, &client), 0);
	return client;
}

static hp_lease *alloc(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options)
{
	hp_lease *lease = NULL;

	assert_int_equal(hp_alloc(client, bytes, options, &lease), 0);
	return lease;
}

static bool is_all(const void *memory, uint8_t value, uint64_t bytes)
{
	const uint8_t *data = memory;

	return data[0] == value && memcmp(data, data + 1, bytes - 1) == 0;
}

/* ---- granting ---- */

static void lease_alloc_rounds_up_to_zeroed_pages(void **state)
{
	struct dut dut;
	hp_client *client;
	hp_lease *lease;
	uint64_t page_bytes;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	assert_int_equal(hp_pool_page_bytes(client, NULL, &page_bytes), 0);
	assert_int_equal(page_bytes, PAGE);
	lease = alloc(client, 3 * PAGE + 1, NULL);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
	assert_true(is_all(hp_lease_data(lease), 0, 4 * PAGE));
	memset(hp_lease_data(lease), 1, 4 * PAGE);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 4);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	assert_int_equal(hp_free(lease), 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	hp_close(client);
	dut_stop(&dut);
}

static void lease_alloc_of_nonsense_is_refused(void **state)
{
	struct dut dut;
	hp_client *client;
	hp_lease *lease = NULL;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	assert_int_equal(hp_alloc(client, 0, NULL, &lease), -EINVAL);
	assert_int_equal(hp_alloc(client, 17 * MIB, NULL, &lease), -EINVAL);
	assert_int_equal(hp_alloc(client, UINT64_MAX, NULL, &lease), -EINVAL);
	assert_int_equal(hp_alloc(client, PAGE, &(struct hp_alloc_options){.pool = "q"}, &lease), -ENOENT);
	assert_int_equal(hp_alloc(client, PAGE, &(struct hp_alloc_options){.align_bytes = 3 * PAGE}, &lease),
			 -EINVAL);
	assert_int_equal(hp_alloc(client, PAGE, &(struct hp_alloc_options){.flags = 1u << 31}, &lease),
			 -EINVAL);
	assert_null(lease);
	assert_true(strlen(hp_error()) > 0);
	hp_close(client);
	dut_stop(&dut);
}

static void lease_batch_is_all_or_nothing(void **state)
{
	uint64_t bytes[ACTOR_MAX_BATCH], total = 0;
	hp_lease *leases[ACTOR_MAX_BATCH] = {NULL};
	hp_client *client;
	struct dut dut;
	int r;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	for (unsigned i = 0; i < ACTOR_MAX_BATCH; i++)
		total += bytes[i] = (1 + i % 8) * PAGE;
	assert_int_equal(hp_alloc_batch(client, bytes, ACTOR_MAX_BATCH, NULL, leases), 0);
	for (unsigned i = 0; i < ACTOR_MAX_BATCH; i++) {
		assert_int_equal(hp_lease_bytes(leases[i]), bytes[i]);
		assert_true(is_all(hp_lease_data(leases[i]), 0, bytes[i]));
		memset(hp_lease_data(leases[i]), (int)(1 + i % 255), bytes[i]);
	}
	for (unsigned i = 0; i < ACTOR_MAX_BATCH; i++)
		assert_true(is_all(hp_lease_data(leases[i]), (uint8_t)(1 + i % 255), bytes[i]));
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), total / PAGE);

	/* Half of it would fit. */
	for (unsigned i = 0; i < 20; i++)
		bytes[i] = MIB;
	memset(leases + 1, 0, sizeof(leases) - sizeof(leases[0]));
	r = hp_alloc_batch(client, bytes, 20, NULL, leases + 1);
	assert_true(r == -ENOSPC || r == -EDQUOT);
	assert_null(leases[1]);
	dut_wait_pool(&dut, "p", "pages_leased", (int64_t)(total / PAGE));
	assert_int_equal(dut_pool(&dut, "p", "leases"), ACTOR_MAX_BATCH);

	assert_int_equal(
		hp_alloc_batch(client, bytes, 2, &(struct hp_alloc_options){.name = "two"}, leases + 1),
		-EINVAL);
	hp_close(client);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_stop(&dut);
}

static void lease_alignment_holds_in_file_and_memory(void **state)
{
	struct dut dut;
	hp_client *client;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	alloc(client, PAGE, NULL);
	for (uint64_t align = PAGE; align <= 2 * MIB; align *= 2) {
		hp_lease *lease = alloc(client, 3 * PAGE, &(struct hp_alloc_options){.align_bytes = align});
		uint64_t offset = 1;
		int fd = hp_lease_dup_fd(lease, 0, &offset, NULL);

		assert_true(fd >= 0);
		assert_int_equal(offset % align, 0);
		assert_int_equal((uintptr_t)hp_lease_data(lease) % align, 0);
		close(fd);
	}
	hp_close(client);
	dut_stop(&dut);
}

/* Whatever sizes the arenas have: nobody else is here, and nothing is lost to their ends. */
static void lease_whole_pool_fits_in_leases_that_divide_it(void **state)
{
	uint64_t bytes[16];
	hp_lease *leases[16];
	hp_client *client;
	struct dut dut;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	for (unsigned i = 0; i < 16; i++)
		bytes[i] = MIB;
	assert_int_equal(hp_alloc_batch(client, bytes, 16, NULL, leases), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 16 * MIB / PAGE);
	hp_close(client);
	dut_stop(&dut);
}

/* Again and again the whole pool, one arena, is dirtied by one process and looked at by another of the same
 * user. */
static void lease_memory_is_zero_after_others_of_the_tenant(void **state)
{
	struct actor writer, reader;
	uint64_t leases[16];
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:4M,arena=4M,reserve=4M,users=*"));
	actor_start(&writer, SOMEUID, &dut);
	actor_start(&reader, SOMEUID, &dut);
	for (unsigned round = 0; round < 2 + dut_ops(64) / 4; round++) {
		assert_int_equal(actor_alloc_batch(&writer, 16, MIB / 4, NULL, leases), 0);
		for (unsigned i = 0; i < 16; i++)
			actor_fill(&writer, leases[i], 0xff);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(actor_free(&writer, leases[i]), 0);
		assert_int_equal(actor_alloc_batch(&reader, 16, MIB / 4, NULL, leases), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(actor_count_other(&reader, leases[i], 0), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(actor_free(&reader, leases[i]), 0);
	}
	actor_quit(&writer);
	actor_quit(&reader);
	dut_stop(&dut);
}

static void lease_arena_descriptor_crosses_once(void **state)
{
	uint64_t leases[100], more[100];
	struct actor actor;
	unsigned n_fds;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&actor, NOBODY, &dut);
	assert_int_equal(actor_alloc_batch(&actor, 100, PAGE, NULL, leases), 0);
	n_fds = actor_n_fds(&actor);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(actor_alloc(&actor, PAGE, NULL, &more[i]), 0);
	assert_int_equal(actor_n_fds(&actor), n_fds);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(actor_free(&actor, more[i]), 0);
	assert_int_equal(actor_n_fds(&actor), n_fds);
	actor_quit(&actor);
	dut_stop(&dut);
}

/* Arenas come and go; what the client has of those that are gone, it lets go. */
static void lease_arenas_that_are_gone_are_forgotten(void **state)
{
	struct actor actor;
	unsigned n_fds = 0;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*,decay=0"));
	actor_start(&actor, NOBODY, &dut);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(actor_alloc(&actor, 4 * MIB, NULL, &lease), 0);
		assert_int_equal(actor_count_other(&actor, lease, 0), 0);
		actor_fill(&actor, lease, 7);
		if (round == 0)
			n_fds = actor_n_fds(&actor);
		else
			assert_int_equal(actor_n_fds(&actor), n_fds);
		assert_int_equal(actor_free(&actor, lease), 0);
		dut_wait_pool(&dut, "p", "pages_backed", 0);
	}
	actor_quit(&actor);
	dut_stop(&dut);
}

/* ---- ids and names ---- */

static int compare_ids(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void lease_ids_are_never_reused(void **state)
{
	unsigned n = 64 * (2 + dut_ops(100));
	uint64_t *ids = calloc(n, sizeof(*ids)), bytes[64];
	hp_lease *leases[64];
	hp_client *client;
	struct dut dut;

	assert_non_null(ids);
	dut_start(&dut, POOL);
	client = open_client(&dut);
	for (unsigned i = 0; i < 64; i++)
		bytes[i] = PAGE;
	for (unsigned i = 0; i < n; i += 64) {
		assert_int_equal(hp_alloc_batch(client, bytes, 64, NULL, leases), 0);
		for (unsigned k = 0; k < 64; k++)
			ids[i + k] = hp_lease_id(leases[k]);
		assert_int_equal(hp_free_batch(leases, 64, 0), 0);
		if (i % 1024 == 0) {
			hp_close(client);
			client = open_client(&dut);
		}
	}
	qsort(ids, n, sizeof(*ids), compare_ids);
	assert_true(ids[0] > 0);
	for (unsigned i = 1; i < n; i++)
		assert_true(ids[i - 1] < ids[i]);
	hp_close(client);
	free(ids);
	dut_stop(&dut);
}

static void lease_free_twice_is_fine_and_unknown_is_not(void **state)
{
	struct dut dut;
	hp_client *client;
	uint64_t lease;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	lease = hp_lease_id(alloc(client, PAGE, NULL));
	assert_int_equal(hp_free_id(client, lease), 0);
	assert_int_equal(hp_free_id(client, lease), 0);
	assert_int_equal(hp_free_id(client, 0), -ENOENT);
	assert_int_equal(hp_free_id(client, lease + 1), -ENOENT);
	assert_int_equal(hp_free_id(client, UINT64_MAX), -ENOENT);
	assert_non_null(strstr(hp_error(), "never"));
	assert_int_equal(hp_free_name(client, "nobody"), -ENOENT);
	hp_close(client);
	dut_stop(&dut);
}

static void lease_name_is_unique_until_it_ends(void **state)
{
	const struct hp_alloc_options named = {.name = "frames \xc3\xa4"};
	struct actor first, second;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&first, SOMEUID, &dut);
	actor_start(&second, NOBODY, &dut);
	assert_int_equal(actor_alloc(&first, PAGE, &named, &lease), 0);
	assert_int_equal(actor_alloc(&first, PAGE, &named, &lease), -EEXIST);
	assert_int_equal(actor_alloc(&second, PAGE, &named, &lease), -EEXIST);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	assert_int_equal(actor_free_name(&second, named.name), -EPERM);
	assert_int_equal(actor_free_name(&first, named.name), 0);
	assert_int_equal(actor_free_name(&first, named.name), -ENOENT);
	assert_int_equal(actor_alloc(&second, PAGE, &named, &lease), 0);
	actor_kill(&second);
	dut_wait_pool(&dut, "p", "leases", 0);
	assert_int_equal(actor_alloc(&first, PAGE, &named, &lease), 0);
	actor_quit(&first);
	dut_stop(&dut);
}

static void lease_long_names_are_kept_or_refused(void **state)
{
	struct hp_alloc_options options = {0};
	hp_client *client;
	hp_lease *lease;
	char name[300];
	struct dut dut;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	options.name = name;
	alloc(client, PAGE, &options);
	name[255] = 'n';
	name[256] = 0;
	assert_int_equal(hp_alloc(client, PAGE, &options, &lease), -EINVAL);
	name[255] = 0;
	assert_int_equal(hp_free_name(client, name), 0);
	hp_close(client);
	dut_stop(&dut);
}

/* ---- detached leases ---- */

static void lease_detached_outlives_its_killed_holder(void **state)
{
	const struct hp_alloc_options named = {.flags = HP_DETACHED, .name = "kept"};
	uint64_t by_id, by_name, ends;
	struct actor holder, heir;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, 8 * PAGE, &detached, &by_id), 0);
	assert_int_equal(actor_alloc(&holder, 4 * PAGE, &named, &by_name), 0);
	assert_int_equal(actor_alloc(&holder, 2 * PAGE, NULL, &ends), 0);
	actor_kill(&holder);
	dut_wait_pool(&dut, "p", "leases", 2);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 12);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), 0);

	actor_start(&heir, SOMEUID, &dut);
	assert_int_equal(actor_free_id(&heir, by_id), 0);
	assert_int_equal(actor_free_id(&heir, by_id), 0);
	assert_int_equal(actor_free_name(&heir, "kept"), 0);
	assert_int_equal(actor_free_name(&heir, "kept"), -ENOENT);
	dut_wait_pool(&dut, "p", "leases", 0);
	actor_quit(&heir);
	dut_stop(&dut);
}

static void lease_held_is_freed_by_its_holder_only(void **state)
{
	struct actor holder, sibling, stranger;
	uint64_t plain, kept;
	struct dut dut;
	char id[24];

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	actor_start(&sibling, SOMEUID, &dut);
	actor_start(&stranger, NOBODY, &dut);
	assert_int_equal(actor_alloc(&holder, PAGE, NULL, &plain), 0);
	assert_int_equal(actor_alloc(&holder, PAGE, &detached, &kept), 0);
	assert_int_equal(actor_free_id(&sibling, plain), -EACCES);
	assert_int_equal(actor_free_id(&sibling, kept), -EACCES);
	assert_int_equal(actor_free_id(&stranger, plain), -EPERM);
	assert_int_equal(actor_free_id(&stranger, kept), -EPERM);
	snprintf(id, sizeof(id), "%" PRIu64, kept);
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("free", id), NULL, NULL), 1);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 2);

	/* Once nobody holds it, its user and root may. */
	actor_quit(&holder);
	dut_wait_pool(&dut, "p", "leases", 1);
	assert_int_equal(actor_free_id(&stranger, kept), -EPERM);
	assert_int_equal(dut_ctl(&dut, NOBODY, DUT_WORDS("free", id), NULL, NULL), 1);
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("free", id), NULL, NULL), 0);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

/* ---- one client ---- */

static void *alloc_and_free(void *arg)
{
	uintptr_t bad = 0;

	for (unsigned i = 0; i < 10 + dut_ops(400); i++) {
		uint8_t value = (uint8_t)(1 + i % 255);
		hp_lease *lease;

		if (hp_alloc(arg, (1 + i % 7) * PAGE, NULL, &lease) < 0)
			return (void *)(bad + 1);
		bad += !is_all(hp_lease_data(lease), 0, hp_lease_bytes(lease));
		memset(hp_lease_data(lease), value, hp_lease_bytes(lease));
		bad += !is_all(hp_lease_data(lease), value, hp_lease_bytes(lease));
		bad += hp_free(lease) != 0;
	}
	return (void *)bad;
}

static void lease_threads_share_one_client(void **state)
{
	pthread_t threads[6];
	hp_client *client;
	struct dut dut;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, alloc_and_free, client), 0);
	for (unsigned i = 0; i < 6; i++) {
		void *bad;

		pthread_join(threads[i], &bad);
		assert_int_equal((uintptr_t)bad, 0);
	}
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	hp_close(client);
	dut_stop(&dut);
}

static void lease_close_ends_all_but_detached(void **state)
{
	struct actor actor;
	uint64_t leases[100], kept;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&actor, SOMEUID, &dut);
	assert_int_equal(actor_alloc_batch(&actor, 100, 3 * PAGE, NULL, leases), 0);
	assert_int_equal(actor_alloc(&actor, PAGE, &detached, &kept), 0);
	actor_close(&actor);
	/* Bye is answered when all have ended. */
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 1);
	assert_int_equal(actor_open(&actor, &dut), 0);
	assert_int_equal(actor_free_id(&actor, kept), 0);
	actor_quit(&actor);
	dut_stop(&dut);
}

static void lease_memory_is_shared_by_descriptor(void **state)
{
	struct actor one, two;
	uint64_t lease, offset;
	struct dut dut;
	uint8_t *memory;
	int fd;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&one, SOMEUID, &dut);
	actor_start(&two, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&two, PAGE, NULL, &lease), 0);
	assert_int_equal(actor_alloc(&one, 4 * PAGE, NULL, &lease), 0);
	actor_fill(&one, lease, 0x11);
	fd = actor_dup_fd(&one, lease, &offset);
	memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_true(is_all(memory, 0x11, 4 * PAGE));
	memset(memory, 0x22, 4 * PAGE);
	assert_int_equal(actor_count_other(&one, lease, 0x22), 0);
	munmap(memory, 4 * PAGE);
	close(fd);
	actor_quit(&one);
	actor_quit(&two);
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(lease_alloc_rounds_up_to_zeroed_pages),
		TEST(lease_alloc_of_nonsense_is_refused),
		TEST(lease_batch_is_all_or_nothing),
		TEST(lease_alignment_holds_in_file_and_memory),
		TEST(lease_whole_pool_fits_in_leases_that_divide_it),
		TEST(lease_memory_is_zero_after_others_of_the_tenant),
		TEST(lease_arena_descriptor_crosses_once),
		TEST(lease_arenas_that_are_gone_are_forgotten),
		TEST(lease_ids_are_never_reused),
		TEST(lease_free_twice_is_fine_and_unknown_is_not),
		TEST(lease_name_is_unique_until_it_ends),
		TEST(lease_long_names_are_kept_or_refused),
		TEST(lease_detached_outlives_its_killed_holder),
		TEST(lease_held_is_freed_by_its_holder_only),
		TEST(lease_threads_share_one_client),
		TEST(lease_close_ends_all_but_detached),
		TEST(lease_memory_is_shared_by_descriptor),
	};

	return cmocka_run_group_tests_name("system_lease", tests, NULL, NULL);
}

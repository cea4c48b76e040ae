/* test_client_lease.c - what the library makes of grants: leases of several runs, opened ones, those that
 * cannot be mapped or are refused, and what becomes of them; in client_scene.h.
 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "tests/unit/client_scene.h"

/* ---- several runs ---- */

static void lease_of_several_runs_is_one_range(void **state)
{
	unsigned before = scene_n_mappings();
	uint64_t offset, bytes;
	hp_lease *lease;
	uint8_t *data;
	int fd;

	SCENE_PLAN({1, 3, 2}, {2, 0, 1}, {1, 8, 3}, {3, 15, 1});
	lease = scene_alloc(7, NULL);
	assert_int_equal(scene.n_arenas, 2); /* one came with the grant */
	data = hp_lease_data(lease);
	for (uint64_t i = 0; i < 7; i++)
		data[i * PAGE] = (uint8_t)(i + 1);
	assert_int_equal(scene_byte_of_file(1, 3 * PAGE), 1);
	assert_int_equal(scene_byte_of_file(1, 4 * PAGE), 2);
	assert_int_equal(scene_byte_of_file(2, 0), 3);
	assert_int_equal(scene_byte_of_file(1, 8 * PAGE), 4);
	assert_int_equal(scene_byte_of_file(1, 10 * PAGE), 6);
	assert_int_equal(scene_byte_of_file(3, 15 * PAGE), 7);

	fd = hp_lease_dup_fd(lease, 2, &offset, &bytes);
	assert_true(fd >= 0);
	assert_int_equal(offset, 8 * PAGE);
	assert_int_equal(bytes, 3 * PAGE);
	assert_int_equal(pread(fd, &data[1], 1, (off_t)offset), 1);
	assert_int_equal(data[1], 4);
	close(fd);
	assert_int_equal(hp_lease_dup_fd(lease, 4, NULL, NULL), -ENOENT);

	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(scene_n_mappings(), before);
	assert_int_equal(scene.n_received, 3);
}

static void lease_whose_middle_cannot_be_mapped_is_given_back(void **state)
{
	unsigned before = scene_n_mappings();
	hp_lease *lease = NULL;

	SCENE_PLAN({1, 0, 2}, {SCENE_SEALED, 0, 2}, {2, 0, 2});
	assert_true(hp_alloc(scene.client, 6 * PAGE, NULL, &lease) < 0);
	assert_non_null(strstr(hp_error(), "map"));
	assert_null(lease);
	assert_int_equal(scene.n_frees, 1);
	assert_int_equal(scene.freed, scene.last_lease);
	assert_int_equal(scene_n_mappings(), before);
}

static void lease_that_is_not_what_was_asked_for_is_given_back(void **state)
{
	static const struct scene_run wrong[][2] = {
		{{1, 0, 2}, {2, 0, 2}},
		{{1, 0, 1}, {2, 0, 1}},
		{{1, 15, 2}, {2, 0, 1}},
		{{1, 0, 3}, {2, 0, 0}},
		{{1, UINT64_MAX, 2}, {2, 0, 1}},
		{{1, 0, UINT64_MAX}, {2, 0, 4}},
		{{1, UINT64_MAX - 1, 3}, {2, 0, 1}},
	};
	unsigned before = scene_n_mappings();
	hp_lease *lease = NULL;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		scene_plan(2, wrong[i]);
		assert_int_equal(hp_alloc(scene.client, 3 * PAGE, NULL, &lease), -EPROTO);
		assert_null(lease);
		assert_int_equal(scene.n_frees, i + 1);
		assert_int_equal(scene.freed, scene.last_lease);
	}
	assert_int_equal(scene_n_mappings(), before);
}

static void lease_whose_descriptor_is_late_waits_for_it(void **state)
{
	hp_lease *lease;

	scene.shown[1] = true; /* so we believe */
	scene.n_too_early = 3;
	SCENE_PLAN({1, 0, 2});
	lease = scene_alloc(2, NULL);
	assert_int_equal(scene.n_arenas, 4);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(scene.n_frees, 1);
}

static void lease_whose_descriptor_gets_lost_is_given_back(void **state)
{
	hp_lease *lease = NULL;

	scene.shown[1] = true;
	scene.n_lost = 1;
	SCENE_PLAN({1, 0, 2});
	assert_int_equal(hp_alloc(scene.client, 2 * PAGE, NULL, &lease), -EMFILE);
	assert_int_equal(scene.n_frees, 1);
	assert_int_equal(scene.freed, scene.last_lease);
}

static void lease_revoked_before_its_descriptor_came_is_given_back(void **state)
{
	hp_lease *lease = NULL;

	scene.shown[1] = true;
	scene.n_gone = 1;
	SCENE_PLAN({1, 0, 2});
	assert_int_equal(hp_alloc(scene.client, 2 * PAGE, NULL, &lease), -ENOENT);
	assert_non_null(strstr(hp_error(), "revoked"));
	assert_null(lease);
	assert_int_equal(scene.n_frees, 1);
	assert_int_equal(scene.freed, scene.last_lease);
}

static void lease_revoked_before_it_was_mapped_is_given_back(void **state)
{
	static const unsigned ways[] = {HP_POPULATE, HP_PRIVATE | HP_POPULATE, HP_READ_ONLY | HP_POPULATE};
	hp_lease *first, *lease = NULL;

	SCENE_PLAN({1, 0, 1});
	first = scene_alloc(1, NULL);
	assert_int_equal(ftruncate(scene.fds[1], 0), 0);
	SCENE_PLAN({1, 1, 2});
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		const struct hp_alloc_options options = {.flags = ways[i]};

		assert_int_equal(hp_alloc(scene.client, 2 * PAGE, &options, &lease), -ENOENT);
		assert_null(lease);
		assert_int_equal(scene.freed, scene.last_lease);
	}
	assert_int_equal(hp_free(first), 0);
}

/* ---- opening ---- */

static void lease_opened_read_only_then_for_writing_gets_both(void **state)
{
	hp_lease *reader, *writer;
	uint8_t *read_data, *written;

	SCENE_PLAN({SCENE_READ_ONLY, 2, 2});
	assert_int_equal(hp_lease_open(scene.client, "shared", HP_READ_ONLY, &reader), 0);
	assert_string_equal(scene.asked->open->name, "shared");
	assert_false(scene.asked->open->write);
	assert_int_equal(hp_lease_bytes(reader), 2 * PAGE);
	read_data = hp_lease_data(reader);
	assert_int_equal(read_data[0], 0);
	assert_int_equal(mprotect(read_data, PAGE, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);

	scene.opens_for_writing = true;
	assert_int_equal(hp_lease_open(scene.client, "shared", 0, &writer), 0);
	assert_true(scene.asked->open->write);
	assert_int_equal(scene.n_arenas, 1); /* for the better descriptor */
	written = hp_lease_data(writer);
	written[0] = 9;
	assert_int_equal(read_data[0], 9);
	assert_int_equal(hp_free(reader), 0);
	assert_int_equal(written[0], 9);
	assert_int_equal(hp_free(writer), 0);
}

static void lease_opened_of_somebody_is_of_nobody_else(void **state)
{
	hp_lease *lease = NULL;
	uint32_t uid, mode;

	SCENE_PLAN({1, 2, 2});
	scene.maker_uid = 1001;
	scene.maker_mode = 0640;
	assert_int_equal(hp_lease_open_of(scene.client, "shared", 1001, HP_READ_ONLY, &lease), 0);
	assert_int_equal(scene.asked->open->owner_case, HUGEPOOL__OPEN__OWNER_UID);
	assert_int_equal(scene.asked->open->uid, 1001);
	assert_int_equal(hp_lease_owner(lease, &uid, &mode), 0);
	assert_int_equal(uid, 1001);
	assert_int_equal(mode, 0640);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(hp_lease_open(scene.client, "shared", HP_READ_ONLY, &lease), 0);
	assert_int_equal(scene.asked->open->owner_case, HUGEPOOL__OPEN__OWNER__NOT_SET);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(scene.n_frees, 2);

	/* What such a daemon would not do, and one that never looked. */
	lease = NULL;
	assert_int_equal(hp_lease_open_of(scene.client, "shared", 0, HP_READ_ONLY, &lease), -EPROTO);
	assert_int_equal(scene.n_frees, 3);
	scene.maker_mode = 0;
	assert_int_equal(hp_lease_open_of(scene.client, "shared", 1001, HP_READ_ONLY, &lease), -EOPNOTSUPP);
	assert_non_null(strstr(hp_error(), "too old"));
	assert_int_equal(scene.n_frees, 4);
	assert_null(lease);
	assert_int_equal(hp_lease_open(scene.client, "shared", HP_READ_ONLY, &lease), 0);
	assert_int_equal(hp_lease_owner(lease, &uid, &mode), -ENODATA);
	assert_int_equal(hp_free(lease), 0);
}

static void lease_name_of_a_user_becomes_a_number(void **state)
{
	static const char *const bad[] = {"x\xff",      "~/", "~nobody-of-that-name/x", "~root/",
					  "~root/\x1b", "12", "~4294967295/x",          "~/\xe2\x80\xae"};
	struct hp_alloc_options options = {.name = "~root/x"};
	hp_lease *lease = NULL;

	SCENE_PLAN({1, 2, 2});
	assert_int_equal(hp_lease_open(scene.client, "~root/x", HP_READ_ONLY, &lease), 0);
	assert_string_equal(scene.asked->open->name, "~0/x");
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(hp_alloc(scene.client, 2 * PAGE, &options, &lease), 0);
	assert_string_equal(scene.asked->alloc->name, "~0/x");
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(hp_lease_open(scene.client, "~/x", HP_READ_ONLY, &lease), 0);
	assert_string_equal(scene.asked->open->name, "~/x");
	assert_int_equal(hp_free(lease), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.name = bad[i];
		assert_true(hp_lease_open(scene.client, bad[i], 0, &lease) < 0);
		assert_true(hp_alloc(scene.client, PAGE, &options, &lease) < 0);
		assert_true(hp_free_name(scene.client, bad[i]) < 0);
		assert_true(text_is_plain(hp_error()));
	}
}

static void lease_opened_for_writing_needs_a_descriptor_for_that(void **state)
{
	hp_lease *lease = NULL;

	SCENE_PLAN({SCENE_READ_ONLY, 2, 2});
	assert_int_equal(hp_lease_open(scene.client, "shared", 0, &lease), -EMFILE);
	assert_int_equal(scene.n_frees, 1);
	scene.error = HUGEPOOL__CODE__NOT_ALLOWED;
	assert_int_equal(hp_lease_open(scene.client, "shared", 0, &lease), -EPERM);
	assert_int_equal(hp_lease_open(scene.client, "", 0, &lease), -EINVAL);
	assert_int_equal(hp_lease_open(scene.client, "shared", HP_READ_ONLY | HP_PRIVATE, &lease), -EINVAL);
	assert_int_equal(hp_lease_open(scene.client, "shared", HP_DETACHED, &lease), -EINVAL);
	assert_null(lease);
}

/* ---- what becomes of it ---- */

static void tell_gone(struct peer *unused, void *arg)
{
	uint64_t gone[] = {1, 2};
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	reply.n_gone_arenas = 2;
	reply.gone_arenas = gone;
	peer_reply(&scene.peer, &reply, NULL, 0);
}

static void lease_whose_arenas_are_gone_stays_until_it_is_freed(void **state)
{
	hp_lease *part, *whole;
	uint8_t *data;

	SCENE_PLAN({1, 0, 2});
	part = scene_alloc(2, NULL);
	SCENE_PLAN({1, 2, 2}, {2, 0, 2});
	whole = scene_alloc(4, NULL);
	data = hp_lease_data(whole);
	data[0] = 3;
	peer_do(&scene.peer, tell_gone, NULL);
	assert_int_equal(hp_free_id(scene.client, 1000), 0); /* takes the news */

	assert_int_equal(data[0], 3);
	assert_true(scene_is_there(hp_lease_data(part)));
	assert_true(hp_lease_dup_fd(whole, 1, NULL, NULL) >= 0);
	scene.error = HUGEPOOL__CODE__NO_LEASE;
	assert_int_equal(hp_lease_resize(whole, 6 * PAGE, HP_MAY_MOVE), -ENOENT);
	data = hp_lease_data(part);
	assert_int_equal(hp_free(whole), 0);
	assert_true(scene_is_there(data));
	assert_int_equal(hp_free(part), 0);
	assert_false(scene_is_there(data));
}

static void lease_options_reach_the_daemon(void **state)
{
	const struct hp_access access[] = {{.id = 5, .may_write = 1}, {.id = 6, .is_group = 1}};
	struct hp_alloc_options options = {
		.pool = PEER_POOL,
		.name = "n",
		.align_bytes = 2 * PAGE,
		.flags = HP_DETACHED | HP_REVOCABLE | HP_NO_ZERO,
		.max_runs = 3,
		.mode = 0640,
		.access = access,
		.n_access = 2,
		.wait_ms = 11,
		.lifetime_ms = 12,
		.node = 2,
	};
	const Hugepool__Alloc *asked;
	hp_lease *lease = NULL;

	SCENE_PLAN({1, 2, 2});
	lease = scene_alloc(2, &options);
	asked = scene.asked->alloc;
	assert_int_equal(asked->pool, PEER_POOL_NUMBER);
	assert_int_equal(asked->n_pages[0], 2);
	assert_int_equal(asked->align_pages, 2);
	assert_int_equal(asked->max_runs, 3);
	assert_int_equal(asked->wait_ms, 11);
	assert_int_equal(asked->lifetime_ms, 12);
	assert_int_equal(asked->mode, 0640);
	assert_int_equal(asked->node, 2);
	assert_true(asked->detached && asked->revocable && asked->no_zero);
	assert_int_equal(asked->n_access, 2);
	assert_int_equal(asked->access[0]->id, 5);
	assert_true(asked->access[0]->write && !asked->access[0]->is_group);
	assert_int_equal(asked->access[1]->id, 6);
	assert_true(!asked->access[1]->write && asked->access[1]->is_group);
	assert_int_equal(hp_free(lease), 0);

	options.flags |= HP_CONTIGUOUS;
	lease = scene_alloc(2, &options);
	assert_int_equal(scene.asked->alloc->max_runs, 1);
	assert_int_equal(hp_free(lease), 0);
	lease = scene_alloc(2, NULL);
	assert_int_equal(scene.asked->alloc->max_runs, 64);
	assert_int_equal(hp_free(lease), 0);

	lease = NULL;
	options.mode = 01000;
	assert_int_equal(hp_alloc(scene.client, PAGE, &options, &lease), -EINVAL);
	options.mode = 0;
	options.max_runs = 65;
	assert_int_equal(hp_alloc(scene.client, PAGE, &options, &lease), -EINVAL);
	options.max_runs = 0;
	options.name = "0123";
	assert_int_equal(hp_alloc(scene.client, PAGE, &options, &lease), -EINVAL);
	options.name = "0123a";
	options.n_access = 17;
	assert_int_equal(hp_alloc(scene.client, PAGE, &options, &lease), -EINVAL);
	options.n_access = 2;
	options.name = NULL;
	assert_int_equal(hp_alloc(scene.client, PAGE, &options, &lease), -EINVAL);
	assert_non_null(strstr(hp_error(), "only by its name"));
	assert_int_equal(
		hp_alloc(scene.client, PAGE, &(struct hp_alloc_options){.flags = HP_MAY_MOVE}, &lease),
		-EINVAL);
	assert_int_equal(hp_free_batch(&lease, 1, HP_GUARD), -EINVAL);
	assert_null(lease);
}

static void lease_refused_has_the_errno_of_the_code(void **state)
{
	static const struct {
		Hugepool__Code code;
		int error;
	} codes[] = {
		{HUGEPOOL__CODE__TIMED_OUT, -ETIME},
		{HUGEPOOL__CODE__BUSY, -EBUSY},
		{HUGEPOOL__CODE__DRAINING, -ESHUTDOWN},
	};
	hp_lease *lease = NULL;

	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		scene.error = codes[i].code;
		assert_int_equal(hp_alloc(scene.client, PAGE, NULL, &lease), codes[i].error);
		assert_true(strlen(hp_error()) > 0);
	}
	assert_null(lease);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(lease_of_several_runs_is_one_range),
		SCENE_TEST(lease_whose_middle_cannot_be_mapped_is_given_back),
		SCENE_TEST(lease_that_is_not_what_was_asked_for_is_given_back),
		SCENE_TEST(lease_whose_descriptor_is_late_waits_for_it),
		SCENE_TEST(lease_whose_descriptor_gets_lost_is_given_back),
		SCENE_TEST(lease_revoked_before_its_descriptor_came_is_given_back),
		SCENE_TEST(lease_revoked_before_it_was_mapped_is_given_back),
		SCENE_TEST(lease_opened_read_only_then_for_writing_gets_both),
		SCENE_TEST(lease_opened_of_somebody_is_of_nobody_else),
		SCENE_TEST(lease_name_of_a_user_becomes_a_number),
		SCENE_TEST(lease_opened_for_writing_needs_a_descriptor_for_that),
		SCENE_TEST(lease_whose_arenas_are_gone_stays_until_it_is_freed),
		SCENE_TEST(lease_options_reach_the_daemon),
		SCENE_TEST(lease_refused_has_the_errno_of_the_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

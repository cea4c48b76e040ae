/* test_client_lease.c - what the library makes of grants: runs in one range of addresses, mappings of their
 * own, leases that grow and shrink; against a peer that grants what the test says.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/peer.h"

#define PAGE ((uint64_t)PEER_PAGE)
#define N_ARENAS                                                                                             \
	6 /* ids are 1 to 6; the last can be read only, the last but one is sealed against writing           \
	   */
#define SEALED      5
#define READ_ONLY   6
#define ARENA_PAGES 16
#define MAX_RUNS    8

struct run {
	uint64_t arena, first, n;
};

/* Sanitizers make mappings of their own, inaccessible ones as well, and do not lock memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* Set by the test while no request is under way. */
static struct {
	int fds[N_ARENAS + 1];
	struct run runs[MAX_RUNS]; /* that the next Alloc, Open or Resize grants */
	unsigned n_runs;
	Hugepool__Code error; /* that it is answered with instead, if it is not OK */
	bool shown[N_ARENAS + 1], shown_writable;
	bool opens_for_writing;
	unsigned n_lost, n_too_early, n_gone; /* so many Arena requests go wrong */

	/* What was asked. */
	unsigned n_allocs, n_frees, n_arenas, n_resizes, n_received;
	uint64_t freed, resized_to[4];
	unsigned resize_max_runs;
	Hugepool__Request *asked; /* the last Alloc or Open */
	uint64_t last_lease;
} plan;

static struct peer peer;

static void plan_runs(unsigned n, const struct run *runs)
{
	plan.n_runs = n;
	memcpy(plan.runs, runs, n * sizeof(*runs));
}
#define PLAN(...)                                                                                            \
	plan_runs(sizeof((const struct run[]){__VA_ARGS__}) / sizeof(struct run),                            \
		  (const struct run[]){__VA_ARGS__})

static int descriptor(uint64_t arena, bool writable)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", plan.fds[arena]);
	return open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
}

static void fill_info(Hugepool__ArenaInfo *info, uint64_t arena)
{
	hugepool__arena_info__init(info);
	info->arena = arena;
	info->n_pages = ARENA_PAGES;
	info->page_bytes = PAGE;
	info->read_only = arena == READ_ONLY && !plan.opens_for_writing;
}

/* The first arena of the grant that was not shown yet; 0: none. */
static uint64_t new_arena(void)
{
	for (unsigned i = 0; i < plan.n_runs; i++)
		if (!plan.shown[plan.runs[i].arena])
			return plan.runs[i].arena;
	return 0;
}

static void answer_grant(const Hugepool__Request *request, uint64_t lease)
{
	Hugepool__Run runs[MAX_RUNS], *run_ptrs[MAX_RUNS];
	Hugepool__Grant grant = HUGEPOOL__GRANT__INIT, *grant_ptr = &grant;
	Hugepool__AllocReply alloc = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__OpenReply opened = HUGEPOOL__OPEN_REPLY__INIT;
	Hugepool__ResizeReply resized = HUGEPOOL__RESIZE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__ArenaInfo info, *info_ptr = &info;
	uint64_t shown = new_arena();
	int fd = -1;

	for (unsigned i = 0; i < plan.n_runs; i++) {
		hugepool__run__init(&runs[i]);
		runs[i].arena = plan.runs[i].arena;
		runs[i].first_page = plan.runs[i].first;
		runs[i].n_pages = plan.runs[i].n;
		run_ptrs[i] = &runs[i];
	}
	grant.lease = lease;
	grant.n_runs = plan.n_runs;
	grant.runs = run_ptrs;
	alloc.n_grants = 1;
	alloc.grants = &grant_ptr;
	opened.grant = resized.grant = &grant;
	opened.pool = PEER_POOL_NUMBER;
	if (shown) {
		fill_info(&info, shown);
		fd = descriptor(shown, !info.read_only);
		plan.shown[shown] = true;
		alloc.n_new_arenas = opened.n_new_arenas = resized.n_new_arenas = 1;
		alloc.new_arenas = opened.new_arenas = resized.new_arenas = &info_ptr;
	}
	reply.id = request->id;
	reply.result_case = (Hugepool__Reply__ResultCase)request->method_case;
	if (request->method_case == HUGEPOOL__REQUEST__METHOD_ALLOC)
		reply.alloc = &alloc;
	else if (request->method_case == HUGEPOOL__REQUEST__METHOD_OPEN)
		reply.open = &opened;
	else
		reply.resize = &resized;
	peer_reply(&peer, &reply, &fd, shown ? 1 : 0);
	if (fd >= 0)
		close(fd);
}

static void answer_arena(const Hugepool__Request *request)
{
	Hugepool__ArenaReply arena = HUGEPOOL__ARENA_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	uint64_t id = request->arena->arena;
	Hugepool__ArenaInfo info;
	int fd;

	plan.n_arenas++;
	if (plan.n_too_early > 0) {
		plan.n_too_early--;
		peer_reply_error(&peer, request->id, HUGEPOOL__CODE__TOO_MANY);
		return;
	}
	if (plan.n_gone > 0) {
		plan.n_gone--;
		peer_reply_error(&peer, request->id, HUGEPOOL__CODE__NO_ARENA);
		return;
	}
	fill_info(&info, id);
	arena.arena = &info;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ARENA;
	reply.arena = &arena;
	if (plan.n_lost > 0) {
		/* Another arena's, so that the one that was asked for does not come. */
		plan.n_lost--;
		info.arena = 100;
	}
	fd = descriptor(id, !info.read_only);
	peer_reply(&peer, &reply, &fd, 1);
	close(fd);
}

static void answer_free(const Hugepool__Request *request)
{
	Hugepool__FreeReply freed = HUGEPOOL__FREE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	plan.n_frees++;
	plan.freed = request->free->n_leases > 0 ? request->free->leases[0] : 0;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	reply.free = &freed;
	peer_reply(&peer, &reply, NULL, 0);
}

static void keep_asked(const Hugepool__Request *request)
{
	uint8_t packed[4096];
	size_t length = hugepool__request__pack(request, packed);

	hugepool__request__free_unpacked(plan.asked, NULL);
	plan.asked = hugepool__request__unpack(NULL, length, packed);
}

static void answer(struct peer *unused, const Hugepool__Request *request)
{
	switch (request->method_case) {
	case HUGEPOOL__REQUEST__METHOD_ALLOC:
	case HUGEPOOL__REQUEST__METHOD_OPEN:
		plan.n_allocs++;
		keep_asked(request);
		if (plan.error)
			peer_reply_error(&peer, request->id, plan.error);
		else
			answer_grant(request, ++plan.last_lease);
		break;
	case HUGEPOOL__REQUEST__METHOD_RESIZE:
		plan.resized_to[plan.n_resizes++ % 4] = request->resize->n_pages;
		plan.resize_max_runs = request->resize->max_runs;
		if (plan.error)
			peer_reply_error(&peer, request->id, plan.error);
		else
			answer_grant(request, request->resize->lease);
		break;
	case HUGEPOOL__REQUEST__METHOD_ARENA:
		answer_arena(request);
		break;
	case HUGEPOOL__REQUEST__METHOD_FREE:
		answer_free(request);
		break;
	case HUGEPOOL__REQUEST__METHOD_RECEIVED:
		plan.n_received++;
		break;
	default:
		peer_reply_error(&peer, request->id, HUGEPOOL__CODE__UNKNOWN_METHOD);
	}
}

/* ---- looking ---- */

/* The address can be read by this process. */
static bool is_there(const void *address)
{
	int fds[2];
	bool there;

	assert_int_equal(pipe(fds), 0);
	there = write(fds[1], address, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return there;
}

static uint8_t byte_of_file(uint64_t arena, uint64_t offset)
{
	uint8_t byte = 0xee;

	assert_int_equal(pread(plan.fds[arena], &byte, 1, (off_t)offset), 1);
	return byte;
}

/* Mappings of the arenas' files, and reserved ranges, in this process. */
static unsigned n_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "hugepool-test-arena") ||
		     (!IS_SANITIZED && strstr(line, " ---p 00000000 00:00 0"));
	fclose(maps);
	return n;
}

static hp_client *client;

static hp_lease *alloc(uint64_t n_pages, const struct hp_alloc_options *options)
{
	hp_lease *lease = NULL;

	assert_int_equal(hp_alloc(client, n_pages * PAGE, options, &lease), 0);
	assert_int_equal(hp_lease_bytes(lease), n_pages * PAGE);
	return lease;
}

static hp_lease *alloc_with(uint64_t n_pages, unsigned flags)
{
	return alloc(n_pages, &(struct hp_alloc_options){.flags = flags});
}

#define ROOM  (8 * PAGE)
#define TRIES 64

/* One with free addresses behind it, its guard included. The kernel puts a mapping below the one before,
 * unless it fits a hole: plugs and leases fill those, until a plug is right above a lease. */
static hp_lease *alloc_with_room(uint64_t n_pages, unsigned flags)
{
	hp_lease *leases[TRIES] = {NULL}, *lease;
	void *plugs[TRIES];
	uintptr_t end;
	unsigned n = 0;

	do {
		assert_true(n < TRIES);
		plugs[n] = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(plugs[n], MAP_FAILED);
		lease = leases[n] = alloc_with(n_pages, flags);
		end = (uintptr_t)hp_lease_data(lease) + hp_lease_bytes(lease) + (flags & HP_GUARD ? PAGE : 0);
		n++;
	} while ((uintptr_t)plugs[n - 1] < end || (uintptr_t)plugs[n - 1] > end + 2 * PAGE);
	for (unsigned i = 0; i < n; i++) {
		munmap(plugs[i], ROOM);
		if (leases[i] != lease)
			assert_int_equal(hp_free(leases[i]), 0);
	}
	plan.n_frees = 0;
	return lease;
}

static int set_up(void **state)
{
	memset(&plan, 0, sizeof(plan));
	for (unsigned i = 1; i <= N_ARENAS; i++) {
		plan.fds[i] = memfd_create("hugepool-test-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_true(plan.fds[i] >= 0);
		assert_int_equal(ftruncate(plan.fds[i], (off_t)(ARENA_PAGES * PAGE)), 0);
	}
	assert_int_equal(fcntl(plan.fds[SEALED], F_ADD_SEALS, F_SEAL_WRITE), 0);
	peer_start(&peer, answer);
	assert_int_equal(hp_open(peer.socket, &client), 0);
	return 0;
}

static int tear_down(void **state)
{
	client = hp_close(client);
	peer_stop(&peer);
	hugepool__request__free_unpacked(plan.asked, NULL);
	for (unsigned i = 1; i <= N_ARENAS; i++)
		close(plan.fds[i]);
	return 0;
}

/* ---- several runs ---- */

static void lease_of_several_runs_is_one_range(void **state)
{
	unsigned before = n_mappings();
	uint64_t offset, bytes;
	hp_lease *lease;
	uint8_t *data;
	int fd;

	PLAN({1, 3, 2}, {2, 0, 1}, {1, 8, 3}, {3, 15, 1});
	lease = alloc(7, NULL);
	assert_int_equal(plan.n_arenas, 2); /* one came with the grant */
	data = hp_lease_data(lease);
	for (uint64_t i = 0; i < 7; i++)
		data[i * PAGE] = (uint8_t)(i + 1);
	assert_int_equal(byte_of_file(1, 3 * PAGE), 1);
	assert_int_equal(byte_of_file(1, 4 * PAGE), 2);
	assert_int_equal(byte_of_file(2, 0), 3);
	assert_int_equal(byte_of_file(1, 8 * PAGE), 4);
	assert_int_equal(byte_of_file(1, 10 * PAGE), 6);
	assert_int_equal(byte_of_file(3, 15 * PAGE), 7);

	fd = hp_lease_dup_fd(lease, 2, &offset, &bytes);
	assert_true(fd >= 0);
	assert_int_equal(offset, 8 * PAGE);
	assert_int_equal(bytes, 3 * PAGE);
	assert_int_equal(pread(fd, &data[1], 1, (off_t)offset), 1);
	assert_int_equal(data[1], 4);
	close(fd);
	assert_int_equal(hp_lease_dup_fd(lease, 4, NULL, NULL), -ENOENT);

	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(n_mappings(), before);
	assert_int_equal(plan.n_received, 3);
}

static void lease_whose_middle_cannot_be_mapped_is_given_back(void **state)
{
	unsigned before = n_mappings();
	hp_lease *lease = NULL;

	PLAN({1, 0, 2}, {SEALED, 0, 2}, {2, 0, 2});
	assert_true(hp_alloc(client, 6 * PAGE, NULL, &lease) < 0);
	assert_non_null(strstr(hp_error(), "map"));
	assert_null(lease);
	assert_int_equal(plan.n_frees, 1);
	assert_int_equal(plan.freed, plan.last_lease);
	assert_int_equal(n_mappings(), before);
}

static void lease_that_is_not_what_was_asked_for_is_given_back(void **state)
{
	static const struct run wrong[][2] = {
		{{1, 0, 2}, {2, 0, 2}},
		{{1, 0, 1}, {2, 0, 1}},
		{{1, 15, 2}, {2, 0, 1}},
		{{1, 0, 3}, {2, 0, 0}},
		{{1, UINT64_MAX, 2}, {2, 0, 1}},
		{{1, 0, UINT64_MAX}, {2, 0, 4}},
		{{1, UINT64_MAX - 1, 3}, {2, 0, 1}},
	};
	unsigned before = n_mappings();
	hp_lease *lease = NULL;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		plan_runs(2, wrong[i]);
		assert_int_equal(hp_alloc(client, 3 * PAGE, NULL, &lease), -EPROTO);
		assert_null(lease);
		assert_int_equal(plan.n_frees, i + 1);
		assert_int_equal(plan.freed, plan.last_lease);
	}
	assert_int_equal(n_mappings(), before);
}

static void lease_whose_descriptor_is_late_waits_for_it(void **state)
{
	hp_lease *lease;

	plan.shown[1] = true; /* so we believe */
	plan.n_too_early = 3;
	PLAN({1, 0, 2});
	lease = alloc(2, NULL);
	assert_int_equal(plan.n_arenas, 4);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(plan.n_frees, 1);
}

static void lease_whose_descriptor_gets_lost_is_given_back(void **state)
{
	hp_lease *lease = NULL;

	plan.shown[1] = true;
	plan.n_lost = 1;
	PLAN({1, 0, 2});
	assert_int_equal(hp_alloc(client, 2 * PAGE, NULL, &lease), -EMFILE);
	assert_int_equal(plan.n_frees, 1);
	assert_int_equal(plan.freed, plan.last_lease);
}

static void lease_revoked_before_its_descriptor_came_is_given_back(void **state)
{
	hp_lease *lease = NULL;

	plan.shown[1] = true;
	plan.n_gone = 1;
	PLAN({1, 0, 2});
	assert_int_equal(hp_alloc(client, 2 * PAGE, NULL, &lease), -ENOENT);
	assert_non_null(strstr(hp_error(), "revoked"));
	assert_null(lease);
	assert_int_equal(plan.n_frees, 1);
	assert_int_equal(plan.freed, plan.last_lease);
}

static void lease_revoked_before_it_was_mapped_is_given_back(void **state)
{
	static const unsigned ways[] = {HP_POPULATE, HP_PRIVATE | HP_POPULATE, HP_READ_ONLY | HP_POPULATE};
	hp_lease *first, *lease = NULL;

	PLAN({1, 0, 1});
	first = alloc(1, NULL);
	assert_int_equal(ftruncate(plan.fds[1], 0), 0);
	PLAN({1, 1, 2});
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		const struct hp_alloc_options options = {.flags = ways[i]};

		assert_int_equal(hp_alloc(client, 2 * PAGE, &options, &lease), -ENOENT);
		assert_null(lease);
		assert_int_equal(plan.freed, plan.last_lease);
	}
	assert_int_equal(hp_free(first), 0);
}

/* ---- mappings of their own ---- */

static void lease_with_guards_has_nothing_around_it(void **state)
{
	unsigned before = n_mappings();
	hp_lease *lease;
	uint8_t *data;

	PLAN({1, 4, 2}, {2, 4, 2});
	lease = alloc_with(4, HP_GUARD);
	data = hp_lease_data(lease);
	data[0] = data[4 * PAGE - 1] = 1;
	assert_false(is_there(data - 1));
	assert_false(is_there(data - PAGE));
	assert_false(is_there(data + 4 * PAGE));
	assert_false(is_there(data + 5 * PAGE - 1));
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(n_mappings(), before);
}

static void lease_private_is_not_seen_by_others(void **state)
{
	hp_lease *shared, *private;
	uint8_t *mine, *theirs;

	PLAN({1, 4, 2});
	shared = alloc(2, NULL);
	private = alloc_with(2, HP_PRIVATE);
	theirs = hp_lease_data(shared);
	mine = hp_lease_data(private);
	theirs[0] = 1;
	assert_int_equal(mine[0], 1);
	mine[0] = 2;
	assert_int_equal(theirs[0], 1);
	assert_int_equal(byte_of_file(1, 4 * PAGE), 1);
	theirs[0] = 3;
	assert_int_equal(mine[0], 2);
	assert_int_equal(hp_free(private), 0);
	assert_int_equal(hp_free(shared), 0);
}

static void lease_read_only_cannot_be_written(void **state)
{
	hp_lease *lease;
	uint8_t *data;

	PLAN({1, 4, 2});
	lease = alloc_with(2, HP_READ_ONLY);
	data = hp_lease_data(lease);
	assert_int_equal(data[0], 0);
	/* A read into it is a write. */
	assert_int_equal(pread(plan.fds[1], data, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(hp_free(lease), 0);
}

static uint64_t kib_of(const char *path, const char *key, const void *address)
{
	FILE *file = fopen(path, "re");
	bool found = !address;
	uint64_t kib = UINT64_MAX;
	char line[512], start[32];

	assert_non_null(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)address);
	while (kib == UINT64_MAX && fgets(line, sizeof(line), file)) {
		found |= address && strncmp(line, start, strlen(start)) == 0;
		if (found && strncmp(line, key, strlen(key)) == 0)
			kib = strtoull(line + strlen(key), NULL, 10);
	}
	fclose(file);
	return kib;
}

static void lease_populated_is_there_before_it_is_touched(void **state)
{
	hp_lease *lease;

	PLAN({1, 0, 4});
	lease = alloc_with(4, HP_GUARD);
	assert_int_equal(kib_of("/proc/self/smaps", "Rss:", hp_lease_data(lease)), 0);
	hp_free(lease);
	lease = alloc_with(4, HP_POPULATE);
	assert_int_equal(kib_of("/proc/self/smaps", "Rss:", hp_lease_data(lease)), 16);
	hp_free(lease);
	lease = alloc_with(4, HP_POPULATE | HP_READ_ONLY);
	assert_int_equal(kib_of("/proc/self/smaps", "Rss:", hp_lease_data(lease)), 16);
	hp_free(lease);
	lease = alloc_with(4, HP_POPULATE | HP_PRIVATE);
	assert_int_equal(kib_of("/proc/self/smaps", "Anonymous:", hp_lease_data(lease)), 16);
	hp_free(lease);
}

static void lease_locked_is_locked_until_it_is_freed(void **state)
{
	uint64_t before = kib_of("/proc/self/status", "VmLck:", NULL);
	hp_lease *lease;

	PLAN({1, 0, 4});
	lease = alloc_with(4, HP_LOCK);
	assert_int_equal(kib_of("/proc/self/status", "VmLck:", NULL), before + (IS_SANITIZED ? 0 : 16));
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(kib_of("/proc/self/status", "VmLck:", NULL), before);
}

static void lease_of_one_run_is_aligned_as_in_its_file(void **state)
{
	hp_lease *lease;

	PLAN({1, 8, 2});
	lease = alloc(2, &(struct hp_alloc_options){.flags = HP_GUARD, .align_bytes = 8 * PAGE});
	assert_int_equal((uintptr_t)hp_lease_data(lease) % (8 * PAGE), 0);
	assert_int_equal(hp_free(lease), 0);
}

/* ---- opening ---- */

static void lease_opened_read_only_then_for_writing_gets_both(void **state)
{
	hp_lease *reader, *writer;
	uint8_t *read_data, *written;

	PLAN({READ_ONLY, 2, 2});
	assert_int_equal(hp_lease_open(client, "shared", HP_READ_ONLY, &reader), 0);
	assert_string_equal(plan.asked->open->name, "shared");
	assert_false(plan.asked->open->write);
	assert_int_equal(hp_lease_bytes(reader), 2 * PAGE);
	read_data = hp_lease_data(reader);
	assert_int_equal(read_data[0], 0);
	assert_int_equal(mprotect(read_data, PAGE, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);

	plan.opens_for_writing = true;
	assert_int_equal(hp_lease_open(client, "shared", 0, &writer), 0);
	assert_true(plan.asked->open->write);
	assert_int_equal(plan.n_arenas, 1); /* for the better descriptor */
	written = hp_lease_data(writer);
	written[0] = 9;
	assert_int_equal(read_data[0], 9);
	assert_int_equal(hp_free(reader), 0);
	assert_int_equal(written[0], 9);
	assert_int_equal(hp_free(writer), 0);
}

static void lease_opened_for_writing_needs_a_descriptor_for_that(void **state)
{
	hp_lease *lease = NULL;

	PLAN({READ_ONLY, 2, 2});
	assert_int_equal(hp_lease_open(client, "shared", 0, &lease), -EMFILE);
	assert_int_equal(plan.n_frees, 1);
	plan.error = HUGEPOOL__CODE__NOT_ALLOWED;
	assert_int_equal(hp_lease_open(client, "shared", 0, &lease), -EPERM);
	assert_int_equal(hp_lease_open(client, "", 0, &lease), -EINVAL);
	assert_int_equal(hp_lease_open(client, "shared", HP_READ_ONLY | HP_PRIVATE, &lease), -EINVAL);
	assert_int_equal(hp_lease_open(client, "shared", HP_DETACHED, &lease), -EINVAL);
	assert_null(lease);
}

/* ---- resizing ---- */

static void lease_in_the_arenas_mapping_shrinks_and_grows_in_place(void **state)
{
	hp_lease *lease;
	void *data;

	PLAN({1, 2, 4});
	lease = alloc(4, NULL);
	data = hp_lease_data(lease);
	PLAN({1, 2, 1});
	assert_int_equal(hp_lease_resize(lease, 1, 0), 0);
	assert_int_equal(hp_lease_bytes(lease), PAGE);
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), 0);
	assert_int_equal(plan.n_resizes, 1); /* it had that length */
	PLAN({1, 2, 8});
	assert_int_equal(hp_lease_resize(lease, 8 * PAGE, 0), 0);
	assert_int_equal(plan.resize_max_runs, 1);
	assert_int_equal(plan.resized_to[1], 8);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_int_equal(hp_lease_bytes(lease), 8 * PAGE);
	memset(data, 1, 8 * PAGE);

	plan.error = HUGEPOOL__CODE__POOL_FULL;
	assert_int_equal(hp_lease_resize(lease, 9 * PAGE, 0), -ENOSPC);
	plan.error = HUGEPOOL__CODE__BUSY;
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), -EBUSY);
	assert_int_equal(hp_lease_bytes(lease), 8 * PAGE);
	assert_int_equal(hp_lease_resize(lease, 0, 0), -EINVAL);
	assert_int_equal(hp_lease_resize(lease, UINT64_MAX, 0), -EINVAL);
	assert_int_equal(hp_lease_resize(lease, PAGE, HP_GUARD), -EINVAL);
	plan.error = HUGEPOOL__CODE__OK;
	assert_int_equal(hp_free(lease), 0);
}

static void lease_that_may_move_leaves_the_arenas_mapping(void **state)
{
	hp_lease *lease;
	uint8_t *data;

	PLAN({1, 2, 2});
	lease = alloc(2, NULL);
	data = hp_lease_data(lease);
	data[0] = 1;
	data[2 * PAGE - 1] = 2;
	PLAN({1, 2, 2}, {2, 7, 3});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), 0);
	assert_true(plan.resize_max_runs > 1);
	data = hp_lease_data(lease);
	assert_int_equal(hp_lease_bytes(lease), 5 * PAGE);
	assert_int_equal(data[0], 1);
	assert_int_equal(data[2 * PAGE - 1], 2);
	data[2 * PAGE] = 3;
	assert_int_equal(byte_of_file(2, 7 * PAGE), 3);
	assert_int_equal(hp_free(lease), 0);
}

static void lease_with_a_mapping_of_its_own_grows_behind_it(void **state)
{
	unsigned before = n_mappings();
	hp_lease *lease;
	uint8_t *data;

	PLAN({1, 2, 2}, {2, 0, 2});
	lease = alloc_with_room(4, HP_GUARD);
	data = hp_lease_data(lease);
	data[4 * PAGE - 1] = 5;

	PLAN({1, 2, 2}, {2, 0, 1});
	assert_int_equal(hp_lease_resize(lease, 3 * PAGE, 0), 0);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_true(is_there(data + 3 * PAGE - 1));
	assert_false(is_there(data + 3 * PAGE));

	/* What was cut off is free for it again; the last run grows, and another one comes. */
	PLAN({1, 2, 2}, {2, 0, 2}, {3, 0, 1});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, 0), 0);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_int_equal(data[4 * PAGE - 1], 5); /* the file's, still */
	data[5 * PAGE - 1] = 6;
	assert_int_equal(byte_of_file(3, PAGE - 1), 6);
	assert_false(is_there(data + 5 * PAGE));
	assert_false(is_there(data - 1));
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(n_mappings(), before);
}

/* Something of ours right behind the lease, inaccessible pages between included. */
static void *take_addresses_behind(hp_lease *lease)
{
	uint8_t *behind = (uint8_t *)hp_lease_data(lease) + hp_lease_bytes(lease);
	void *taken = mmap(behind, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	/* Somebody else was faster: as good. */
	return taken == MAP_FAILED ? NULL : taken;
}

static void lease_that_may_not_move_does_not_ask_for_what_has_no_address(void **state)
{
	hp_lease *lease;
	uint8_t *data;
	void *taken;

	PLAN({1, 2, 2}, {2, 0, 2});
	lease = alloc(4, NULL);
	data = hp_lease_data(lease);
	data[3 * PAGE] = 4;
	taken = take_addresses_behind(lease);
	PLAN({1, 2, 2}, {2, 0, 3});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, 0), -ENOSPC);
	assert_int_equal(plan.n_resizes, 0);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);

	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), 0);
	assert_ptr_not_equal(hp_lease_data(lease), data);
	assert_false(is_there(data));
	data = hp_lease_data(lease);
	assert_int_equal(data[3 * PAGE], 4);
	data[4 * PAGE] = 1;
	assert_int_equal(byte_of_file(2, 2 * PAGE), 1);
	assert_int_equal(hp_free(lease), 0);
	if (taken) {
		assert_true(is_there(taken));
		munmap(taken, PAGE);
	}
}

static void lease_private_moves_with_what_was_written(void **state)
{
	unsigned before = n_mappings();
	hp_lease *lease;
	uint8_t *data, *old;
	void *taken;

	PLAN({1, 2, 2});
	lease = alloc_with_room(2, HP_PRIVATE);
	old = data = hp_lease_data(lease);
	data[PAGE] = 7;
	taken = take_addresses_behind(lease);
	PLAN({1, 2, 3});
	assert_int_equal(hp_lease_resize(lease, 3 * PAGE, HP_MAY_MOVE), 0);
	data = hp_lease_data(lease);
	assert_ptr_not_equal(data, old);
	assert_int_equal(data[PAGE], 7);
	assert_int_equal(byte_of_file(1, 3 * PAGE), 0);
	assert_int_equal(data[2 * PAGE], 0);
	assert_false(is_there(old));

	/* Of several runs it stays where it is. */
	assert_int_equal(hp_free(lease), 0);
	PLAN({1, 2, 3}, {2, 0, 1});
	lease = alloc_with_room(4, HP_PRIVATE);
	data = hp_lease_data(lease);
	data[PAGE] = 7;
	if (taken)
		munmap(taken, PAGE);
	taken = take_addresses_behind(lease);
	PLAN({1, 2, 3}, {2, 0, 2});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -ENOSPC);
	assert_int_equal(plan.resized_to[(plan.n_resizes - 1) % 4], 4);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_int_equal(data[PAGE], 7);
	assert_int_equal(hp_free(lease), 0);
	if (taken)
		munmap(taken, PAGE);
	assert_int_equal(n_mappings(), before);
}

static void lease_that_cannot_be_mapped_longer_is_as_long_as_it_was(void **state)
{
	unsigned before = n_mappings();
	hp_lease *lease;
	uint8_t *data;

	for (unsigned flags = 0; flags <= HP_MAY_MOVE; flags += HP_MAY_MOVE) {
		PLAN({1, 2, 2}, {2, 0, 2});
		lease = alloc_with_room(4, HP_GUARD);
		data = hp_lease_data(lease);
		data[0] = data[4 * PAGE - 1] = 1;
		plan.n_resizes = 0;
		PLAN({1, 2, 2}, {2, 0, 3}, {SEALED, 0, 1});
		assert_true(hp_lease_resize(lease, 6 * PAGE, flags) < 0);
		assert_int_equal(plan.n_resizes, 2);
		assert_int_equal(plan.resized_to[0], 6);
		assert_int_equal(plan.resized_to[1], 4);
		assert_int_equal(plan.n_frees, 0);
		assert_ptr_equal(hp_lease_data(lease), data);
		assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
		assert_int_equal(data[0] + data[4 * PAGE - 1], 2);
		assert_false(is_there(data + 4 * PAGE));
		assert_int_equal(hp_free(lease), 0);
	}
	assert_int_equal(n_mappings(), before);
}

static void lease_that_comes_back_as_another_is_refused(void **state)
{
	hp_lease *lease;

	PLAN({1, 2, 2}, {2, 0, 2});
	lease = alloc(4, NULL);
	PLAN({1, 2, 2}, {2, 1, 3});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -EPROTO);
	PLAN({1, 2, 3}, {2, 0, 2});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -EPROTO);
	PLAN({3, 2, 1});
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), -EPROTO);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
	((uint8_t *)hp_lease_data(lease))[4 * PAGE - 1] = 1;
	assert_int_equal(hp_free(lease), 0);
}

/* ---- what becomes of it ---- */

static void tell_gone(struct peer *unused, void *arg)
{
	uint64_t gone[] = {1, 2};
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	reply.n_gone_arenas = 2;
	reply.gone_arenas = gone;
	peer_reply(&peer, &reply, NULL, 0);
}

static void lease_whose_arenas_are_gone_stays_until_it_is_freed(void **state)
{
	hp_lease *part, *whole;
	uint8_t *data;

	PLAN({1, 0, 2});
	part = alloc(2, NULL);
	PLAN({1, 2, 2}, {2, 0, 2});
	whole = alloc(4, NULL);
	data = hp_lease_data(whole);
	data[0] = 3;
	peer_do(&peer, tell_gone, NULL);
	assert_int_equal(hp_free_id(client, 1000), 0); /* takes the news */

	assert_int_equal(data[0], 3);
	assert_true(is_there(hp_lease_data(part)));
	assert_true(hp_lease_dup_fd(whole, 1, NULL, NULL) >= 0);
	plan.error = HUGEPOOL__CODE__NO_LEASE;
	assert_int_equal(hp_lease_resize(whole, 6 * PAGE, HP_MAY_MOVE), -ENOENT);
	data = hp_lease_data(part);
	assert_int_equal(hp_free(whole), 0);
	assert_true(is_there(data));
	assert_int_equal(hp_free(part), 0);
	assert_false(is_there(data));
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

	PLAN({1, 2, 2});
	lease = alloc(2, &options);
	asked = plan.asked->alloc;
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
	lease = alloc(2, &options);
	assert_int_equal(plan.asked->alloc->max_runs, 1);
	assert_int_equal(hp_free(lease), 0);
	lease = alloc(2, NULL);
	assert_int_equal(plan.asked->alloc->max_runs, 64);
	assert_int_equal(hp_free(lease), 0);

	lease = NULL;
	options.mode = 01000;
	assert_int_equal(hp_alloc(client, PAGE, &options, &lease), -EINVAL);
	options.mode = 0;
	options.max_runs = 65;
	assert_int_equal(hp_alloc(client, PAGE, &options, &lease), -EINVAL);
	options.max_runs = 0;
	options.name = "0123";
	assert_int_equal(hp_alloc(client, PAGE, &options, &lease), -EINVAL);
	options.name = "0123a";
	options.n_access = 17;
	assert_int_equal(hp_alloc(client, PAGE, &options, &lease), -EINVAL);
	options.n_access = 2;
	options.name = NULL;
	assert_int_equal(hp_alloc(client, PAGE, &options, &lease), -EINVAL);
	assert_non_null(strstr(hp_error(), "only by its name"));
	assert_int_equal(hp_alloc(client, PAGE, &(struct hp_alloc_options){.flags = HP_MAY_MOVE}, &lease),
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
		plan.error = codes[i].code;
		assert_int_equal(hp_alloc(client, PAGE, NULL, &lease), codes[i].error);
		assert_true(strlen(hp_error()) > 0);
	}
	assert_null(lease);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(lease_of_several_runs_is_one_range),
		TEST(lease_whose_middle_cannot_be_mapped_is_given_back),
		TEST(lease_that_is_not_what_was_asked_for_is_given_back),
		TEST(lease_whose_descriptor_is_late_waits_for_it),
		TEST(lease_whose_descriptor_gets_lost_is_given_back),
		TEST(lease_revoked_before_its_descriptor_came_is_given_back),
		TEST(lease_revoked_before_it_was_mapped_is_given_back),
		TEST(lease_with_guards_has_nothing_around_it),
		TEST(lease_private_is_not_seen_by_others),
		TEST(lease_read_only_cannot_be_written),
		TEST(lease_populated_is_there_before_it_is_touched),
		TEST(lease_locked_is_locked_until_it_is_freed),
		TEST(lease_of_one_run_is_aligned_as_in_its_file),
		TEST(lease_opened_read_only_then_for_writing_gets_both),
		TEST(lease_opened_for_writing_needs_a_descriptor_for_that),
		TEST(lease_in_the_arenas_mapping_shrinks_and_grows_in_place),
		TEST(lease_that_may_move_leaves_the_arenas_mapping),
		TEST(lease_with_a_mapping_of_its_own_grows_behind_it),
		TEST(lease_that_may_not_move_does_not_ask_for_what_has_no_address),
		TEST(lease_private_moves_with_what_was_written),
		TEST(lease_that_cannot_be_mapped_longer_is_as_long_as_it_was),
		TEST(lease_that_comes_back_as_another_is_refused),
		TEST(lease_whose_arenas_are_gone_stays_until_it_is_freed),
		TEST(lease_options_reach_the_daemon),
		TEST(lease_refused_has_the_errno_of_the_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

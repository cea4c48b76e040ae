/* client_scene.c - see client_scene.h. */
#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/client_scene.h"

struct scene scene;

void scene_plan(unsigned n, const struct scene_run *runs)
{
	scene.n_runs = n;
	memcpy(scene.runs, runs, n * sizeof(*runs));
}

/* ---- on the peer's thread ---- */

static int descriptor(uint64_t arena, bool writable)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", scene.fds[arena]);
	return open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
}

static void fill_info(Hugepool__ArenaInfo *info, uint64_t arena)
{
	hugepool__arena_info__init(info);
	info->arena = arena;
	info->n_pages = SCENE_ARENA_PAGES;
	info->page_bytes = PAGE;
	info->read_only = arena == SCENE_READ_ONLY && !scene.opens_for_writing;
}

/* The first arena of the grant that was not shown yet; 0: none. */
static uint64_t new_arena(void)
{
	for (unsigned i = 0; i < scene.n_runs; i++)
		if (!scene.shown[scene.runs[i].arena])
			return scene.runs[i].arena;
	return 0;
}

static void answer_grant(const Hugepool__Request *request, uint64_t lease)
{
	Hugepool__Run runs[SCENE_MAX_RUNS], *run_ptrs[SCENE_MAX_RUNS];
	Hugepool__Grant grant = HUGEPOOL__GRANT__INIT, *grant_ptr = &grant;
	Hugepool__AllocReply alloc = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__OpenReply opened = HUGEPOOL__OPEN_REPLY__INIT;
	Hugepool__ResizeReply resized = HUGEPOOL__RESIZE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__ArenaInfo info, *info_ptr = &info;
	uint64_t shown = new_arena();
	int fd = -1;

	for (unsigned i = 0; i < scene.n_runs; i++) {
		hugepool__run__init(&runs[i]);
		runs[i].arena = scene.runs[i].arena;
		runs[i].first_page = scene.runs[i].first;
		runs[i].n_pages = scene.runs[i].n;
		run_ptrs[i] = &runs[i];
	}
	grant.lease = lease;
	grant.n_runs = scene.n_runs;
	grant.runs = run_ptrs;
	alloc.n_grants = 1;
	alloc.grants = &grant_ptr;
	opened.grant = resized.grant = &grant;
	opened.pool = PEER_POOL_NUMBER;
	if (shown) {
		fill_info(&info, shown);
		fd = descriptor(shown, !info.read_only);
		scene.shown[shown] = true;
		alloc.n_new_arenas = opened.n_new_arenas = resized.n_new_arenas = 1;
		alloc.new_arenas = opened.new_arenas = resized.new_arenas = &info_ptr;
	}
	opened.uid = scene.maker_uid;
	opened.mode = scene.maker_mode;
	reply.id = request->id;
	reply.result_case = (Hugepool__Reply__ResultCase)request->method_case;
	if (request->method_case == HUGEPOOL__REQUEST__METHOD_ALLOC)
		reply.alloc = &alloc;
	else if (request->method_case == HUGEPOOL__REQUEST__METHOD_OPEN)
		reply.open = &opened;
	else
		reply.resize = &resized;
	peer_reply(&scene.peer, &reply, &fd, shown ? 1 : 0);
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

	scene.n_arenas++;
	if (scene.n_too_early > 0) {
		scene.n_too_early--;
		peer_reply_error(&scene.peer, request->id, HUGEPOOL__CODE__TOO_MANY);
		return;
	}
	if (scene.n_gone > 0) {
		scene.n_gone--;
		peer_reply_error(&scene.peer, request->id, HUGEPOOL__CODE__NO_ARENA);
		return;
	}
	fill_info(&info, id);
	arena.arena = &info;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ARENA;
	reply.arena = &arena;
	if (scene.n_lost > 0) {
		/* Another arena's, so that the one that was asked for does not come. */
		scene.n_lost--;
		info.arena = 100;
	}
	fd = descriptor(id, !info.read_only);
	peer_reply(&scene.peer, &reply, &fd, 1);
	close(fd);
}

static void keep_asked(const Hugepool__Request *request)
{
	uint8_t packed[4096];
	size_t length = hugepool__request__pack(request, packed);

	hugepool__request__free_unpacked(scene.asked, NULL);
	scene.asked = hugepool__request__unpack(NULL, length, packed);
}

static void answer(struct peer *unused, const Hugepool__Request *request)
{
	switch (request->method_case) {
	case HUGEPOOL__REQUEST__METHOD_ALLOC:
	case HUGEPOOL__REQUEST__METHOD_OPEN:
		keep_asked(request);
		if (scene.error)
			peer_reply_error(&scene.peer, request->id, scene.error);
		else
			answer_grant(request, ++scene.last_lease);
		break;
	case HUGEPOOL__REQUEST__METHOD_RESIZE:
		scene.resized_to[scene.n_resizes++ % 4] = request->resize->n_pages;
		scene.resize_max_runs = request->resize->max_runs;
		if (scene.error)
			peer_reply_error(&scene.peer, request->id, scene.error);
		else
			answer_grant(request, request->resize->lease);
		break;
	case HUGEPOOL__REQUEST__METHOD_ARENA:
		answer_arena(request);
		break;
	case HUGEPOOL__REQUEST__METHOD_FREE:
		scene.n_frees++;
		scene.freed = request->free->n_leases > 0 ? request->free->leases[0] : 0;
		peer_reply_free(&scene.peer, request->id);
		break;
	case HUGEPOOL__REQUEST__METHOD_RECEIVED:
		scene.n_received++;
		break;
	default:
		peer_reply_error(&scene.peer, request->id, HUGEPOOL__CODE__UNKNOWN_METHOD);
	}
}

/* ---- looking ---- */

bool scene_is_there(const void *address)
{
	int fds[2];
	bool there;

	assert_int_equal(pipe(fds), 0);
	there = write(fds[1], address, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return there;
}

uint8_t scene_byte_of_file(uint64_t arena, uint64_t offset)
{
	uint8_t byte = 0xee;

	assert_int_equal(pread(scene.fds[arena], &byte, 1, (off_t)offset), 1);
	return byte;
}

unsigned scene_n_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, PEER_ARENA) ||
		     (!SCENE_IS_SANITIZED && strstr(line, " ---p 00000000 00:00 0"));
	fclose(maps);
	return n;
}

/* ---- the program's side ---- */

hp_lease *scene_alloc(uint64_t n_pages, const struct hp_alloc_options *options)
{
	hp_lease *lease = NULL;

	assert_int_equal(hp_alloc(scene.client, n_pages * PAGE, options, &lease), 0);
	assert_int_equal(hp_lease_bytes(lease), n_pages * PAGE);
	return lease;
}

hp_lease *scene_alloc_with(uint64_t n_pages, unsigned flags)
{
	return scene_alloc(n_pages, &(struct hp_alloc_options){.flags = flags});
}

int scene_set_up(void **state)
{
	memset(&scene, 0, sizeof(scene));
	for (unsigned i = 1; i <= SCENE_N_ARENAS; i++)
		scene.fds[i] = peer_arena_fd(SCENE_ARENA_PAGES);
	assert_int_equal(fcntl(scene.fds[SCENE_SEALED], F_ADD_SEALS, F_SEAL_WRITE), 0);
	peer_start(&scene.peer, answer);
	assert_int_equal(hp_open(scene.peer.socket, &scene.client), 0);
	return 0;
}

int scene_tear_down(void **state)
{
	scene.client = hp_close(scene.client);
	peer_stop(&scene.peer);
	hugepool__request__free_unpacked(scene.asked, NULL);
	for (unsigned i = 1; i <= SCENE_N_ARENAS; i++)
		close(scene.fds[i]);
	return 0;
}

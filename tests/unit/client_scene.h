/* client_scene.h - what the tests of leases play in: a client of the library, and a peer that grants what the
 * test says and counts what it is asked for.
 *
 * The test plans the runs of the next grant, asks the library for it, and looks at the memory from both ends.
 * There is one scene, made anew for each test; the peer's thread uses it while a request is under way, the
 * test's thread at any other time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/include/hugepool.h"
#include "tests/support/peer.h"

#define PAGE ((uint64_t)PEER_PAGE)

/* The arenas' ids are 1 to SCENE_N_ARENAS. */
#define SCENE_N_ARENAS    6
#define SCENE_SEALED      5 /* against writing */
#define SCENE_READ_ONLY   6 /* unless it is opened for writing */
#define SCENE_ARENA_PAGES 16
#define SCENE_MAX_RUNS    8

/* Sanitizers make mappings of their own, inaccessible ones as well, and do not lock memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCENE_IS_SANITIZED 1
#else
#define SCENE_IS_SANITIZED 0
#endif

struct scene_run {
	uint64_t arena, first, n;
};

struct scene {
	struct peer peer;
	hp_client *client;
	int fds[SCENE_N_ARENAS + 1]; /* the arenas' files */

	/* What the peer does. */
	struct scene_run runs[SCENE_MAX_RUNS]; /* that the next Alloc, Open or Resize grants */
	unsigned n_runs;
	Hugepool__Code error;           /* that it is answered with instead, if it is not OK */
	bool shown[SCENE_N_ARENAS + 1]; /* its descriptor was sent */
	bool opens_for_writing;
	uint32_t maker_uid, maker_mode; /* of what is opened; mode 0: an older daemon, which does not say */
	unsigned n_lost, n_too_early, n_gone; /* so many Arena requests go wrong */

	/* What it was asked. */
	unsigned n_frees, n_arenas, n_resizes, n_received;
	uint64_t freed, resized_to[4];
	unsigned resize_max_runs;
	Hugepool__Request *asked; /* the last Alloc or Open */
	uint64_t last_lease;
};
extern struct scene scene;

/* Plan a grant: SCENE_PLAN({arena, first page, pages}, ...). */
void scene_plan(unsigned n, const struct scene_run *runs);
#define SCENE_PLAN(...)                                                                                      \
	scene_plan(sizeof((const struct scene_run[]){__VA_ARGS__}) / sizeof(struct scene_run),               \
		   (const struct scene_run[]){__VA_ARGS__})

/* A lease of what is planned, which must be so long. */
hp_lease *scene_alloc(uint64_t n_pages, const struct hp_alloc_options *options);
hp_lease *scene_alloc_with(uint64_t n_pages, unsigned flags);

/* The address can be read by this process. */
bool scene_is_there(const void *address);
/* What is in an arena's file. */
uint8_t scene_byte_of_file(uint64_t arena, uint64_t offset);
/* Mappings of the arenas' files, and reserved ranges, in this process. */
unsigned scene_n_mappings(void);

int scene_set_up(void **state);
int scene_tear_down(void **state);
/* For cmocka's tables. */
#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, scene_set_up, scene_tear_down)

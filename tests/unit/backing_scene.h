/* backing_scene.h - what the tests of backings have in common: configurations, files, a client's mappings,
 * and children that play a part.
 *
 * Every function asserts by cmocka. Tests that read the kernel's counters take turns with other test programs
 * by hugetlb_need(), and raise nr_hugepages by what they need themselves. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/backing/backing.h"
#include "daemon/base/clock.h"
#include "tests/support/hugetlb.h"

#define KIB4 UINT64_C(4096)
#define MIB2 (UINT64_C(2) << 20)
#define GIB1 (UINT64_C(1) << 30)

#define NOBODY 65534

extern char scene_scratch[]; /* a private directory, for all tests of the program */

/* The group's set-up and teardown of programs that use it. Both return 0, or the set-up -1. */
int scene_make_scratch(void **state);
int scene_remove_scratch(void **state);
/* In teardowns: give back what the test has raised, end our turn. Returns 0. */
int scene_end(void **state);

/* Skip the test, and say why. */
void scene_skip(const char *reason);
void scene_need_root(void);

/* Pages of 2 MiB. */
uint64_t scene_free_pages(void);

struct backing_config scene_memfd_config(uint64_t page_bytes);
/* A mount of its own, of 2 MiB pages, at SCRATCH/test. */
struct backing_config scene_mount_config(uint64_t max_pages);

/* A daemon's state: in SCRATCH, with the journal. The next daemon's is the same, read anew from the file, as
 * after a kill; the former one is of no use then. */
const struct backing_host *scene_host(void);
const struct backing_host *scene_next_host(void);

struct backing *scene_new_backing(struct backing_config config);
/* The sentence in which the configuration is refused, with this error. To be freed. */
char *scene_refusal(struct backing_config config, int expected);
struct backing_file *scene_new_file(struct backing *backing, uint64_t n_pages);
/* As a file that clients had. Returns how many pages are in limbo. */
uint64_t scene_release(struct backing_file *file);

/* A client's mapping. */
char *scene_map(int fd, size_t bytes, int flags);

/* Run `play` in a child. Returns how it ended, as waitpid() has it. */
int scene_run_child(int (*play)(void *), void *argument);
/* The same for one that must return 0, else the number of the step that failed. */
void scene_assert_played(int (*play)(void *), void *argument);
/* In such a child: return the number of the step that failed. */
#define STEP(number, condition)                                                                              \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			return (number);                                                                     \
	} while (0)
/* In such a child. False: it could not. */
bool scene_become_nobody(void);

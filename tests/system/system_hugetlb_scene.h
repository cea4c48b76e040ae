/* system_hugetlb_scene.h - what the tests on real hugepages have in common: their turn, and the counters as
 * they were when it began.
 *
 * Every function asserts by cmocka. One page size a test; one thread.
 */
#pragma once

#include "tests/support/dut.h"
#include "tests/support/hugetlb.h"

#define MIB2 (UINT64_C(2) << 20)
#define GIB1 (UINT64_C(1) << 30)

#define NOBODY   65534
#define SOMEUID  12345
#define OTHERUID 12346

extern struct hugetlb_counts scene_start; /* when the turn began */

/* Take our turn, with `n_pages` free pages at least; or skip the test. */
void scene_begin(uint64_t page_bytes, uint64_t n_pages);
/* In teardowns: kill and unmount what a failed test has left, end the turn. Returns 0. */
int scene_end(void **state);

/* A word for a command line; good until eight more were made. */
const char *scene_words(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Pages that are free and promised to nobody. */
uint64_t scene_available(void);
/* Pages that are not free now, but were at the start. */
uint64_t scene_taken(void);
/* So many are, of as many as there were in all. */
void scene_assert_taken(const struct dut *dut, uint64_t n_pages);
/* All counters are what they were at the start. */
void scene_assert_all_back(void);
/* The same, once the kernel has cleaned up after processes that were killed. */
void scene_wait_taken(uint64_t n_pages);
void scene_wait_all_back(void);

void scene_assert_says(const char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void scene_assert_log_says(const struct dut *dut, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A daemon does not start with a reserve of 16 pages of 2 MiB more than are available, and says by how many;
 * `options` is what the pool has besides. */
void scene_assert_reserve_refused(const char *options);

/* A hugetlbfs of 2 MiB pages in a directory of its own, which belongs to the test; its path. */
const char *scene_mount(void);
/* Unmount it, which fails if it is in use, and remove the directory. */
void scene_unmount(void);
/* How many mounts lie over each other at the path; the uppermost one's type and options in *ret_options. */
unsigned scene_n_mounts(const char *path, char *ret_options, size_t size);

/* hugetlb.h - the host's hugepages for tests: taking turns, raising nr_hugepages, reading the kernel's
 * counters.
 *
 * A test that asserts on the counters, or that needs pages to be there, holds the lock meanwhile, most simply
 * by hugetlb_need(): other test programs on this host do the same. It reads /sys by itself, so that it proves
 * what the daemon's own code says. One thread; the lock is the process's, and goes with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HUGETLB_LOCK_PATH "/tmp/hugepool-tests.lock"

struct hugetlb_counts {
	uint64_t total, free, reserved, surplus;
};

/* For cmocka tests: our turn, with `n_pages` free pages at least: raised by what is lacking, since 1 GiB
 * pages that somebody has found early are not found twice. Else the test is skipped, and the line before says
 * why: "absent: ..." where the kernel has no pages of that size at all, which neither privilege nor memory
 * would change. hugetlb_unlock() in the teardown. */
void hugetlb_need(uint64_t page_bytes, uint64_t n_pages);

/* Does the kernel have hugepages of that size? */
bool hugetlb_has(uint64_t page_bytes);

/* Wait for our turn; false after five minutes. */
bool hugetlb_lock(void);
/* Undoes every hugetlb_raise() and lets the next one in. Fine without the lock. */
void hugetlb_unlock(void);

/* With the lock: add `n_pages` free pages. They go back even if this process is killed: a child of it waits
 * for that. False, with the reason on stderr, and nothing changed: no
 * privilege, no such pages, or no memory for them; time to skip(). */
bool hugetlb_raise(uint64_t page_bytes, uint64_t n_pages);

/* The same, raising only what is lacking of `n_pages` that are free and promised to nobody. */
bool hugetlb_top_up(uint64_t page_bytes, uint64_t n_pages);

/* With the lock: shmem_enabled of the transparent huge pages is `word` until hugetlb_unlock(). Skips the test
 * where it cannot be set. */
void hugetlb_set_shmem(const char *word);

/* All zero if the kernel has no such pages. */
struct hugetlb_counts hugetlb_counts(uint64_t page_bytes);

/* A client that does its worst: a child that pins the file's first page by an io_uring buffer and lets go of
 * its descriptor and its mapping, but not of the page. */
struct hugetlb_pinner {
	pid_t pid;
	int leash_fd;
};

/* Returns when the page is pinned; false, and no child, if this kernel does not let us. */
bool hugetlb_pin(int fd, uint64_t page_bytes, struct hugetlb_pinner *ret);
/* Ends the child. The kernel takes its ring down, and unpins, some time after. */
void hugetlb_unpin(struct hugetlb_pinner *pinner);

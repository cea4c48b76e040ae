/* bench_house.h - the daemon that is measured, with one pool `p` of 2 MiB pages, and hugepages for it and for
 * the peer. What is not as it should be fails the benchmark; the end of the process gives everything back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/include/hugepool.h"
#include "tests/support/dut.h"

#define BENCH_PAGE_BYTES (UINT64_C(2) << 20)
#define BENCH_SPIN_US    50 /* of the library, where a benchmark has it spin */
#define BENCH_GIB        (UINT64_C(1) << 30)
#define BENCH_GIB_PAGES  (BENCH_GIB / BENCH_PAGE_BYTES)

struct house {
	struct dut dut;
	hp_client *watcher; /* asks for figures */
};

/* Have that many free hugepages, to ourselves. False, and told as a skip of `name`: the machine has not. */
bool bench_has_hugepages(const char *name, uint64_t n_pages);

/* Start the daemon with these arguments. */
void house_open(struct house *house, const char *const *arguments);
void house_close(struct house *house);

/* The pool's pages, as `status` has them. */
struct house_pages {
	uint64_t leased, clean, dirty, cached, stock, limbo;
	uint64_t arenas; /* not pages: what is in the making is none yet */
};
struct house_pages house_pages(const struct house *house);
/* Wait until nothing is leased, dirty or in limbo, and this many pages are clean or in the stock, in finished
 * arenas. */
void house_wait_ready(const struct house *house, uint64_t n_pages);

/* An empty hugetlb memfd, the caller's. */
int peer_memfd(void);
/* One that is mapped, populated by the kernel: what a program does without us. peer_unmap() ends it. */
void *peer_map(uint64_t n_bytes);
void peer_unmap(void *memory, uint64_t n_bytes);

/* Write to every page, as a program does. */
void bench_touch(void *memory, uint64_t n_bytes);
/* Every byte is zero. */
void bench_expect_zeroed(const void *memory, uint64_t n_bytes);

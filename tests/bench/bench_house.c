/* bench_house.c - see bench_house.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/lib/client.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"
#include "tests/support/hugetlb.h"
#include "tests/support/wait.h"

bool bench_has_hugepages(const char *name, uint64_t n_pages)
{
	if (geteuid() != 0) {
		bench_skip(name, "not root: no hugepages can be reserved");
		return false;
	}
	if (!hugetlb_lock() || !hugetlb_top_up(BENCH_PAGE_BYTES, n_pages)) {
		bench_skip(name, "the kernel has not %" PRIu64 " free pages of 2 MiB", n_pages);
		return false;
	}
	return true;
}

void house_open(struct house *house, const char *const *arguments)
{
	int r;

	dut_start(&house->dut, arguments);
	r = hp_open(house->dut.socket, &house->watcher);
	if (r < 0)
		fail_msg("open: %d: %s", r, hp_error());
}

void house_close(struct house *house)
{
	house->watcher = hp_close(house->watcher);
	dut_stop(&house->dut);
}

struct house_pages house_pages(const struct house *house)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Status status = HUGEPOOL__STATUS__INIT;
	const Hugepool__PoolStatus *pool;
	Hugepool__Reply *reply;
	struct house_pages pages;

	request.method_case = HUGEPOOL__REQUEST__METHOD_STATUS;
	request.status = &status;
	if (client_call(house->watcher, &request, &reply) < 0)
		fail_msg("status: %s", hp_error());
	assert_int_equal(reply->status->n_pools, 1);
	pool = reply->status->pools[0];
	pages = (struct house_pages){.leased = pool->pages_leased,
				     .clean = pool->pages_clean,
				     .dirty = pool->pages_dirty,
				     .cached = pool->pages_cached,
				     .stock = pool->pages_stock,
				     .limbo = pool->pages_limbo,
				     .arenas = pool->arenas};
	hugepool__reply__free_unpacked(reply, NULL);
	return pages;
}

void house_wait_ready(const struct house *house, uint64_t n_pages)
{
	uint64_t deadline_ms = wait_now_ms() + WAIT_MAX_MS;

	for (;;) {
		struct house_pages pages = house_pages(house);

		if (pages.leased + pages.dirty + pages.limbo == 0 && pages.clean + pages.stock >= n_pages &&
		    pages.arenas > 0)
			return;
		if (wait_now_ms() > deadline_ms)
			fail_msg("clean %" PRIu64 ", stock %" PRIu64 ", dirty %" PRIu64 ", leased %" PRIu64,
				 pages.clean, pages.stock, pages.dirty, pages.leased);
		wait_pause();
	}
}

int peer_memfd(void)
{
	int fd = memfd_create("peer", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);

	if (fd < 0)
		fail_msg("memfd_create: %s", strerror(errno));
	return fd;
}

void *peer_map(uint64_t n_bytes)
{
	int fd = peer_memfd();
	void *memory;

	assert_int_equal(ftruncate(fd, (off_t)n_bytes), 0);
	memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (memory == MAP_FAILED)
		fail_msg("mmap: %s", strerror(errno));
	close(fd);
	return memory;
}

void peer_unmap(void *memory, uint64_t n_bytes)
{
	assert_int_equal(munmap(memory, n_bytes), 0);
}

void bench_touch(void *memory, uint64_t n_bytes)
{
	volatile char *bytes = memory;

	for (uint64_t at = 0; at < n_bytes; at += BENCH_PAGE_BYTES)
		bytes[at] = 1;
}

void bench_expect_zeroed(const void *memory, uint64_t n_bytes)
{
	const char *bytes = memory;

	assert_true(bytes[0] == 0 && memcmp(bytes, bytes + 1, n_bytes - 1) == 0);
}

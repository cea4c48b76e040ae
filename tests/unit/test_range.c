/* test_range.c - parts of files in reserved addresses: what a mapping does to a file that was truncated. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/lib/range.h"
#include "tests/support/hugetlb.h"

#define HUGE_BYTES (UINT64_C(2) << 20)

static int unlock(void **state)
{
	hugetlb_unlock();
	return 0;
}

static void expect_stays_empty(int fd, int flags)
{
	struct range_hole hole = {0};
	struct stat status;
	uint8_t *start;

	assert_int_equal(range_reserve(HUGE_BYTES, 0, HUGE_BYTES, 0, &start), 0);
	assert_int_equal(range_map(start, HUGE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0, &hole), 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, 0);
	range_release(start, HUGE_BYTES, &hole);
}

/* It was revoked between our look at it and our mapping. */
static void range_of_a_truncated_file_does_not_make_it_longer(void **state)
{
	int fd;

	hugetlb_need(HUGE_BYTES, 1);
	fd = memfd_create("arena", MFD_CLOEXEC | MFD_HUGETLB);
	assert_true(fd >= 0);
	expect_stays_empty(fd, MAP_SHARED);
	expect_stays_empty(fd, MAP_PRIVATE | MAP_NORESERVE);
	close(fd);
}

static void range_mapped_for_writing_can_be_written(void **state)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);
	struct range_hole hole = {0};
	uint8_t *start, byte = 0;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, HUGE_BYTES), 0);
	assert_int_equal(range_reserve(HUGE_BYTES, 0, HUGE_BYTES, 0, &start), 0);
	assert_int_equal(range_map(start, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &hole), 0);
	start[4096] = 7;
	assert_int_equal(pread(fd, &byte, 1, 4096), 1);
	assert_int_equal(byte, 7);
	range_release(start, HUGE_BYTES, &hole);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(range_of_a_truncated_file_does_not_make_it_longer, unlock),
		cmocka_unit_test(range_mapped_for_writing_can_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* mapping.c - reserve more addresses than needed, map the file inside at an aligned one, return the rest. */
#include <config.h>

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "daemon/backing/mapping.h"
#include "daemon/base/assert.h"

#define MAPPING_ALIGN (UINT64_C(1) << 30)

/* Take `bytes` of addresses, and nothing else, aligned. NULL and errno if there are none. */
static char *reserve_aligned(size_t bytes)
{
	size_t reserved_bytes, head_bytes;
	char *reserved;

	if (__builtin_add_overflow(bytes, MAPPING_ALIGN, &reserved_bytes)) {
		errno = EOVERFLOW;
		return NULL;
	}
	reserved = mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return NULL;

	head_bytes = -(uintptr_t)reserved & (MAPPING_ALIGN - 1);
	if (head_bytes > 0)
		munmap(reserved, head_bytes);
	munmap(reserved + head_bytes + bytes, MAPPING_ALIGN - head_bytes);
	return reserved + head_bytes;
}

int mapping_new(int fd, size_t bytes, void **ret_memory)
{
	char *memory;

	memory = reserve_aligned(bytes);
	if (!memory)
		return -errno;
	if (mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    madvise(memory, bytes, MADV_DONTDUMP) < 0 || madvise(memory, bytes, MADV_DONTFORK) < 0) {
		int r = -errno;

		munmap(memory, bytes);
		return r;
	}
	*ret_memory = memory;
	return 0;
}

void mapping_populate(void *memory, size_t bytes, size_t page_bytes)
{
	(void)madvise(memory, bytes, MADV_POPULATE_WRITE);
	for (size_t at = 0; at < bytes; at += page_bytes)
		*((volatile char *)memory + at) = 0;
}

void mapping_trim(void *memory, size_t bytes, size_t keep_bytes)
{
	if (keep_bytes < bytes)
		hp_assert(munmap((char *)memory + keep_bytes, bytes - keep_bytes) == 0);
}

void mapping_free(void *memory, size_t bytes)
{
	if (memory)
		hp_assert(munmap(memory, bytes) == 0);
}

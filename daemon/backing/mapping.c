/* mapping.c - reserve more addresses than needed, map the file inside at an aligned one, return the rest. */
#include <config.h>

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "daemon/backing/mapping.h"

#define MAPPING_ALIGN (UINT64_C(1) << 30)

/* Addresses that nobody else has. */
struct reserved {
	char *start;
	size_t bytes;
};

static int reserve(size_t bytes, struct reserved *ret)
{
	void *start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		return -errno;
	*ret = (struct reserved){.start = start, .bytes = bytes};
	return 0;
}

/* With room to align; without it where addresses are short (RLIMIT_AS): what is mapped there works as well.
 */
static int reserve_aligned(size_t bytes, struct reserved *ret, size_t *ret_head_bytes)
{
	size_t more_bytes;

	if (__builtin_add_overflow(bytes, MAPPING_ALIGN, &more_bytes))
		return -EOVERFLOW;
	if (reserve(more_bytes, ret) == 0) {
		*ret_head_bytes = -(uintptr_t)ret->start & (MAPPING_ALIGN - 1);
		return 0;
	}
	*ret_head_bytes = 0;
	return reserve(bytes, ret);
}

/* The file is mapped before the rest is returned: at no time is the middle of a mapping cut out, which the
 * kernel refuses a process that has as many mappings as it may. */
int mapping_new(int fd, size_t bytes, void **ret_memory)
{
	struct reserved reserved = {0};
	size_t head_bytes = 0, tail_bytes;
	char *memory;
	int r = reserve_aligned(bytes, &reserved, &head_bytes);

	if (r < 0)
		return r;
	memory = reserved.start + head_bytes;
	tail_bytes = reserved.bytes - head_bytes - bytes;
	if (mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    madvise(memory, bytes, MADV_DONTDUMP) < 0 || madvise(memory, bytes, MADV_DONTFORK) < 0) {
		r = -errno;
		munmap(reserved.start, reserved.bytes);
		return r;
	}
	/* What cannot be returned costs addresses, no memory. */
	if (head_bytes > 0)
		(void)munmap(reserved.start, head_bytes);
	if (tail_bytes > 0)
		(void)munmap(memory + bytes, tail_bytes);
	*ret_memory = memory;
	return 0;
}

void mapping_populate(void *memory, size_t bytes, size_t page_bytes)
{
	(void)madvise(memory, bytes, MADV_POPULATE_WRITE);
	for (size_t at = 0; at < bytes; at += page_bytes)
		*((volatile char *)memory + at) = 0;
}

size_t mapping_trim(void *memory, size_t bytes, size_t keep_bytes)
{
	if (keep_bytes < bytes && munmap((char *)memory + keep_bytes, bytes - keep_bytes) < 0)
		return bytes;
	return keep_bytes;
}

void mapping_free(void *memory, size_t bytes)
{
	if (memory)
		(void)munmap(memory, bytes);
}

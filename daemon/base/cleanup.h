/* cleanup.h - locals that clean up after themselves; ownership moves out by take_fd() or take_ptr(). */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_fd(int *fd)
{
	if (*fd >= 0) {
		int saved_errno = errno;

		close(*fd);
		errno = saved_errno;
	}
}

static inline void cleanup_free_ptr(void *ptr)
{
	free(*(void **)ptr);
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close_fd)))
#define _cleanup_free_  __attribute__((cleanup(cleanup_free_ptr)))

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define take_ptr(ptr)                                                                                        \
	({                                                                                                   \
		__typeof__(ptr) taken_ = (ptr);                                                              \
		(ptr) = NULL;                                                                                \
		taken_;                                                                                      \
	})

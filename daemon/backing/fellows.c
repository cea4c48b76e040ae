/* fellows.c - see fellows.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing/fellows.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"

#define PATH_FORMAT "/run/hugepoold-%" PRIu64 "kB.raised"
#define WAIT_NS     (20 * NS_PER_S)
#define LOOK_MS     5

static char *make_path(uint64_t page_bytes, char path[64])
{
	snprintf(path, 64, PATH_FORMAT, page_bytes / 1024);
	return path;
}

static bool lock(int fd)
{
	const uint64_t until_ns = clock_now_ns() + WAIT_NS;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || clock_now_ns() > until_ns)
			return false;
		poll(NULL, 0, LOOK_MS);
	}
	return true;
}

/* Only root's own file, and still the one at its name: the last daemon removes it. */
static bool is_current(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino && S_ISREG(ours.st_mode) && ours.st_uid == 0 && ours.st_nlink == 1;
}

static int open_locked(const char *path)
{
	if (geteuid() != 0)
		return -1;
	for (unsigned i = 0; i < 100; i++) {
		_cleanup_close_ int fd =
			open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

		if (fd < 0 || fchmod(fd, 0600) < 0 || !lock(fd))
			return -1;
		if (is_current(fd, path))
			return take_fd(&fd);
	}
	return -1;
}

int fellows_begin(uint64_t page_bytes, struct fellows *fellows)
{
	struct fellows read_fellows;
	char path[64], text[128];
	int fd = open_locked(make_path(page_bytes, path));
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return fd;
	text[n] = '\0';
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &read_fellows.raised_pages,
		   &read_fellows.left_pages, &read_fellows.era) == 3)
		*fellows = read_fellows;
	return fd;
}

void fellows_end(int fd, uint64_t page_bytes, const struct fellows *fellows)
{
	char path[64], text[128];
	int n;

	if (fd < 0)
		return;
	n = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", fellows->raised_pages,
		     fellows->left_pages, fellows->era);
	if (fellows->raised_pages == 0)
		(void)unlink(make_path(page_bytes, path));
	else if (pwrite(fd, text, (size_t)n, 0) == n)
		(void)!ftruncate(fd, n);
	close(fd);
}

uint64_t fellows_draw_era(void)
{
	uint64_t era;

	return getrandom(&era, sizeof(era), 0) == sizeof(era) ? era : clock_now_ns();
}

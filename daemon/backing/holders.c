/* holders.c - see holders.h. Four loops in one another, descriptors in threads in processes in passes, cut
 * into steps: what is open says where the scan is.
 */
#include <config.h>

#include "daemon/backing/holders.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define N_PASSES 2
#define INIT_PID 1
/* The inode of the first pid namespace's file in /proc/PID/ns, the same on every kernel. */
#define FIRST_PID_NAMESPACE "pid:[4026531836]"

/* ---- what is found ---- */

static void compare(struct holders *scan, dev_t device, ino_t inode, bool is_mapped)
{
	for (unsigned i = 0; i < scan->n_files; i++) {
		struct holders_file *file = &scan->files[i];

		if (file->pid == 0 && file->device == device && file->inode == inode) {
			file->pid = scan->pid;
			file->is_mapped = is_mapped;
		}
	}
}

/* Something of a process could not be looked at. What has ended meanwhile holds nothing. */
static void note_error(struct holders *scan, pid_t pid, int error)
{
	if (error == ENOENT || error == ESRCH || scan->error != 0 || pid == INIT_PID)
		return;
	scan->error = error;
	scan->hidden_pid = pid;
}

enum holders_result holders_of(const struct holders *scan, unsigned file)
{
	if (scan->files[file].pid != 0)
		return HOLDERS_SOMEBODY;
	return scan->error != 0 ? HOLDERS_UNKNOWN : HOLDERS_NOBODY;
}

static enum holders_result result_of_all(const struct holders *scan)
{
	enum holders_result result = scan->error != 0 ? HOLDERS_UNKNOWN : HOLDERS_NOBODY;

	for (unsigned i = 0; i < scan->n_files; i++)
		if (holders_of(scan, i) == HOLDERS_SOMEBODY)
			result = HOLDERS_SOMEBODY;
	return result;
}

/* ---- mappings ---- */

/* "START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH" */
static void read_mapping(struct holders *scan, const char *line)
{
	unsigned major_number, minor_number;
	unsigned long long inode;

	scan->has_mappings = true;
	if (sscanf(line, "%*s %*s %*s %x:%x %llu", &major_number, &minor_number, &inode) == 3 && inode != 0)
		compare(scan, makedev(major_number, minor_number), (ino_t)inode, true);
}

/* All whole lines of the text; what is left is the beginning of one. Only a path can be too long for it, and
 * that stands behind all that matters. */
static void read_mappings(struct holders *scan)
{
	char *line = scan->text, *end;

	while ((end = memchr(line, '\n', scan->n_text - (size_t)(line - scan->text)))) {
		*end = 0;
		read_mapping(scan, line);
		line = end + 1;
	}
	scan->n_text -= (size_t)(line - scan->text);
	memmove(scan->text, line, scan->n_text);
	if (scan->n_text == sizeof(scan->text) - 1)
		scan->n_text /= 2;
}

static void close_maps(struct holders *scan)
{
	if (scan->is_reading_maps)
		close(scan->maps_fd);
	scan->is_reading_maps = false;
}

static void step_maps(struct holders *scan)
{
	ssize_t n = read(scan->maps_fd, scan->text + scan->n_text, sizeof(scan->text) - 1 - scan->n_text);

	if (n < 0 && errno == EINTR)
		return;
	if (n < 0)
		note_error(scan, scan->pid, errno);
	if (n <= 0) {
		close_maps(scan);
		return;
	}
	scan->n_text += (size_t)n;
	read_mappings(scan);
}

/* ---- descriptors ---- */

static DIR *close_directory(DIR *directory)
{
	if (directory)
		closedir(directory);
	return NULL;
}

static DIR *open_directory(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory && fd >= 0)
		close(fd);
	return directory;
}

/* The next entry that is a number, or NULL: errno says why, 0 at the end. */
static const struct dirent *next_number(DIR *directory)
{
	const struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(directory);
	} while (entry && !isdigit((unsigned char)entry->d_name[0]));
	return entry;
}

/* The file system behind a descriptor is not asked, as it may be one that never answers (FUSE). */
static void step_descriptors(struct holders *scan)
{
	const struct dirent *entry = next_number(scan->descriptors);
	struct statx status;

	if (!entry) {
		note_error(scan, scan->pid, errno);
		scan->descriptors = close_directory(scan->descriptors);
	} else if (statx(dirfd(scan->descriptors), entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
			 STATX_INO, &status) == 0) {
		compare(scan, makedev(status.stx_dev_major, status.stx_dev_minor), (ino_t)status.stx_ino,
			false);
	} else if (errno == EACCES || errno == EPERM || errno == ENOMEM) {
		/* Other errors are the file's own, and then it is none of ours. */
		note_error(scan, scan->pid, errno);
	}
}

/* ---- threads ---- */

/* All threads have the same mappings, but those that have ended and are still listed. */
static void open_maps(struct holders *scan, const char *thread)
{
	char path[32];

	snprintf(path, sizeof(path), "%.16s/maps", thread);
	scan->maps_fd = openat(dirfd(scan->threads), path, O_RDONLY | O_CLOEXEC);
	scan->is_reading_maps = scan->maps_fd >= 0;
	scan->n_text = 0;
	if (!scan->is_reading_maps)
		note_error(scan, scan->pid, errno);
}

static void step_threads(struct holders *scan)
{
	const struct dirent *entry = next_number(scan->threads);
	char path[32];

	if (!entry) {
		note_error(scan, scan->pid, errno);
		scan->threads = close_directory(scan->threads);
		return;
	}
	if (!scan->has_mappings)
		open_maps(scan, entry->d_name);
	snprintf(path, sizeof(path), "%.16s/fd", entry->d_name);
	scan->descriptors = open_directory(dirfd(scan->threads), path);
	if (!scan->descriptors)
		note_error(scan, scan->pid, errno);
}

/* ---- processes ---- */

static void step_processes(struct holders *scan)
{
	const struct dirent *entry = next_number(scan->processes);
	char path[32];

	if (!entry) {
		note_error(scan, 0, errno);
		scan->processes = close_directory(scan->processes);
		return;
	}
	scan->pid = (pid_t)strtol(entry->d_name, NULL, 10);
	if (scan->pid == scan->own_pid || (scan->leaves_out && scan->leaves_out(scan, scan->pid)))
		return;
	snprintf(path, sizeof(path), "%.16s/task", entry->d_name);
	scan->threads = open_directory(dirfd(scan->processes), path);
	scan->has_mappings = false;
	if (!scan->threads)
		note_error(scan, scan->pid, errno);
}

/* ---- the whole ---- */

/* Is this /proc one of our own pids, with all processes of the host? */
static void check_view(struct holders *scan, int proc_fd)
{
	char text[64];
	ssize_t n = readlinkat(proc_fd, "self", text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	if (strtol(text, NULL, 10) != scan->own_pid)
		note_error(scan, 0, EXDEV);

	n = readlinkat(proc_fd, "self/ns/pid", text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	if (strcmp(text, FIRST_PID_NAMESPACE) != 0)
		note_error(scan, 0, EXDEV);
	/* The first process is always there; "hidepid" hides it before any other. */
	if (faccessat(proc_fd, "1", F_OK, 0) < 0)
		note_error(scan, 0, EACCES);
}

static void begin_pass(struct holders *scan)
{
	scan->n_passes++;
	scan->own_pid = getpid();
	scan->processes = open_directory(AT_FDCWD, "/proc");
	if (scan->processes)
		check_view(scan, dirfd(scan->processes));
	else if (scan->error == 0)
		scan->error = errno; /* also when there is none */
}

/* A second pass finds nothing out that the first has not, if all were found, or if not all can be seen. */
static bool needs_pass(const struct holders *scan)
{
	for (unsigned i = 0; i < scan->n_files; i++)
		if (scan->files[i].pid == 0)
			return scan->n_passes < (scan->error != 0 ? 1 : N_PASSES);
	return false;
}

enum holders_result holders_step(struct holders *scan, unsigned max_items)
{
	for (; max_items > 0; max_items--) {
		if (scan->is_reading_maps) {
			step_maps(scan);
		} else if (scan->descriptors) {
			step_descriptors(scan);
		} else if (scan->threads) {
			step_threads(scan);
		} else if (scan->processes) {
			step_processes(scan);
		} else if (needs_pass(scan)) {
			begin_pass(scan);
		} else {
			return result_of_all(scan);
		}
	}
	return HOLDERS_MORE;
}

void holders_fini(struct holders *scan)
{
	close_maps(scan);
	scan->descriptors = close_directory(scan->descriptors);
	scan->threads = close_directory(scan->threads);
	scan->processes = close_directory(scan->processes);
}

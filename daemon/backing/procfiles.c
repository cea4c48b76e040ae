/* procfiles.c - see procfiles.h. */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/backing/procfiles.h"
#include "daemon/base/cleanup.h"

#define NUMBER_ROOM 16 /* of a pid or a descriptor */

struct visitor {
	void (*visit)(void *arg, const struct procfile *file);
	void *arg;
	int error;
};

/* Other errors are the process's: it has ended, or may not be looked at. */
static void note_error(struct visitor *visitor)
{
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		visitor->error = -errno;
}

/* "START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH" */
static void visit_mapping(struct visitor *visitor, struct procfile *file, char *line)
{
	unsigned long start, end, offset, inode;
	unsigned major_number, minor_number;
	int length = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%lx-%lx %*s %lx %x:%x %lu %n", &start, &end, &offset, &major_number, &minor_number,
		   &inode, &length) != 6 ||
	    inode == 0 || length == 0)
		return;
	file->shown = line + length;
	file->device = makedev(major_number, minor_number);
	file->inode = inode;
	file->mapped_bytes = offset + (end - start);
	snprintf(file->path, sizeof(file->path), "map_files/%lx-%lx", start, end);
	visitor->visit(visitor->arg, file);
}

/* Of the thread; all of a process have the same. Returns whether there were any. */
static bool visit_mappings(struct visitor *visitor, struct procfile *file, const char *thread)
{
	_cleanup_free_ char *line = NULL;
	char path[NUMBER_ROOM + 16];
	bool has_some = false;
	size_t room = 0;
	FILE *maps;
	int fd;

	snprintf(path, sizeof(path), "task/%s/maps", thread);
	fd = openat(file->process_fd, path, O_RDONLY | O_CLOEXEC);
	maps = fd < 0 ? NULL : fdopen(fd, "r");
	if (!maps) {
		note_error(visitor);
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (getline(&line, &room, maps) > 0) {
		has_some = true;
		visit_mapping(visitor, file, line);
	}
	fclose(maps);
	return has_some;
}

DIR *procfiles_open_directory(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const int error = errno;

	if (!directory && fd >= 0)
		close(fd);
	errno = error;
	return directory;
}

const char *procfiles_next_number(DIR *directory)
{
	const struct dirent *entry;

	while ((entry = readdir(directory)))
		if (isdigit((unsigned char)entry->d_name[0]) && strlen(entry->d_name) < NUMBER_ROOM)
			return entry->d_name;
	return NULL;
}

static void visit_descriptors(struct visitor *visitor, const struct procfile *process)
{
	DIR *directory = procfiles_open_directory(process->process_fd, "fd");
	char shown[512];
	struct procfile file = {.process_fd = process->process_fd, .pid = process->pid, .shown = shown};
	const char *number;

	if (!directory)
		note_error(visitor);
	while (directory && (number = procfiles_next_number(directory))) {
		ssize_t n = readlinkat(dirfd(directory), number, shown, sizeof(shown) - 1);

		if (n < 0)
			continue;
		shown[n] = '\0';
		snprintf(file.path, sizeof(file.path), "fd/%s", number);
		visitor->visit(visitor->arg, &file);
	}
	if (directory)
		closedir(directory);
}

/* A thread that has ended is still listed, and has nothing: the first one often, with others living on. */
int procfiles_visit(int proc_fd, const char *name, void (*visit)(void *arg, const struct procfile *file),
		    void *arg)
{
	struct visitor visitor = {visit, arg, 0};
	struct procfile file = {.pid = (pid_t)strtol(name, NULL, 10)};
	const char *thread;
	DIR *threads;

	if (file.pid == getpid())
		return 0;
	file.process_fd = openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file.process_fd < 0) {
		note_error(&visitor);
		return visitor.error;
	}
	threads = procfiles_open_directory(file.process_fd, "task");
	if (!threads)
		note_error(&visitor);
	while (threads && (thread = procfiles_next_number(threads)) &&
	       !visit_mappings(&visitor, &file, thread))
		;
	if (threads)
		closedir(threads);
	visit_descriptors(&visitor, &file);
	close(file.process_fd);
	return visitor.error;
}

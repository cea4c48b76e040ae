/* procfiles.h - the files that a process maps or holds open, as /proc shows them.
 *
 * Our own process is passed over. Whoever looks may block on a process's memory lock: never a worker. What
 * may not be read shows nothing. A process can have files that are in no list: descriptors in a socket's
 * queue or in a thread's table of its own, pages that are pinned.
 */
#pragma once

#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

struct procfile {
	int process_fd; /* the process's directory in /proc */
	pid_t pid;
	char path[64];     /* from there, what leads to the file: where the kernel lets us, stat() it */
	const char *shown; /* the file's path, as /proc shows it; " (deleted)" at its end if it has none */
	dev_t device;      /* 0: not known, since it is held open */
	ino_t inode;       /* the same */
	uint64_t mapped_bytes; /* from the file's beginning to the mapping's end; 0: it is held open */
};

/* Call `visit` for each mapping and each descriptor of the process with that name in /proc. Returns 0; or
 * negative errno: for want of descriptors or memory not all of them were seen. */
int procfiles_visit(int proc_fd, const char *name, void (*visit)(void *arg, const struct procfile *file),
		    void *arg);

/* A directory of /proc: NULL, errno: it cannot be opened. closedir() ends it. */
DIR *procfiles_open_directory(int at, const char *path);
/* The next name in it that is a number; NULL: there is none. */
const char *procfiles_next_number(DIR *directory);

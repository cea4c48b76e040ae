/* holders.h - which processes map a file or hold it open, as /proc says.
 *
 * Looks at every process but our own: its mappings once, and the descriptors of each of its threads, which
 * may have tables of their own. Twice, since a process may pass the file on to a child that is born behind
 * the scan, and let go of it before the scan comes to it.
 *
 * What it cannot know, and so HOLDERS_NOBODY does not say:
 *  - that the file is in nobody's reach: a descriptor in a socket's queue, in io_uring's table of files or
 *    behind a loop device is in no process's table;
 *  - that the file's pages are: io_uring's buffers, vmsplice() to a pipe and devices pin pages without a
 * mapping;
 *  - that init, where we may not look at it, was not sent a descriptor: it has inherited none;
 *  - that two processes which mean to deceive have not passed the file past the scan, twice.
 * All of these need a process that had the file. So it is a proof among processes that trust each other,
 * which may write to the file's pages anyway (of one tenant); between others only truncating the file is one.
 *
 * A scan belongs to one thread, which may block in it on a process's memory lock: never a worker's.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

#define HOLDERS_FILES_MAX 64
#define HOLDERS_TEXT_MAX  4096 /* of a process's mappings that are read at once; a line is kept up to that */

enum holders_result {
	HOLDERS_MORE,     /* call again */
	HOLDERS_NOBODY,   /* but us, and those that were left out, as far as /proc says */
	HOLDERS_SOMEBODY, /* a process does, or did when it was looked at */
	HOLDERS_UNKNOWN,  /* there are processes that we may not look at, or that /proc does not show */
};

struct holders_file {
	dev_t device;
	ino_t inode;

	/* results */
	pid_t pid;      /* who does; 0: nobody was found */
	bool is_mapped; /* by that one; else it holds a descriptor */
};

struct holders {
	/* set by the caller; zero all else */
	struct holders_file files[HOLDERS_FILES_MAX];
	unsigned n_files;
	/* Processes that are not looked at, nor is it minded that they cannot be. NULL: there are none. */
	bool (*leaves_out)(const struct holders *scan, pid_t pid);

	/* results */
	pid_t hidden_pid; /* a process that could not be looked at; 0: /proc does not show all, or there is
			     none */
	int error;        /* and why: positive errno; 0: all that there was could be looked at */

	/* the scan's own */
	unsigned n_passes;
	pid_t own_pid, pid;
	DIR *processes, *threads, *descriptors; /* of /proc, of the process, of the thread */
	int maps_fd;                            /* of the process; valid while is_reading_maps */
	bool is_reading_maps, has_mappings;
	size_t n_text;
	char text[HOLDERS_TEXT_MAX];
};

/* Look at up to `max_items` more descriptors, threads and processes, and pieces of their mappings. Returns
 * HOLDERS_MORE until it is done, and then what is true of the files together: SOMEBODY before UNKNOWN. */
enum holders_result holders_step(struct holders *scan, unsigned max_items);
/* What is true of this file of a scan that is done. */
enum holders_result holders_of(const struct holders *scan, unsigned file);
/* Also of a scan that is not done: what it has open. */
void holders_fini(struct holders *scan);

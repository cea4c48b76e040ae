/* backing.h - where a pool's pages come from: files of the kernel's, filled before anybody sees them.
 *
 * The only room that calls mmap, fallocate, ftruncate, unlink and mount. It knows neither tenants nor leases.
 * A backing belongs to one pool. Files may be made and truncated by different threads (stocker, janitor): the
 * kernel's counters are watched under one lock per page size, so that pages which truncation did not bring
 * back are told from pages that somebody else took.
 *
 * Nothing here may be called on a worker's thread, except the plain readers of constants.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/backing/shortage.h"

struct journal;
struct leftover;
struct mailbox;

struct backing;
struct backing_file;

enum backing_kind {
	BACKING_MEMFD,     /* sealed memfd: hugetlb, or plain for the base page size */
	BACKING_HUGETLBFS, /* a file on a hugetlbfs mount of the pool's own, or in a given directory on one */
};

enum {
	BACKING_SHORT = 1,   /* the kernel has not that many free pages, and may not or could not get more */
	BACKING_DAMAGED = 2, /* somebody truncated or punched the file under us */
};

/* Where this daemon may change something on the host, and where it writes that down first. */
struct backing_host {
	int directory_fd;          /* the state directory: only we have it */
	const char *path;          /* the same, for sentences */
	struct journal *journal;   /* of that directory; used by any thread */
	struct leftover *leftover; /* what daemons before this one have left; NULL: it is not looked for */
};

struct backing_config {
	enum backing_kind kind;
	const char *name; /* of the pool, one path component; copied */
	uint64_t page_bytes;
	bool grow; /* may raise nr_hugepages by what is lacking */
	int node;  /* NUMA node that all pages shall come from; -1: any */

	/* hugetlbfs only. */
	uid_t owner_uid;       /* who may open the files by name (mode 0600) besides us */
	const char *directory; /* an existing one on a hugetlbfs mount; NULL: mount one of our own */
	const struct backing_host *host; /* our own is mounted there as NAME; must outlive the backing */
	uint64_t max_pages;              /* of our own: its size= */
	uint64_t reserve_pages;          /* of our own: its min_size= */
};

/* Before the first backing: undo what a daemon that was killed has written down in the journal. Its mounts
 * are detached, the files that it had in directories of others are truncated; what its clients still have is
 * counted. */
void backing_take_over(const struct backing_host *host);

/* Check and set up: the page size is one the kernel has, the mount stands with its reserve. What is there
 * already, and so is somebody else's, is refused. Returns 0, or negative errno with a sentence that says what
 * to do in *ret_error (malloc'ed, the caller frees it; NULL on success, or if there was no memory for it). */
int backing_new(const struct backing_config *config, struct backing **ret, char **ret_error);
/* All files must be gone. Unmounts what it mounted; pages still in limbo are forgotten, so whoever charges
 * somebody for them asks backing_limbo_returned() until all are back. Returns NULL. */
struct backing *backing_free(struct backing *backing);

/* Make a file of `n_pages` preferably from NUMA node `node` (-1: any; ignored where the backing has one),
 * every page allocated (fallocate) and zeroed by the kernel, and map it read-write at an address aligned to 1
 * GiB, the page tables of hugepages filled, for clients to share. Sealed (memfd: GROW and SEAL; NOEXEC) and
 * mode 0600 before it is returned. Returns 0; BACKING_SHORT with *ret_shortage set, after raising was tried
 * if the pool may grow: nothing is taken and nothing stays raised; or negative errno. */
int backing_file_new(struct backing *backing, uint64_t n_pages, int node, struct backing_file **ret,
		     struct backing_shortage *ret_shortage);

/* As many as one file can have, by RLIMIT_FSIZE. *ret_shortage is for `n_pages` that are more. */
uint64_t backing_file_most_pages(const struct backing *backing, uint64_t n_pages,
				 struct backing_shortage *ret_shortage);

/* The same in steps, for who has something else to do in between: begin with an empty file; have as many
 * pages more allocated as `n_pages` (0, BACKING_SHORT or negative errno as above: the file is what it was
 * before that step); and finish it, whatever it has (at least a page; on failure, which is as above, the file
 * is gone). Until then it is only good for these and for backing_file_release(). */
int backing_file_begin(struct backing *backing, struct backing_file **ret);
int backing_file_extend(struct backing_file *file, uint64_t n_pages, int node,
			struct backing_shortage *ret_shortage);
int backing_file_finish(struct backing_file *consume_file, struct backing_shortage *ret_shortage);

/* Pages that could be had now, by the kernel's counters and what limits this process, before any is taken;
 * UINT64_MAX: nothing limits them. `promised_pages` of those that the kernel reserves are the backing's own.
 * *ret_shortage says what limits them, without missing_pages. Hugepages that nr_hugepages could be raised by
 * are not counted: a backing that may grow has as many as the host has memory for. */
uint64_t backing_available_pages(struct backing *backing, uint64_t promised_pages,
				 struct backing_shortage *ret_shortage);

/* The descriptor that clients get, read-write. Stays ours. */
int backing_file_fd(const struct backing_file *file);
uint64_t backing_file_pages(const struct backing_file *file);

/* Zero pages through our mapping. Survives a file that was truncated under it.
 * Returns 0 or BACKING_DAMAGED (how much was zeroed is undefined). Thread-safe, on one file too as long as
 * the pages differ. A page that was punched is taken anew if the kernel has one: backing_file_verify() first.
 */
int backing_file_zero(struct backing_file *file, uint64_t first, uint64_t n_pages);
/* The same for several runs of pages, in ascending order, at most BACKING_ZERO_MAX: what each costs beside
 * its zeroing is paid once. `assistant`: a thread that helps with much, see assistant.h; or NULL. */
#define BACKING_ZERO_MAX 64
struct backing_run {
	uint64_t first, n_pages;
};
int backing_file_zero_runs(struct backing_file *file, const struct backing_run *runs, unsigned n_runs,
			   struct mailbox *assistant);
/* The same with another value in every byte. */
int backing_file_fill(struct backing_file *file, uint64_t first, uint64_t n_pages, uint8_t value);

/* Read access for checks: copies `bytes` at `offset` into `buffer`. 0 or BACKING_DAMAGED. */
int backing_file_read(struct backing_file *file, uint64_t offset, void *buffer, size_t bytes);

/* Has the hardware broken a page of the file, as far as the kernel has told? Then which; each is told once.
 */
bool backing_file_take_memory_error(const struct backing_file *file, uint64_t *ret_page);
/* The same of any file, as an address. */
bool backing_take_any_memory_error(uintptr_t *ret_address);
/* Is it in one of the file's first `n_pages`, as we have them mapped? Then which. */
bool backing_file_has_address(const struct backing_file *file, uint64_t n_pages, uintptr_t address,
			      uint64_t *ret_page);

/* A second descriptor of the file, open for reading only, for those who may not write to it. Ours; goes with
 * the file. Once is enough. Returns 0 or negative errno. */
int backing_file_open_reader(struct backing_file *file);
/* -1: backing_file_open_reader() was not called. */
int backing_file_reader_fd(const struct backing_file *file);

/* Has the file its size, and all of these pages? 0 or BACKING_DAMAGED. One fstat, the one inode call that a
 * worker may make; and of base pages a count of those in the page cache or in swap (cachestat), which takes
 * no lock of the file's: 40 ns a page, if there are few or if the file has more blocks than it was given. */
int backing_file_verify(const struct backing_file *file, uint64_t first, uint64_t n_pages);

/* Unlink, truncate to nothing (whoever still maps it), unmap, close. Takes the file: it is gone afterwards.
 * *ret_limbo_pages: pages that did not come back to the kernel (a client pinned them); they are returned one
 * day, see backing_limbo_returned(). Always 0 for a file that no client ever saw (`exposed` false), and for
 * the base page size, for which the kernel has no counter. On a mount of our own no other program disturbs
 * the count; balance.h says how it can err. */
void backing_file_release(struct backing_file *consume_file, bool exposed, uint64_t *ret_limbo_pages);

/* Give back all but the first `n_pages` (at least 1) by truncating, whoever still maps them. Nobody may zero,
 * read or verify the file meanwhile. `exposed` and *ret_limbo_pages as above. */
void backing_file_trim(struct backing_file *file, uint64_t n_pages, bool exposed, uint64_t *ret_limbo_pages);

/* Pages in limbo that the kernel has got back since the last call (asks the kernel's counters). Backings that
 * share a page size's counter: what cannot be told apart is credited to neither, balance.h. */
uint64_t backing_limbo_returned(struct backing *backing);

/* Pages of the mount of our own that are neither in a file of ours nor in limbo: other programs have files
 * there, or clients made ours longer. 0 where there is no such mount. */
uint64_t backing_foreign_pages(struct backing *backing);

/* Pages of a daemon before this one that was killed, in files that processes still map or hold open; as found
 * when it was looked last, leftover.h. *ret_pid: one of these, 0: none. */
uint64_t backing_left_pages(struct backing *backing, pid_t *ret_pid);

uint64_t backing_page_bytes(const struct backing *backing);

/* The sentence for a pool's reserve that cannot be had: how many pages are lacking, why, and what to do. To
 * be freed; NULL: no memory for it. */
char *backing_explain_reserve(const char *pool, uint64_t page_bytes, uint64_t reserve_pages,
			      const struct backing_shortage *shortage);

/* What the kernel says of one page size; all zero for the base page size. */
struct backing_kernel_counts {
	uint64_t total_pages, free_pages, reserved_pages, surplus_pages;
	uint64_t raised_pages; /* of total: what this daemon raised and will give back */
};
int backing_kernel_counts(uint64_t page_bytes, struct backing_kernel_counts *ret);

/* After the last backing_new() of a start: give back what a daemon that was killed has raised for pools that
 * are not there any more, or may not raise. */
void backing_give_back_unwanted(void);

/* Lower nr_hugepages by all that this daemon raised, whatever it is by then: as the last step of stopping.
 * What an operator has set below that is left as it is. Pages still in use become surplus, which the kernel
 * takes out of its pool when they are freed. Returns how many pages are in use. */
uint64_t backing_give_back_raised(void);

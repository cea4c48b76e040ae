/* leftover.c - see leftover.h. The tree of files and the sums that a look is about to find are the looking
 * thread's; what the last one has found is guarded by the lock.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/backing/leftover.h"
#include "daemon/backing/procfiles.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/journal.h"
#include "daemon/base/lock.h"

#define ID_KEY       "memory"
#define MOUNT_PREFIX "left:"
#define DELETED      " (deleted)"

#define POOLS_MAX      256 /* of all daemons that left something */
#define MOUNTS_MAX     256
#define POOL_NAME_ROOM 64
#define LOOK_PROCESSES 64       /* that one step looks at */
#define PAUSE_NS       NS_PER_S /* between two looks, at least; */
#define PAUSE_SHARE    20       /* and so many times as long as the last one took */
#define BLOCK_BYTES    512      /* of stat's blocks */
#define EMPTY_LOOKS    2        /* in a row: a file can be handed on behind a look's back */

struct left_pool {
	char name[POOL_NAME_ROOM];
	uint64_t bytes;
	pid_t pid; /* who has some of it */
};

struct left_mount {
	uint64_t device;
	char pool[POOL_NAME_ROOM];
};

/* A file that somebody still has. */
struct left_file {
	dev_t device;
	ino_t inode;
	uint64_t bytes;
	unsigned pool; /* in the sums */
	bool is_exact; /* the bytes are what the file says, not what is mapped of it */
};

struct sums {
	struct left_pool pools[POOLS_MAX];
	unsigned n;
};

struct leftover {
	/* Constant. */
	struct journal *journal;
	uint64_t id, life; /* of the state directory, and of this daemon */

	/* The looking thread's. */
	bool is_wanted; /* there can be something left */
	struct left_mount mounts[MOUNTS_MAX];
	unsigned n_mounts;
	DIR *processes; /* of a look that is under way; NULL: none is */
	void *files;    /* a tree of struct left_file */
	struct sums found;
	bool is_partial;  /* not all that there is could be looked at, for want of descriptors or memory */
	unsigned n_empty; /* looks in a row that found nothing */
	uint64_t worked_ns, next_look_ns;

	struct lock lock;
	struct sums sums; /* guarded by lock: of the last look that has ended */
};

/* ---- names ---- */

void leftover_format_name(const struct leftover *leftover, const char *pool, char *name, size_t room)
{
	if (leftover)
		snprintf(name, room, "hp-%016" PRIx64 "-%016" PRIx64 "-%s", leftover->id, leftover->life,
			 pool);
	else
		snprintf(name, room, "hp-%s", pool);
}

/* Is that the path of a memfd which a daemon before this one has made? Then for which pool. */
static bool parse_path(const struct leftover *leftover, const char *path, char pool[POOL_NAME_ROOM])
{
	uint64_t id, life;
	int length = 0;
	size_t n;

	if (sscanf(path, "/memfd:hp-%16" SCNx64 "-%16" SCNx64 "-%n", &id, &life, &length) != 2 ||
	    length == 0 || id != leftover->id || life == leftover->life)
		return false;
	path += length;
	n = strlen(path);
	if (n <= strlen(DELETED) || strcmp(path + n - strlen(DELETED), DELETED) != 0)
		return false;
	n -= strlen(DELETED);
	if (n >= POOL_NAME_ROOM)
		return false;
	memcpy(pool, path, n);
	pool[n] = '\0';
	return true;
}

static const char *find_mount(const struct leftover *leftover, dev_t device)
{
	for (unsigned i = 0; i < leftover->n_mounts; i++)
		if (leftover->mounts[i].device == device)
			return leftover->mounts[i].pool;
	return NULL;
}

/* ---- what a look finds ---- */

static int compare_files(const void *a, const void *b)
{
	const struct left_file *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* Its place in the sums; POOLS_MAX: there is no more. */
static unsigned find_pool(struct sums *sums, const char *name, pid_t pid)
{
	unsigned i = 0;

	while (i < sums->n && strcmp(sums->pools[i].name, name) != 0)
		i++;
	if (i == sums->n && i < POOLS_MAX) {
		sums->pools[i] = (struct left_pool){.pid = pid};
		snprintf(sums->pools[i].name, sizeof(sums->pools[i].name), "%s", name);
		sums->n++;
	}
	return i;
}

static struct left_file *find_file(struct leftover *leftover, dev_t device, ino_t inode)
{
	const struct left_file key = {.device = device, .inode = inode};
	struct left_file **node = tfind(&key, &leftover->files, compare_files);

	return node ? *node : NULL;
}

/* Of a file that is known already, the most is true: what a mapping shows is not all that there is. */
static void count(struct leftover *leftover, const struct left_file *seen, const char *pool, pid_t pid)
{
	struct left_file *file = find_file(leftover, seen->device, seen->inode);

	if (!file) {
		file = calloc(1, sizeof(*file));
		if (!file) {
			leftover->is_partial = true;
			return;
		}
		*file = (struct left_file){.device = seen->device, .inode = seen->inode};
		file->pool = find_pool(&leftover->found, pool, pid);
		if (file->pool == POOLS_MAX || !tsearch(file, &leftover->files, compare_files)) {
			leftover->is_partial |= file->pool < POOLS_MAX;
			free(file);
			return;
		}
	}
	file->is_exact |= seen->is_exact;
	if (seen->bytes > file->bytes) {
		leftover->found.pools[file->pool].bytes += seen->bytes - file->bytes;
		file->bytes = seen->bytes;
	}
}

/* Anybody can give a memfd of his own such a name, but not make it ours. */
static bool is_left(const struct statx *st, bool is_named)
{
	return S_ISREG(st->stx_mode) && st->stx_nlink == 0 && (!is_named || st->stx_uid == geteuid());
}

/* The mapping's file cannot be asked without privilege. Then so much as is mapped is there; and whoever is
 * not of our user could have given the file its name. */
static void count_mapped(struct leftover *leftover, const struct procfile *file, const char *pool)
{
	const struct left_file seen = {
		.device = file->device, .inode = file->inode, .bytes = file->mapped_bytes};
	struct stat process;

	if (file->mapped_bytes > 0 && fstat(file->process_fd, &process) == 0 && process.st_uid == geteuid())
		count(leftover, &seen, pool, file->pid);
}

static void look_at(void *arg, const struct procfile *file)
{
	struct leftover *leftover = arg;
	char named[POOL_NAME_ROOM];
	const bool is_named = parse_path(leftover, file->shown, named);
	const char *pool = is_named ? named : NULL;
	const struct left_file *known;
	struct left_file seen;
	struct statx st;

	if (!is_named && file->device != 0)
		pool = find_mount(leftover, file->device);
	if (!is_named &&
	    (file->device != 0 ? !pool : leftover->n_mounts == 0 || !strstr(file->shown, DELETED)))
		return;
	/* A file can be mapped a thousand times. */
	known = file->device != 0 ? find_file(leftover, file->device, file->inode) : NULL;
	if (known && known->is_exact)
		return;
	/* The file system behind a descriptor is not asked, as it may be one that never answers. */
	if (statx(file->process_fd, file->path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
		  &st) < 0) {
		if (pool && (errno == EPERM || errno == EACCES))
			count_mapped(leftover, file, pool);
		return;
	}
	seen = (struct left_file){.device = makedev(st.stx_dev_major, st.stx_dev_minor),
				  .inode = st.stx_ino,
				  .bytes = st.stx_blocks * BLOCK_BYTES,
				  .is_exact = true};
	if (!pool)
		pool = find_mount(leftover, seen.device);
	if (pool && is_left(&st, is_named))
		count(leftover, &seen, pool, file->pid);
}

/* ---- looks ---- */

static void forget_mounts(struct leftover *leftover)
{
	while (leftover->n_mounts > 0)
		leftover_drop_mount(leftover, leftover->mounts[leftover->n_mounts - 1].device);
}

static void begin_look(struct leftover *leftover)
{
	leftover->found.n = 0;
	leftover->is_partial = false;
	leftover->worked_ns = 0;
	leftover->processes = procfiles_open_directory(AT_FDCWD, "/proc");
}

static void publish(struct leftover *leftover)
{
	lock_take(&leftover->lock);
	leftover->sums = leftover->found;
	lock_drop(&leftover->lock);
	leftover->n_empty = leftover->found.n == 0 ? leftover->n_empty + 1 : 0;
}

static void end_look(struct leftover *leftover)
{
	const uint64_t pause_ns = leftover->worked_ns * PAUSE_SHARE;

	closedir(leftover->processes);
	leftover->processes = NULL;
	tdestroy(leftover->files, free);
	leftover->files = NULL;
	if (!leftover->is_partial)
		publish(leftover);
	leftover->next_look_ns = clock_now_ns() + (pause_ns > PAUSE_NS ? pause_ns : PAUSE_NS);
	if (leftover->n_empty >= EMPTY_LOOKS) {
		leftover->is_wanted = false;
		forget_mounts(leftover);
	}
}

/* So many processes more. Returns whether the look is under way still. */
static bool go_on(struct leftover *leftover, unsigned n_processes)
{
	const uint64_t begun_ns = clock_now_ns();
	const char *name = "";

	for (unsigned i = 0; i < n_processes && (name = procfiles_next_number(leftover->processes)); i++)
		leftover->is_partial |=
			procfiles_visit(dirfd(leftover->processes), name, look_at, leftover) < 0;
	leftover->worked_ns += clock_now_ns() - begun_ns;
	if (!name)
		end_look(leftover);
	return name;
}

void leftover_look(struct leftover *leftover)
{
	if (!leftover || !leftover->is_wanted)
		return;
	if (!leftover->processes)
		begin_look(leftover);
	while (leftover->processes && go_on(leftover, LOOK_PROCESSES))
		;
}

void leftover_step(struct leftover *leftover)
{
	if (!leftover->is_wanted || (!leftover->processes && clock_now_ns() < leftover->next_look_ns))
		return;
	if (!leftover->processes)
		begin_look(leftover);
	if (leftover->processes)
		go_on(leftover, LOOK_PROCESSES);
}

uint64_t leftover_bytes(struct leftover *leftover, const char *pool, pid_t *ret_pid)
{
	uint64_t bytes = 0;

	*ret_pid = 0;
	if (!leftover)
		return 0;
	lock_take(&leftover->lock);
	for (unsigned i = 0; i < leftover->sums.n; i++) {
		if (strcmp(leftover->sums.pools[i].name, pool) != 0)
			continue;
		bytes = leftover->sums.pools[i].bytes;
		*ret_pid = leftover->sums.pools[i].pid;
	}
	lock_drop(&leftover->lock);
	return bytes;
}

/* ---- mounts ---- */

static char *make_mount_key(uint64_t device, char key[64])
{
	snprintf(key, 64, MOUNT_PREFIX "%" PRIu64, device);
	return key;
}

static void enter_mount(struct leftover *leftover, const char *pool, uint64_t device)
{
	struct left_mount *mount = &leftover->mounts[leftover->n_mounts];

	if (leftover->n_mounts == MOUNTS_MAX)
		return;
	mount->device = device;
	snprintf(mount->pool, sizeof(mount->pool), "%s", pool);
	leftover->n_mounts++;
}

void leftover_add_mount(struct leftover *leftover, const char *pool, uint64_t device)
{
	_cleanup_free_ char *word = journal_escape(pool);
	char key[64];

	if (!leftover || !word || find_mount(leftover, device))
		return;
	/* If it cannot be written, this daemon knows of it all the same. */
	(void)journal_put(leftover->journal, make_mount_key(device, key), "%s", word);
	enter_mount(leftover, pool, device);
}

void leftover_drop_mount(struct leftover *leftover, uint64_t device)
{
	char key[64];

	for (unsigned i = 0; leftover && i < leftover->n_mounts; i++) {
		if (leftover->mounts[i].device != device)
			continue;
		(void)journal_drop(leftover->journal, make_mount_key(device, key));
		leftover->mounts[i] = leftover->mounts[--leftover->n_mounts];
		return;
	}
}

static void read_mounts(struct leftover *leftover)
{
	const char *key = NULL;

	while ((key = journal_next(leftover->journal, MOUNT_PREFIX, key))) {
		_cleanup_free_ char *pool = journal_unescape(journal_get(leftover->journal, key));
		uint64_t device;

		if (pool && sscanf(key, MOUNT_PREFIX "%" SCNu64, &device) == 1)
			enter_mount(leftover, pool, device);
	}
}

/* ---- beginning and end ---- */

static bool draw(uint64_t *ret)
{
	return getrandom(ret, sizeof(*ret), 0) == sizeof(*ret);
}

int leftover_new(struct journal *journal, struct leftover **ret)
{
	struct leftover *leftover = calloc(1, sizeof(*leftover));
	const char *words = journal_get(journal, ID_KEY);
	int r = 0;

	if (!leftover)
		return -ENOMEM;
	leftover->journal = journal;
	lock_init(&leftover->lock, LOCK_LEFTOVER);
	/* Another boot's memory is gone. */
	leftover->is_wanted = words && !journal_is_of_another_boot(journal) &&
			      sscanf(words, "%16" SCNx64, &leftover->id) == 1;
	if (!draw(&leftover->life) || (!leftover->is_wanted && !draw(&leftover->id)))
		r = -EIO;
	read_mounts(leftover);
	if (!leftover->is_wanted)
		forget_mounts(leftover);
	if (r == 0)
		r = journal_put(journal, ID_KEY, "%016" PRIx64, leftover->id);
	if (r < 0) {
		lock_fini(&leftover->lock);
		free(leftover);
		return r;
	}
	*ret = leftover;
	return 0;
}

struct leftover *leftover_free(struct leftover *leftover)
{
	if (!leftover)
		return NULL;
	leftover_look(leftover);
	/* Of a look that could not be begun nothing is known. */
	if (!leftover->is_wanted || leftover->n_empty > 0) {
		forget_mounts(leftover);
		(void)journal_drop(leftover->journal, ID_KEY);
	}
	lock_fini(&leftover->lock);
	free(leftover);
	return NULL;
}

/* state.c - see state.h. The lock file is removed by who has the lock; who gets the lock on one that was
 * removed in between tries again from the start. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/directory.h"
#include "daemon/base/log.h"
#include "daemon/run/state.h"
#include "daemon/run/stop.h"

#define LOCK_NAME    ".hugepoold.lock"
#define JOURNAL_NAME ".hugepoold.journal"
#define BESIDE       ".state"

#define ALIVE_WAIT_NS (3 * NS_PER_S) /* for a daemon that may have been told to stop a moment ago */
#define STOPPING_WAIT_NS                                                                                     \
	(60 * NS_PER_S) /* for one that is stopping: giving back much memory takes its time */
#define LOOK_MS 20

#define STOPPING_WORD "stopping"

#define STATE_NONE ((struct state){.directory_fd = -1, .lock_fd = -1, .parent_fd = -1})

/* Who has the lock, by its own word. */
struct owner {
	int pid; /* 0: it has not said so */
	bool is_stopping;
};

static int fail(char **ret_error, int error, const char *path, const char *what)
{
	if (asprintf(ret_error, "the state directory %s%s%s%s", path, what, error < 0 ? ": " : "",
		     error < 0 ? directory_strerror(error) : "") < 0)
		*ret_error = NULL;
	return error < 0 ? error : -EPERM;
}

/* ---- the directory ---- */

/* One that is ours alone and is made if need be, in a directory that others can write to. */
static int open_beside(struct state *state, char **ret_error)
{
	const char *name = state->name;
	int parent_fd = state->parent_fd;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdirat(parent_fd, name, 0711) < 0 && errno != EEXIST)
		return fail(ret_error, -errno, name, " cannot be made");
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? -EAGAIN : fail(ret_error, -errno, name, " cannot be opened");
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return fail(ret_error, 0, name,
			    " beside the socket is somebody else's: use another path, or name a --state");
	/* Pools are mounted there, and other users open their files by name. */
	if (fchmod(fd, 0711) < 0)
		return fail(ret_error, -errno, name, " cannot be opened to others");
	state->directory_fd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return state->directory_fd < 0 ? -errno : 0;
}

static int open_by_socket(struct state *state, const char *socket_path, char **ret_error)
{
	_cleanup_close_ int parent_fd = -1;
	_cleanup_free_ char *parent = NULL;
	const char *socket_name;
	int r;

	parent = directory_split(socket_path, &socket_name);
	if (!parent)
		return -ENOMEM;
	r = directory_open(parent, &parent_fd);
	if (r == 0)
		r = directory_rights(parent_fd);
	if (r < 0) {
		if (asprintf(ret_error, "socket %s: cannot open its directory: %s%s", socket_path,
			     directory_strerror(r),
			     r == -ENOENT ? ": make it, or name another --socket" : "") < 0)
			*ret_error = NULL;
		return r;
	}
	if (r == DIRECTORY_PRIVATE) {
		state->directory_fd = take_fd(&parent_fd);
		return 0;
	}
	if (asprintf(&state->name, "%s" BESIDE, socket_name) < 0) {
		state->name = NULL;
		return -ENOMEM;
	}
	state->parent_fd = take_fd(&parent_fd);
	return open_beside(state, ret_error);
}

/* Made with what is above it already there. */
static int make_named(const char *path)
{
	_cleanup_close_ int parent_fd = -1;
	_cleanup_free_ char *copy = strdup(path), *parent = NULL;
	const char *name;
	int r;

	for (size_t n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	parent = copy ? directory_split(copy, &name) : NULL;
	if (!parent)
		return -ENOMEM;
	r = directory_open(parent, &parent_fd);
	if (r < 0)
		return r;
	return mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_named(struct state *state, const char *path, char **ret_error)
{
	int r = directory_open(path, &state->directory_fd);

	if (r == -ENOENT) {
		r = make_named(path);
		if (r < 0)
			return fail(ret_error, r, path, " cannot be made");
		r = directory_open(path, &state->directory_fd);
	}
	if (r < 0)
		return fail(ret_error, r, path, " cannot be opened");
	if (directory_rights(state->directory_fd) == DIRECTORY_SHARED)
		return fail(ret_error, 0, path,
			    " can be changed by other users: let it belong to the daemon's user, chmod "
			    "go-w, or name another --state");
	return 0;
}

/* ---- the lock ---- */

static struct owner read_owner(int lock_fd)
{
	struct owner owner = {0};
	char text[64];
	ssize_t n = pread(lock_fd, text, sizeof(text) - 1, 0);
	int length = 0;

	if (n <= 0)
		return owner;
	text[n] = '\0';
	if (sscanf(text, "%9d%n", &owner.pid, &length) != 1 || owner.pid <= 0)
		owner.pid = 0;
	owner.is_stopping = strcmp(text + length, " " STOPPING_WORD "\n") == 0;
	return owner;
}

static int write_owner(int lock_fd, bool is_stopping)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%d%s\n", (int)getpid(), is_stopping ? " " STOPPING_WORD : "");

	if (ftruncate(lock_fd, 0) < 0)
		return -errno;
	return pwrite(lock_fd, text, (size_t)n, 0) == n ? 0 : -EIO;
}

#define OWNER_NAME_MAX 48

/* It may have the lock, and not have said yet who it is. Returns `name`. */
static const char *name_owner(struct owner owner, char name[OWNER_NAME_MAX])
{
	if (owner.pid > 0)
		snprintf(name, OWNER_NAME_MAX, "hugepoold with pid %d", owner.pid);
	else
		snprintf(name, OWNER_NAME_MAX, "another hugepoold");
	return name;
}

static int busy(char **ret_error, const char *path, struct owner owner)
{
	char who[OWNER_NAME_MAX];
	if (asprintf(
		    ret_error,
		    "the state directory %s is in use by %s%s: stop that one, or start this one with another "
		    "--state",
		    path, name_owner(owner, who), owner.is_stopping ? ", which is still stopping" : "") < 0)
		*ret_error = NULL;
	return -EBUSY;
}

static int open_lock(struct state *state, char **ret_error)
{
	_cleanup_close_ int fd =
		openat(state->directory_fd, LOCK_NAME,
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return -EAGAIN; /* the directory is gone by now, or has never been one for files */
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(ret_error, -errno, state->path, ": its " LOCK_NAME " cannot be opened");
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1)
		return fail(ret_error, 0, state->path,
			    ": its " LOCK_NAME " is somebody else's: remove it, or name another --state");
	if (fchmod(fd, 0600) < 0)
		return fail(ret_error, -errno, state->path, ": its " LOCK_NAME " cannot be made ours alone");
	state->lock_fd = take_fd(&fd);
	return 0;
}

/* Is the file that we have locked still the one at its name? */
static bool is_current(const struct state *state)
{
	struct stat ours, there;

	return fstat(state->lock_fd, &ours) == 0 &&
	       fstatat(state->directory_fd, LOCK_NAME, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* How long we would have waited at `now_ns`, and whether that has been said. */
struct patience {
	uint64_t since_ns;
	bool is_said;
};

/* Returns 0 with the lock; -EAGAIN: the file was removed meanwhile; and as state_open(). */
static int wait_for_lock(struct state *state, struct patience *patience, char **ret_error)
{
	struct pollfd stop = {.fd = stop_fd(), .events = POLLIN};
	char who[OWNER_NAME_MAX];
	struct owner owner;

	while (flock(state->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fail(ret_error, -errno, state->path, ": its " LOCK_NAME " cannot be locked");
		owner = read_owner(state->lock_fd);
		if (clock_now_ns() - patience->since_ns >
		    (owner.is_stopping ? STOPPING_WAIT_NS : ALIVE_WAIT_NS))
			return busy(ret_error, state->path, owner);
		if (!patience->is_said)
			log_info("waiting for %s, which has the state directory %s, to stop",
				 name_owner(owner, who), state->path);
		patience->is_said = true;
		poll(&stop, 1, LOOK_MS);
		if (stop_wanted())
			return -ECANCELED;
	}
	return is_current(state) ? 0 : -EAGAIN;
}

/* Undo what try_open() did. The files go before the lock does: who waits for it finds that, and tries again.
 */
static void forget(struct state *state)
{
	state->journal = journal_free(state->journal);
	if (state->is_locked && is_current(state))
		(void)unlinkat(state->directory_fd, LOCK_NAME, 0);
	/* Fails if somebody waits there already, or something of ours could not be given back. */
	if (state->is_locked && state->parent_fd >= 0)
		(void)unlinkat(state->parent_fd, state->name, AT_REMOVEDIR);
	if (state->lock_fd >= 0)
		close(state->lock_fd);
	if (state->directory_fd >= 0)
		close(state->directory_fd);
	if (state->parent_fd >= 0)
		close(state->parent_fd);
	free(state->path);
	free(state->name);
	*state = STATE_NONE;
}

/* The journal's sentence, and where that is. */
static int open_journal(struct state *state, char **ret_error)
{
	_cleanup_free_ char *error = NULL;
	int r = journal_open(state->directory_fd, JOURNAL_NAME, &state->journal, &error);

	if (r < 0 && error && asprintf(ret_error, "the state directory %s: %s", state->path, error) < 0)
		*ret_error = NULL;
	return r;
}

static int try_open(struct state *state, const char *path, const char *socket_path, struct patience *patience,
		    char **ret_error)
{
	int r = path ? open_named(state, path, ret_error) : open_by_socket(state, socket_path, ret_error);

	if (r < 0)
		return r;
	state->path = directory_path(state->directory_fd);
	if (!state->path)
		return -EAGAIN;
	r = open_lock(state, ret_error);
	if (r == 0)
		r = wait_for_lock(state, patience, ret_error);
	if (r < 0)
		return r;
	state->is_locked = true;
	r = write_owner(state->lock_fd, false);
	if (r < 0)
		return fail(ret_error, r, state->path, ": its " LOCK_NAME " cannot be written");
	return open_journal(state, ret_error);
}

int state_open(struct state *state, const char *path, const char *socket_path, char **ret_error)
{
	struct patience patience = {.since_ns = clock_now_ns()};
	int r;

	*ret_error = NULL;
	*state = STATE_NONE;
	while ((r = try_open(state, path, socket_path, &patience, ret_error)) == -EAGAIN) {
		forget(state);
		poll(NULL, 0, LOOK_MS);
		if (stop_wanted())
			r = -ECANCELED;
		else if (clock_now_ns() - patience.since_ns > ALIVE_WAIT_NS)
			r = fail(ret_error, -ENOENT, path ? path : socket_path,
				 path ? ": no file can be made in it"
				      : ": cannot bind the socket, no file can be made beside it");
		if (r != -EAGAIN)
			break;
	}
	if (r < 0)
		forget(state);
	return r;
}

void state_mark_stopping(struct state *state)
{
	if (state->is_locked)
		(void)write_owner(state->lock_fd, true);
}

void state_close(struct state *state)
{
	forget(state);
}

/* hugepool.h - shared hugepage buffers from hugepoold.
 *
 * A client is one session with the daemon; a lease is memory that the client holds: zeroed, faulted in,
 * shared by descriptor. The library maps each arena (the file that leases lie in) once, at an address aligned
 * to 1 GiB; leases that are to be mapped in another way than that have mappings of their own.
 *
 * Errors: functions return 0 or a negative errno; hp_error() has the sentence of the thread's last failure.
 *   -EINVAL     an argument makes no sense            -EPERM      the pool, or the lease, does not admit you
 *   -ENOENT     no such pool or lease                 -EACCES     somebody else holds that lease
 *   -EDQUOT     over your quota                       -ENOSPC     the pool is full
 *   -ENOMEM     no memory, here or from the kernel    -EMFILE     no descriptor is free here
 *   -EEXIST     the name is taken                     -EOVERFLOW  too many sessions, requests or items
 *   -ETIME      nothing came free while we waited     -EBUSY      others hold the lease too
 *   -ESHUTDOWN  the pool is being drained             -ENOENT     too: what was leased was revoked at once
 *   -ECONNREFUSED, -ENOENT (from hp_open)  no daemon  -ETIMEDOUT  (from hp_open) the daemon does not answer
 *   -ECONNRESET the daemon went away for good         -EPROTO     the daemon speaks another language
 *   -EOPNOTSUPP the daemon is too old for that         -ENODATA    (from hp_lease_owner) nobody has said
 *   -ECANCELED  (to callbacks) the client was closed  -EINTR      a signal handler has interrupted the call
 *   -ETIMEDOUT  too, from calls with wait_ms: the daemon has not answered 2 s after that: it is stopped, or
 * busy -ESTALE     the session ended while we were not connected: its leases are gone, only hp_close() is
 * left -ECHILD     the client belongs to the process that this one was forked from
 *
 * A broken connection is mended by the next call, or by those that wait, which take 10 s or a little more to
 * find the daemon again; after -ECONNRESET a later call tries anew. Meanwhile leases are what they were:
 * memory of this process. What ends leases (hp_free(), hp_close(), hp_cache_put() and the like) does not look
 * for a daemon that is gone, and waits at most a second for one that does not answer, and once only: the
 * memory goes here and now, and the daemon is told as soon as it can be.
 *
 * Signals: a handler that was installed without SA_RESTART ends every other call that waits for the daemon,
 * in the thread in which it ran, with -EINTR. What was asked for is withdrawn then: memory that is granted
 * all the same goes back by itself, a lease to be resized is as long as it was, a callback or subscription
 * may have been taken over or not. hp_lease_resize() to less is not interrupted. After a handler with
 * SA_RESTART calls go on; while a wait has a time limit (wait_ms, or nobody is found at the socket) the
 * library cannot see which handler ran, and goes on if all of the thread's restart calls.
 *
 * Threads: every function may be called from any thread at any time; a lease is used by one thread at a time,
 * and nobody may use a client or lease after the call that ended it. A thread must not be cancelled inside
 * the library. fork(): leases are not mapped in the child (MADV_DONTFORK), nor dumped (MADV_DONTDUMP); of its
 * parent's clients the child may only hp_close(), which drops its copies and leaves the session alone, or
 * hp_adopt(), which makes it take part.
 *
 * The library never aborts, prints nothing, installs no signal handler and starts no thread.
 */
#ifndef HUGEPOOL_H
#define HUGEPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hp_client hp_client;
typedef struct hp_lease hp_lease;

/* The sentence for the last failed call of this thread; never NULL, empty before the first; valid until the
 * thread's next call. */
const char *hp_error(void);

/* Connect to the daemon at `socket_path` (NULL: $HUGEPOOL_SOCKET, else /run/hugepool/hugepoold.sock for root,
 * else $XDG_RUNTIME_DIR/hugepool/hugepoold.sock if it is there, else root's again) and start a session. */
int hp_open(const char *socket_path, hp_client **ret_client);

/* In a forked child: hold the parent's session, too. It and its leases then live on until every process that
 * holds it is dead or has called hp_close(), so a daemon forks, the child calls this, and the parent exits
 * when it has returned. The handles are the parent's at the time of the fork, their memory is at the same
 * addresses, shared with it. Call it first of all: -EEXIST, when the child has mapped something else there.
 * -EBUSY: the parent was using the client as it forked, or has caches or leases that are HP_PRIVATE.
 * -EOVERFLOW: 8 processes hold a session at most. On failure the client is the parent's as before. In a
 * process whose client it is: 0. The session has one connection: whoever calls the library takes it, so one
 * of them should do so at a time, and what the other does with leases (end, resize, get new ones) a handle
 * does not know of. */
int hp_adopt(hp_client *client);

/* End the session: every lease ends (detached ones live on), every mapping goes, every handle is freed; if
 * other processes hold it (hp_adopt()), it and the leases are theirs from then on. Waits a second at most for
 * the daemon to know, and not at all for one that is gone. Takes NULL. Returns NULL. */
hp_client *hp_close(hp_client *client);

/* Threads that wait for an answer look for it again and again for up to `spin_us` microseconds before they
 * sleep: it then comes without the time that waking up takes, for a CPU that does nothing else meanwhile. 5
 * to 20 are for programs that ask often, a second is the most. 0, as it is at first: they sleep at once. No
 * matter where there is only one CPU. */
int hp_set_spin(hp_client *client, unsigned spin_us);

/* The page size of `pool` (NULL: the daemon's first) in bytes. */
int hp_pool_page_bytes(hp_client *client, const char *pool, uint64_t *ret_page_bytes);

/* What a lease is; for struct hp_alloc_options. */
enum {
	HP_DETACHED = 1u << 0,   /* lives on when this process has died, until it is freed by id or name */
	HP_CONTIGUOUS = 1u << 1, /* one run of one file, whatever max_runs says */
	/* an operator may end it (HP_EVENT_REVOKED): it has files of its own. So have, and may end likewise,
	 * those with a lifetime, open to others, or with isolation=lease */
	HP_REVOCABLE = 1u << 2,
	HP_NO_ZERO = 1u << 3, /* may hold what this tenant has written and freed before: needs no scrubbing */
};

/* How it is mapped; for hp_alloc(), hp_lease_open(). Without any of these a lease is a part of its arena's
 * one mapping and costs no system call. With one it has a mapping of its own, which costs an mmap (and
 * per page what is said here) and goes at hp_free().
 *   Pages of a shared mapping, read-only or not, are the file's: unmapping gives nothing back, the end of the
 *   lease does. Pages that a private mapping has copied are this process's own: they come from the kernel's
 *   free ones of the same size (not from the pool, so there may be none: then the write raises SIGBUS, unless
 *   HP_POPULATE has taken them all at once) and go back to it when the mapping goes. */
enum {
	HP_READ_ONLY = 1u << 8, /* cannot be written by this process. Shared mappings only */
	HP_PRIVATE = 1u << 9,   /* copy on write: what is written here, nobody else sees, the file never */
	HP_POPULATE = 1u << 10, /* page tables are filled now: 2 us a huge page, instead of a fault each; with
				   HP_PRIVATE all copies are made now, 84 us each, or -ENOMEM */
	HP_LOCK = 1u << 11,     /* mlock: 4 KiB pages cannot be swapped out; counts against RLIMIT_MEMLOCK
				   (-ENOMEM). Hugepages never are swapped; it populates them */
	HP_GUARD = 1u << 12,    /* an inaccessible page before and after it: an overrun is a SIGSEGV */
};

/* For hp_lease_resize(). */
enum {
	HP_MAY_MOVE = 1u << 16, /* its address in this process may change */
};

/* For hp_free_batch(), hp_free_start(). */
enum {
	HP_COLD = 1u << 17, /* these pages will not be asked for again soon */
};

/* One user or group that may open a named lease. */
struct hp_access {
	uint32_t id; /* uid or gid */
	int is_group;
	int may_write; /* else it may only be read */
};

struct hp_alloc_options {
	const char *pool; /* NULL: the daemon's first */
	/* NULL: anonymous. NAME: in the namespace that all users share (which a pool may keep to some);
	 * ~/NAME: in the user's own, where nobody can take it first. 1 to 255 bytes of UTF-8, not only
	 * digits, without characters that are controls, invisible, or turn the direction of writing */
	const char *name;
	uint64_t align_bytes; /* of each run's first byte in its file; 0: a page. A power of two. The address
				 is aligned alike, up to 1 GiB, when the lease is one run */
	unsigned flags;       /* HP_... of both kinds above */
	unsigned max_runs;    /* of pages that are mapped back to back, so that the lease is one range of
				 addresses; at most 64; 0: as many as that */
	uint32_t mode; /* named: who may open it, as of a file (0640: the creator's gid may read); 0: 0600 */
	const struct hp_access *access; /* named: who else */
	unsigned n_access;              /* at most 16 */
	uint64_t wait_ms; /* wait so long for memory (-ETIME), first come first served; 0: only for what is
			     under way anyhow */
	uint64_t lifetime_ms; /* it ends by itself after that (HP_EVENT_REVOKED), whoever uses it: its memory
				 is gone then, an access raises SIGBUS; 0: it does not */
	unsigned node;        /* NUMA node of the host to prefer, plus 1; 0: any */
};

/* Lease `bytes` (rounded up to whole pages) of zeroed memory. `options` may be NULL. */
int hp_alloc(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options, hp_lease **ret_lease);

/* Lease `n` buffers with one request, of bytes[0] ... bytes[n-1]: all or none. `ret_leases` has room for n.
 * A name is not allowed when n > 1. On failure ret_leases are all NULL, or untouched. */
int hp_alloc_batch(hp_client *client, const uint64_t *bytes, unsigned n,
		   const struct hp_alloc_options *options, hp_lease **ret_leases);

/* Hold the lease of that name, which another client, or another user who grants it, has made: the same
 * memory, by a lease of one's own. `flags` say how it is mapped; without HP_READ_ONLY it must be open for
 * writing to this user. Its pages are charged to who made it, and stay until the last holder has let go.
 * Another user's HP_READ_ONLY is enforced by the kernel: the descriptor cannot be mapped writable (unless the
 * daemon runs as that very user: then it is a courtesy). */
int hp_lease_open(hp_client *client, const char *name, unsigned flags, hp_lease **ret_lease);
/* The same, if this user has made it; else -EPERM. Without that, a name that all users share proves nothing:
 * who comes first has it. (Another user's own one is ~UID/NAME or ~USER/NAME, and always that user's.) */
int hp_lease_open_of(hp_client *client, const char *name, uint32_t owner_uid, unsigned flags,
		     hp_lease **ret_lease);

/* Make the lease `bytes` long: its tail is given back, or zeroed pages are appended; what it has stays.
 * Growing happens in place when the pages behind it are free or the addresses behind it are; else with
 * HP_MAY_MOVE the whole is mapped elsewhere (but not a HP_PRIVATE one of several runs), without it -ENOSPC.
 * `flags`: HP_MAY_MOVE. -EBUSY: others have opened it, or it was opened. On failure it is as long as it was.
 */
int hp_lease_resize(hp_lease *lease, uint64_t bytes, unsigned flags);

/* End a lease and free the handle, whatever is returned (but -ECHILD): its memory must not be touched any
 * more. NULL is fine. The daemon scrubs the pages before anybody gets them again. A batch goes on after a
 * failure and returns the first; `flags`: HP_COLD. 0 also when the daemon is gone, or does not answer (see
 * above): it is told later, and nothing can be said of failures. */
int hp_free(hp_lease *lease);
int hp_free_batch(hp_lease *const *leases, unsigned n, unsigned flags);

/* Free the handle without ending the lease: for detached leases, which live on by their id or name, and for
 * others until the client is closed. A mapping of its own goes. */
void hp_lease_forget(hp_lease *lease);

/* End a lease that this client holds no handle of: a detached one of one's own user (root, the daemon's user
 * and its admin groups: of anybody), by id or by name. Of an id that has ended, 0: it is never used again; a
 * name that nobody has (any more) is -ENOENT. */
int hp_free_id(hp_client *client, uint64_t lease_id);
int hp_free_name(hp_client *client, const char *name);

/* What a lease is. The memory is readable and writable, and shared with whoever maps the same file, unless
 * flags said otherwise. */
void *hp_lease_data(const hp_lease *lease);
uint64_t hp_lease_bytes(const hp_lease *lease);
uint64_t hp_lease_id(const hp_lease *lease);
/* Of a lease that was opened: who has made it, and who may open it, as of a file (each may be NULL).
 * -ENODATA: it was not opened, or the daemon is too old to say. */
int hp_lease_owner(const hp_lease *lease, uint32_t *ret_uid, uint32_t *ret_mode);
/* The file that the run number `run` of it lies in (0: the first), to hand to a process of the same tenant: a
 * new descriptor, the caller's (CLOEXEC), and the run's offset in it and length in bytes (each may be NULL).
 * Returns the descriptor or a negative errno; -ENOENT past the last run. */
int hp_lease_dup_fd(const hp_lease *lease, unsigned run, uint64_t *ret_offset, uint64_t *ret_bytes);

/* ---- buffers that are ready at hand ---- */

/* A cache keeps leases of one size that the program has done with, for the thread that has used them, so that
 * taking one again costs nanoseconds and no request. Others come and go in batches, one request each. */
typedef struct hp_cache hp_cache;

enum {
	HP_ZEROED = 1u << 18, /* what was used before is zeroed when it is taken again */
};

struct hp_cache_options {
	const char *pool; /* NULL: the daemon's first */
	uint64_t bytes;   /* of a buffer, rounded up to whole pages; 0: a page */
	unsigned high;    /* a thread keeps at most so many; 0: what makes 16 MiB, but 4 to 256 */
	unsigned batch;   /* of so many come and go at once, at most 256 and high; 0: half of high */
	unsigned flags;   /* HP_ZEROED, and those for hp_alloc(): HP_CONTIGUOUS, HP_NO_ZERO, HP_POPULATE,
			     HP_LOCK, HP_GUARD */
};

/* `options` may be NULL. Takes no memory yet. -EAGAIN: no pthread key is left. */
int hp_cache_new(hp_client *client, const struct hp_cache_options *options, hp_cache **ret_cache);

/* A buffer: the one that this thread has put last, or of a new batch. A new one is zeroed; one that was put
 * is what this process has left in it, unless HP_ZEROED. Each is a lease like any other; it may also be ended
 * by hp_free(). When there is no memory for a batch there may be for one, or another thread has one to spare;
 * else the errors are hp_alloc()'s. */
int hp_cache_take(hp_cache *cache, hp_lease **ret_lease);
/* Keep the buffer for this thread's next take, whichever thread took it; its memory must not be touched any
 * more. It is ended instead if it was resized, or something was revoked or drained since. When the thread has
 * `high`, those that lie there the longest go. A buffer that lies in the cache, or is not of it, is -EINVAL
 * and nothing has happened; of one that has left the cache since, the caller must not know any more. Other
 * failures are of ending leases: the buffer is not the caller's any more. */
int hp_cache_put(hp_cache *cache, hp_lease *lease);
/* Give back all that no thread uses. It happens by itself when the daemon says that a pool is short
 * (HP_EVENT_PRESSURE; for all threads, by the first that takes or puts, or by hp_dispatch(); takes look for
 * it every now and then), and of a thread when it exits. Returns the first failure. */
int hp_cache_drain(hp_cache *cache);
/* Drain and free the cache, which nobody uses any more, but that threads which did may exit. Buffers that are
 * out stay leases. Takes NULL. Returns NULL. hp_close() frees the caches that are left, and is the only one
 * to do so in a forked child. */
hp_cache *hp_cache_free(hp_cache *cache);

/* ---- events ---- */

enum {
	HP_EVENT_PRESSURE = 1u << 0, /* a pool could not give at once: free what you can spare */
	HP_EVENT_REVOKED =
		1u << 1, /* a lease has ended against our will; its memory raises SIGBUS. Free the handle */
	HP_EVENT_DRAINED = 1u << 2,  /* nothing new is leased from that pool (arena 0) or arena */
	HP_EVENT_RESTORED = 1u << 3, /* that is over */
};

struct hp_event {
	unsigned kind; /* one HP_EVENT_... */
	const char *pool;
	uint64_t lease_id, arena;
	int missed; /* others before this one may be lost: we did not read, or the connection broke */
};
typedef void hp_event_handler(void *arg, const struct hp_event *event);

/* Be told of these kinds from now on (0: of none any more), by `handler`, which is called from hp_dispatch()
 * only. What happens in between waits, PRESSURE once a pool, others up to 64 (then `missed`). */
int hp_subscribe(hp_client *client, unsigned kinds, hp_event_handler *handler, void *arg);

/* ---- for programs with an event loop ---- */

/* A descriptor to poll for POLLIN: readable when hp_dispatch() has something to do. The client's; it stays
 * the same one over broken connections. Negative errno. */
int hp_fd(hp_client *client);

/* Send and receive what can be without waiting, mend a broken connection, and call the callbacks and the
 * event handler of all that is done by then; they may call any function but hp_close() on this client.
 * Returns how many were called, or a negative errno: -ECONNRESET, -ESTALE as above (the callbacks of all that
 * was under way have been called, with the error). */
int hp_dispatch(hp_client *client);

/* As hp_alloc(), hp_lease_open() and hp_free(), but they only begin: `done` is called from hp_dispatch() with
 * what the blocking one would have returned, and the lease (NULL on failure). Any number may be under way;
 * they wait here when the daemon takes no more. A negative errno: nothing has begun, and `done` is not
 * called. hp_close() calls what is left with -ECANCELED (a detached lease may have been granted all the same,
 * and lives on). `done` may be NULL for hp_free_start(). */
typedef void hp_lease_done(void *arg, int result, hp_lease *lease);
int hp_alloc_start(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options,
		   hp_lease_done *done, void *arg);
int hp_lease_open_start(hp_client *client, const char *name, unsigned flags, hp_lease_done *done, void *arg);
int hp_lease_open_of_start(hp_client *client, const char *name, uint32_t owner_uid, unsigned flags,
			   hp_lease_done *done, void *arg);
int hp_free_start(hp_lease *lease, unsigned flags, hp_lease_done *done, void *arg);

#ifdef __cplusplus
}
#endif
#endif

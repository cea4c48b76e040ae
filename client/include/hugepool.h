/* hugepool.h - shared hugepage buffers from hugepoold.
 *
 * A client is one session with the daemon; a lease is memory that the client holds: zeroed, faulted in,
 * shared by descriptor. The library maps each arena (the file that leases lie in) once, at an address aligned
 * to 1 GiB.
 *
 * Errors: functions return 0 or a negative errno; hp_error() has the sentence of the thread's last failure.
 *   -EINVAL     an argument makes no sense            -EPERM      the pool does not admit you
 *   -ENOENT     no such pool or lease                 -EACCES     somebody else holds that lease
 *   -EDQUOT     over your quota                       -ENOSPC     the pool is full
 *   -ENOMEM     no memory, here or from the kernel    -EMFILE     no descriptor is free here
 *   -EEXIST     the name is taken                     -EOVERFLOW  too many sessions, requests or items
 *   -ECONNREFUSED, -ENOENT (from hp_open)  no daemon  -ETIMEDOUT  (from hp_open) the daemon does not answer
 *   -ECONNRESET the daemon went away for good         -EPROTO     the daemon speaks another language
 *   -ESTALE     the session ended while we were not connected: its leases are gone, only hp_close() is left
 *   -ECHILD     the client belongs to the process that this one was forked from
 *
 * A broken connection is mended by the next call, or by those that wait, which take up to 10 s to find the
 * daemon again; after -ECONNRESET a later call tries anew. Meanwhile leases are what they were: memory of
 * this process.
 *
 * Threads: every function may be called from any thread at any time; a lease is used by one thread at a time,
 * and nobody may use a client or lease after the call that ended it. A thread must not be cancelled inside
 * the library. fork(): leases are not mapped in the child (MADV_DONTFORK), nor dumped (MADV_DONTDUMP); of its
 * parent's clients the child may only hp_close(), which drops its copies and leaves the session alone.
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
 * else $XDG_RUNTIME_DIR/hugepool/hugepoold.sock) and start a session. */
int hp_open(const char *socket_path, hp_client **ret_client);

/* End the session: every lease ends (detached ones live on), every mapping goes, every handle is freed. Waits
 * up to 2 s for the daemon to know. Takes NULL. Returns NULL. */
hp_client *hp_close(hp_client *client);

/* The page size of `pool` (NULL: the daemon's first) in bytes. */
int hp_pool_page_bytes(hp_client *client, const char *pool, uint64_t *ret_page_bytes);

enum {
	HP_DETACHED = 1u << 0, /* lives on when this process has died, until it is freed by id or name */
};

struct hp_alloc_options {
	const char *pool;     /* NULL: the daemon's first */
	const char *name;     /* NULL: anonymous; else unique in the daemon, at most 255 bytes */
	uint64_t align_bytes; /* of the first byte in its file; 0: a page. A power of two */
	unsigned flags;       /* HP_... */
};

/* Lease `bytes` (rounded up to whole pages) of zeroed memory. `options` may be NULL. */
int hp_alloc(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options, hp_lease **ret_lease);

/* Lease `n` buffers with one request, of bytes[0] ... bytes[n-1]: all or none. `ret_leases` has room for n.
 * A name is not allowed when n > 1. On failure ret_leases are all NULL, or untouched. */
int hp_alloc_batch(hp_client *client, const uint64_t *bytes, unsigned n,
		   const struct hp_alloc_options *options, hp_lease **ret_leases);

/* End a lease and free the handle, whatever is returned (but -ECHILD): its memory must not be touched any
 * more. NULL is fine. The daemon scrubs the pages before anybody gets them again. A batch goes on after a
 * failure and returns the first. */
int hp_free(hp_lease *lease);
int hp_free_batch(hp_lease *const *leases, unsigned n);

/* Free the handle without ending the lease: for detached leases, which live on by their id or name, and for
 * others until the client is closed. */
void hp_lease_forget(hp_lease *lease);

/* End a lease that this client holds no handle of: a detached one of one's own user, by id or by name. */
int hp_free_id(hp_client *client, uint64_t lease_id);
int hp_free_name(hp_client *client, const char *name);

/* What a lease is. The memory is readable and writable, and shared with whoever maps the same file. */
void *hp_lease_data(const hp_lease *lease);
uint64_t hp_lease_bytes(const hp_lease *lease);
uint64_t hp_lease_id(const hp_lease *lease);
/* The file it lies in, to hand to a process of the same tenant: a new descriptor, the caller's (CLOEXEC), and
 * the lease's offset in it in bytes. Returns the descriptor or a negative errno. */
int hp_lease_dup_fd(const hp_lease *lease, uint64_t *ret_offset);

#ifdef __cplusplus
}
#endif
#endif

/* record.c - an LD_PRELOAD library that writes down what page runs a program asks for.
 *
 * Notes the malloc family's and anonymous mmap's requests of PAGE_BYTES and more, in the format of README.md,
 * in $HP_TRACE_FILE. That file must not be there: so the first process makes it, and what this one starts is
 * not recorded. Built on its own, never part of hugepool.
 *
 * What it cannot see: sbrk, and what glibc maps for itself. A mapping is freed as a whole when its first page
 * is unmapped; parts of it that are unmapped earlier do not count.
 *
 * Never calls malloc: allocation goes on to glibc's own __libc_ functions, a table of its own and one write()
 * an operation. So nothing here comes back to itself, and a program that dies leaves all it did.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define N_SLOTS	   (1u << 20) /* live blocks, twice; a power of two */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *block);

/* An open hash of live blocks by address. */
struct slot {
	uintptr_t address; /* 0: free */
	uint64_t id, pages;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct slot *slots;
static unsigned n_live;
static uint64_t next_id;
static int trace_fd = -1;
static pid_t recorded_pid;

/* --- the table --- */

static unsigned home_of(uintptr_t address)
{
	return (unsigned)((address / 16 * 0x9e3779b97f4a7c15u) >> 40) & (N_SLOTS - 1);
}

/* The block's slot, or the free one where it belongs. */
static struct slot *find(uintptr_t address)
{
	unsigned i = home_of(address);

	while (slots[i].address && slots[i].address != address)
		i = (i + 1) & (N_SLOTS - 1);
	return &slots[i];
}

/* Free a slot, and move back those that went past it. */
static void erase(struct slot *slot)
{
	unsigned hole = (unsigned)(slot - slots);

	for (unsigned i = (hole + 1) & (N_SLOTS - 1); slots[i].address; i = (i + 1) & (N_SLOTS - 1)) {
		unsigned home = home_of(slots[i].address);

		if (((i - home) & (N_SLOTS - 1)) < ((i - hole) & (N_SLOTS - 1)))
			continue;
		slots[hole] = slots[i];
		hole = i;
	}
	slots[hole].address = 0;
	n_live--;
}

/* --- what happened; errno stays as it was --- */

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("HP_TRACE_FILE");
	void *table;
	int fd;

	if (!path)
		return;
	table = (void *)syscall(SYS_mmap, NULL, N_SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (table == MAP_FAILED)
		return;
	pthread_mutex_lock(&lock);
	slots = table;
	recorded_pid = getpid();
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	/* Out of the way of programs that close the first few, whatever they are. */
	trace_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 500);
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&lock);
}

static void say(const char *line, int length)
{
	if (write(trace_fd, line, (size_t)length) != length)
		trace_fd = -1; /* the disk is full: better no more than a hole */
}

static void say_free(uint64_t id)
{
	char line[32];

	say(line, snprintf(line, sizeof(line), "f %" PRIu64 "\n", id));
}

static bool recording(void)
{
	return trace_fd >= 0 && getpid() == recorded_pid;
}

static void note_free_locked(const void *block)
{
	struct slot *slot = find((uintptr_t)block);

	if (!slot->address)
		return;
	say_free(slot->id);
	erase(slot);
}

/* The block is live; whatever was at its address is not: we have not seen it go, or MAP_FIXED went over it.
 */
static void put(uintptr_t address, uint64_t id, uint64_t pages)
{
	note_free_locked((const void *)address);
	*find(address) = (struct slot){.address = address, .id = id, .pages = pages};
	n_live++;
}

static void note_alloc_locked(const void *block, size_t bytes)
{
	uint64_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	char line[64];

	if (!block || bytes < PAGE_BYTES || n_live >= N_SLOTS / 2)
		return;
	note_free_locked(block);
	say(line, snprintf(line, sizeof(line), "a %" PRIu64 " %" PRIu64 "\n", next_id, pages));
	put((uintptr_t)block, next_id++, pages);
}

static void *note_alloc(void *block, size_t bytes)
{
	int error = errno;

	if (block && bytes >= PAGE_BYTES && recording()) {
		pthread_mutex_lock(&lock);
		note_alloc_locked(block, bytes);
		pthread_mutex_unlock(&lock);
	}
	errno = error;
	return block;
}

/* Before the block goes: afterwards another thread may get the same address. */
static void note_free(const void *block)
{
	int error = errno;

	if (block && recording()) {
		pthread_mutex_lock(&lock);
		note_free_locked(block);
		pthread_mutex_unlock(&lock);
	}
	errno = error;
}

/* A block that may change its size or place: taken out of the table before, for afterwards another thread may
 * have its address; nothing is written yet. Its `address` is 0 if we know nothing of it. */
static struct slot take(const void *block)
{
	struct slot taken = {0}, *slot;

	if (!block || !recording())
		return taken;
	pthread_mutex_lock(&lock);
	slot = find((uintptr_t)block);
	taken = *slot;
	if (slot->address)
		erase(slot);
	pthread_mutex_unlock(&lock);
	return taken;
}

/* Where it is now. The same number of pages is no operation. */
static void note_move(struct slot moved, const void *block, size_t bytes)
{
	uint64_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	int error = errno;

	if (recording()) {
		pthread_mutex_lock(&lock);
		if (moved.address && (moved.pages != pages || bytes < PAGE_BYTES)) {
			say_free(moved.id);
			moved.address = 0;
		}
		if (moved.address)
			put((uintptr_t)block, moved.id, pages);
		else
			note_alloc_locked(block, bytes);
		pthread_mutex_unlock(&lock);
	}
	errno = error;
}

/* --- the program calls these --- */

void *malloc(size_t size)
{
	return note_alloc(__libc_malloc(size), size);
}

void *calloc(size_t n, size_t size)
{
	return note_alloc(__libc_calloc(n, size), n * size);
}

void *realloc(void *old, size_t size)
{
	struct slot moved = take(old);
	void *block = __libc_realloc(old, size);

	if (block || size == 0)
		note_move(moved, block, size);
	else
		note_move(moved, old, moved.pages * PAGE_BYTES); /* it stays what it was */
	return block;
}

void *reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, bytes);
}

void *memalign(size_t align, size_t size)
{
	return note_alloc(__libc_memalign(align, size), size);
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **ret_block, size_t align, size_t size)
{
	void *block;

	if (align % sizeof(void *) || align & (align - 1) || align == 0)
		return EINVAL;
	block = memalign(align, size);
	if (!block)
		return ENOMEM;
	*ret_block = block;
	return 0;
}

void *valloc(size_t size)
{
	return memalign(PAGE_BYTES, size);
}

void free(void *block)
{
	note_free(block);
	__libc_free(block);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *block = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
	/* Address space that is only reserved asks for no memory. */
	bool counts = block != MAP_FAILED && flags & MAP_ANONYMOUS && protection != PROT_NONE;

	return counts ? note_alloc(block, length) : block;
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return mmap(address, length, protection, flags, fd, offset);
}

int munmap(void *address, size_t length)
{
	note_free(address);
	return (int)syscall(SYS_munmap, address, length);
}

void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	void *block, *target = NULL;
	struct slot moved;
	va_list arguments;

	va_start(arguments, flags);
	if (flags & MREMAP_FIXED)
		target = va_arg(arguments, void *);
	va_end(arguments);
	moved = take(old);
	block = (void *)syscall(SYS_mremap, old, old_length, length, flags, target);
	if (block != MAP_FAILED)
		note_move(moved, block, length);
	else
		note_move(moved, old, moved.pages * PAGE_BYTES);
	return block;
}

/* intruder.c - see the header. Runs in an actor: no cmocka here. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/support/intruder.h"

#define STEP_BYTES   4096 /* of any page size: a page is whole or gone */
#define RING_ENTRIES 4

static struct {
	int fd;
	int prot;
	uint8_t *memory;
	size_t bytes;
} kept = {.fd = -1};

/* ---- memory that may be gone ---- */

static sigjmp_buf past_access;

static void jump_past(int signal_number)
{
	siglongjmp(past_access, 1);
}

static void survive_sigbus(void)
{
	const struct sigaction action = {.sa_handler = jump_past};

	sigaction(SIGBUS, &action, NULL);
}

static bool read_step(const uint8_t *memory, uint8_t *ret_bytes)
{
	if (sigsetjmp(past_access, 1) != 0)
		return false;
	memcpy(ret_bytes, memory, STEP_BYTES);
	return true;
}

static bool write_step(uint8_t *memory)
{
	if (sigsetjmp(past_access, 1) != 0)
		return false;
	*(volatile uint8_t *)memory = INTRUDER_BYTE;
	return true;
}

static int64_t count_victims(const uint8_t *bytes, size_t n_bytes)
{
	int64_t n = 0;

	for (size_t i = 0; i < n_bytes; i++)
		n += bytes[i] == VICTIM_BYTE;
	return n;
}

/* ---- descriptors and mappings ---- */

int64_t intruder_keep(int fd)
{
	struct stat status;

	survive_sigbus();
	if (fstat(fd, &status) < 0)
		return -errno;
	if (kept.fd >= 0) {
		munmap(kept.memory, kept.bytes);
		close(kept.fd);
	}
	kept.bytes = (size_t)status.st_size;
	kept.prot = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ;
	kept.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (kept.fd < 0)
		return -errno;
	kept.memory = mmap(NULL, kept.bytes, kept.prot, MAP_SHARED, kept.fd, 0);
	return kept.memory == MAP_FAILED ? -errno : 0;
}

static int64_t look_at(const uint8_t *memory)
{
	uint8_t bytes[STEP_BYTES];
	int64_t n = 0;

	for (size_t at = 0; at < kept.bytes; at += STEP_BYTES)
		if (read_step(memory + at, bytes))
			n += count_victims(bytes, STEP_BYTES);
	return n;
}

int64_t intruder_look(int unused)
{
	int64_t n = look_at(kept.memory);
	uint8_t bytes[STEP_BYTES];
	uint8_t *again;
	ssize_t got;

	for (size_t at = 0; at < kept.bytes; at += STEP_BYTES) {
		got = pread(kept.fd, bytes, STEP_BYTES, (off_t)at);
		n += got > 0 ? count_victims(bytes, (size_t)got) : 0;
	}
	again = mmap(NULL, kept.bytes, PROT_READ, MAP_SHARED, kept.fd, 0);
	if (again != MAP_FAILED) {
		n += look_at(again);
		munmap(again, kept.bytes);
	}
	return n;
}

static int64_t overwrite_at(uint8_t *memory)
{
	int64_t n = 0;

	for (size_t at = 0; at < kept.bytes; at += STEP_BYTES)
		n += write_step(memory + at);
	return n;
}

int64_t intruder_overwrite(int unused)
{
	const uint8_t byte = INTRUDER_BYTE;
	bool writable = kept.prot & PROT_WRITE;
	int64_t n = writable ? overwrite_at(kept.memory) : 0;
	uint8_t *again;

	for (size_t at = 0; at < kept.bytes; at += STEP_BYTES)
		n += pwrite(kept.fd, &byte, 1, (off_t)at) == 1;
	again = mmap(NULL, kept.bytes, PROT_READ | PROT_WRITE, writable ? MAP_SHARED : MAP_PRIVATE, kept.fd,
		     0);
	if (again != MAP_FAILED) {
		n += overwrite_at(again);
		munmap(again, kept.bytes);
	}
	return n;
}

int64_t intruder_is_gone(int unused)
{
	uint8_t bytes[STEP_BYTES];

	for (size_t at = 0; at < kept.bytes; at += STEP_BYTES)
		if (read_step(kept.memory + at, bytes))
			return 0;
	return 1;
}

/* ---- pins ---- */

static struct {
	uint8_t *address; /* where the pinned bytes were mapped once */
	int pipe[2];      /* they lie in it, by reference */
	int ring_fd;
	struct io_uring_params params;
	uint8_t *sq, *cq;
	struct io_uring_sqe *sqes;
} pin;

static void *map_ring(size_t bytes, off_t what)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, pin.ring_fd, what);
}

static int set_up_ring(void)
{
	const struct iovec buffer = {.iov_base = pin.address, .iov_len = STEP_BYTES};
	const struct io_uring_params *params = &pin.params;

	pin.ring_fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &pin.params);
	if (pin.ring_fd < 0 ||
	    syscall(SYS_io_uring_register, pin.ring_fd, IORING_REGISTER_BUFFERS, &buffer, 1) < 0)
		return -errno;
	pin.sq = map_ring(params->sq_off.array + params->sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
	pin.cq = map_ring(params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe),
			  IORING_OFF_CQ_RING);
	pin.sqes = map_ring(params->sq_entries * sizeof(*pin.sqes), IORING_OFF_SQES);
	return pin.sq == MAP_FAILED || pin.cq == MAP_FAILED || pin.sqes == MAP_FAILED ? -errno : 0;
}

/* Between the pinned buffer and a pipe. Returns what the operation says. */
static int run_ring(uint8_t opcode, int fd)
{
	const struct io_uring_params *params = &pin.params;
	_Atomic uint32_t *tail = (_Atomic uint32_t *)(void *)(pin.sq + params->sq_off.tail);
	_Atomic uint32_t *head = (_Atomic uint32_t *)(void *)(pin.cq + params->cq_off.head);
	uint32_t slot = atomic_load(tail) & (params->sq_entries - 1);
	const struct io_uring_cqe *cqes = (const void *)(pin.cq + params->cq_off.cqes);
	int result;

	pin.sqes[slot] = (struct io_uring_sqe){
		.opcode = opcode, .fd = fd, .addr = (uintptr_t)pin.address, .len = STEP_BYTES};
	((uint32_t *)(void *)(pin.sq + params->sq_off.array))[slot] = slot;
	atomic_fetch_add(tail, 1);
	if (syscall(SYS_io_uring_enter, pin.ring_fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	result = cqes[atomic_load(head) & (params->cq_entries - 1)].res;
	atomic_fetch_add(head, 1);
	return result;
}

int64_t intruder_pin(int fd)
{
	struct iovec part = {.iov_len = STEP_BYTES};
	struct stat status;
	int r;

	if (fstat(fd, &status) < 0 || pipe2(pin.pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pin.address = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (pin.address == MAP_FAILED)
		return -errno;
	part.iov_base = pin.address;
	r = set_up_ring();
	if (r == 0 && vmsplice(pin.pipe[1], &part, 1, 0) != STEP_BYTES)
		r = -errno;
	munmap(pin.address, (size_t)status.st_size);
	return r;
}

int64_t intruder_look_pinned(int unused)
{
	uint8_t bytes[2][STEP_BYTES];
	int r;

	if (read(pin.pipe[0], bytes[0], STEP_BYTES) != STEP_BYTES)
		return -EIO;
	r = run_ring(IORING_OP_WRITE_FIXED, pin.pipe[1]);
	if (r != STEP_BYTES || read(pin.pipe[0], bytes[1], STEP_BYTES) != STEP_BYTES)
		return r < 0 ? r : -EIO;
	return count_victims(bytes[0], sizeof(bytes));
}

int64_t intruder_overwrite_pinned(int unused)
{
	uint8_t bytes[STEP_BYTES];

	memset(bytes, INTRUDER_BYTE, sizeof(bytes));
	if (write(pin.pipe[1], bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		return -EIO;
	return run_ring(IORING_OP_READ_FIXED, pin.pipe[0]);
}

/* ---- children ---- */

int64_t intruder_leave_it_to_a_child(int unused)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		return 0;
	for (;;)
		pause();
}

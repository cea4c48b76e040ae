/* sort-shared.c - two unrelated processes work in one leased buffer.
 *
 *   sort-shared lend [--socket PATH] [--pool NAME] MEETING FILE
 *       lease a buffer of twice the size of FILE, read FILE into its first half, lend the buffer to whoever
 *       connects at the socket MEETING, and write what it left in the second half to standard output
 *   sort-shared work MEETING
 *       borrow the buffer, and sort the lines of its first half into the second
 *
 * The worker has no connection to the daemon, and does not need one: a lease is a file's pages, and a
 * descriptor is all it takes. It must give up its mapping before the lender frees the lease.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <hugepool.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What the lender says beside the descriptor. */
struct loan {
	uint64_t offset_bytes; /* of the lease in its file */
	uint64_t lease_bytes;
	uint64_t text_bytes; /* the text begins at 0, the sorted one at lease_bytes / 2 */
};

static int fail(const char *what)
{
	fprintf(stderr, "sort-shared: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool set_address(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(address->sun_path, path);
	return true;
}

/* --- the lender --- */

static bool send_loan(int socket_fd, const struct loan *loan, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec text = {.iov_base = (void *)(uintptr_t)loan, .iov_len = sizeof(*loan)};
	struct msghdr message = {.msg_iov = &text,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(*loan);
}

/* Lend to the first who comes, until it says that it has let go. */
static bool lend(const char *meeting, const hp_lease *lease, uint64_t text_bytes)
{
	struct loan loan = {.lease_bytes = hp_lease_bytes(lease), .text_bytes = text_bytes};
	int fd = hp_lease_dup_fd(lease, 0, &loan.offset_bytes, NULL);
	int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), peer_fd = -1;
	struct sockaddr_un address;
	char done = 0;

	if (fd >= 0 && listen_fd >= 0 && set_address(&address, meeting) &&
	    bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listen_fd, 1) == 0) {
		peer_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		unlink(meeting);
	}
	if (peer_fd >= 0 && send_loan(peer_fd, &loan, fd) && read(peer_fd, &done, 1) != 1)
		done = 0;
	if (peer_fd >= 0)
		close(peer_fd);
	if (listen_fd >= 0)
		close(listen_fd);
	if (fd >= 0)
		close(fd);
	return done == 'd';
}

static bool read_all(int fd, char *data, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t n = read(fd, data + done, bytes - done);

		if (n <= 0)
			return false;
		done += (uint64_t)n;
	}
	return true;
}

static int lender(hp_client *client, const char *pool, const char *meeting, const char *path)
{
	struct hp_alloc_options options = {.pool = pool, .flags = HP_CONTIGUOUS};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	hp_lease *lease = NULL;
	struct stat st;
	uint64_t bytes, half_bytes;
	int status = 1;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(path);
	bytes = (uint64_t)st.st_size;
	if (hp_alloc(client, 2 * bytes, &options, &lease) < 0) {
		fprintf(stderr, "sort-shared: %s\n", hp_error());
	} else {
		char *data = hp_lease_data(lease);

		half_bytes = hp_lease_bytes(lease) / 2;
		if (!read_all(fd, data, bytes))
			fail(path);
		else if (!lend(meeting, lease, bytes))
			fail("nobody did the work");
		else if (fwrite(data + half_bytes, 1, bytes, stdout) == bytes && fflush(stdout) == 0)
			status = 0;
	}
	hp_free(lease);
	close(fd);
	return status;
}

/* --- the worker --- */

static bool receive_loan(int socket_fd, struct loan *ret_loan, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec text = {.iov_base = ret_loan, .iov_len = sizeof(*ret_loan)};
	struct msghdr message = {.msg_iov = &text,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header;

	if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*ret_loan))
		return false;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
		return false;
	memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
	return true;
}

struct line {
	const char *text;
	size_t length; /* with its newline */
};

static int compare_lines(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	size_t x_length = x->length - 1, y_length = y->length - 1;
	int order = memcmp(x->text, y->text, x_length < y_length ? x_length : y_length);

	return order ? order : (x_length > y_length) - (x_length < y_length);
}

/* Bytewise, as LC_ALL=C sort does it. The text ends with a newline. */
static bool sort_lines(const char *text, uint64_t bytes, char *ret_sorted)
{
	const char *end = text + bytes;
	struct line *lines;
	size_t n = 0;

	for (const char *p = text; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
		n++;
	lines = calloc(n ? n : 1, sizeof(*lines));
	if (!lines)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		lines[i] = (struct line){.text = text, .length = (size_t)(newline + 1 - text)};
		text = newline + 1;
	}
	qsort(lines, n, sizeof(*lines), compare_lines);
	for (size_t i = 0; i < n; i++)
		ret_sorted = mempcpy(ret_sorted, lines[i].text, lines[i].length);
	free(lines);
	return true;
}

static int worker(const char *meeting)
{
	int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	struct sockaddr_un address;
	struct loan loan;
	char *data;
	bool ok;

	if (socket_fd < 0 || !set_address(&address, meeting) ||
	    connect(socket_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    !receive_loan(socket_fd, &loan, &fd))
		return fail(meeting);
	data = mmap(NULL, loan.lease_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)loan.offset_bytes);
	close(fd);
	if (data == MAP_FAILED)
		return fail("mmap");
	ok = sort_lines(data, loan.text_bytes, data + loan.lease_bytes / 2);
	munmap(data, loan.lease_bytes);
	if (!ok || write(socket_fd, "d", 1) != 1)
		return fail(meeting);
	close(socket_fd);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"socket", required_argument, NULL, 's'},
						     {"pool", required_argument, NULL, 'p'},
						     {NULL, 0, NULL, 0}};
	const char *socket_path = NULL, *pool = NULL;
	hp_client *client;
	int option, status;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 's')
			socket_path = optarg;
		else if (option == 'p')
			pool = optarg;
		else
			return 2;
	}
	if (argc - optind == 2 && strcmp(argv[optind], "work") == 0)
		return worker(argv[optind + 1]);
	if (argc - optind != 3 || strcmp(argv[optind], "lend") != 0) {
		fprintf(stderr, "usage: sort-shared lend [--socket PATH] [--pool NAME] MEETING FILE\n"
				"       sort-shared work MEETING\n");
		return 2;
	}
	if (hp_open(socket_path, &client) < 0) {
		fprintf(stderr, "sort-shared: %s\n", hp_error());
		return 1;
	}
	status = lender(client, pool, argv[optind + 1], argv[optind + 2]);
	hp_close(client);
	return status;
}

/* test_client.c - what libhugepool does without a daemon: socket paths, errors, arenas. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/lib/arena.h"
#include "client/lib/client.h"
#include "client/lib/error.h"
#include "daemon/base/text.h"
#include "proto/socket_path.h"

#define PAGE_BYTES 4096u

/* ---- socket path ---- */

static void socket_path_given_wins_over_the_environment(void **state)
{
	char path[SOCKET_PATH_MAX];

	setenv("HUGEPOOL_SOCKET", "/from/environment", 1);
	assert_int_equal(socket_path_find("/given", path), 0);
	assert_string_equal(path, "/given");
	assert_int_equal(socket_path_find(NULL, path), 0);
	assert_string_equal(path, "/from/environment");
	unsetenv("HUGEPOOL_SOCKET");
}

static void socket_path_by_default_depends_on_the_user(void **state)
{
	char path[SOCKET_PATH_MAX];

	setenv("HUGEPOOL_SOCKET", "", 1); /* as good as unset */
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	if (geteuid() == 0) {
		assert_int_equal(socket_path_find(NULL, path), 0);
		assert_string_equal(path, "/run/hugepool/hugepoold.sock");
		assert_int_equal(seteuid(65534), 0);
	}
	assert_int_equal(socket_path_find(NULL, path), 0);
	assert_string_equal(path, "/run/user/7/hugepool/hugepoold.sock");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(socket_path_find(NULL, path), 0);
	assert_string_equal(path, "/run/hugepool/hugepoold.sock");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
}

/* A client finds the system's daemon where its user has none, whether or not there is a place for one. */
static void socket_path_of_a_client_falls_back_to_the_systems(void **state)
{
	char path[SOCKET_PATH_MAX], directory[] = "/tmp/hugepool-test-XXXXXX", socket[96], parent[64];
	hp_client *client = NULL;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(chmod(directory, 0755), 0);
	snprintf(parent, sizeof(parent), "%s/hugepool", directory);
	snprintf(socket, sizeof(socket), "%s/hugepoold.sock", parent);
	assert_int_equal(mkdir(parent, 0755), 0);
	unsetenv("HUGEPOOL_SOCKET");
	setenv("XDG_RUNTIME_DIR", directory, 1);
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(socket_path_look(NULL, path), 0);
	assert_string_equal(path, "/run/hugepool/hugepoold.sock");
	if (access(path, F_OK) != 0) {
		assert_true(hp_open(NULL, &client) < 0);
		assert_non_null(strstr(hp_error(), "/run/hugepool/hugepoold.sock"));
		assert_non_null(strstr(hp_error(), "HUGEPOOL_SOCKET"));
	}
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	close(open(socket, O_CREAT | O_CLOEXEC, 0600));
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(socket_path_look(NULL, path), 0);
	assert_string_equal(path, socket);
	assert_int_equal(socket_path_look("/given", path), 0);
	assert_string_equal(path, "/given");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(socket_path_look(NULL, path), 0);
	assert_string_equal(path, "/run/hugepool/hugepoold.sock");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	unlink(socket);
	rmdir(parent);
	rmdir(directory);
}

static void socket_path_longer_than_an_address_is_refused(void **state)
{
	char path[SOCKET_PATH_MAX], longest[SOCKET_PATH_MAX + 1];

	memset(longest, 'x', SOCKET_PATH_MAX);
	longest[SOCKET_PATH_MAX] = '\0';
	assert_int_equal(socket_path_find(longest, path), -ENAMETOOLONG);
	longest[SOCKET_PATH_MAX - 1] = '\0';
	assert_int_equal(socket_path_find(longest, path), 0);
	assert_string_equal(path, longest);
}

/* ---- errors ---- */

static void error_of_every_code_is_negative_and_has_a_sentence(void **state)
{
	for (unsigned i = 0; i < hugepool__code__descriptor.n_values; i++) {
		Hugepool__Error error = HUGEPOOL__ERROR__INIT;

		error.code = (Hugepool__Code)hugepool__code__descriptor.values[i].value;
		assert_true(error_set_wire(&error) < 0);
		assert_true(strlen(hp_error()) > 0);
	}
}

static void error_from_the_daemon_keeps_its_sentence(void **state)
{
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	char sentence[] = "Ask for less.";

	error.message = sentence;
	error.code = HUGEPOOL__CODE__OVER_QUOTA;
	assert_int_equal(error_set_wire(&error), -EDQUOT);
	assert_string_equal(hp_error(), "Ask for less.");
	error.code = (Hugepool__Code)-1;
	assert_int_equal(error_set_wire(&error), -EPROTO);
	error.code = (Hugepool__Code)1000;
	assert_int_equal(error_set_wire(&error), -EPROTO);
	assert_non_null(strstr(hp_error(), "Ask for less."));
}

static void error_longer_than_its_buffer_is_cut(void **state)
{
	char sentence[2000];

	memset(sentence, 'x', sizeof(sentence) - 1);
	sentence[sizeof(sentence) - 1] = '\0';
	assert_int_equal(error_set(-EIO, "%s", sentence), -EIO);
	assert_true(strlen(hp_error()) < sizeof(sentence) - 1);
}

/* What a daemon says, or a locale that is not UTF-8: it is printed by whoever calls hp_error(). */
static void error_is_plain_text(void **state)
{
	static const char grin[] = "\xf0\x9f\x98\x80";
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	char sentence[2000];

	error.code = HUGEPOOL__CODE__OVER_QUOTA;
	for (size_t first = 0; first < 4; first++) {
		memcpy(sentence, "xyz", first);
		for (size_t i = first; i < sizeof(sentence); i++)
			sentence[i] = grin[(i - first) % 4];
		sentence[first + 4 * ((sizeof(sentence) - first - 1) / 4)] = 0;
		error.message = sentence;
		assert_int_equal(error_set_wire(&error), -EDQUOT);
		assert_true(text_is_plain(hp_error()));
		assert_null(strchr(hp_error(), '?'));
	}
	strcpy(sentence, "a lease named \"x\xff\x1b[2J\xe2\x80\xae\" exists");
	assert_int_equal(error_set_wire(&error), -EDQUOT);
	assert_string_equal(hp_error(), "a lease named \"x??[2J?\" exists");
	assert_int_equal(error_set(-EIO, "Kein Speicher verf\xfcgbar."), -EIO);
	assert_string_equal(hp_error(), "Kein Speicher verf?gbar.");
}

/* ---- calls that need no daemon to fail ---- */

static void open_without_a_daemon_says_so(void **state)
{
	hp_client *client = NULL;
	char path[] = "/tmp/hugepool-test-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(hp_open(path, &client), -ECONNREFUSED);
	assert_non_null(strstr(hp_error(), path));
	unlink(path);
	close(fd);
	assert_int_equal(hp_open(path, &client), -ENOENT);
	assert_int_equal(hp_open(path, NULL), -EINVAL);
	assert_null(client);
}

static void calls_without_a_client_are_refused(void **state)
{
	uint64_t bytes = 1;
	hp_lease *lease = NULL;

	assert_int_equal(hp_alloc(NULL, 1, NULL, &lease), -EINVAL);
	assert_int_equal(hp_pool_page_bytes(NULL, NULL, &bytes), -EINVAL);
	assert_int_equal(hp_free_id(NULL, 1), -EINVAL);
	assert_int_equal(hp_free_name(NULL, "name"), -EINVAL);
	assert_int_equal(hp_free(NULL), 0);
	assert_int_equal(hp_free_batch(&lease, 1, 0), 0);
	assert_int_equal(hp_free_batch(NULL, 1, 0), -EINVAL);
	hp_lease_forget(NULL);
	assert_int_equal(hp_lease_open(NULL, "name", 0, &lease), -EINVAL);
	assert_int_equal(hp_lease_resize(NULL, 1, 0), -EINVAL);
	assert_int_equal(hp_free_start(NULL, 0, NULL, NULL), -EINVAL);
	assert_int_equal(hp_subscribe(NULL, 0, NULL, NULL), -EINVAL);
	assert_int_equal(hp_fd(NULL), -EINVAL);
	assert_int_equal(hp_dispatch(NULL), -EINVAL);
	assert_null(hp_close(NULL));
}

/* ---- arenas ---- */

static int list_arena(struct arena_table *table, uint64_t id, uint64_t n_pages, uint64_t page_bytes, int fd)
{
	return arena_table_consume_fd(
		table, &(struct arena_info){.id = id, .n_pages = n_pages, .page_bytes = page_bytes}, fd);
}

static int file_new(uint64_t bytes)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static void arena_table_of_many_finds_each_until_it_is_gone(void **state)
{
	struct arena_table table = {0};

	/* 3 has no common divisor with 100: every id once, in no order. */
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(list_arena(&table, i * 3 % 100, i + 1, PAGE_BYTES, file_new(0)), 0);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(arena_table_find(&table, i * 3 % 100)->n_pages, i + 1);
	for (uint64_t id = 0; id < 100; id += 2)
		arena_table_gone(&table, id);
	arena_table_gone(&table, 1000);
	for (uint64_t id = 0; id < 100; id++)
		assert_true((arena_table_find(&table, id) != NULL) == (id % 2 == 1));
	arena_table_fini(&table, true);
}

static void arena_shown_twice_stays_as_it_was(void **state)
{
	struct arena_table table = {0};
	struct arena *arena;
	int second_fd;

	assert_int_equal(list_arena(&table, 1, 2, PAGE_BYTES, file_new(2 * PAGE_BYTES)), 0);
	arena = arena_table_find(&table, 1);
	second_fd = file_new(2 * PAGE_BYTES);
	assert_int_equal(list_arena(&table, 1, 2, PAGE_BYTES, second_fd), 0);
	assert_ptr_equal(arena_table_find(&table, 1), arena);
	assert_int_equal(fcntl(second_fd, F_GETFD), -1);
	arena_table_fini(&table, true);
}

/* The number stays, so that whoever is mapping the file just now does not mind. */
static void arena_read_only_gets_the_better_descriptor(void **state)
{
	struct arena_info info = {.id = 1, .n_pages = 2, .page_bytes = PAGE_BYTES, .read_only = true};
	struct arena_table table = {0};
	int fd = file_new(2 * PAGE_BYTES), number;
	struct arena *arena;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(arena_table_consume_fd(&table, &info, open(path, O_RDONLY | O_CLOEXEC)), 0);
	arena = arena_table_find(&table, 1);
	number = arena->fd;
	assert_true(arena->read_only);
	assert_int_equal(arena_take(arena, 0, 1, false), 0);
	assert_null(arena->data);

	info.read_only = false;
	assert_int_equal(arena_table_consume_fd(&table, &info, fcntl(fd, F_DUPFD_CLOEXEC, 0)), 0);
	assert_ptr_equal(arena_table_find(&table, 1), arena);
	assert_false(arena->read_only);
	assert_int_equal(arena->fd, number);
	assert_int_equal(fcntl(number, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(fcntl(number, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(arena_take(arena, 0, 1, true), 0);
	arena->data[0] = 1;

	/* And keeps it. */
	info.read_only = true;
	assert_int_equal(arena_table_consume_fd(&table, &info, open(path, O_RDONLY | O_CLOEXEC)), 0);
	assert_false(arena->read_only);
	assert_int_equal(fcntl(number, F_GETFL) & O_ACCMODE, O_RDWR);
	arena_put(arena, true);
	arena_put(arena, true);
	arena_table_fini(&table, true);
	close(fd);
}

static void arena_mapping_is_aligned_and_outlives_gone_while_leased(void **state)
{
	struct arena_table table = {0};
	unsigned char resident[2];
	struct arena *arena;
	uint8_t *data;

	assert_int_equal(list_arena(&table, 1, 2, PAGE_BYTES, file_new(2 * PAGE_BYTES)), 0);
	arena = arena_table_find(&table, 1);
	assert_int_equal(arena_take(arena, 0, 1, true), 0);
	data = arena->data;
	assert_int_equal((uintptr_t)data % (1u << 30), 0);
	data[0] = data[2 * PAGE_BYTES - 1] = 1;
	assert_int_equal(arena_take(arena, 0, 1, true), 0);
	assert_ptr_equal(arena->data, data);

	arena_table_gone(&table, 1);
	assert_null(arena_table_find(&table, 1));
	arena_put(arena, true);
	assert_int_equal(mincore(data, 2 * PAGE_BYTES, resident), 0);
	arena_put(arena, true);
	assert_int_equal(mincore(data, 2 * PAGE_BYTES, resident), -1);
	assert_int_equal(errno, ENOMEM);
	arena_table_fini(&table, true);
}

static void arena_that_its_file_does_not_hold_is_refused(void **state)
{
	static const uint64_t sizes[][2] = {
		{0, PAGE_BYTES},          {2, 1000}, {1, 6144}, {2, 0}, {UINT64_MAX, PAGE_BYTES},
		{1ull << 52, PAGE_BYTES},
	};
	struct arena_table table = {0};

	for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(list_arena(&table, i, sizes[i][0], sizes[i][1], file_new(2 * PAGE_BYTES)),
				 0);
		assert_int_equal(arena_take(arena_table_find(&table, i), 0, 1, true), -EPROTO);
	}
	assert_int_equal(list_arena(&table, 100, 1, PAGE_BYTES, open("/dev/zero", O_RDWR | O_CLOEXEC)), 0);
	assert_int_equal(arena_take(arena_table_find(&table, 100), 0, 1, true), -EPROTO);
	arena_table_fini(&table, true);
}

static void arena_trimmed_since_it_was_shown_is_as_long_as_its_file(void **state)
{
	struct arena_table table = {0};
	unsigned char resident[3];
	struct arena *arena;

	assert_int_equal(list_arena(&table, 1, 3, PAGE_BYTES, file_new(2 * PAGE_BYTES)), 0);
	arena = arena_table_find(&table, 1);
	assert_int_equal(arena_take(arena, 0, 3, true), -EPROTO);
	assert_int_equal(arena_take(arena, 1, 1, true), 0);
	assert_int_equal(mincore(arena->data, 2 * PAGE_BYTES, resident), 0);
	assert_int_equal(mincore(arena->data, 3 * PAGE_BYTES, resident), -1);
	assert_int_equal(arena_take(arena, 2, 1, true), -EPROTO);
	arena_put(arena, true);
	arena_table_fini(&table, true);
}

static void arena_truncated_before_it_is_taken_is_gone(void **state)
{
	struct arena_table table = {0};

	assert_int_equal(list_arena(&table, 1, 2, PAGE_BYTES, file_new(0)), 0);
	assert_int_equal(arena_take(arena_table_find(&table, 1), 0, 1, true), -ENOENT);
	arena_table_fini(&table, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(socket_path_given_wins_over_the_environment),
		cmocka_unit_test(socket_path_by_default_depends_on_the_user),
		cmocka_unit_test(socket_path_of_a_client_falls_back_to_the_systems),
		cmocka_unit_test(socket_path_longer_than_an_address_is_refused),
		cmocka_unit_test(error_of_every_code_is_negative_and_has_a_sentence),
		cmocka_unit_test(error_from_the_daemon_keeps_its_sentence),
		cmocka_unit_test(error_longer_than_its_buffer_is_cut),
		cmocka_unit_test(error_is_plain_text),
		cmocka_unit_test(open_without_a_daemon_says_so),
		cmocka_unit_test(calls_without_a_client_are_refused),
		cmocka_unit_test(arena_table_of_many_finds_each_until_it_is_gone),
		cmocka_unit_test(arena_shown_twice_stays_as_it_was),
		cmocka_unit_test(arena_read_only_gets_the_better_descriptor),
		cmocka_unit_test(arena_mapping_is_aligned_and_outlives_gone_while_leased),
		cmocka_unit_test(arena_that_its_file_does_not_hold_is_refused),
		cmocka_unit_test(arena_trimmed_since_it_was_shown_is_as_long_as_its_file),
		cmocka_unit_test(arena_truncated_before_it_is_taken_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* dut.c - see the header.
 *
 * What has been started is in a table, so that a test that failed half way (its `struct dut` is on a stack
 * that is gone) leaves nothing behind: children are killed, mounts under their directories unmounted,
 * directories removed.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <mntent.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/dut.h"
#include "tests/support/wait.h"

#define MAX_ARGUMENTS 160
#define MAX_CHILDREN  4096
#define MAX_STARTED   16

/* Generous: under sanitizers, on a loaded machine. Only failures wait this long. */
#define RUN_MS (6 * 60 * 1000) /* benchmarks wait for their turn with the hugepages, up to five minutes */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 8
#else
#define SLOWER 1
#endif

static pid_t children[MAX_CHILDREN];
static unsigned n_children;
static struct {
	char directory[64];
	int notify_fd;
} started[MAX_STARTED];
static unsigned n_started;
static unsigned max_fds; /* of the next daemon; 0: as we have it */

unsigned dut_ops(unsigned n)
{
	const char *word = getenv("HP_OPS");
	unsigned most = word ? (unsigned)strtoul(word, NULL, 10) : n;

	n = n / SLOWER > 0 ? n / SLOWER : 1;
	return most > 0 && most < n ? most : n;
}

void dut_need_root(void)
{
	if (geteuid() == 0)
		return;
	fprintf(stderr, "SKIPPED: only root can change its uid and mount\n");
	skip();
}

/* Children */

void dut_adopt(pid_t pid)
{
	assert_true(pid > 0);
	assert_true(n_children < MAX_CHILDREN);
	children[n_children++] = pid;
}

static void forget_child(pid_t pid)
{
	for (unsigned i = 0; i < n_children; i++) {
		if (children[i] == pid) {
			children[i] = children[--n_children];
			return;
		}
	}
}

/* True when it has ended, and is reaped. */
static bool wait_child(pid_t pid, unsigned timeout_ms, int *ret_status)
{
	int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd poll_fd = {.fd = pid_fd, .events = POLLIN};
	bool ended = poll(&poll_fd, 1, (int)timeout_ms) == 1 && waitpid(pid, ret_status, 0) == pid;

	if (pid_fd >= 0)
		close(pid_fd);
	if (ended)
		forget_child(pid);
	return ended;
}

int dut_wait_child(pid_t pid)
{
	int status = -1;

	if (!wait_child(pid, WAIT_MAX_MS, &status))
		fail_msg("process %d does not end", (int)pid);
	return status;
}

static void kill_children(void)
{
	while (n_children > 0) {
		pid_t pid = children[n_children - 1];

		/* Only what still is our child: a number that was reaped may be somebody else's by now. */
		if (waitpid(pid, NULL, WNOHANG) == 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		n_children--;
	}
}

/* In the child: become `uid`, run the program with our own argv[0], the head's words and the arguments. */
static void (*enter)(void);

void dut_enter(void (*hook)(void))
{
	enter = hook;
}

static void exec_program(const char *program, uid_t uid, const char *const *head,
			 const char *const *arguments)
{
	const char *argv[MAX_ARGUMENTS + 8];
	const char *build = getenv("HP_BUILD");
	char path[512];
	unsigned n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", build ? build : ".", program);
	argv[n++] = path;
	for (; head && *head && n < MAX_ARGUMENTS; head++)
		argv[n++] = *head;
	for (; arguments && *arguments; arguments++) {
		if (n == MAX_ARGUMENTS)
			abort(); /* none is left out */
		argv[n++] = *arguments;
	}
	argv[n] = NULL;
	if (enter && strcmp(program, "hugepoold") == 0)
		enter();
	/* That user need not get to where it was built: root's home is closed to others. */
	fd = open(path, O_PATH | O_CLOEXEC);
	if (uid != 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)) {
		fprintf(stderr, "cannot become uid %d: %s\n", (int)uid, strerror(errno));
		_exit(126);
	}
	/* After the change of uid, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execveat(fd, "", (char *const *)argv, environ, AT_EMPTY_PATH);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

/* Files in memory for what a program prints. */
static int make_capture(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static char *consume_capture(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	assert_non_null(text);
	assert_int_equal(pread(fd, text, (size_t)size, 0), size);
	close(fd);
	return text;
}

static int run_program(const char *program, uid_t uid, const char *const *head, const char *const *arguments,
		       char **ret_out, char **ret_error)
{
	int out_fd = make_capture(), error_fd = make_capture(), status = -1;
	char *out, *error;
	pid_t pid = fork();

	if (pid == 0) {
		unsetenv("HUGEPOOL_SOCKET");
		dup2(out_fd, STDOUT_FILENO);
		dup2(error_fd, STDERR_FILENO);
		exec_program(program, uid, head, arguments);
	}
	dut_adopt(pid);
	if (!wait_child(pid, RUN_MS, &status))
		fail_msg("%s %s does not end", program, arguments && *arguments ? *arguments : "");
	out = consume_capture(out_fd);
	error = consume_capture(error_fd);
	if (!WIFEXITED(status))
		fail_msg("%s died of signal %d: %s", program, WTERMSIG(status), error);
	if (ret_out)
		*ret_out = out;
	else
		free(out);
	if (ret_error)
		*ret_error = error;
	else
		free(error);
	return WEXITSTATUS(status);
}

int dut_run(const char *program, uid_t uid, const char *const *arguments, char **ret_out, char **ret_error)
{
	return run_program(program, uid, NULL, arguments, ret_out, ret_error);
}

void dut_expect(const char *program, uid_t uid, int status, const char *words, const char *const *arguments)
{
	char *out, *error, *copy = strdup(words), *save = NULL;
	int got = dut_run(program, uid, arguments, &out, &error);

	assert_non_null(copy);
	if (got != status)
		fail_msg("%s ended with %d, not %d: %s", program, got, status, error);
	for (char *word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (!strstr(status == 0 ? out : error, word))
			fail_msg("%s has not said \"%s\": %s", program, word, status == 0 ? out : error);
	assert_string_equal(status == 0 ? error : out, "");
	free(copy);
	free(out);
	free(error);
}

static void place_fd(int fd, int place)
{
	if (fd > 0)
		dup2(fd, place);
	else if (fd < 0)
		close(place);
}

pid_t dut_spawn(const struct dut_program *program)
{
	const char *const *word = program->environment;
	pid_t pid = fork();

	if (pid == 0) {
		unsetenv("HUGEPOOL_SOCKET");
		for (; word && *word; word++)
			putenv((char *)(uintptr_t)*word);
		place_fd(program->out_fd, STDOUT_FILENO);
		place_fd(program->error_fd, STDERR_FILENO);
		exec_program(program->name, program->uid, NULL, program->arguments);
	}
	dut_adopt(pid);
	return pid;
}

/* Directories */

/* Mounts that a killed daemon left under the directory. */
static void unmount_under(const char *directory)
{
	size_t length = strlen(directory);
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;

	while (mounts && (entry = getmntent(mounts)))
		if (strncmp(entry->mnt_dir, directory, length) == 0 && entry->mnt_dir[length] == '/')
			umount2(entry->mnt_dir, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (mounts)
		endmntent(mounts);
}

static void remove_directory(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char name[512];

	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) != 0)
			remove_directory(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void forget_started(const char *directory)
{
	for (unsigned i = 0; i < n_started; i++) {
		if (strcmp(started[i].directory, directory) == 0) {
			close(started[i].notify_fd);
			remove_directory(directory);
			started[i] = started[--n_started];
			return;
		}
	}
}

int dut_kill_all(void **state)
{
	max_fds = 0;
	kill_children();
	while (n_started > 0) {
		unmount_under(started[n_started - 1].directory);
		forget_started(started[n_started - 1].directory);
	}
	return 0;
}

void dut_show_log(const struct dut *dut)
{
	FILE *log = fopen(dut->log, "re");
	char line[512];

	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "  hugepoold[%d]: %s", (int)dut->pid, line);
	if (log)
		fclose(log);
}

/* Nothing but the log, and the lock, which must not be unlinked as long as another daemon can be waiting for
 * it. */
static void assert_directory_empty(const struct dut *dut)
{
	DIR *dir = opendir(dut->directory);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "log") != 0 &&
		    strcmp(entry->d_name, "socket.lock") != 0)
			fail_msg("hugepoold has left %s/%s", dut->directory, entry->d_name);
	closedir(dir);
}

/* Starting and stopping */

/* Its address is the kernel's choice, and in no directory. */
static int make_notify_socket(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	return fd;
}

/* As NOTIFY_SOCKET has it. */
static void name_notify_socket(int fd, char *ret_word, size_t size)
{
	struct sockaddr_un address;
	socklen_t length = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	snprintf(ret_word, size, "@%.*s", (int)(length - sizeof(sa_family_t) - 1), address.sun_path + 1);
}

void dut_limit_fds(unsigned n)
{
	max_fds = n;
}

static void launch(struct dut *dut, uid_t uid, const char *const *arguments)
{
	const char *head[] = {"--socket", dut->socket, NULL};
	char word[120];

	name_notify_socket(dut->notify_fd, word, sizeof(word));
	dut->pid = fork();
	if (dut->pid == 0) {
		int log_fd = open(dut->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

		dup2(log_fd, STDOUT_FILENO);
		dup2(log_fd, STDERR_FILENO);
		setenv("NOTIFY_SOCKET", word, 1);
		unsetenv("HUGEPOOL_SOCKET");
		if (max_fds > 0)
			setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = max_fds, .rlim_max = max_fds});
		exec_program("hugepoold", uid, head, arguments);
	}
	dut_adopt(dut->pid);
}

static bool has_line(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, word, length) == 0 && (line[length] == '\n' || line[length] == 0))
			return true;
	}
	return false;
}

void dut_wait_notified(struct dut *dut, const char *word)
{
	int pid_fd = (int)syscall(SYS_pidfd_open, dut->pid, 0);
	struct pollfd fds[2] = {{.fd = dut->notify_fd, .events = POLLIN}, {.fd = pid_fd, .events = POLLIN}};
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	char text[1024];
	ssize_t n;

	for (;;) {
		uint64_t now = wait_now_ms();

		poll(fds, 2, now < deadline ? (int)(deadline - now) : 0);
		n = recv(dut->notify_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
		if (n >= 0) {
			text[n] = 0;
			if (has_line(text, word))
				break;
			continue;
		}
		if (fds[1].revents || now >= deadline) {
			dut_show_log(dut);
			close(pid_fd);
			fail_msg("hugepoold has not said %s", word);
		}
	}
	close(pid_fd);
}

void dut_prepare(struct dut *dut, uid_t uid)
{
	*dut = (struct dut){.directory = "/tmp/hugepool-dut-XXXXXX"};
	assert_non_null(mkdtemp(dut->directory));
	assert_int_equal(chmod(dut->directory, 0755), 0);
	if (uid != 0)
		assert_int_equal(chown(dut->directory, uid, uid), 0);
	snprintf(dut->socket, sizeof(dut->socket), "%s/socket", dut->directory);
	snprintf(dut->log, sizeof(dut->log), "%s/log", dut->directory);
	dut->notify_fd = make_notify_socket();
	assert_true(n_started < MAX_STARTED);
	strcpy(started[n_started].directory, dut->directory);
	started[n_started++].notify_fd = dut->notify_fd;
}

void dut_discard(struct dut *dut)
{
	assert_directory_empty(dut);
	forget_started(dut->directory);
}

void dut_start_as(struct dut *dut, uid_t uid, const char *const *arguments)
{
	dut_prepare(dut, uid);
	launch(dut, uid, arguments);
	dut_wait_notified(dut, "READY=1");
}

void dut_start(struct dut *dut, const char *const *arguments)
{
	dut_start_as(dut, 0, arguments);
}

int dut_start_refused(const char *const *arguments, char **ret_error)
{
	struct dut dut;
	const char *head[] = {"--socket", dut.socket, NULL};
	int status;

	dut_prepare(&dut, 0);
	status = run_program("hugepoold", 0, head, arguments, NULL, ret_error);
	dut_discard(&dut);
	return status;
}

void dut_wait_stopped(struct dut *dut)
{
	int status = -1;

	if (!wait_child(dut->pid, WAIT_MAX_MS, &status)) {
		dut_show_log(dut);
		fail_msg("hugepoold does not stop");
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		dut_show_log(dut);
		fail_msg("hugepoold ended with wait status %#x", (unsigned)status);
	}
	dut_discard(dut);
	dut->pid = 0;
}

void dut_stop(struct dut *dut)
{
	assert_int_equal(kill(dut->pid, SIGTERM), 0);
	dut_wait_stopped(dut);
}

void dut_kill(struct dut *dut)
{
	int status = -1;

	assert_int_equal(kill(dut->pid, SIGKILL), 0);
	assert_true(wait_child(dut->pid, WAIT_MAX_MS, &status));
	dut->pid = 0;
}

void dut_restart_as(struct dut *dut, uid_t uid, const char *const *arguments)
{
	assert_int_equal(dut->pid, 0);
	launch(dut, uid, arguments);
	dut_wait_notified(dut, "READY=1");
}

void dut_restart(struct dut *dut, const char *const *arguments)
{
	dut_restart_as(dut, 0, arguments);
}

/* Asking */

int dut_ctl(const struct dut *dut, uid_t uid, const char *const *arguments, char **ret_out, char **ret_error)
{
	const char *head[] = {"--socket", dut->socket, NULL};

	return run_program("hugepoolctl", uid, head, arguments, ret_out, ret_error);
}

json_t *dut_json(const struct dut *dut, const char *command)
{
	char words[256], *save = NULL;
	const char *arguments[8] = {"--json"};
	char *out, *error;
	json_error_t where;
	json_t *object;
	unsigned n = 1;

	snprintf(words, sizeof(words), "%s", command);
	for (char *word = strtok_r(words, " ", &save); word && n < 7; word = strtok_r(NULL, " ", &save))
		arguments[n++] = word;
	if (dut_ctl(dut, 0, arguments, &out, &error) != 0) {
		dut_show_log(dut);
		fail_msg("hugepoolctl %s: %s", command, error);
	}
	object = json_loads(out, 0, &where);
	if (!json_is_object(object))
		fail_msg("hugepoolctl %s: %s: %s", command, where.text, out);
	free(out);
	free(error);
	return object;
}

static int64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("\"%s\" is not there, or not a number", key);
	return json_integer_value(value);
}

/* The pool's object in `status`. */
static const json_t *find_pool(const json_t *status, const char *pool)
{
	json_t *each;
	size_t i;

	json_array_foreach (json_object_get(status, "pools"), i, each) {
		const char *name = json_string_value(json_object_get(each, "name"));

		if (name && strcmp(name, pool) == 0)
			return each;
	}
	fail_msg("there is no pool %s", pool);
	return NULL;
}

int64_t dut_pool(const struct dut *dut, const char *pool, const char *key)
{
	static const char *const parts[] = {"pages_leased", "pages_orphaned", "pages_clean", "pages_dirty",
					    "pages_cached", "pages_stock",    "pages_limbo"};
	json_t *status = dut_json(dut, "status");
	const json_t *object = find_pool(status, pool);
	int64_t sum = 0, value;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		sum += number(object, parts[i]);
	if (sum != number(object, "pages_backed")) {
		char *text = json_dumps(object, 0);

		dut_show_log(dut);
		fail_msg("the pool's sums do not add up: %s", text);
	}
	value = number(object, key);
	json_decref(status);
	return value;
}

void dut_wait_pool(const struct dut *dut, const char *pool, const char *key, int64_t value)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	int64_t got;

	while ((got = dut_pool(dut, pool, key)) != value) {
		if (wait_now_ms() > deadline) {
			json_t *status = dut_json(dut, "status");
			char *text = json_dumps(find_pool(status, pool), 0);

			dut_show_log(dut);
			fail_msg("%s is %" PRId64 " and never %" PRId64 ": %s", key, got, value, text);
		}
		wait_pause();
	}
}

/* A line, or what comes before the end; true if there is anything. */
static bool read_line(int fd, char *ret_line, size_t size, unsigned timeout_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint64_t deadline = wait_now_ms() + timeout_ms;
	size_t n = 0;

	while (n + 1 < size && wait_now_ms() < deadline) {
		if (poll(&poll_fd, 1, 100) != 1)
			continue;
		if (read(fd, ret_line + n, 1) != 1 || ret_line[n] == '\n')
			break;
		n++;
	}
	ret_line[n] = 0;
	return n > 0;
}

pid_t dut_hold_by(const struct dut *dut, uid_t uid, const char *const *arguments, uint64_t *ret_lease)
{
	const char *head[] = {"--socket", dut->socket, "--json", NULL};
	static char line[65536];
	json_t *object;
	int out[2];
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		exec_program("hugepoolctl", uid, head, arguments);
	}
	dut_adopt(pid);
	close(out[1]);
	if (!read_line(out[0], line, sizeof(line), RUN_MS)) {
		dut_show_log(dut);
		fail_msg("hugepoolctl %s got no lease", *arguments);
	}
	close(out[0]);
	object = json_loads(line, 0, NULL);
	if (!json_is_object(object))
		fail_msg("hugepoolctl %s said: %s", *arguments, line);
	*ret_lease = (uint64_t)number(object, "lease");
	json_decref(object);
	return pid;
}

pid_t dut_hold(const struct dut *dut, uid_t uid, const char *const *arguments, uint64_t *ret_lease)
{
	const char *words[MAX_ARGUMENTS + 1] = {"alloc"};
	unsigned n = 1;

	if (*arguments && strcmp(*arguments, "alloc") == 0)
		arguments++;
	for (; *arguments && n < MAX_ARGUMENTS; arguments++)
		words[n++] = *arguments;
	return dut_hold_by(dut, uid, words, ret_lease);
}

/* Looking at it from outside */

unsigned dut_n_fds(const struct dut *dut)
{
	char path[64];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)dut->pid);
	dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

uint64_t dut_rss_bytes(const struct dut *dut)
{
	uint64_t anon_kib = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)dut->pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %" SCNu64, &anon_kib) == 1)
			break;
	fclose(file);
	assert_true(anon_kib > 0);
	return anon_kib * 1024;
}

/* journal.c - see journal.h.
 *
 * The file: "hugepoold-journal 1 BOOT_ID", then "KEY VALUE" a line, sorted. A new one is written beside it
 * and renamed.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/journal.h"
#include "daemon/base/lock.h"

#define HEAD           "hugepoold-journal 1 "
#define FILE_BYTES_MAX (4u << 20)
#define ENTRIES_MAX    4096
#define BOOT_ID_BYTES  36
#define NEW_SUFFIX     ".new"

struct entry {
	char *key, *value;
};

struct journal {
	/* Constant. */
	int directory_fd;
	char *name, *new_name;
	char boot_id[BOOT_ID_BYTES + 1];
	bool is_of_another_boot;

	struct lock lock;
	struct entry *entries; /* guarded by lock; sorted by key */
	unsigned n_entries, n_room;
};

/* ---- the table ---- */

static unsigned find_place(const struct journal *journal, const char *key, bool *ret_is_there)
{
	unsigned low = 0, high = journal->n_entries;

	*ret_is_there = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = strcmp(journal->entries[middle].key, key);

		*ret_is_there |= order == 0;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert(struct journal *journal, unsigned place, char *consume_key, char *consume_value)
{
	if (journal->n_entries == journal->n_room) {
		unsigned n_room = journal->n_room > 0 ? 2 * journal->n_room : 16;
		void *grown = reallocarray(journal->entries, n_room, sizeof(struct entry));

		if (!grown || journal->n_entries >= ENTRIES_MAX) {
			journal->entries = grown ? grown : journal->entries;
			free(consume_key);
			free(consume_value);
			return grown ? -ENOSPC : -ENOMEM;
		}
		journal->entries = grown;
		journal->n_room = n_room;
	}
	memmove(&journal->entries[place + 1], &journal->entries[place],
		(journal->n_entries - place) * sizeof(struct entry));
	journal->entries[place] = (struct entry){consume_key, consume_value};
	journal->n_entries++;
	return 0;
}

static struct entry take_out(struct journal *journal, unsigned place)
{
	struct entry entry = journal->entries[place];

	journal->n_entries--;
	memmove(&journal->entries[place], &journal->entries[place + 1],
		(journal->n_entries - place) * sizeof(struct entry));
	return entry;
}

static void put_back(struct journal *journal, unsigned place, struct entry entry)
{
	/* There is room: it was there before. */
	hp_assert(insert(journal, place, entry.key, entry.value) == 0);
}

/* ---- words ---- */

static bool is_printable(const char *text, bool with_space)
{
	if (*text == '\0')
		return false;
	for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++)
		if (*byte > '~' || *byte < ' ' || (*byte == ' ' && !with_space))
			return false;
	return true;
}

char *journal_escape(const char *text)
{
	char *word = malloc(3 * strlen(text) + 1), *out = word;

	if (!word)
		return NULL;
	for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
		if (*byte > ' ' && *byte <= '~' && *byte != '%')
			*out++ = (char)*byte;
		else
			out += sprintf(out, "%%%02X", *byte);
	}
	*out = '\0';
	return word;
}

char *journal_unescape(const char *word)
{
	static const char digits[] = "0123456789ABCDEF";
	char *text = malloc(strlen(word) + 1), *out = text;

	while (text && *word) {
		const char *high, *low;

		if (*word != '%') {
			*out++ = *word++;
			continue;
		}
		high = word[1] ? strchr(digits, word[1]) : NULL;
		low = high && word[2] ? strchr(digits, word[2]) : NULL;
		if (!low || (high == digits && low == digits)) {
			free(text);
			return NULL;
		}
		*out++ = (char)((high - digits) * 16 + (low - digits));
		word += 3;
	}
	if (text)
		*out = '\0';
	return text;
}

/* ---- the file ---- */

/* "-" where the kernel does not say. */
static void read_boot_id(char ret_id[BOOT_ID_BYTES + 1])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_id, BOOT_ID_BYTES);

	strcpy(n == BOOT_ID_BYTES ? ret_id + n : ret_id, n == BOOT_ID_BYTES ? "" : "-");
	if (!is_printable(ret_id, false))
		strcpy(ret_id, "-");
}

static int write_entries(const struct journal *journal, int fd)
{
	FILE *file = fdopen(fd, "w");
	int r;

	if (!file) {
		r = -errno;
		close(fd);
		return r;
	}
	fprintf(file, HEAD "%s\n", journal->boot_id);
	for (unsigned i = 0; i < journal->n_entries; i++)
		fprintf(file, "%s %s\n", journal->entries[i].key, journal->entries[i].value);
	errno = 0;
	r = fflush(file) == 0 && !ferror(file) && fdatasync(fd) == 0 ? 0 : errno ? -errno : -EIO;
	fclose(file);
	return r;
}

/* What the table has becomes the file. */
static int write_file(struct journal *journal)
{
	int fd, r;

	if (journal->n_entries == 0)
		return unlinkat(journal->directory_fd, journal->name, 0) == 0 || errno == ENOENT ? 0 : -errno;
	/* What a process that was killed has begun. */
	(void)unlinkat(journal->directory_fd, journal->new_name, 0);
	fd = openat(journal->directory_fd, journal->new_name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_entries(journal, fd);
	if (r == 0 &&
	    renameat(journal->directory_fd, journal->new_name, journal->directory_fd, journal->name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(journal->directory_fd, journal->new_name, 0);
	return r;
}

static int complain(char **ret_error, int error, const struct journal *journal, const char *what)
{
	if (asprintf(ret_error, "the record %s of what a daemon before this one has changed %s",
		     journal->name, what) < 0)
		*ret_error = NULL;
	return error;
}

/* A line without its end. Returns 0, -EBADMSG or -ENOMEM. */
static int parse_line(struct journal *journal, char *line)
{
	char *value = strchr(line, ' '), *copies[2];
	bool is_there;
	unsigned place;

	if (!value || !is_printable(line, true))
		return -EBADMSG;
	*value++ = '\0';
	if (*line == '\0' || *value == '\0' || strlen(line) >= JOURNAL_KEY_MAX ||
	    strlen(value) >= JOURNAL_VALUE_MAX)
		return -EBADMSG;
	place = find_place(journal, line, &is_there);
	if (is_there)
		return -EBADMSG;
	copies[0] = strdup(line);
	copies[1] = strdup(value);
	if (copies[0] && copies[1])
		return insert(journal, place, copies[0], copies[1]) == -ENOMEM ? -ENOMEM : 0;
	free(copies[0]);
	free(copies[1]);
	return -ENOMEM;
}

static int parse(struct journal *journal, char *text, size_t length, char **ret_error)
{
	char *line = text, *end;
	int r = 0;

	if (length == 0 || strlen(text) != length || text[length - 1] != '\n' ||
	    strncmp(text, HEAD, strlen(HEAD)) != 0)
		return complain(ret_error, -EBADMSG, journal,
				"is not in the form that hugepoold writes: see what is left of that daemon, "
				"then remove the file");
	end = strchr(line, '\n');
	*end = '\0';
	journal->is_of_another_boot =
		strcmp(line + strlen(HEAD), journal->boot_id) != 0 || strcmp(journal->boot_id, "-") == 0;
	for (line = end + 1; r == 0 && *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		r = journal->n_entries < ENTRIES_MAX ? parse_line(journal, line) : -EBADMSG;
	}
	if (r == -EBADMSG)
		return complain(ret_error, r, journal,
				"has a line that hugepoold does not write: see what is left of that daemon, "
				"then remove the file");
	return r;
}

static int read_file(struct journal *journal, char **ret_error)
{
	_cleanup_close_ int fd = openat(journal->directory_fd, journal->name,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return complain(ret_error, -errno, journal,
				errno == ELOOP ? "is a symlink: remove it" : "cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1 || (st.st_mode & 022) != 0)
		return complain(ret_error, -EBADMSG, journal,
				"is no file of this user's alone: it is somebody else's, remove it");
	if (st.st_size > FILE_BYTES_MAX)
		return complain(ret_error, -EBADMSG, journal, "is longer than 4 MiB: remove it");
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = read(fd, text, (size_t)st.st_size);
	if (n < 0)
		return complain(ret_error, -errno, journal, "cannot be read");
	text[n] = '\0';
	return parse(journal, text, (size_t)n, ret_error);
}

/* ---- outside ---- */

int journal_open(int directory_fd, const char *name, struct journal **ret, char **ret_error)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int r;

	*ret_error = NULL;
	if (!journal)
		return -ENOMEM;
	lock_init(&journal->lock, LOCK_JOURNAL);
	journal->directory_fd = directory_fd;
	journal->name = strdup(name);
	if (asprintf(&journal->new_name, "%s" NEW_SUFFIX, name) < 0)
		journal->new_name = NULL;
	read_boot_id(journal->boot_id);
	r = journal->name && journal->new_name ? read_file(journal, ret_error) : -ENOMEM;
	if (r < 0) {
		journal_free(journal);
		return r;
	}
	*ret = journal;
	return 0;
}

struct journal *journal_free(struct journal *journal)
{
	if (!journal)
		return NULL;
	for (unsigned i = 0; i < journal->n_entries; i++) {
		free(journal->entries[i].key);
		free(journal->entries[i].value);
	}
	lock_fini(&journal->lock);
	free(journal->entries);
	free(journal->name);
	free(journal->new_name);
	free(journal);
	return NULL;
}

bool journal_is_of_another_boot(const struct journal *journal)
{
	return journal->is_of_another_boot;
}

static int put_locked(struct journal *journal, const char *key, char *consume_value)
{
	bool is_there;
	unsigned place = find_place(journal, key, &is_there);
	struct entry entry = {NULL, NULL};
	char *copy;
	int r;

	if (is_there) {
		char *old = journal->entries[place].value;

		journal->entries[place].value = consume_value;
		r = write_file(journal);
		if (r < 0)
			journal->entries[place].value = old;
		free(r < 0 ? consume_value : old);
		return r;
	}
	copy = strdup(key);
	if (!copy) {
		free(consume_value);
		return -ENOMEM;
	}
	r = insert(journal, place, copy, consume_value);
	if (r < 0)
		return r;
	r = write_file(journal);
	if (r < 0)
		entry = take_out(journal, place);
	free(entry.key);
	free(entry.value);
	return r;
}

int journal_put(struct journal *journal, const char *key, const char *format, ...)
{
	va_list args;
	char *value;
	int r;

	va_start(args, format);
	r = vasprintf(&value, format, args);
	va_end(args);
	if (r < 0)
		return -ENOMEM;
	hp_assert(is_printable(key, false) && is_printable(value, true));
	if (strlen(key) >= JOURNAL_KEY_MAX || strlen(value) >= JOURNAL_VALUE_MAX) {
		free(value);
		return -ENAMETOOLONG;
	}
	lock_take(&journal->lock);
	r = put_locked(journal, key, value);
	lock_drop(&journal->lock);
	return r;
}

int journal_drop(struct journal *journal, const char *key)
{
	struct entry entry = {NULL, NULL};
	unsigned place;
	bool is_there;
	int r = 0;

	lock_take(&journal->lock);
	place = find_place(journal, key, &is_there);
	if (is_there) {
		entry = take_out(journal, place);
		r = write_file(journal);
		if (r < 0)
			put_back(journal, place, entry);
	}
	lock_drop(&journal->lock);
	if (is_there && r == 0) {
		free(entry.key);
		free(entry.value);
	}
	return r;
}

const char *journal_get(const struct journal *journal, const char *key)
{
	bool is_there;
	unsigned place = find_place(journal, key, &is_there);

	return is_there ? journal->entries[place].value : NULL;
}

const char *journal_next(const struct journal *journal, const char *prefix, const char *after)
{
	bool is_there;
	unsigned place = find_place(journal, after ? after : prefix, &is_there);

	if (after && is_there)
		place++;
	if (place >= journal->n_entries || strncmp(journal->entries[place].key, prefix, strlen(prefix)) != 0)
		return NULL;
	return journal->entries[place].key;
}

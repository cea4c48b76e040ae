/* sharedplace.c - see sharedplace.h.
 *
 * The journal's entry: "files:POOL" has the identity of the directory, the prefix, the owner's uid and the
 * directory's path.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing/hugemount.h"
#include "daemon/backing/sharedplace.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/directory.h"
#include "daemon/base/inode_id.h"
#include "daemon/base/journal.h"

#define KEY_PREFIX    "files:"
#define PREFIX_FORMAT "hugepool-x%016" PRIx64 "-"
#define PREFIX_BYTES  27

int sharedplace_begin(struct sharedplace *place, const struct backing_host *host, const char *pool,
		      int directory_fd, uid_t owner_uid)
{
	_cleanup_free_ char *path = directory_path(directory_fd), *path_word = NULL, *pool_word = NULL;
	char words[INODE_ID_WORDS_MAX];
	struct inode_id id;
	uint64_t token;
	uint32_t mode;
	int r;

	*place = (struct sharedplace){.host = host};
	path_word = path ? journal_escape(path) : NULL;
	pool_word = journal_escape(pool);
	if (!path_word || !pool_word || asprintf(&place->key, KEY_PREFIX "%s", pool_word) < 0) {
		place->key = NULL;
		return -ENOMEM;
	}
	if (getrandom(&token, sizeof(token), 0) != sizeof(token))
		return -EIO;
	snprintf(place->prefix, sizeof(place->prefix), PREFIX_FORMAT, token);
	r = inode_id_read(directory_fd, "", &id, &mode);
	if (r == 0)
		r = journal_put(host->journal, place->key, "%s %s %u %s", inode_id_format(&id, words),
				place->prefix, (unsigned)owner_uid, path_word);
	return r;
}

void sharedplace_end(struct sharedplace *place)
{
	if (place->key)
		(void)journal_drop(place->host->journal, place->key);
	free(place->key);
	*place = (struct sharedplace){.key = NULL};
}

/* ---- what a dead daemon left ---- */

struct entry {
	struct inode_id directory_id;
	char prefix[SHAREDPLACE_PREFIX_MAX];
	uid_t owner_uid;
	char *path;
};

static bool parse(const char *value, struct entry *ret)
{
	unsigned long long owner_uid;
	const char *rest;
	uint64_t token;
	char *end;

	*ret = (struct entry){.path = NULL};
	rest = value + inode_id_parse(value, &ret->directory_id);
	if (rest == value || *rest++ != ' ' || strlen(rest) <= PREFIX_BYTES || rest[PREFIX_BYTES] != ' ')
		return false;
	memcpy(ret->prefix, rest, PREFIX_BYTES);
	if (sscanf(ret->prefix, "hugepool-x%16" SCNx64 "-", &token) != 1)
		return false;
	rest += PREFIX_BYTES + 1;
	owner_uid = strtoull(rest, &end, 10);
	if (end == rest || *end != ' ' || owner_uid > UINT32_MAX)
		return false;
	ret->owner_uid = (uid_t)owner_uid;
	ret->path = journal_unescape(end + 1);
	return ret->path && ret->path[0] == '/';
}

static bool is_ours(const char *name, const char *prefix)
{
	const char *digits = name + strlen(prefix);

	return strncmp(name, prefix, strlen(prefix)) == 0 && *digits != '\0' &&
	       digits[strspn(digits, "0123456789")] == '\0';
}

/* Whoever can write to the directory can give a file of somebody else's that name by a link: that one has two
 * names, or another owner. */
static void clear_file(int directory_fd, const char *name, uid_t owner_uid)
{
	_cleanup_close_ int fd =
		openat(directory_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    (st.st_uid != owner_uid && st.st_uid != geteuid()))
		return;
	(void)unlinkat(directory_fd, name, 0);
	(void)!ftruncate(fd, 0);
}

static void clear_directory(int directory_fd, const struct entry *entry)
{
	int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *file;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((file = readdir(directory)))
		if (is_ours(file->d_name, entry->prefix))
			clear_file(dirfd(directory), file->d_name, entry->owner_uid);
	closedir(directory);
}

static void take_over_one(const struct entry *entry)
{
	_cleanup_close_ int fd = -1;
	struct inode_id now;
	uint64_t page_bytes;
	bool is_hugetlbfs;
	uint32_t mode;

	if (directory_open(entry->path, &fd) == 0 && inode_id_read(fd, "", &now, &mode) == 0 &&
	    inode_id_equal(&now, &entry->directory_id) &&
	    hugemount_page_bytes(fd, &is_hugetlbfs, &page_bytes) == 0 && is_hugetlbfs)
		clear_directory(fd, entry);
}

void sharedplace_take_over(const struct backing_host *host)
{
	const char *key, *after = NULL;
	struct entry entry;

	while ((key = journal_next(host->journal, KEY_PREFIX, after))) {
		/* Another boot's files are gone with its memory. */
		if (parse(journal_get(host->journal, key), &entry) &&
		    !journal_is_of_another_boot(host->journal))
			take_over_one(&entry);
		free(entry.path);
		if (journal_drop(host->journal, key) < 0)
			after = key;
	}
}

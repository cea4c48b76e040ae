/* ownmount.c - see ownmount.h.
 *
 * The journal's entry: "mount:NAME" has the identity of the mount's root, then that of the directory it is
 * over if that was made for it; "making" while it is being made, "found" if it was there.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing/hugemount.h"
#include "daemon/backing/kinds.h"
#include "daemon/backing/leftover.h"
#include "daemon/backing/ownmount.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/journal.h"

#define KEY_PREFIX "mount:"
#define MAKING     "making"
#define FOUND      "found"

static char *make_key(const char *name)
{
	_cleanup_free_ char *word = journal_escape(name);
	char *key;

	return word && asprintf(&key, KEY_PREFIX "%s", word) >= 0 ? key : NULL;
}

/* What is there, the root of the uppermost mount if it is mounted over. -1: nothing, or no directory. */
static int open_place(const struct backing_host *host, const char *name)
{
	return openat(host->directory_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_empty(int directory_fd)
{
	int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool empty = true;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (empty && (entry = readdir(directory)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(directory);
	return empty;
}

int ownmount_check_place(const struct backing_host *host, const char *name, char **ret_error)
{
	_cleanup_close_ int fd = open_place(host, name);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return backing_refuse(
			ret_error, -EEXIST,
			"pool %s: %s/%s, where its hugetlbfs is to be mounted, is no directory of "
			"ours: remove it, or name another --state",
			name, host->path, name);
	if (hugemount_is_root(fd))
		return backing_refuse(
			ret_error, -EEXIST,
			"pool %s: something is mounted at %s/%s that this daemon has not mounted: "
			"unmount it, or name another --state",
			name, host->path, name);
	if (fstat(fd, &st) < 0 || (st.st_uid != 0 && st.st_uid != geteuid()) || !is_empty(fd))
		return backing_refuse(
			ret_error, -EEXIST,
			"pool %s: the directory %s/%s, where its hugetlbfs is to be mounted, is not "
			"empty or belongs to another user: remove it, or name another --state",
			name, host->path, name);
	return 0;
}

/* ---- making ---- */

/* The directory, between two entries in the journal. */
static int make_directory(struct ownmount *mount, const char *mount_words)
{
	struct journal *journal = mount->host->journal;
	char words[INODE_ID_WORDS_MAX];
	uint32_t mode;
	int r;

	if (inode_id_read(mount->host->directory_fd, mount->name, &mount->directory_id, &mode) == 0)
		return journal_put(journal, mount->key, "%s " FOUND, mount_words);
	r = journal_put(journal, mount->key, "%s " MAKING, mount_words);
	if (r < 0)
		return r;
	if (mkdirat(mount->host->directory_fd, mount->name, 0711) < 0)
		return -errno;
	mount->is_made = true;
	r = inode_id_read(mount->host->directory_fd, mount->name, &mount->directory_id, &mode);
	if (r < 0)
		return r;
	return journal_put(journal, mount->key, "%s %s", mount_words,
			   inode_id_format(&mount->directory_id, words));
}

/* Unless there is something else at its name by now. */
static void remove_directory(const struct backing_host *host, const char *name, const struct inode_id *id)
{
	struct inode_id now;
	uint32_t mode;

	if (inode_id_read(host->directory_fd, name, &now, &mode) == 0 && inode_id_equal(&now, id))
		(void)unlinkat(host->directory_fd, name, AT_REMOVEDIR);
}

int ownmount_attach(struct ownmount *mount, const struct backing_host *host, const char *name, int mount_fd)
{
	char words[INODE_ID_WORDS_MAX];
	struct inode_id id;
	uint32_t mode;
	int r;

	*mount = (struct ownmount){.host = host, .name = name, .fd = mount_fd, .key = make_key(name)};
	if (!mount->key)
		return -ENOMEM;
	r = inode_id_read(mount_fd, "", &id, &mode);
	if (r == 0) {
		leftover_drop_mount(host->leftover, id.device);
		r = make_directory(mount, inode_id_format(&id, words));
	}
	if (r == 0)
		r = hugemount_attach(mount_fd, host->directory_fd, name);
	if (r == 0)
		return 0;
	if (mount->is_made)
		remove_directory(host, name, &mount->directory_id);
	(void)journal_drop(host->journal, mount->key);
	free(mount->key);
	*mount = (struct ownmount){.fd = -1};
	return r;
}

/* ---- taking down ---- */

/* Where `id` is the root of the uppermost mount at the place, detach it by the descriptor. Returns whether
 * nothing is mounted there any more that could be it, or lie over it. */
static bool detach_if_it_is(const struct backing_host *host, const char *name, const struct inode_id *id,
			    void (*prepare)(int directory_fd))
{
	_cleanup_close_ int fd = open_place(host, name);
	struct inode_id now;
	uint32_t mode;

	if (fd < 0 || !hugemount_is_root(fd))
		return true;
	if (inode_id_read(fd, "", &now, &mode) < 0 || !inode_id_equal(&now, id))
		return false;
	if (prepare)
		prepare(fd);
	return hugemount_detach(fd) == 0;
}

void ownmount_detach(struct ownmount *mount)
{
	struct inode_id id;
	uint32_t mode;

	if (!mount->key)
		return;
	if (inode_id_read(mount->fd, "", &id, &mode) == 0 &&
	    detach_if_it_is(mount->host, mount->name, &id, NULL)) {
		if (mount->is_made)
			remove_directory(mount->host, mount->name, &mount->directory_id);
		(void)journal_drop(mount->host->journal, mount->key);
	}
	free(mount->key);
	*mount = (struct ownmount){.fd = -1};
}

static void unlink_all(int directory_fd)
{
	int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(directory)))
		if (entry->d_type == DT_REG)
			(void)unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
}

static bool is_one_name(const char *name)
{
	return name[0] != '\0' && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Returns whether the entry is done with. */
static bool take_over_one(const struct backing_host *host, const char *name, const char *value)
{
	struct inode_id id, directory_id, now;
	unsigned length = inode_id_parse(value, &id);
	const char *rest = value + length;
	uint32_t mode;

	if (length == 0 || *rest++ != ' ' || !is_one_name(name))
		return true;
	/* Another boot's mounts are gone; its numbers may be somebody else's. */
	if (!journal_is_of_another_boot(host->journal)) {
		if (!detach_if_it_is(host, name, &id, unlink_all))
			return false;
		leftover_add_mount(host->leftover, name, id.device);
	}
	if (strcmp(rest, MAKING) == 0) {
		/* It was killed before it could say which one: then it is empty, and ours. */
		if (inode_id_read(host->directory_fd, name, &now, &mode) == 0 && S_ISDIR(mode))
			remove_directory(host, name, &now);
	} else if (inode_id_parse(rest, &directory_id) == strlen(rest)) {
		remove_directory(host, name, &directory_id);
	}
	return true;
}

void ownmount_take_over(const struct backing_host *host)
{
	const char *key, *after = NULL;

	while ((key = journal_next(host->journal, KEY_PREFIX, after))) {
		_cleanup_free_ char *name = journal_unescape(key + strlen(KEY_PREFIX));

		if ((name && !take_over_one(host, name, journal_get(host->journal, key))) ||
		    journal_drop(host->journal, key) < 0)
			after = key;
	}
}

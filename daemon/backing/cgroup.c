/* cgroup.c - see cgroup.h.
 *
 * /proc/self/cgroup says which cgroup it is, /proc/self/mountinfo where its hierarchy is mounted, and from
 * which of its cgroups on: in a container that is often the container's own. In a cgroup namespace both are
 * told relative to the namespace's root. A mount that begins above that root ("/..") hides our cgroup's name;
 * only one made inside the namespace, or from a cgroup that ours is below, can be followed.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/backing/cgroup.h"
#include "daemon/base/cleanup.h"

static FILE *open_proc(const char *root, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc/self/%s", root, name);
	return fopen(path, "re");
}

/* Is `word` one of a list with commas? */
static bool has_word(const char *list, const char *word)
{
	const size_t length = strlen(word);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

/* A line of /proc/self/cgroup, "4:cpu,memory:/a/b": the path if it is this hierarchy's, else NULL. */
static char *path_in_line(char *line, const struct cgroup_hierarchy *hierarchy)
{
	char *controllers = strchr(line, ':'), *path;

	if (!controllers)
		return NULL;
	path = strchr(++controllers, ':');
	if (!path)
		return NULL;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	if (hierarchy->controller[0] ? has_word(controllers, hierarchy->controller) : controllers[0] == '\0')
		return path;
	return NULL;
}

/* 1 and the path; 0: we are in no such hierarchy; or negative errno. */
static int find_path(const char *root, const struct cgroup_hierarchy *hierarchy, char path[PATH_MAX])
{
	_cleanup_free_ char *line = NULL;
	FILE *file = open_proc(root, "cgroup");
	size_t room = 0;
	int r = 0;

	if (!file)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
	while (r == 0 && getline(&line, &room, file) > 0) {
		const char *found = path_in_line(line, hierarchy);

		if (found && snprintf(path, PATH_MAX, "%s", found) < PATH_MAX)
			r = 1;
	}
	fclose(file);
	return r;
}

/* "\040" is a space: in place. */
static void unescape(char *word)
{
	char *to = word;

	for (const char *from = word; *from; to++) {
		unsigned code;

		if (from[0] == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = (char)code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

struct mount {
	char *from; /* the cgroup that is at its top */
	char *at;
};

/* A line of /proc/self/mountinfo: ID PARENT MAJOR:MINOR ROOT AT OPTIONS ... - TYPE SOURCE OPTIONS */
static bool parse_mount(char *line, const struct cgroup_hierarchy *hierarchy, struct mount *ret)
{
	char *words[5], *rest, *type, *options;

	rest = strstr(line, " - ");
	if (!rest)
		return false;
	*rest = '\0';
	rest += strlen(" - ");
	rest[strcspn(rest, "\n")] = '\0';
	for (unsigned i = 0; i < 5; i++)
		if (!(words[i] = strsep(&line, " ")))
			return false;
	type = strsep(&rest, " ");
	if (strcmp(type, hierarchy->controller[0] ? "cgroup" : "cgroup2") != 0 || !strsep(&rest, " "))
		return false;
	options = rest ? rest : "";
	if (hierarchy->controller[0] && !has_word(options, hierarchy->controller))
		return false;
	if (hierarchy->option && !has_word(options, hierarchy->option))
		return false;
	*ret = (struct mount){.from = words[3], .at = words[4]};
	unescape(ret->from);
	unescape(ret->at);
	return true;
}

/* What of `path` is below the mount's top; NULL: it is not below it. */
static const char *below(const char *path, const char *from)
{
	const size_t length = strcmp(from, "/") == 0 ? 0 : strlen(from);

	if (strncmp(path, from, length) != 0 || (path[length] != '/' && path[length] != '\0'))
		return NULL;
	return strncmp(path + length, "/..", 3) == 0 ? NULL : path + length;
}

/* 1, where it is mounted, and how long that is without the cgroup's own name; 0: nowhere; or negative errno.
 */
static int find_directory(const char *root, const struct cgroup_hierarchy *hierarchy, const char *path,
			  char directory[PATH_MAX], size_t *ret_mount_length)
{
	_cleanup_free_ char *line = NULL;
	FILE *file = open_proc(root, "mountinfo");
	size_t room = 0;
	int r = 0;

	if (!file)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
	while (r == 0 && getline(&line, &room, file) > 0) {
		struct mount mount;
		const char *name = parse_mount(line, hierarchy, &mount) ? below(path, mount.from) : NULL;

		if (!name)
			continue;
		*ret_mount_length = strlen(root) + strlen(mount.at);
		r = snprintf(directory, PATH_MAX, "%s%s%s", root, mount.at, name) < PATH_MAX;
	}
	fclose(file);
	return r;
}

/* Without the last component: false at the top. */
static bool go_up(char *directory, size_t mount_length)
{
	char *slash = strrchr(directory, '/');

	if (strlen(directory) <= mount_length || !slash || (size_t)(slash - directory) < mount_length)
		return false;
	*slash = '\0';
	return true;
}

int cgroup_walk(const char *root, const struct cgroup_hierarchy *hierarchy,
		int (*visit)(void *arg, const char *directory, const char *name), void *arg)
{
	char path[PATH_MAX], directory[PATH_MAX];
	size_t mount_length = 0;
	int r = find_path(root, hierarchy, path);

	if (r > 0)
		r = find_directory(root, hierarchy, path, directory, &mount_length);
	if (r <= 0)
		return r;
	while (directory[strlen(directory) - 1] == '/' && strlen(directory) > mount_length)
		directory[strlen(directory) - 1] = '\0';
	do {
		const char *name = directory + mount_length;

		r = visit(arg, directory, *name ? name : "/");
	} while (r == 0 && go_up(directory, mount_length));
	return r;
}

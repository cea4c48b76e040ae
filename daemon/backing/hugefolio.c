/* hugefolio.c - see hugefolio.h. shmem_enabled is there once for folios of the size of a page table's, and
 * once for each other size, where "inherit" means what the first one says. */
#include <config.h>

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/backing/hugefolio.h"
#include "daemon/backing/readfile.h"

#define DIRECTORY "/sys/kernel/mm/transparent_hugepage"

/* The chosen one of "always [never] deny" says that a file gets large folios without being asked. */
static bool gives_large(const char *text)
{
	static const char *const words[] = {"[always]", "[within_size]", "[force]"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(text, words[i]))
			return true;
	return false;
}

/* "[inherit]" of one size follows the first file, which has been looked at by then. */
bool hugefolio_possible(const char *root)
{
	char path[PATH_MAX], text[READFILE_MAX];
	glob_t sizes;
	bool possible;
	int r;

	snprintf(path, sizeof(path), "%s" DIRECTORY "/shmem_enabled", root);
	r = readfile_text(path, text);
	if (r == 0)
		return false; /* a kernel without them */
	possible = r < 0 || gives_large(text);
	snprintf(path, sizeof(path), "%s" DIRECTORY "/hugepages-*kB/shmem_enabled", root);
	if (possible || strstr(text, "[deny]") || glob(path, 0, NULL, &sizes) != 0)
		return possible;
	for (size_t i = 0; i < sizes.gl_pathc && !possible; i++) {
		r = readfile_text(sizes.gl_pathv[i], text);
		possible = r < 0 || gives_large(text);
	}
	globfree(&sizes);
	return possible;
}

/* inode_id.c - see inode_id.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "daemon/base/inode_id.h"

int inode_id_read(int directory_fd, const char *name, struct inode_id *ret, uint32_t *ret_mode)
{
	struct statx st;

	if (statx(directory_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH,
		  STATX_TYPE | STATX_MODE | STATX_INO | STATX_BTIME, &st) < 0)
		return -errno;
	*ret = (struct inode_id){
		.device = makedev(st.stx_dev_major, st.stx_dev_minor),
		.inode = st.stx_ino,
	};
	if (st.stx_mask & STATX_BTIME) {
		ret->born_s = (uint64_t)st.stx_btime.tv_sec;
		ret->born_ns = st.stx_btime.tv_nsec;
	}
	*ret_mode = st.stx_mode;
	return 0;
}

bool inode_id_equal(const struct inode_id *a, const struct inode_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->born_s == b->born_s &&
	       a->born_ns == b->born_ns;
}

char *inode_id_format(const struct inode_id *id, char words[INODE_ID_WORDS_MAX])
{
	snprintf(words, INODE_ID_WORDS_MAX, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, id->device,
		 id->inode, id->born_s, id->born_ns);
	return words;
}

unsigned inode_id_parse(const char *words, struct inode_id *ret)
{
	char again[INODE_ID_WORDS_MAX];
	struct inode_id id;
	int length = 0;

	if (sscanf(words, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 "%n", &id.device, &id.inode,
		   &id.born_s, &id.born_ns, &length) != 4)
		return 0;
	/* What scanf forgives: signs, spaces, zeros in front, numbers that are too large. */
	inode_id_format(&id, again);
	for (int i = 0; i < length; i++)
		if (again[i] != words[i])
			return 0;
	if (again[length] != '\0')
		return 0;
	*ret = id;
	return (unsigned)length;
}

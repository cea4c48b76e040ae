/* fill.h - private to the room: have pages of a file allocated, slice by slice, and say what was short.
 *
 * Before each slice it looks whether the host, the node and the cgroups have that much, see headroom.h.
 */
#pragma once

#include "daemon/backing/kinds.h"

/* What the file has, by the kernel's account; what it was given if that cannot be read. */
uint64_t fill_count_present(const struct backing_file *file);

/* Have that many pages more allocated, and nr_hugepages raised for what is missing if the pool may. With the
 * counters' lock held. Returns 0; BACKING_SHORT with *ret_shortage set, or negative errno: then the file is
 * as it was. */
int fill_extend(struct backing_file *file, uint64_t n_pages, struct backing_shortage *ret_shortage);

/* Are all of these base pages there, in the page cache or in swap? True where the kernel cannot tell (before
 * Linux 6.5). */
bool fill_has_pages(const struct backing_file *file, uint64_t first, uint64_t n_pages);

/* The blocks that a full file of that many pages has: of base pages by their number, else as fstat says. */
blkcnt_t fill_blocks(const struct backing_file *file, blkcnt_t n_blocks);

/* backing_foreign_pages(), with the counters' lock held. */
uint64_t fill_foreign_pages(struct backing *backing);

/* backing_available_pages(), with the counters' lock held. */
uint64_t fill_available(struct backing *backing, uint64_t promised_pages,
			struct backing_shortage *ret_shortage);

/* mapping.h - the daemon's own view of a file: shared, read-write, at an address aligned to 1 GiB.
 *
 * When both sides align a file of 1 GiB and more like this, the kernel shares the page tables between them
 * and mapping it costs a quarter. No state: any thread.
 */
#pragma once

#include <stddef.h>

/* Map `bytes` (a multiple of the file's page size) of `fd` from its start. Pages are not faulted in; neither
 * core dumps nor forked children get them. Returns 0 and sets *ret_memory, or negative errno. */
int mapping_new(int fd, size_t bytes, void **ret_memory);

/* Fill the page tables with the pages that the file has, which are zero, so that a client that maps the file
 * alike finds them filled: 83 us for a GiB of 2 MiB pages. Each is written to once as well: in a virtual
 * machine whose page tables are shadowed by its host that is what fills the shadows, 20 us a page. */
void mapping_populate(void *memory, size_t bytes, size_t page_bytes);

/* Keep the first `keep_bytes` of a mapping of `bytes`. Returns how many it still has: where the kernel has no
 * memory to cut a mapping, all of them; nobody may touch what is behind the file's end. */
size_t mapping_trim(void *memory, size_t bytes, size_t keep_bytes);

/* NULL is fine. What the kernel cannot unmap stays, an address range without memory. */
void mapping_free(void *memory, size_t bytes);

/* fellows.h - private to the room: what all daemons of this host have raised of one page size's nr_hugepages
 * together, and how many pages the last of them left there.
 *
 * It is what tells an operator who has set a lower number from another daemon that took back its own. In a
 * file in /run that only root can open, locked from before a counter is read until it is changed; it is there
 * as long as something is raised. Where there can be no such file a daemon is alone: what this process
 * remembers counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fellows {
	uint64_t raised_pages; /* by all */
	uint64_t left_pages;   /* persistent ones, when one of them was here last */
	uint64_t era; /* drawn anew when an operator has set a lower number: what was raised before is gone */
};

/* Wait (seconds at most: the file is locked no longer than the kernel looks for pages) and read, or take what
 * `fellows` has. Returns a descriptor, to be handed to fellows_end(); -1: alone. */
int fellows_begin(uint64_t page_bytes, struct fellows *fellows);
/* Write, and let the next one in. */
void fellows_end(int fd, uint64_t page_bytes, const struct fellows *fellows);

/* A number for an era. */
uint64_t fellows_draw_era(void);

/* memcg.h - memory cgroups for tests that may fill memory: a limit of their own, whatever the host has.
 *
 * Version 1 or 2, whichever has the memory controller here. Every function asserts by cmocka; where there is
 * none, or we are not root, memcg_need() skips the test out loud. One thread.
 */
#pragma once

#include <stdint.h>

struct memcg {
	char path[256]; /* its directory */
	char name[128]; /* as /proc/self/cgroup has it, below the top of the hierarchy */
};

void memcg_need(void);
/* Below `parent`, or below the hierarchy's top (NULL). */
void memcg_make(struct memcg *memcg, const struct memcg *parent, uint64_t limit_bytes);
void memcg_set_limit(const struct memcg *memcg, uint64_t limit_bytes);
/* This process is in it from now on, and whatever it starts; memcg_leave() brings it, and nothing else, back
 * where it was. */
void memcg_enter(const struct memcg *memcg);
void memcg_leave(void);
uint64_t memcg_usage(const struct memcg *memcg);
/* How often a process in it was killed for want of memory. */
uint64_t memcg_oom_kills(const struct memcg *memcg);
/* In teardowns, when all that was in them has ended: leaves and removes all. Returns 0. */
int memcg_remove_all(void **state);

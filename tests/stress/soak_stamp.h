/* soak_stamp.h - marks in leased memory: who has it.
 *
 * Every 4 KiB of a lease are stamped at both ends with lease and holder: zero before, whole when the lease
 * ends. So a page that is in two leases, or was granted before it was scrubbed, is found by whoever has it.
 * What is wrong is printed, and the process exits with 1 (raw_check()).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/include/hugepool.h"

/* A lease that was just granted: it must be zero. Of a large one only where stamps come is looked at, unless
 * `closely`. */
void soak_stamp(hp_lease *lease, uint64_t holder, bool closely);
/* A lease that ends: it must be as it was stamped. */
void soak_expect_stamp(const hp_lease *lease, uint64_t holder);

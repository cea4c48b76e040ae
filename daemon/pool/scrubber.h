/* scrubber.h - turns dirty free pages into clean ones, in place, within one tenant's arenas.
 *
 * Zones send themselves to the scrubber's mailbox; it claims a piece under the zone's lock, zeroes it
 * unlocked, and takes the lock again to hand it over. After each turn the zone goes to the end of the queue,
 * so that a large one does not keep a small one waiting. A file that a client destroyed does not stop it: the
 * arena is condemned. In a pool with poison it fills first, and zeroes by need (poison.h).
 */
#pragma once

#include "daemon/pool/zone.h"

/* Make the zone's scrub_letter ready; part of zone_new(). */
void scrubber_prepare(struct zone *zone);

/* name.h - what a lease can be called.
 *
 *   NAME        in the one namespace that all users have in common
 *   ~/NAME      in the namespace of the user who says it
 *   ~UID/NAME   in that user's namespace: only UID makes a name there, others open it if its mode lets them
 *
 * NAME is 1 to 255 bytes of UTF-8 whose characters are plain (text.h), and not only digits, which are an id;
 * with a "~" in front it may be. Daemon and client library agree on this; the library knows ~USER/NAME as
 * well.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NAME_MAX_BYTES 255                           /* of NAME */
#define NAME_FULL_MAX  (1 + 10 + 1 + NAME_MAX_BYTES) /* with the namespace in front */

/* What is wrong with it, as the end of a sentence that begins with "a lease's name"; NULL: nothing. */
const char *name_fault(const char *name);

/* A name without fault as it is to everybody: ~/NAME becomes ~UID/NAME, `uid` being the user who says it, and
 * a UID is written without zeros in front. Returns `full`. */
char *name_resolve(const char *name, uint32_t uid, char full[NAME_FULL_MAX + 1]);

/* Whose namespace a resolved name is in; false: everybody's. */
bool name_user(const char *full, uint32_t *ret_uid);

/* journal.h - what this process has changed outside of itself, in a file that outlives it.
 *
 * A table of entries, each a KEY and a VALUE in words. Every change is in the file before the call returns,
 * and the file is replaced as a whole: whenever the process is killed, the file is what it was before a
 * change, or after. What the entries mean is not known here. The file goes when its last entry does.
 *
 * Whoever opens the journal has a lock on its directory's state (daemon/run/state.h): there is one writer.
 * What is in the file is not trusted: it must belong to us alone, be short, and have the form that is written
 * here. Thread-safe; a lock of a rank behind the kernel pool's.
 */
#pragma once

#include <stdbool.h>

struct journal;

#define JOURNAL_KEY_MAX   4608 /* bytes, with the zero byte: a path of 4 KiB and what stands in front */
#define JOURNAL_VALUE_MAX 8192

/* Read the file `name` in the directory; none is an empty one. `directory_fd` stays the caller's and must
 * outlive the journal. Returns 0, or negative errno with a sentence in *ret_error, the caller's; -EBADMSG: it
 * is not ours, or not in our form. */
int journal_open(int directory_fd, const char *name, struct journal **ret, char **ret_error);
/* Returns NULL. What is in the file stays there. */
struct journal *journal_free(struct journal *journal);

/* Was the file written before the host was started last? Then only what survives that is still true of it. */
bool journal_is_of_another_boot(const struct journal *journal);

/* The value of a key is this from now on. Keys are printable and without spaces (journal_escape()), values
 * printable, neither is empty; asserted. Returns 0; negative errno: nothing has changed. */
int journal_put(struct journal *journal, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* There is no such key any more. Returns 0 (also if there was none); negative errno: the file still has it.
 */
int journal_drop(struct journal *journal, const char *key);

/* For the one thread that reads what a predecessor left, before others write: the value of a key, NULL: none;
 * and the first key after `after` (NULL: of all) that begins so, in the order of strcmp(), NULL: none. Both
 * are good until that entry is put or dropped. */
const char *journal_get(const struct journal *journal, const char *key);
const char *journal_next(const struct journal *journal, const char *prefix, const char *after);

/* A text, such as a path, as one word: what is not printable, spaces and '%' become %XX. To be freed; NULL:
 * no memory. */
char *journal_escape(const char *text);
/* The other way round; NULL: no memory, or it is no such word. */
char *journal_unescape(const char *word);

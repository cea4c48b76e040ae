/* limits.h - the limits of setrlimit(2), and the descriptors that a daemon needs.
 *
 * Every limit is raised where it may be. What cannot be raised and may hurt is said when the daemon starts,
 * and is in the sentence when something then fails. On the main thread, before there are others.
 */
#pragma once

#include "daemon/run/config.h"

/* Descriptors 0 to 2 that are closed: open them, so that nothing of ours gets their numbers. What is read
 * from or written to them fails as before. False: that cannot be done. */
bool limits_open_streams(void);

/* Raise all of them; a signal that one would send is no longer deadly. */
void limits_raise(void);
/* Tell the log of those that are lower than what the daemon may come to want. */
void limits_warn(void);

/* Descriptors that a daemon of this configuration takes before there are clients. */
unsigned limits_our_descriptors(const struct config *config);
/* Can it have these, and some for clients? 0, or -EMFILE with a sentence. */
int limits_check_descriptors(const struct config *config, char **ret_error);

/* The sentence for `what` that failed with this errno, with the limit that may be why. NULL: no memory. */
char *limits_explain(const char *what, int error);

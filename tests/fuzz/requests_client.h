/* requests_client.h - clients of the daemon in this process, for fuzz_requests.c: two tenants and more, and
 * an admin, several connections each, all played by one thread.
 *
 * A connection is a socketpair that is handed to the daemon with a peer of our making (requests_peer.h).
 * Every request that must have a reply gets one in a minute, or the run fails.
 */
#pragma once

#include "tests/fuzz/requests_message.h"

#define FUZZ_CLIENTS 12

/* All of them, with sessions; and their end. */
void fuzz_clients_start(void);
void fuzz_clients_stop(void);

/* What any client was told of. */
struct fuzz_known *fuzz_known(void);

/* Queue the request, on its own or behind others. */
void fuzz_client_ask(unsigned client, struct fuzz_input *input);
/* The last request that was kept, as sent again. */
void fuzz_client_ask_again(unsigned client);
/* Its connection breaks. It comes back to its session; or to another's, or with another token; or as a new
 * one. */
enum fuzz_return { FUZZ_CONTINUE, FUZZ_PRETEND, FUZZ_ANEW };
void fuzz_client_break(unsigned client, enum fuzz_return how, struct fuzz_input *input);
/* The process behind it is killed; another takes its place. */
void fuzz_client_kill(unsigned client);
/* Send what is queued, take what is there. */
void fuzz_client_poll(unsigned client);
/* Until nothing but requests that wait for memory is unanswered. */
void fuzz_client_settle(unsigned client);
/* Of all: also those that wait are over, by the death of their process; pools that are drained are restored.
 */
void fuzz_clients_rest(void);

struct fuzz_counts {
	uint64_t requests; /* sent whole */
	uint64_t replies, errors, grants, events, connections, deaths;
	uint64_t codes[32]; /* of errors */
};
const struct fuzz_counts *fuzz_counts(void);

/* fuzz_requests.c - sequences of well-formed requests whose numbers, names and order are hostile, against a
 * whole daemon in this process.
 *
 * The input decides who asks for what, whose connection breaks, and who dies (requests_input.h); the daemon's
 * threads decide in which order it happens. At the end of an input all is answered, and with the daemon held
 * still every page of every pool is accounted for (audit.h). Every so many inputs the daemon ends, and a new
 * one starts: whatever it took is given back then.
 *
 *     fuzz_requests [-n INPUTS] [-s SEED] [FILE...]      see driver.c
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/log.h"
#include "tests/fuzz/requests_client.h"
#include "tests/fuzz/requests_daemon.h"
#include "tests/fuzz/requests_peer.h"
#include "tests/support/wait.h"

#define RESTART_EVERY 32      /* inputs */
#define REPORT_EVERY  1000000 /* requests */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_inputs;
static uint64_t n_audits, n_leased_pages;

static void report(void)
{
	const struct fuzz_counts *counts = fuzz_counts();

	printf("%" PRIu64 " requests, %" PRIu64 " replies, %" PRIu64 " grants, %" PRIu64 " events, %" PRIu64
	       " connections, %" PRIu64 " deaths, %" PRIu64 " audits, %" PRIu64
	       " pages leased then; errors by code:",
	       counts->requests, counts->replies, counts->grants, counts->events, counts->connections,
	       counts->deaths, n_audits, n_leased_pages);
	for (unsigned i = 0; i < sizeof(counts->codes) / sizeof(counts->codes[0]); i++)
		if (counts->codes[i] > 0)
			printf(" %u:%" PRIu64, i, counts->codes[i]);
	putchar('\n');
	fflush(stdout);
}

static void report_sometimes(void)
{
	static uint64_t next = REPORT_EVERY;

	if (fuzz_counts()->requests < next)
		return;
	next += REPORT_EVERY;
	report();
}

static void stop(void)
{
	fuzz_clients_stop();
	fuzz_daemon_stop();
}

static void end(void)
{
	stop();
	report();
}

static void begin(void)
{
	if (n_inputs == 0) {
		log_init(LOG_LEVEL_ERROR);
		fuzz_peers_prepare();
	} else if (n_inputs % RESTART_EVERY == 0) {
		stop();
	}
	if (n_inputs % RESTART_EVERY == 0) {
		fuzz_daemon_start();
		fuzz_clients_start();
	}
	if (n_inputs++ == 0)
		atexit(end);
}

static void pause_a_moment(void)
{
	wait_pause();
}

static void step(struct fuzz_input *input)
{
	const unsigned client = fuzz_below(input, FUZZ_CLIENTS);

	switch (fuzz_byte(input)) {
	case 0:
		if (fuzz_one_in(input, 2))
			fuzz_client_break(client, FUZZ_CONTINUE, input);
		return;
	case 1:
		if (fuzz_one_in(input, 4))
			fuzz_client_break(client, fuzz_one_in(input, 2) ? FUZZ_PRETEND : FUZZ_ANEW, input);
		return;
	case 2:
		if (fuzz_one_in(input, 8))
			fuzz_client_kill(client);
		return;
	case 3:
		if (fuzz_one_in(input, 8))
			pause_a_moment();
		return;
	case 4:
	case 5:
		fuzz_client_ask_again(client);
		return;
	case 6:
		if (fuzz_one_in(input, 64))
			fuzz_client_settle(client);
		return;
	case 7:
	case 8:
	case 9:
	case 10:
	case 11:
	case 12:
	case 13:
	case 14:
		fuzz_client_poll(client);
		return;
	default:
		fuzz_client_ask(client, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);

	begin();
	for (unsigned i = 0; i < FUZZ_CLIENTS; i++)
		fuzz_client_poll(i); /* who was killed comes back */
	while (!fuzz_input_is_over(&input))
		step(&input);
	fuzz_clients_rest();
	n_leased_pages += fuzz_daemon_audit();
	n_audits++;
	report_sometimes();
	return 0;
}

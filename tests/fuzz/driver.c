/* driver.c - runs a fuzz target without libFuzzer: on files as they are, then on random mutations of them.
 *
 *     fuzz_TARGET [-n MUTATIONS] [-s SEED] [FILE|DIRECTORY...]
 *
 * Without files it is the smoke test of `make check`: the target's corpus under $HP_SOURCE, always the same
 * seed. Prints its seed; with the same seed and files a run does the same again. Learns nothing from
 * coverage: the real search is libFuzzer's with the same target.
 */
#include <config.h>

#include <dirent.h>
#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/random.h"

#define INPUT_MAX_BYTES (128u << 10)
#define INPUTS_MAX      1000
#define SMOKE_SEED      1
#ifndef SMOKE_MUTATIONS
#define SMOKE_MUTATIONS 10000
#endif

struct input {
	uint8_t *bytes;
	size_t n_bytes;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct input inputs[INPUTS_MAX];
static unsigned n_inputs;
static uint64_t random_state;

static size_t random_below(size_t bound)
{
	return bound ? (size_t)(random_next(&random_state) % bound) : 0;
}

static void read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	struct input *input = &inputs[n_inputs];

	if (!file)
		err(1, "%s", path);
	if (n_inputs == INPUTS_MAX)
		errx(1, "more than %d files", INPUTS_MAX);
	input->bytes = malloc(INPUT_MAX_BYTES);
	if (!input->bytes)
		err(1, "malloc");
	input->n_bytes = fread(input->bytes, 1, INPUT_MAX_BYTES, file);
	fclose(file);
	n_inputs++;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void read_directory_or_file(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_visible, alphasort);

	if (n < 0) {
		read_file(path);
		return;
	}
	for (int i = 0; i < n; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		read_file(name);
		free(entries[i]);
	}
	free(entries);
}

/* Of a program fuzz_TARGET. */
static void read_corpus(const char *program)
{
	const char *source = getenv("HP_SOURCE"), *target = strrchr(program, '_');
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", source ? source : ".",
		 target ? target + 1 : "");
	read_directory_or_file(path);
}

/* Put `n` bytes of `from` into the input at `position`, as far as it has room. */
static void insert(struct input *input, size_t position, const uint8_t *from, size_t n)
{
	if (n > INPUT_MAX_BYTES - input->n_bytes)
		n = INPUT_MAX_BYTES - input->n_bytes;
	memmove(input->bytes + position + n, input->bytes + position, input->n_bytes - position);
	memcpy(input->bytes + position, from, n);
	input->n_bytes += n;
}

static void mutate(struct input *input)
{
	static const uint8_t odd_bytes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	size_t position = random_below(input->n_bytes), n = random_below(input->n_bytes - position);
	const struct input *other = &inputs[random_below(n_inputs)];
	uint8_t *byte = input->bytes + position, noise[8];

	switch (random_below(5)) {
	case 0: /* another bit */
		if (input->n_bytes > 0)
			*byte ^= (uint8_t)(1u << random_below(8));
		break;
	case 1: /* another byte */
		if (input->n_bytes > 0)
			*byte = odd_bytes[random_below(sizeof(odd_bytes))];
		break;
	case 2: /* less */
		memmove(byte, byte + n, input->n_bytes - position - n);
		input->n_bytes -= n;
		break;
	case 3: /* noise */
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)random_next(&random_state);
		insert(input, position, noise, 1 + random_below(sizeof(noise)));
		break;
	case 4: /* a piece of another */
		n = random_below(other->n_bytes);
		insert(input, position, other->bytes + n, random_below(other->n_bytes - n + 1));
		break;
	}
}

/* Run the target on a copy of exactly the input's length, so that a sanitizer sees a read past its end. */
static void run(const struct input *input)
{
	uint8_t *bytes = malloc(input->n_bytes);

	if (!bytes && input->n_bytes > 0)
		err(1, "malloc");
	if (input->n_bytes > 0)
		memcpy(bytes, input->bytes, input->n_bytes);
	LLVMFuzzerTestOneInput(bytes, input->n_bytes);
	free(bytes);
}

int main(int argc, char **argv)
{
	static uint8_t bytes[INPUT_MAX_BYTES];
	uint64_t seed = SMOKE_SEED, n_mutations = SMOKE_MUTATIONS;
	bool seeded = false;
	int option;

	while ((option = getopt(argc, argv, "n:s:")) != -1) {
		if (option == 'n')
			n_mutations = strtoull(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			errx(2, "usage: %s [-n MUTATIONS] [-s SEED] [FILE|DIRECTORY...]", argv[0]);
		seeded |= option == 's';
	}
	if (optind == argc)
		read_corpus(argv[0]);
	else if (!seeded)
		seed = (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	for (; optind < argc; optind++)
		read_directory_or_file(argv[optind]);
	if (n_inputs == 0)
		errx(2, "no inputs");
	printf("%u files, %" PRIu64 " mutations, seed %" PRIu64 "\n", n_inputs, n_mutations, seed);
	fflush(stdout);

	for (unsigned i = 0; i < n_inputs; i++)
		run(&inputs[i]);
	random_state = seed;
	while (n_mutations-- > 0) {
		const struct input *origin = &inputs[random_below(n_inputs)];
		struct input input = {.bytes = bytes, .n_bytes = origin->n_bytes};

		memcpy(bytes, origin->bytes, origin->n_bytes);
		for (size_t i = 1 + random_below(8); i > 0; i--)
			mutate(&input);
		run(&input);
	}
	for (unsigned i = 0; i < n_inputs; i++)
		free(inputs[i].bytes);
	return 0;
}

/* fuzz_config.c - any text as a configuration: a sentence or a config, never a crash. */
#include <config.h>

#include <stdint.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/run/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config;
	char *error = NULL;
	int r;

	config_init(&config);
	r = config_read_text(&config, "fuzz", size ? (const char *)data : "", size, &error);
	hp_assert((r == 0) == !error);
	if (r == 0)
		r = config_finish(&config, &error);
	hp_assert((r == 0) == !error);
	hp_assert(r < 0 || (config.n_pools > 0 && config.pools[0].arena_pages > 0 &&
			    config.pools[0].arena_pages <= config.pools[0].max_pages));
	config_fini(&config);
	free(error);
	return 0;
}

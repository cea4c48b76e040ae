/* config_scene.c - see the header. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/config_scene.h"

struct config scene_read_accepted(const char *text)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	if (config_read_text(&config, "t", text, strlen(text), &error) < 0 ||
	    config_finish(&config, &error) < 0)
		fail_msg("%s", error);
	return config;
}

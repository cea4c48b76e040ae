/* config_scene.h - what the programs about the configuration start from. */
#pragma once

#include "daemon/run/config.h"

/* The smallest pool, open at its end for more keys. */
#define POOL_A "{\"name\": \"a\", \"page_size\": \"2M\", \"max\": \"8M\""

/* This text as the file "t", which must be accepted. The caller's to config_fini(). */
struct config scene_read_accepted(const char *text);

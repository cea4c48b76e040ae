/* config.h - what the operator wants: the daemon's own settings and its pools, as plain data.
 *
 * Filled from a file (JSON) and from flags, then finished with defaults. Which keys there are is a table
 * (config_keys.c), from which --help is printed as well. One thread; nothing here opens a socket or takes a
 * page.
 *
 * A reader that fails returns negative errno with a sentence in *ret_error, the caller's to free (NULL when
 * there was no memory for it): -EINVAL names file, line, column and what was expected. The configuration is
 * then good for config_fini() only.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/base/log.h"
#include "daemon/pool/pool.h"

#define CONFIG_POOLS_MAX   POOLS_MAX
#define CONFIG_WORKERS_MAX 64
#define CONFIG_SOCKETS_MAX 15 /* beside the first */

struct config {
	char *socket_path; /* NULL: the default place */
	char *more_sockets[CONFIG_SOCKETS_MAX];
	unsigned n_more_sockets;
	char *state_dir;  /* NULL: the socket's directory */
	unsigned workers; /* 0 until config_finish() */
	enum log_level log_level;
	unsigned max_sessions;       /* 0: what the descriptor limit allows */
	unsigned user_sessions;      /* of one user but root; 0: half of all */
	uint64_t host_reserve_bytes; /* UINT64_MAX: see headroom.h */
	bool partial_users;          /* start though some users are not mapped; they are refused */
	bool has_admins;             /* else root and the daemon's user */
	uid_t *admin_uids;
	unsigned n_admin_uids;
	gid_t *admin_gids;
	unsigned n_admin_gids;
	struct pool_config *pools;
	unsigned n_pools;
	char **warnings; /* sentences about what is left out: users and groups that this host does not know */
	unsigned n_warnings;
};

void config_init(struct config *config);
/* Frees what it holds; what came from config_init() is fine. */
void config_fini(struct config *config);

/* Add what the JSON text says; `name` is how sentences call it. */
int config_read_text(struct config *config, const char *name, const char *text, size_t length,
		     char **ret_error);
/* The same from a file, of 1 MiB at most. */
int config_read_file(struct config *config, const char *path, char **ret_error);

/* The word of a flag --NAME for a top-level key of the table. */
int config_set(struct config *config, const char *name, const char *word, char **ret_error);
/* The word of a flag --pool: NAME=PAGE:MAX[,KEY=VALUE...]. */
int config_add_pool_word(struct config *config, const char *word, char **ret_error);

/* Fill in what nobody said: the default pool, workers, arena sizes, quotas. */
int config_finish(struct config *config, char **ret_error);

/* The tables of keys with their prose, a line each. */
void config_print_top_keys(FILE *out);
void config_print_pool_keys(FILE *out);

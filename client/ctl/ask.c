/* ask.c - the daemon: connect to it, send it a request, have its result. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/json.h"
#include "client/lib/client.h"

enum ctl_status ctl_connect(struct ctl *ctl)
{
	int r = ctl->client ? 0 : hp_open(ctl->socket_path, &ctl->client);

	if (r == 0)
		return CTL_DONE;
	ctl_complain("%s", hp_error());
	return r == -ECONNREFUSED || r == -ENOENT ? CTL_NO_DAEMON : CTL_FAILED;
}

enum ctl_status ctl_ask(struct ctl *ctl, Hugepool__Request *request, json_t **ret_result)
{
	enum ctl_status status = ctl_connect(ctl);
	Hugepool__Reply *reply;

	if (status != CTL_DONE)
		return status;
	if (client_call(ctl->client, request, &reply) < 0) {
		ctl_complain("%s", hp_error());
		return CTL_FAILED;
	}
	/* Any member of the union is the result's message. */
	*ret_result = ctl_json_from_message(&reply->status->base);
	hugepool__reply__free_unpacked(reply, NULL);
	return *ret_result ? CTL_DONE : ctl_no_memory();
}

enum ctl_status ctl_each(struct ctl *ctl, const char *done_key,
			 int (*act)(hp_client *client, const char *word))
{
	json_auto_t *done = json_array(), *failed = json_array();
	enum ctl_status status = ctl_connect(ctl);

	if (status != CTL_DONE)
		return status;
	for (int i = 0; i < ctl->n_args; i++) {
		bool acted = act(ctl->client, ctl->args[i]) == 0;

		if (!acted) {
			ctl_complain("%s: %s", ctl->args[i], hp_error());
			status = CTL_FAILED;
		}
		json_array_append_new(acted ? done : failed, ctl_json_from_text(ctl->args[i]));
	}
	if (ctl->json && ctl_print_json(json_pack("{sO sO}", done_key, done, "failed", failed)) != CTL_DONE)
		status = CTL_FAILED;
	return status;
}

bool ctl_read_id(const char *word, uint64_t *ret_id)
{
	if (!*word || word[strspn(word, "0123456789")])
		return false;
	errno = 0;
	*ret_id = strtoull(word, NULL, 10);
	return errno == 0;
}

/* size.c - see size.h. */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/size.h"

static const char units[] = "KMGT";

int size_parse(const char *word, uint64_t *ret_bytes)
{
	unsigned shift = 0;
	uint64_t number;
	char *end;

	if (!isdigit((unsigned char)word[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(word, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit)
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (*end && strcmp(end, "B") != 0 && strcmp(end, "iB") != 0)
			return -EINVAL;
	}
	if (number << shift >> shift != number)
		return -ERANGE;
	*ret_bytes = number << shift;
	return 0;
}

char *size_format(uint64_t bytes, char *word)
{
	unsigned i = 0;

	while (bytes && bytes % 1024 == 0 && i < sizeof(units) - 1) {
		bytes /= 1024;
		i++;
	}
	snprintf(word, SIZE_WORD_MAX, i ? "%" PRIu64 "%c" : "%" PRIu64, bytes, i ? units[i - 1] : 0);
	return word;
}

/* table.h - lists of JSON objects as aligned tables, for people. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* How a value is shown; sizes are words such as 2M, exact. */
enum ctl_format {
	CTL_TEXT,
	CTL_NUMBER,
	CTL_SOME,    /* a number, or nothing for 0 */
	CTL_PID,     /* a number, or that the process is of another pid namespace */
	CTL_BYTES,   /* a size */
	CTL_PAGES,   /* a size: the value times the row's page_bytes */
	CTL_YES,     /* yes, or nothing */
	CTL_NUMBERS, /* a list of numbers */
};

struct ctl_column {
	const char *header;
	const char *key;
	enum ctl_format format;
};

/* A header and a line for each of `rows`, a list of objects. `columns` ends with one without a header.
 * Returns 0, or -ENOMEM, possibly after a part was printed; the stream keeps its own errors. */
int ctl_table_print(FILE *out, const struct ctl_column *columns, const json_t *rows);

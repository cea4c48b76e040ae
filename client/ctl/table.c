/* table.c - two passes over the rows: how wide, then print. Knows neither commands nor messages. */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/table.h"
#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/size.h"
#include "daemon/base/text.h"

#define COLUMNS_MAX 24
#define COLUMN_GAP  2

static bool is_right_aligned(enum ctl_format format)
{
	return format == CTL_NUMBER || format == CTL_SOME || format == CTL_PID || format == CTL_BYTES ||
	       format == CTL_PAGES;
}

/* Some texts are a client's choice, and an older daemon lets them be anything: none of them controls the
 * terminal. */
static char *text_cell(const char *text)
{
	const size_t room = text_escape(text ? text : "", NULL, 0) + 1;
	char *cell = malloc(room);

	if (cell)
		text_escape(text ? text : "", cell, room);
	return cell;
}

static char *number_cell(json_int_t number)
{
	char *cell;

	return asprintf(&cell, "%" JSON_INTEGER_FORMAT, number) < 0 ? NULL : cell;
}

static char *size_cell(json_int_t bytes)
{
	char word[SIZE_WORD_MAX];

	return strdup(size_format((uint64_t)bytes, word));
}

static char *numbers_cell(const json_t *numbers)
{
	char *cell = NULL;
	size_t length;
	FILE *out = open_memstream(&cell, &length);

	if (!out)
		return NULL;
	for (size_t i = 0; i < json_array_size(numbers); i++)
		fprintf(out, "%s%" JSON_INTEGER_FORMAT, i ? " " : "",
			json_integer_value(json_array_get(numbers, i)));
	if (fclose(out) != 0) {
		free(cell);
		return NULL;
	}
	return cell;
}

/* What stands in one place of the table, the caller's to free; NULL: no memory. */
static char *format_cell(const struct ctl_column *column, const json_t *row)
{
	const json_t *value = json_object_get(row, column->key);

	switch (column->format) {
	case CTL_TEXT:
		return text_cell(json_string_value(value));
	case CTL_NUMBER:
		return number_cell(json_integer_value(value));
	case CTL_SOME:
		return json_integer_value(value) ? number_cell(json_integer_value(value)) : strdup("");
	case CTL_PID:
		return json_is_true(json_object_get(row, "other_pid_namespace"))
			       ? strdup("another namespace")
			       : number_cell(json_integer_value(value));
	case CTL_BYTES:
		return size_cell(json_integer_value(value));
	case CTL_PAGES:
		return size_cell(json_integer_value(value) *
				 json_integer_value(json_object_get(row, "page_bytes")));
	case CTL_YES:
		return strdup(json_is_true(value) ? "yes" : "");
	case CTL_NUMBERS:
		return numbers_cell(value);
	}
	return NULL;
}

/* In characters, not bytes. */
static size_t cell_width(const char *cell)
{
	size_t width = 0;

	for (; *cell; cell++)
		width += ((unsigned char)*cell & 0xc0) != 0x80;
	return width;
}

static void print_cell(FILE *out, const char *cell, size_t width, bool right, bool last)
{
	int pad = (int)(width - cell_width(cell));

	fprintf(out, "%*s%s", right ? pad : 0, "", cell);
	if (last)
		fputc('\n', out);
	else
		fprintf(out, "%*s", (right ? 0 : pad) + COLUMN_GAP, "");
}

static int widen(const struct ctl_column *columns, const json_t *row, size_t widths[COLUMNS_MAX])
{
	for (unsigned c = 0; columns[c].header; c++) {
		_cleanup_free_ char *cell = format_cell(&columns[c], row);

		if (!cell)
			return -ENOMEM;
		if (cell_width(cell) > widths[c])
			widths[c] = cell_width(cell);
	}
	return 0;
}

static int print_row(FILE *out, const struct ctl_column *columns, const json_t *row,
		     const size_t widths[COLUMNS_MAX])
{
	for (unsigned c = 0; columns[c].header; c++) {
		_cleanup_free_ char *cell = format_cell(&columns[c], row);

		if (!cell)
			return -ENOMEM;
		print_cell(out, cell, widths[c], is_right_aligned(columns[c].format), !columns[c + 1].header);
	}
	return 0;
}

int ctl_table_print(FILE *out, const struct ctl_column *columns, const json_t *rows)
{
	size_t widths[COLUMNS_MAX], n_rows = json_array_size(rows);
	int r = 0;

	for (unsigned c = 0; columns[c].header; c++) {
		hp_assert(c < COLUMNS_MAX);
		widths[c] = cell_width(columns[c].header);
	}
	for (size_t i = 0; i < n_rows && r == 0; i++)
		r = widen(columns, json_array_get(rows, i), widths);
	if (r < 0)
		return r;
	for (unsigned c = 0; columns[c].header; c++)
		print_cell(out, columns[c].header, widths[c], is_right_aligned(columns[c].format),
			   !columns[c + 1].header);
	for (size_t i = 0; i < n_rows && r == 0; i++)
		r = print_row(out, columns, json_array_get(rows, i), widths);
	return r;
}

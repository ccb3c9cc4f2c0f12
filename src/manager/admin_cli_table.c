/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin's tables for people, and its JSON for programs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "manager/admin_cli.h"

#define CELL_MAX    256
#define COLUMNS_MAX 12
#define ID_SHOWN    12

static void format_duration(json_int_t ms, char cell[static CELL_MAX])
{
	if (ms % 1000)
		snprintf(cell, CELL_MAX, "%" JSON_INTEGER_FORMAT "ms", ms);
	else
		snprintf(cell, CELL_MAX, "%" JSON_INTEGER_FORMAT "s", ms / 1000);
}

static void format_time(json_int_t seconds, char cell[static CELL_MAX])
{
	time_t at = (time_t)seconds;
	struct tm local;

	if (seconds > 0 && localtime_r(&at, &local))
		strftime(cell, CELL_MAX, "%Y-%m-%d %H:%M:%S", &local);
	else
		strcpy(cell, "-");
}

static void format_volumes(const json_t *volumes, char cell[static CELL_MAX])
{
	const json_t *volume;
	size_t i, n = 0;

	strcpy(cell, "-");
	json_array_foreach((json_t *)volumes, i, volume)
	{
		const char *name = json_string_value(json_object_get(volume, "name"));
		const char *state = json_string_value(json_object_get(volume, "state"));
		int k = snprintf(cell + n, CELL_MAX - n, "%s%s:%s", i ? " " : "", name ? name : "?",
				 state ? state : "?");

		if (k < 0 || (size_t)k >= CELL_MAX - n)
			return;
		n += (size_t)k;
	}
}

/* Texts come from VMs by way of the manager: nothing may steer the terminal. */
static void format_text(const json_t *value, size_t max, char cell[static CELL_MAX])
{
	const char *text = json_string_value(value);

	snprintf(cell, CELL_MAX, "%.*s", (int)max, text && *text ? text : "-");
	for (char *c = cell; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static void format_cell(const json_t *row, const struct admin_column *column,
			char cell[static CELL_MAX])
{
	const json_t *value = json_object_get(row, column->member);

	if (column->format == ADMIN_COLUMN_VOLUMES)
		format_volumes(value, cell);
	else if (json_is_boolean(value))
		strcpy(cell, json_is_true(value) ? "yes" : "no");
	else if (!json_is_integer(value))
		format_text(value, column->format == ADMIN_COLUMN_ID ? ID_SHOWN : CELL_MAX - 1,
			    cell);
	else if (column->format == ADMIN_COLUMN_DURATION)
		format_duration(json_integer_value(value), cell);
	else if (column->format == ADMIN_COLUMN_TIME)
		format_time(json_integer_value(value), cell);
	else
		snprintf(cell, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
}

static void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

static void print_row(char cells[][CELL_MAX], const size_t *widths, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		printf("%-*s  ", (int)widths[i], cells[i]);
	puts(cells[n - 1]);
}

void admin_print_table(const struct admin_call *call, const json_t *rows,
		       const struct admin_column *columns, size_t n_columns)
{
	char cells[COLUMNS_MAX][CELL_MAX];
	size_t widths[COLUMNS_MAX], i;
	const json_t *row;

	if (call->json) {
		print_json(rows);
		return;
	}
	for (size_t c = 0; c < n_columns; c++) {
		widths[c] = strlen(columns[c].title);
		snprintf(cells[c], CELL_MAX, "%s", columns[c].title);
		json_array_foreach((json_t *)rows, i, row)
		{
			char cell[CELL_MAX];

			format_cell(row, &columns[c], cell);
			if (strlen(cell) > widths[c])
				widths[c] = strlen(cell);
		}
	}
	print_row(cells, widths, n_columns);
	json_array_foreach((json_t *)rows, i, row)
	{
		for (size_t c = 0; c < n_columns; c++)
			format_cell(row, &columns[c], cells[c]);
		print_row(cells, widths, n_columns);
	}
}

void admin_print_object(const struct admin_call *call, const json_t *object,
			const struct admin_column *columns, size_t n_columns)
{
	char cell[CELL_MAX];

	if (call->json) {
		print_json(object);
		return;
	}
	for (size_t c = 0; c < n_columns; c++) {
		format_cell(object, &columns[c], cell);
		printf("%-16s %s\n", columns[c].title, cell);
	}
}

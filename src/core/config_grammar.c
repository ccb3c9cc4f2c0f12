/* SPDX-License-Identifier: Apache-2.0 */
/* One grammar for all configuration files: sections, settings, comments, and errors with lines. */
#include "core/config_grammar.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

struct reader {
	const struct config_table *table;
	void *target;
	struct config_lines *lines;
	struct config_error *error;
	unsigned line;
	const char *section; /* the table's text; NULL before the first */
	char buffer[CONFIG_LINE_MAX];
};

int config_fail(struct config_error *ret_error, unsigned line, const char *format, ...)
{
	va_list arguments;

	memset(ret_error, 0, sizeof(*ret_error));
	ret_error->line = line;
	va_start(arguments, format);
	vsnprintf(ret_error->text, sizeof(ret_error->text), format, arguments);
	va_end(arguments);
	for (char *c = ret_error->text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return -EBADMSG;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* TEXT as a message may quote it. In a file with a secret a misplaced line may be a piece of it, so
 * nothing that is not a known name is shown. */
static const char *quotable(const struct reader *reader, const char *text)
{
	for (size_t i = 0; i < reader->table->n_keys; i++)
		if (reader->table->keys[i].secret)
			return "(not shown)";
	return text;
}

/* Cuts blanks off both ends of TEXT, in place; returns its new beginning. */
static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && is_blank(end[-1]))
		end--;
	*end = '\0';
	while (is_blank(*text))
		text++;
	return text;
}

static bool has_control_character(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < ' ' && !is_blank(*text)) || *text == 0x7f)
			return true;
	return false;
}

static int read_section(struct reader *reader, char *text)
{
	size_t len = strlen(text);

	if (text[len - 1] != ']')
		return config_fail(reader->error, reader->line, "'%.60s': ']' is missing",
				   quotable(reader, text));
	text[len - 1] = '\0';
	for (size_t i = 0; i < reader->table->n_keys; i++)
		if (strcmp(reader->table->keys[i].section, text + 1) == 0) {
			reader->section = reader->table->keys[i].section;
			return 0;
		}
	return config_fail(reader->error, reader->line, "unknown section [%.60s]",
			   quotable(reader, text + 1));
}

static const struct config_key *find_key(const struct reader *reader, const char *name)
{
	for (size_t i = 0; i < reader->table->n_keys; i++) {
		const struct config_key *key = &reader->table->keys[i];

		if (strcmp(key->section, reader->section) == 0 && strcmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}

static int set_value(struct reader *reader, const struct config_key *key, const char *value)
{
	unsigned *line = &reader->lines->of[key - reader->table->keys];

	if (*line > 0)
		return config_fail(reader->error, reader->line,
				   "%s= is given twice, first in line %u", key->name, *line);
	*line = reader->line;
	if (value[0] == '\0')
		return config_fail(reader->error, reader->line, "%s= has no value", key->name);
	if (key->set(key, value, (uint8_t *)reader->target + key->offset))
		return 0;
	if (key->secret)
		return config_fail(reader->error, reader->line, "%s=: the value is not %s",
				   key->name, key->expects);
	return config_fail(reader->error, reader->line, "%s=: '%.60s' is not %s", key->name, value,
			   key->expects);
}

static int read_setting(struct reader *reader, char *text)
{
	char *equals = strchr(text, '=');
	const struct config_key *key;
	const char *name;

	if (!equals)
		return config_fail(reader->error, reader->line,
				   "not a section, a setting or a comment");
	*equals = '\0';
	name = trim(text);
	if (!reader->section)
		return config_fail(reader->error, reader->line, "%.60s= stands before any section",
				   quotable(reader, name));
	key = find_key(reader, name);
	if (!key)
		return config_fail(reader->error, reader->line, "unknown setting %.60s= in [%s]",
				   quotable(reader, name), reader->section);
	return set_value(reader, key, trim(equals + 1));
}

static int read_line(struct reader *reader, const char *bytes, size_t len)
{
	char *text;

	if (len >= sizeof(reader->buffer))
		return config_fail(reader->error, reader->line, "longer than %u bytes",
				   CONFIG_LINE_MAX - 1);
	if (memchr(bytes, '\0', len))
		return config_fail(reader->error, reader->line, "holds a NUL byte");
	memcpy(reader->buffer, bytes, len);
	reader->buffer[len] = '\0';
	text = trim(reader->buffer);
	if (text[0] == '\0' || text[0] == '#' || text[0] == ';')
		return 0;
	if (has_control_character(text))
		return config_fail(reader->error, reader->line, "holds a control character");
	if (text[strlen(text) - 1] == '\\')
		return config_fail(reader->error, reader->line,
				   "ends in '\\': there are no continuation lines");
	return text[0] == '[' ? read_section(reader, text) : read_setting(reader, text);
}

static int read_lines(struct reader *reader, const char *text, size_t len)
{
	while (len > 0) {
		const char *newline = memchr(text, '\n', len);
		size_t n = newline ? (size_t)(newline - text) : len;
		int r;

		reader->line++;
		r = read_line(reader, text, n);
		if (r < 0)
			return r;
		n += newline ? 1 : 0;
		text += n;
		len -= n;
	}
	return 0;
}

int config_read(const char *text, size_t len, const struct config_table *table, void *target,
		struct config_lines *ret_lines, struct config_error *ret_error)
{
	struct config_lines lines = {};
	struct reader reader = {
		.table = table, .target = target, .lines = &lines, .error = ret_error};
	int r = read_lines(&reader, text, len);

	bytes_wipe(reader.buffer, sizeof(reader.buffer));
	if (r < 0)
		return r;
	for (size_t i = 0; i < table->n_keys; i++)
		if (table->keys[i].required && lines.of[i] == 0)
			return config_fail(ret_error, 0, "%s= is missing in [%s]",
					   table->keys[i].name, table->keys[i].section);
	*ret_lines = lines;
	return 0;
}

unsigned config_line(const struct config_table *table, const struct config_lines *lines,
		     const char *name)
{
	for (size_t i = 0; i < table->n_keys; i++)
		if (strcmp(table->keys[i].name, name) == 0)
			return lines->of[i];
	return 0;
}

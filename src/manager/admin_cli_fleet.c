/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin fleet: each boot and the class its keys are in; or how many of a workspace are in which,
 * and when all are gone. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "manager/admin_cli.h"
#include "manager/lease_engine.h"

static void free_json(json_t **p)
{
	json_decref(*p);
}

int admin_fleet_fetch(const struct admin_call *call, json_t **ret_rows)
{
	const char *workspace = admin_value(call, "workspace");
	_cleanup_(free_json) json_t *rows = NULL;
	char path[256] = "/v1/fleet";
	int r;

	r = workspace ? admin_path(path, "/v1/fleet?workspace=", "--workspace", workspace, "") : 0;
	if (r == 0)
		r = admin_http(call, "GET", path, NULL, &rows);
	if (r < 0)
		return r;
	if (!json_is_array(rows))
		return admin_refuse(-EBADMSG, "the manager's answer is no list of boots");
	*ret_rows = TAKE_PTR(rows);
	return 0;
}

/* --- the summary --- */

/* A row a class: the member of the summary that counts it. */
static const struct {
	enum engine_class class;
	const char *member;
} counted[] = {
	{CLASS_LIVE, "live"},	      {CLASS_ENDING, "ending"},
	{CLASS_RECEIPT, "receipt"},   {CLASS_LEASE_ENDED, "lease_ended"},
	{CLASS_ENDED, "ended"},	      {CLASS_UNBOUNDED, "not_bounded"},
	{CLASS_NONE, "not_admitted"},
};

static json_t *new_summary(const char *workspace)
{
	json_t *summary = json_pack("{s:s, s:i}", "workspace", workspace, "all_gone_by", 0);

	for (size_t i = 0; summary && i < ELEMENTSOF(counted); i++)
		json_object_set_new(summary, counted[i].member, json_integer(0));
	return summary;
}

static json_t *summary_of(json_t *summaries, const char *workspace)
{
	json_t *summary;
	size_t i;

	json_array_foreach(summaries, i, summary)
	{
		if (strcmp(json_string_value(json_object_get(summary, "workspace")), workspace) ==
		    0)
			return summary;
	}
	summary = new_summary(workspace);
	return json_array_append_new(summaries, summary) < 0 ? NULL : summary;
}

static const char *counter_of(const char *class)
{
	for (size_t i = 0; i < ELEMENTSOF(counted); i++)
		if (strcmp(engine_class_name(counted[i].class), class) == 0)
			return counted[i].member;
	return NULL;
}

/* The time at which all are gone is the latest of all boots'; one without makes it -1, for good. A boot
 * that was never admitted holds nothing of the workspace's. */
static void add_gone_by(json_t *summary, const char *counter, json_int_t gone_by)
{
	json_int_t all = json_integer_value(json_object_get(summary, "all_gone_by"));

	if (strcmp(counter, "not_admitted") == 0 || all < 0)
		return;
	if (gone_by == 0)
		gone_by = -1;
	if (gone_by < 0 || gone_by > all)
		json_object_set_new(summary, "all_gone_by", json_integer(gone_by));
}

static int add_boot(json_t *summaries, const json_t *boot)
{
	const char *workspace = json_string_value(json_object_get(boot, "workspace"));
	const char *class = json_string_value(json_object_get(boot, "class"));
	const char *counter = class ? counter_of(class) : NULL;
	json_int_t gone_by = json_integer_value(json_object_get(boot, "gone_by")), n;
	json_t *summary;

	if (!workspace || !counter)
		return admin_refuse(-EBADMSG, "the manager's answer is no list of boots");
	summary = summary_of(summaries, workspace);
	if (!summary)
		return admin_refuse(-ENOMEM, "out of memory");
	n = json_integer_value(json_object_get(summary, counter));
	json_object_set_new(summary, counter, json_integer(n + 1));
	add_gone_by(summary, counter, gone_by);
	return 0;
}

static int summarise(const json_t *boots, json_t *summaries)
{
	const json_t *boot;
	json_t *summary;
	size_t i;
	int r;

	json_array_foreach((json_t *)boots, i, boot)
	{
		r = add_boot(summaries, boot);
		if (r < 0)
			return r;
	}
	json_array_foreach(summaries, i, summary)
	{
		if (json_integer_value(json_object_get(summary, "all_gone_by")) < 0)
			json_object_set_new(summary, "all_gone_by", json_integer(0));
	}
	return 0;
}

static int print_summary(const struct admin_call *call, const json_t *boots)
{
	static const struct admin_column columns[] = {
		{"WORKSPACE", "workspace", ADMIN_COLUMN_TEXT},
		{"LIVE", "live", ADMIN_COLUMN_NUMBER},
		{"ENDING", "ending", ADMIN_COLUMN_NUMBER},
		{"RECEIPT", "receipt", ADMIN_COLUMN_NUMBER},
		{"LEASE ENDED", "lease_ended", ADMIN_COLUMN_NUMBER},
		{"ENDED", "ended", ADMIN_COLUMN_NUMBER},
		{"NOT BOUNDED", "not_bounded", ADMIN_COLUMN_NUMBER},
		{"NOT ADMITTED", "not_admitted", ADMIN_COLUMN_NUMBER},
		{"ALL GONE BY", "all_gone_by", ADMIN_COLUMN_TIME},
	};
	_cleanup_(free_json) json_t *summaries = json_array();
	int r;

	r = summarise(boots, summaries);
	if (r == 0)
		admin_print_table(call, summaries, columns, ELEMENTSOF(columns));
	return r;
}

static int fleet(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"WORKSPACE", "workspace", ADMIN_COLUMN_TEXT},
		{"VM", "vm", ADMIN_COLUMN_TEXT},
		{"STATE", "state", ADMIN_COLUMN_TEXT},
		{"CLASS", "class", ADMIN_COLUMN_TEXT},
		{"GONE BY", "gone_by", ADMIN_COLUMN_TIME},
		{"LEASE UNTIL", "lease_until", ADMIN_COLUMN_TIME},
		{"LAST SEEN", "last_seen", ADMIN_COLUMN_TIME},
		{"ADMISSION", "admission", ADMIN_COLUMN_ID},
		{"VOLUMES", "volumes", ADMIN_COLUMN_VOLUMES},
		{"FAILURE", "failure", ADMIN_COLUMN_TEXT},
	};
	_cleanup_(free_json) json_t *rows = NULL;
	int r;

	r = admin_fleet_fetch(call, &rows);
	if (r < 0)
		return r;
	if (admin_value(call, "summary"))
		return print_summary(call, rows);
	admin_print_table(call, rows, columns, ELEMENTSOF(columns));
	return 0;
}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_fleet_commands[] = {
	{"fleet", NULL, {NULL}, "Show every boot: lease, volumes, when its keys end.", fleet,
	 {{"workspace", "NAME", "of this one only", false},
	  {"summary", NULL, "count them by workspace and class, and say when all keys are gone", false}}},
	{NULL},
};
/* clang-format on */

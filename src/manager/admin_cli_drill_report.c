/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin drill: receipts verified, and the report as a table or JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "manager/admin_cli_drill.h"
#include "manager/admin_receipt.h"

static void free_json(json_t **p)
{
	json_decref(*p);
}

/* --- receipts --- */

static enum drill_receipt judge(const struct receipt_proof *proof)
{
	if (proof->anchor != RECEIPT_ANCHOR_VERDICT || proof->verdict.reason != REASON_DRILL)
		return DRILL_RECEIPT_OTHER;
	return proof->keys_gone ? DRILL_RECEIPT_VERIFIED : DRILL_RECEIPT_NOT_GONE;
}

static void measure(struct drill_boot *boot, const struct receipt *first)
{
	boot->measured = first->verdict_ns > 0 && first->keys_gone_ns >= first->verdict_ns;
	if (boot->measured)
		boot->wipe_us = (first->keys_gone_ns - first->verdict_ns) / 1000;
}

static void verify_text(const struct drill *drill, struct drill_boot *boot, const char *text)
{
	struct receipt_bundle bundle;
	struct receipt_proof proof;

	boot->receipt = DRILL_RECEIPT_BROKEN;
	if (receipt_bundle_read(text, strlen(text), &bundle, boot->broken) < 0 ||
	    receipt_bundle_verify(&bundle, drill->root_public, &proof, boot->broken) < 0)
		return;
	boot->receipt = judge(&proof);
	measure(boot, &proof.receipts[0]);
}

static int verify_one(const struct drill *drill, struct drill_boot *boot)
{
	_cleanup_(free_json) json_t *answer = NULL;
	_cleanup_free_ char *text = NULL;
	char path[256];
	int r;

	r = admin_path(path, "/v1/receipts/", "admission", boot->admission, "");
	if (r == 0)
		r = admin_http(drill->call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	text = json_dumps(answer, JSON_COMPACT);
	if (!text)
		return admin_refuse(-ENOMEM, "out of memory");
	verify_text(drill, boot, text);
	return 0;
}

int drill_verify(struct drill *drill)
{
	for (size_t i = 0; i < drill->n; i++) {
		int r = drill->boots[i].receipt_ms > 0 ? verify_one(drill, &drill->boots[i]) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- a boot --- */

static const char *const receipt_words[DRILL_RECEIPT__MAX] = {
	[DRILL_RECEIPT_NONE] = "none",
	[DRILL_RECEIPT_VERIFIED] = "verified",
	[DRILL_RECEIPT_NOT_GONE] = "verified, NOT all keys gone",
	[DRILL_RECEIPT_OTHER] = "verified, of NO drill",
	[DRILL_RECEIPT_BROKEN] = "NOT verified",
};

/* Milliseconds after T1; null where it has not happened. */
static json_t *after(const struct drill_boot *boot, uint64_t at_ms)
{
	if (boot->told_ms == 0 || at_ms == 0)
		return json_null();
	return json_integer((json_int_t)at_ms - (json_int_t)boot->told_ms);
}

static json_t *row(const struct drill_boot *boot)
{
	const char *class = boot->gone_ms > 0 ? "receipt" : boot->ended;
	char words[320];

	snprintf(words, sizeof(words), "%s%s%s",
		 boot->refused ? "not told" : receipt_words[boot->receipt],
		 boot->broken[0] ? ": " : "", boot->broken);
	return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "vm", boot->vm,
			 "admission", boot->admission, "told", (json_int_t)(boot->told_ms / 1000),
			 "told_ms", (json_int_t)boot->told_ms, "verdict_ms",
			 after(boot, boot->verdict_ms), "keys_gone_ms", after(boot, boot->gone_ms),
			 "closing_ms", after(boot, boot->closing_ms), "again_ms",
			 after(boot, boot->again_ms), "wipe_us",
			 boot->measured ? json_integer((json_int_t)boot->wipe_us) : json_null(),
			 "receipt", words, "class", class);
}

/* --- all of them --- */

/* A row a time: its member in a boot's row, and what it is called. */
static const struct {
	const char *member, *words, *unit;
} times[] = {
	{"verdict_ms", "T1 to the verdict given out", "ms"},
	{"keys_gone_ms", "T1 to the receipt that every key is gone", "ms"},
	{"wipe_us", "verdict in the VM (T2) to every key gone (T3), by its own clock", "us"},
	{"closing_ms", "T1 to the closing receipt, the last heard of it", "ms"},
	{"again_ms", "T1 to the VM's next admission: it was off (T4) before", "ms"},
};

static int by_value(const void *a, const void *b)
{
	json_int_t x = *(const json_int_t *)a, y = *(const json_int_t *)b;

	return x < y ? -1 : x > y;
}

/* {"n", "median", "largest"} of MEMBER; NULL: out of memory. */
static json_t *distribution(const json_t *rows, const char *member)
{
	_cleanup_free_ json_int_t *values = calloc(json_array_size(rows) + 1, sizeof(*values));
	const json_t *boot;
	size_t i, n = 0;

	if (!values)
		return NULL;
	json_array_foreach((json_t *)rows, i, boot)
	{
		const json_t *value = json_object_get(boot, member);

		if (json_is_integer(value))
			values[n++] = json_integer_value(value);
	}
	if (n == 0)
		return json_pack("{s:i}", "n", 0);
	qsort(values, n, sizeof(*values), by_value);
	return json_pack("{s:I, s:I, s:I}", "n", (json_int_t)n, "median", values[(n - 1) / 2],
			 "largest", values[n - 1]);
}

static json_t *distributions(const json_t *rows)
{
	json_t *all = json_object();

	for (size_t i = 0; i < ELEMENTSOF(times); i++)
		json_object_set_new(all, times[i].member, distribution(rows, times[i].member));
	return all;
}

static void count(const struct drill *drill, size_t n[static DRILL_RECEIPT__MAX], size_t *ret_told)
{
	*ret_told = 0;
	for (size_t i = 0; i < drill->n; i++) {
		if (drill->boots[i].refused)
			continue;
		n[drill->boots[i].receipt]++;
		(*ret_told)++;
	}
}

static void print_json(const struct drill *drill, json_t *rows,
		       const size_t n[static DRILL_RECEIPT__MAX], size_t told)
{
	_cleanup_(free_json) json_t *all = json_pack(
		"{s:s, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:O}", "workspace",
		drill->workspace, "live", (json_int_t)drill->n_live, "chosen", (json_int_t)drill->n,
		"told", (json_int_t)told, "receipts", "verified",
		(json_int_t)n[DRILL_RECEIPT_VERIFIED], "not_all_keys_gone",
		(json_int_t)n[DRILL_RECEIPT_NOT_GONE], "of_no_drill",
		(json_int_t)n[DRILL_RECEIPT_OTHER], "not_verified",
		(json_int_t)n[DRILL_RECEIPT_BROKEN], "none", (json_int_t)n[DRILL_RECEIPT_NONE],
		"times", distributions(rows), "boots", rows);

	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
}

static void print_times(const json_t *rows)
{
	for (size_t i = 0; i < ELEMENTSOF(times); i++) {
		_cleanup_(free_json) json_t *d = distribution(rows, times[i].member);
		json_int_t n = json_integer_value(json_object_get(d, "n"));

		if (n > 0)
			printf("%s: median %" JSON_INTEGER_FORMAT
			       " %s, largest %" JSON_INTEGER_FORMAT " %s, of %" JSON_INTEGER_FORMAT
			       "\n",
			       times[i].words, json_integer_value(json_object_get(d, "median")),
			       times[i].unit, json_integer_value(json_object_get(d, "largest")),
			       times[i].unit, n);
	}
}

static void print_text(const struct drill *drill, json_t *rows,
		       const size_t n[static DRILL_RECEIPT__MAX], size_t told)
{
	static const struct admin_column columns[] = {
		{"VM", "vm", ADMIN_COLUMN_TEXT},
		{"T1", "told", ADMIN_COLUMN_TIME},
		{"VERDICT", "verdict_ms", ADMIN_COLUMN_DURATION},
		{"KEYS GONE", "keys_gone_ms", ADMIN_COLUMN_DURATION},
		{"LAST HEARD", "closing_ms", ADMIN_COLUMN_DURATION},
		{"BOOTED AGAIN", "again_ms", ADMIN_COLUMN_DURATION},
		{"CLASS", "class", ADMIN_COLUMN_TEXT},
		{"RECEIPT", "receipt", ADMIN_COLUMN_TEXT},
	};

	admin_print_table(drill->call, rows, columns, ELEMENTSOF(columns));
	printf("\nworkspace %s: %zu VMs ran, %zu were told to shred\n", drill->workspace,
	       drill->n_live, told);
	fputs("receipts:", stdout);
	for (size_t i = DRILL_RECEIPT_VERIFIED; i < DRILL_RECEIPT__MAX; i++)
		if (n[i] > 0)
			printf(" %zu %s;", n[i], receipt_words[i]);
	printf(" %zu none\n", n[DRILL_RECEIPT_NONE]);
	print_times(rows);
}

int drill_report(const struct drill *drill)
{
	_cleanup_(free_json) json_t *rows = json_array();
	size_t n[DRILL_RECEIPT__MAX] = {0}, told;

	for (size_t i = 0; i < drill->n; i++)
		if (json_array_append_new(rows, row(&drill->boots[i])) < 0)
			return admin_refuse(-ENOMEM, "out of memory");
	count(drill, n, &told);
	if (drill->call->json)
		print_json(drill, rows, n, told);
	else
		print_text(drill, rows, n, told);
	if (n[DRILL_RECEIPT_VERIFIED] < drill->n)
		return admin_refuse(-EUCLEAN,
				    "drill: %zu of %zu VMs left no verified receipt of it with "
				    "every key gone",
				    drill->n - n[DRILL_RECEIPT_VERIFIED], drill->n);
	return 0;
}

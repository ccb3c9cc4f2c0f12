/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin receipt: listed and fetched from the manager, verified without it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "manager/admin_cli.h"
#include "manager/admin_receipt.h"

static void free_json(json_t **p)
{
	json_decref(*p);
}

static int list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"ADMISSION", "admission", ADMIN_COLUMN_TEXT},
		{"WORKSPACE", "workspace", ADMIN_COLUMN_TEXT},
		{"VM", "vm", ADMIN_COLUMN_TEXT},
		{"REASON", "reason", ADMIN_COLUMN_TEXT},
		{"KEYS GONE", "keys_gone", ADMIN_COLUMN_TEXT},
		{"RECEIPTS", "receipts", ADMIN_COLUMN_NUMBER},
		{"RECEIVED", "received", ADMIN_COLUMN_TIME},
	};
	const char *workspace = admin_value(call, "workspace");
	_cleanup_(free_json) json_t *answer = NULL;
	char path[256] = "/v1/receipts";
	int r;

	r = workspace ? admin_path(path, "/v1/receipts?workspace=", "--workspace", workspace, "")
		      : 0;
	if (r < 0)
		return r;
	r = admin_http(call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	admin_print_table(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

static int show(const struct admin_call *call)
{
	const char *output = admin_value(call, "output");
	_cleanup_(free_json) json_t *answer = NULL;
	_cleanup_free_ char *text = NULL;
	char path[256];
	int r;

	r = admin_path(path, "/v1/receipts/", "ADMISSION", call->arguments[0], "");
	if (r < 0)
		return r;
	r = admin_http(call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	text = json_dumps(answer, JSON_INDENT(2));
	if (!text)
		return admin_refuse(-ENOMEM, "out of memory");
	if (!output) {
		puts(text);
		return 0;
	}
	r = file_write_atomic(output, text, strlen(text), 0644);
	if (r < 0)
		return admin_refuse(r, "--output %s: cannot write it: %s", output, strerror(-r));
	return 0;
}

static int read_bundle(const char *file, struct receipt_bundle *bundle)
{
	_cleanup_free_ char *text = malloc(RECEIPT_BUNDLE_MAX);
	char error[256];
	ssize_t n;
	int r;

	if (!text)
		return admin_refuse(-ENOMEM, "out of memory");
	n = file_read(AT_FDCWD, file, text, RECEIPT_BUNDLE_MAX);
	if (n < 0)
		return admin_refuse((int)n, "%s: cannot read it: %s", file, strerror((int)-n));
	r = receipt_bundle_read(text, (size_t)n, bundle, error);
	if (r < 0)
		return admin_refuse(r, "%s: not a receipt bundle: %s", file, error);
	return 0;
}

static void print_verified_json(const struct receipt_proof *proof)
{
	char admission[2 * HASH_SIZE + 1], key[2 * PUBLIC_KEY_SIZE + 1];

	hex_encode(proof->admission, HASH_SIZE, admission);
	hex_encode(proof->vm_key, PUBLIC_KEY_SIZE, key);
	printf("{\"verified\":true,\"keys_gone\":%s,\"workspace\":\"%s\",\"vm\":\"%s\","
	       "\"admission\":\"%s\",\"vm_key\":\"%s\",\"reason\":\"%s\",\"receipts\":%zu}\n",
	       proof->keys_gone ? "true" : "false", proof->report.workspace, proof->report.vm,
	       admission, key, reason_name(proof->receipts[0].reason), proof->n_receipts);
}

/* 0 only where every link holds and the keys are gone: scripts rely on it. */
static int verify(const struct admin_call *call)
{
	const char *file = call->arguments[0], *root = admin_value(call, "root-key");
	uint8_t root_public[PUBLIC_KEY_SIZE];
	struct receipt_bundle bundle;
	struct receipt_proof proof;
	char error[256];
	int r;

	r = admin_read_key_file(root, false, root_public);
	if (r < 0)
		return r;
	r = read_bundle(file, &bundle);
	if (r < 0)
		return r;
	r = receipt_bundle_verify(&bundle, root_public, &proof, error);
	if (r < 0)
		return admin_refuse(r, "%s: NOT verified: %s (--root-key %s)", file, error, root);
	if (call->json)
		print_verified_json(&proof);
	else
		receipt_proof_print(&proof, stdout);
	if (!proof.keys_gone)
		return admin_refuse(-EUCLEAN, "%s: verified, but not every key is gone", file);
	return 0;
}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_receipt_commands[] = {
	{"receipt", "list", {NULL}, "List the shreds that the manager has receipts of.", list,
	 {{"workspace", "NAME", "of this one only", false}}},
	{"receipt", "show", {"ADMISSION"}, "Fetch one as a bundle, for `receipt verify`.", show,
	 {{"output", "FILE", "write it there; default: standard output", false}}},
	{"receipt", "verify", {"FILE"}, "Verify a bundle, without the manager. 0 only if the keys are gone.",
	 verify, {{"root-key", "FILE", "the root key's public half (root.pub)", true}}},
	{NULL},
};
/* clang-format on */

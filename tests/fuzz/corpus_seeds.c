/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the seeds of the records', frames' and blobs' corpora below the directory named; those of the
 * configuration files are written by hand. Run it after a format has changed. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "core/frames.h"
#include "core/message.h"
#include "manager/dek_blob.h"

static const char *arg_directory;
static int failed;

static void seed(const char *fuzzer, const char *name, const void *bytes, size_t n)
{
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/%s", arg_directory, fuzzer);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s/%s", arg_directory, fuzzer, name);
	r = file_write_atomic(path, bytes, n, 0644);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-r));
		failed = 1;
	}
}

static void tokens(void)
{
	struct token token = {.admission = "admission",
			      .challenge = "challenge",
			      .sequence = {1, 2},
			      .ttl_ms = 300000,
			      .margin_ms = 60000,
			      .poll_ms = 10000,
			      .verdict = VERDICT_ADMIT,
			      .expiry = EXPIRY_SHRED,
			      .cmk_state = CMK_HEALTHY};
	uint8_t bytes[TOKEN_SIZE];

	token_encode(&token, bytes);
	seed("token", "admit", bytes, sizeof(bytes));
	seed("token", "cut", bytes, sizeof(bytes) - 1);
	token.verdict = VERDICT_SHRED;
	token.cmk_state = CMK_REVOKED;
	token.reason = REASON_REVOKED;
	token_encode(&token, bytes);
	seed("token", "shred", bytes, sizeof(bytes));
}

static void signing_keys(void)
{
	struct signing_keys set = {.epoch = 1, .n_keys = 2, .keys = {"first", "second"}};
	uint8_t bytes[SIGNING_KEYS_SIZE];

	signing_keys_encode(&set, bytes);
	seed("signing_keys", "two", bytes, sizeof(bytes));
	set.n_keys = 0;
	signing_keys_encode(&set, bytes);
	seed("signing_keys", "none", bytes, sizeof(bytes));
}

static void boot_reports(void)
{
	struct boot_report report = {.workspace = "acme",
				     .vm = "db-1",
				     .version = "0.1.0",
				     .kernel = "6.1.0",
				     .failure = "volume swap: no disk matches Serial=x",
				     .n_volumes = 2,
				     .volumes = {{"data", VOLUME_EXT4, VOLUME_READY, 1, 1 << 30},
						 {"swap", VOLUME_SWAP, VOLUME_FAILED, 0, 0}}};
	uint8_t bytes[BOOT_REPORT_SIZE];

	boot_report_encode(&report, bytes);
	seed("boot_report", "failed", bytes, sizeof(bytes));
	memset(&report.failure, 0, sizeof(report.failure));
	report.n_volumes = 0;
	boot_report_encode(&report, bytes);
	seed("boot_report", "no-volumes", bytes, sizeof(bytes));
}

static void lease_requests(void)
{
	struct lease_request request = {.number = 1, .challenge = "challenge", .highest = {1, 2}};
	uint8_t bytes[LEASE_REQUEST_SIZE];

	lease_request_encode(&request, bytes);
	seed("lease_request", "first", bytes, sizeof(bytes));
}

static void receipts(void)
{
	struct receipt receipt = {
		.kind = RECEIPT_KEYS,
		.reason = REASON_REVOKED,
		.start_ns = 1,
		.keys_gone_ns = 2,
		.n_segments = 2,
		.segments = {{"data", 0, SEGMENT_WIPED, 10}, {"data", 1, SEGMENT_WIPED, 12}}};
	uint8_t bytes[RECEIPT_SIZE];

	receipt_encode(&receipt, bytes);
	seed("receipt", "wiped", bytes, sizeof(bytes));
	receipt.keys_gone_ns = 0;
	receipt.segments[1].fate = SEGMENT_UNWIPED;
	receipt_encode(&receipt, bytes);
	seed("receipt", "unwiped", bytes, sizeof(bytes));
}

static void endings(void)
{
	struct ending ending = {.verb = END_REBOOT, .bound_ms = 120000, .began_ns = 1};
	uint8_t bytes[ENDING_SIZE];

	ending_encode(&ending, bytes);
	seed("ending", "reboot", bytes, sizeof(bytes));
	ending.bound_ms = 0;
	ending_encode(&ending, bytes);
	seed("ending", "unbounded", bytes, sizeof(bytes));
}

static void binds(void)
{
	struct bind_offer offer = {.admission = "admission", .key = "key"};
	struct bind_share share = {
		.admission = "admission", .encapsulated = "encapsulated", .sealed = "sealed"};
	uint8_t offered[BIND_OFFER_SIZE], shared[BIND_SHARE_RECORD_SIZE];

	bind_offer_encode(&offer, offered);
	seed("bind_offer", "offer", offered, sizeof(offered));
	seed("bind_offer", "cut", offered, sizeof(offered) - 1);
	bind_share_encode(&share, shared);
	seed("bind_share", "share", shared, sizeof(shared));
	seed("bind_share", "cut", shared, sizeof(shared) - 1);
}

static void frames(void)
{
	struct keeper_deadline deadline = {.deadline_ns = 1, .expiry = EXPIRY_SHRED};
	struct control_shred shred = {.dry_run = 1};
	struct watchdog_event event = {.kind = WATCHDOG_CONNECTED, .text = "connected"};

	frame_init(&deadline.header, FRAME_MAGIC_KEEPER, KEEPER_DEADLINE, sizeof(deadline));
	seed("frames", "keeper-deadline", &deadline, sizeof(deadline));
	frame_init(&shred.header, FRAME_MAGIC_CONTROL, CONTROL_SHRED, sizeof(shred));
	seed("frames", "control-shred", &shred, sizeof(shred));
	frame_init(&event.header, FRAME_MAGIC_WATCHDOG, WATCHDOG_EVENT, sizeof(event));
	seed("frames", "watchdog-event", &event, sizeof(event));
}

/* Under a KEK of zeros, as the fuzzer has it. */
static void dek_blobs(void)
{
	struct kek_wrapped kek = {.version = 1, .use = "data", .blob = "wrapped", .size = 68};
	static const uint8_t zeros[KEK_SIZE];
	struct dek_scratch scratch = {0};
	uint8_t bytes[DEK_BLOB_MAX];
	size_t n;

	if (dek_seal(&scratch, zeros, &kek, "w", "", bytes, &n) < 0) {
		failed = 1;
		return;
	}
	seed("dek_blob", "whole", bytes, n);
	seed("dek_blob", "cut", bytes, n - 1);
	bytes[n - 1] ^= 1;
	seed("dek_blob", "tag", bytes, n);
	bytes[28] = 0xff;
	seed("dek_blob", "size", bytes, n);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: corpus_seeds DIRECTORY\n");
		return 2;
	}
	arg_directory = argv[1];
	tokens();
	signing_keys();
	boot_reports();
	lease_requests();
	receipts();
	endings();
	binds();
	frames();
	dek_blobs();
	return failed;
}

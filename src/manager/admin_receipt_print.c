/* SPDX-License-Identifier: Apache-2.0 */
/* What a verified receipt bundle proves, what the VM says in it, and what neither shows. */
#include <inttypes.h>
#include <time.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/admin_receipt.h"

static void print_hex(FILE *to, const char *label, const uint8_t *bytes, size_t n)
{
	char text[2 * HASH_SIZE + 1];

	hex_encode(bytes, n, text);
	fprintf(to, "  %-14s %s\n", label, text);
}

static void print_token(FILE *to, const char *label, const struct token *token)
{
	time_t at = (time_t)token->issued_at;
	char when[32] = "?";
	struct tm utc;

	if (gmtime_r(&at, &utc))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &utc);
	fprintf(to,
		"  %-14s verdict %s, reason %s, CMK %s, issued %s, by signing key %016" PRIx64 "\n",
		label, verdict_name(token->verdict), reason_name(token->reason),
		cmk_state_name(token->cmk_state), when, token->key_id);
}

static void print_proven(const struct receipt_proof *proof, FILE *to)
{
	fputs("Proven, from the root key:\n", to);
	fprintf(to, "  %-14s epoch %" PRIu64 ", %" PRIu32 " keys, signed by the root key\n",
		"signing keys", proof->set.epoch, proof->set.n_keys);
	if (proof->token.verdict)
		print_token(to, "admitting token", &proof->token);
	else
		fprintf(to, "  %-14s it never was: the first answer was the verdict\n", "admitted");
	fprintf(to, "  %-14s workspace %s, VM %s, agent %s, kernel %s\n", "boot report",
		proof->report.workspace, proof->report.vm, proof->report.version,
		proof->report.kernel);
	print_hex(to, "admission", proof->admission, HASH_SIZE);
	print_hex(to, "boot id", proof->report.boot_id, BOOT_ID_SIZE);
	print_hex(to, "VM's key", proof->vm_key, PUBLIC_KEY_SIZE);
	if (proof->verdict.verdict)
		print_token(to, "verdict", &proof->verdict);
	fprintf(to, "  %-14s %zu, signed by the boot's key, chained to %s\n", "receipts",
		proof->n_receipts,
		proof->anchor == RECEIPT_ANCHOR_VERDICT ? "the verdict"
		: proof->anchor == RECEIPT_ANCHOR_LEASE ? "a lease"
							: "the boot report");
}

static const char *fate_name(enum segment_fate fate)
{
	return fate == SEGMENT_WIPED	 ? "wiped"
	       : fate == SEGMENT_UNWIPED ? "NOT WIPED"
					 : "was not there";
}

static void print_span(FILE *to, const char *label, uint64_t from_ns, uint64_t to_ns)
{
	if (from_ns && to_ns >= from_ns)
		fprintf(to, "  %-40s %.3f ms\n", label, (double)(to_ns - from_ns) / 1e6);
}

static void print_self_test(FILE *to, const char *label, uint32_t bits)
{
	static const char *const names[] = {
		"memory-locked",     "secret-memory", "no-core-dump",	 "watchdog",
		"power-armed",	     "init-on-free",  "keys-referenced", "queues-bounded",
		"panic-ends-the-vm", "initramfs",     "keyring",	 "crash-kernel",
		"keys-gone",	     "plaintext",
	};

	fprintf(to, "  %-14s", label);
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (bits & (1u << i))
			fprintf(to, " %s", names[i]);
	fputs(bits ? "\n" : " -\n", to);
}

static void print_said(const struct receipt_proof *proof, FILE *to)
{
	const struct receipt *first = &proof->receipts[0];
	const struct receipt *last = &proof->receipts[proof->n_receipts - 1];

	fprintf(to, "The VM's agent says (reason: %s):\n", reason_name(last->reason));
	for (uint32_t i = 0; i < last->n_segments; i++) {
		const struct receipt_segment *s = &last->segments[i];

		fprintf(to, "  volume %s, segment %u: %s after %" PRIu32 " us\n", s->volume,
			s->segment, fate_name(s->fate), s->wiped_us);
	}
	print_span(to, "from the start of the shred to keys gone", first->start_ns,
		   first->keys_gone_ns);
	print_span(to, "from the verdict in the VM to keys gone", first->verdict_ns,
		   first->keys_gone_ns);
	print_span(to, "from keys gone to blocked I/O failed", last->keys_gone_ns,
		   last->blocked_io_ns);
	print_span(to, "from keys gone to plaintext gone", last->keys_gone_ns, last->plaintext_ns);
	print_self_test(to, "self-test ok", last->self_test_passed);
	print_self_test(to, "failed", last->self_test_failed);
}

static void print_limits(const struct receipt_proof *proof, FILE *to)
{
	const struct receipt *last = &proof->receipts[proof->n_receipts - 1];

	fputs("Not proven:\n"
	      "  - It is the statement of the VM's agent, not attestation: a VM whose root or\n"
	      "    hypervisor was hostile can say anything.\n"
	      "  - It does not show that the VM went off, nor what was left in its RAM.\n"
	      "  - The VM's key is the bundle's word: compare it with `emberlock-admin vm list`.\n"
	      "  - A newer set may have revoked the signing key since.\n",
	      to);
	if (proof->anchor == RECEIPT_ANCHOR_UNKNOWN)
		fputs("  - What its first receipt follows is not in the bundle.\n", to);
	if (last->reason == REASON_CLONE)
		fputs("  - There were two holders of this boot: it is the statement of one.\n", to);
	if (last->kind != RECEIPT_CLOSING)
		fputs("  - The closing receipt did not come: what followed the keys is unknown.\n",
		      to);
	for (uint32_t i = 0; i < last->n_segments; i++)
		if (last->segments[i].fate == SEGMENT_UNWIPED)
			fprintf(to,
				"  - Volume %s, segment %u: its key was NOT wiped; it lasts as "
				"long "
				"as the VM's RAM.\n",
				last->segments[i].volume, last->segments[i].segment);
}

void receipt_proof_print(const struct receipt_proof *proof, FILE *to)
{
	print_proven(proof, to);
	print_said(proof, to);
	print_limits(proof, to);
	fputs(proof->keys_gone ? "Verified: the keys are gone, as the VM's agent says.\n"
			       : "Verified, but it does NOT say that the keys are gone.\n",
	      to);
}

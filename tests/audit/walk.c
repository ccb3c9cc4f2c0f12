/* SPDX-License-Identifier: Apache-2.0 */
/* Changes a log of 10,000 records in every way that somebody with the file could, and asks the
 * verifier of `audit verify`. EMBERLOCK_TESTS_WHOLE=no: some of the records; else all.
 *
 * The verifier's state between two lines is the head of the chain. What comes before a change is
 * therefore not read again for each: it is put to the head that reading it has left, and given the
 * changed rest of the log. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "manager/audit.h"
#include "manager/audit_verify.h"

#define RECORDS 10000

struct counts {
	unsigned long tried, found;
};

static struct {
	char *text; /* the whole log */
	size_t at[RECORDS + 1];
	struct audit_head heads[RECORDS + 1]; /* before record I + 1 */
	char checkpoint[2 * AUDIT_CHECKPOINT_SIZE + 1];
	uint8_t root_public[PUBLIC_KEY_SIZE];
} whole;

static struct audit_verifier verifier;
static unsigned step; /* one of so many records is looked at */

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "cannot go on: %s\n", what);
	exit(EXIT_FAILURE);
}

/* --- the log --- */

static json_t *content_of(unsigned i)
{
	static const char *const reasons[] = {"revoked", "superseded", "operator", "clone"};
	char vm[32], admission[2 * HASH_SIZE + 1];
	uint8_t hash[HASH_SIZE];

	must(sha256(&i, sizeof(i), hash) == 0, "SHA-256");
	hex_encode(hash, sizeof(hash), admission);
	snprintf(vm, sizeof(vm), "vm-%u", i % 97);
	return json_pack("{s:s, s:s, s:s, s:s}", "workspace", i % 2 ? "acme" : "other", "vm", vm,
			 "admission", admission, "reason", reasons[i % ELEMENTSOF(reasons)]);
}

static json_t *keys_content(const struct signing_key *root, const struct signing_key *key)
{
	struct signing_keys set = {.epoch = 1, .n_keys = 1};
	char hex[2 * SIGNING_KEYS_SIZE + 1];
	uint8_t bytes[SIGNING_KEYS_SIZE];

	signing_key_public(key, set.keys[0]);
	must(signing_keys_sign(root, &set, bytes) == 0, "signing the set");
	hex_encode(bytes, sizeof(bytes), hex);
	return json_pack("{s:s}", AUDIT_SIGNING_KEYS, hex);
}

static struct signing_key *new_key(void)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key;

	must(signing_key_generate(seed) == 0, "random bytes");
	must(signing_key_new_from_seed(seed, &key) == 0, "a key");
	return key;
}

static int add_line(const struct audit_record *record, void *userdata)
{
	size_t *n = userdata;

	whole.at[record->number - 1] = *n;
	*n += audit_line_write(record, whole.text + *n);
	return 0;
}

/* The manager's own store, records and lines; the first record is of the store's opening. */
static void make_log(struct store *store, const struct store_workspace *reader)
{
	struct audit_checkpoint checkpoint = {.made_at = 1};
	struct signing_key *root = new_key(), *key = new_key();
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE];
	size_t n = 0;

	audit_add(store, (struct audit_about){.workspace = AUDIT_PUBLIC}, "signing-keys",
		  keys_content(root, key));
	for (unsigned i = 3; i <= RECORDS; i++)
		audit_add(store, (struct audit_about){.workspace = 1 + i % 2}, "verdict-shred",
			  content_of(i));
	must(store_commit(store) == 0, "the commit");
	must(store_audit(store, 1, RECORDS, reader, add_line, &n) == 0, "reading the log");
	whole.at[RECORDS] = n;
	must(store_audit_head(store, &checkpoint.head) == 0, "the head");
	must(checkpoint.head.number == RECORDS, "the number of records");
	must(audit_checkpoint_sign(key, &checkpoint, bytes) == 0, "signing the checkpoint");
	hex_encode(bytes, sizeof(bytes), whole.checkpoint);
	signing_key_public(root, whole.root_public);
	signing_key_free(root);
	signing_key_free(key);
}

static void make(bool withheld)
{
	char directory[] = "/tmp/emberlock-audit-XXXXXX", path[64], command[96];
	const struct store_workspace reader = {.id = 1};
	struct store *store;

	must(mkdtemp(directory), "a directory");
	snprintf(path, sizeof(path), "%s/manager.db", directory);
	must(store_open(path, &store) == 0, "the store");
	make_log(store, withheld ? &reader : NULL);
	store_free(store);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	must(system(command) == 0, command);
}

/* --- the verifier --- */

/* As it is once it has read all before record FROM (counted from 0). */
static void put_to(unsigned from, bool with_checkpoint)
{
	verifier.head = whole.heads[from];
	verifier.proven = verifier.withheld = 0;
	verifier.n_checkpoints = verifier.met = 0;
	if (with_checkpoint)
		must(audit_verifier_add_checkpoint(&verifier, whole.checkpoint,
						   strlen(whole.checkpoint)) == 0,
		     "the checkpoint");
}

static bool holds(const char *text, size_t n)
{
	char error[256];

	return audit_verifier_text(&verifier, text, n, error) == 0;
}

static bool ends_well(void)
{
	char error[256];

	return audit_verifier_end(&verifier, error) == 0;
}

static bool rest_holds(unsigned from)
{
	return holds(whole.text + whole.at[from], whole.at[RECORDS] - whole.at[from]);
}

/* The control: unchanged it holds, to the end. Notes the heads on the way. */
static void read_unchanged(void)
{
	verifier.have_root = true;
	memcpy(verifier.root_public, whole.root_public, PUBLIC_KEY_SIZE);
	verifier.n_keys = 0;
	put_to(0, true);
	for (unsigned i = 0; i < RECORDS; i++) {
		must(holds(whole.text + whole.at[i], whole.at[i + 1] - whole.at[i]),
		     "the unchanged log does not hold");
		whole.heads[i + 1] = verifier.head;
	}
	must(ends_well() && verifier.proven == RECORDS, "the unchanged log is not proven");
	put_to(0, false);
	must(rest_holds(0) && ends_well() && verifier.proven == 0,
	     "without a checkpoint the unchanged log is not what it should be");
}

static void count(struct counts *counts, bool found)
{
	counts->tried++;
	counts->found += found;
}

/* A verifier that misses something reads to the end each time: a few of those are enough. */
static bool enough(const struct counts *counts)
{
	return counts->tried - counts->found >= 20;
}

/* --- changes --- */

/* From the changed line on: the verifier reads until it finds something, at most to the end. */
static void flip_bits(unsigned i, struct counts *counts)
{
	for (size_t at = whole.at[i]; at < whole.at[i + 1] && !enough(counts); at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			whole.text[at] ^= (char)(1 << bit);
			put_to(i, false);
			count(counts, !rest_holds(i));
			whole.text[at] ^= (char)(1 << bit);
		}
	}
}

/* By all processors. Each takes every N_WORKERS-th of the records. */
static struct counts all_bits(void)
{
	long n_workers = sysconf(_SC_NPROCESSORS_ONLN);
	struct counts *shared, sum = {0};
	int status;

	shared = mmap(NULL, (size_t)n_workers * sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED, "shared memory");
	fflush(NULL);
	for (long w = 0; w < n_workers; w++) {
		pid_t pid = fork();

		must(pid >= 0, "a process");
		if (pid > 0)
			continue;
		for (unsigned i = (unsigned)w * step; i < RECORDS; i += (unsigned)n_workers * step)
			flip_bits(i, &shared[w]);
		_exit(EXIT_SUCCESS);
	}
	for (long w = 0; w < n_workers; w++)
		must(wait(&status) > 0 && status == 0, "a worker failed");
	for (long w = 0; w < n_workers; w++) {
		sum.tried += shared[w].tried;
		sum.found += shared[w].found;
	}
	return sum;
}

/* The last one's removal is a truncation. */
static struct counts removals(void)
{
	struct counts counts = {0};

	for (unsigned i = 0; i + 1 < RECORDS && !enough(&counts); i++) {
		put_to(i, false);
		count(&counts, !rest_holds(i + 1));
	}
	return counts;
}

static struct counts repetitions(void)
{
	struct counts counts = {0};

	for (unsigned i = 0; i < RECORDS && !enough(&counts); i++) {
		put_to(i + 1, false);
		count(&counts, !rest_holds(i));
	}
	return counts;
}

/* Records I and J change places; what is between them stays. */
static bool swap_is_found(unsigned i, unsigned j)
{
	const char *middle = whole.text + whole.at[i + 1];

	put_to(i, false);
	return !holds(whole.text + whole.at[j], whole.at[j + 1] - whole.at[j]) ||
	       !holds(middle, whole.at[j] - whole.at[i + 1]) ||
	       !holds(whole.text + whole.at[i], whole.at[i + 1] - whole.at[i]) ||
	       !rest_holds(j + 1);
}

static struct counts reorders(void)
{
	struct counts counts = {0};

	for (unsigned i = 0; i + 1 < RECORDS && !enough(&counts); i++)
		for (unsigned distance = 1; i + distance < RECORDS; distance *= 3)
			count(&counts, swap_is_found(i, i + distance));
	return counts;
}

/* After any record, the last but one included, and within the last line that is left. */
static struct counts truncations(bool with_checkpoint)
{
	struct counts counts = {0};

	for (unsigned n = 1; n < RECORDS; n++) {
		put_to(n, with_checkpoint);
		count(&counts, !ends_well());
	}
	for (unsigned i = 0; with_checkpoint && i < RECORDS; i += step)
		for (size_t len = 1; len < whole.at[i + 1] - whole.at[i]; len++) {
			put_to(i, with_checkpoint);
			count(&counts, !holds(whole.text + whole.at[i], len));
		}
	return counts;
}

/* Somebody who can hash changes record I, and writes all after it anew. */
static bool anew_is_found(unsigned i, bool with_checkpoint)
{
	_cleanup_free_ char *line = malloc(AUDIT_LINE_MAX);
	struct audit_head head = whole.heads[i];
	bool found = false;

	must(line, "memory");
	put_to(i, with_checkpoint);
	for (unsigned k = i; k < RECORDS && !found; k++) {
		const char *text = whole.text + whole.at[k];
		struct audit_record record;

		must(audit_line_read(text, whole.at[k + 1] - whole.at[k] - 1, &record) == 0,
		     "the form of a line");
		memcpy(record.previous, head.hash, HASH_SIZE);
		if (record.content)
			must(audit_content_hash(record.content, record.content_size,
						record.content_hash) == 0,
			     "SHA-256");
		if (k == i) {
			record.content = NULL;
			record.content_hash[0] ^= 1;
		}
		must(audit_head_add(&head, record.content_hash) == 0, "SHA-256");
		memcpy(record.hash, head.hash, HASH_SIZE);
		found = !holds(line, audit_line_write(&record, line));
	}
	return found || !ends_well();
}

static struct counts anew(bool with_checkpoint)
{
	struct counts counts = {0};

	for (unsigned i = 0; i < RECORDS; i += 20 * step)
		count(&counts, anew_is_found(i, with_checkpoint));
	return counts;
}

/* Each bit of the checkpoint itself. */
static struct counts checkpoint_bits(void)
{
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE];
	char hex[sizeof(whole.checkpoint)];
	struct counts counts = {0};

	must(hex_decode(whole.checkpoint, strlen(whole.checkpoint), bytes, sizeof(bytes)) == 0,
	     "the checkpoint");
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		hex_encode(bytes, sizeof(bytes), hex);
		put_to(RECORDS - 1, false);
		count(&counts, audit_verifier_add_checkpoint(&verifier, hex, strlen(hex)) < 0 ||
				       !rest_holds(RECORDS - 1) || !ends_well());
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	return counts;
}

/* --- report --- */

static bool failed;

static void report(const char *name, struct counts counts)
{
	bool ok = counts.tried > 0 && counts.found == counts.tried;

	printf("    %s: %lu tried, %lu found\n%s audit/%s\n", name, counts.tried, counts.found,
	       ok ? "ok" : "not ok", name);
	fflush(stdout);
	failed = failed || !ok;
}

/* What no verifier can find without a checkpoint, and it must not say that it does. */
static void report_unfound(const char *name, struct counts counts)
{
	bool ok = counts.tried > 0 && counts.found == 0;

	printf("    %s: %lu tried, %lu found\n%s audit/%s\n", name, counts.tried, counts.found,
	       ok ? "ok" : "not ok", name);
	failed = failed || !ok;
}

static void walk(bool withheld)
{
	const char *of = withheld ? " of one workspace's export" : "";
	char name[64];

	make(withheld);
	read_unchanged();
	printf("    %d records, %zu bytes%s; bits of one record in %u\n", RECORDS,
	       whole.at[RECORDS], of, step);
	snprintf(name, sizeof(name), "single bits%s", of);
	report(name, all_bits());
	snprintf(name, sizeof(name), "removals%s", of);
	report(name, removals());
	snprintf(name, sizeof(name), "reorders%s", of);
	report(name, reorders());
	snprintf(name, sizeof(name), "truncations with a checkpoint%s", of);
	report(name, truncations(true));
}

int main(void)
{
	const char *cut = getenv("EMBERLOCK_TESTS_WHOLE");

	step = cut && strcmp(cut, "no") == 0 ? 61 : 1;
	whole.text = malloc((size_t)RECORDS * 2048);
	must(whole.text, "memory");
	walk(false);
	report("repetitions", repetitions());
	report("all written anew, with a checkpoint", anew(true));
	report("single bits of the checkpoint", checkpoint_bits());
	report_unfound("truncations without a checkpoint are not found", truncations(false));
	report_unfound("all written anew without a checkpoint is not found", anew(false));
	step *= 4;
	walk(true);
	free(whole.text);
	audit_verifier_done(&verifier);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet of VMs without machines: each speaks the real protocol to the real manager over a connection of
 * its own, and ends as its kind says. For the suite manager.
 *
 *	fleet_vms STATE MANAGER-URL WORKSPACE:KIND:NUMBER...
 *
 * They are called KIND-0, KIND-1, ... and enrolled by the operator's identity below STATE, the manager's
 * directory. On standard output, a line an event: "admitted VM", "ready" once all are, "told VM REASON" when
 * one has its verdict, "closed VM" when the manager has all its receipts, "silent", "back".
 * SIGUSR1: mute and paused ones ask no more. SIGUSR2: the paused ones go on, as after a pause. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "keys/sign.h"

enum kind {
	KIND_SHREDS,   /* two receipts: every key is gone */
	KIND_AGAIN,    /* the same, then it boots again */
	KIND_UNWIPED,  /* two receipts: a key was not wiped */
	KIND_UNCLOSED, /* its closing receipt never comes */
	KIND_MUTE,     /* silent from SIGUSR1 on: cut off, or off */
	KIND_PAUSED,   /* silent from SIGUSR1 until SIGUSR2 */
	KIND__MAX
};
static const char *const kind_names[KIND__MAX] = {
	[KIND_SHREDS] = "shreds",     [KIND_AGAIN] = "again", [KIND_UNWIPED] = "unwiped",
	[KIND_UNCLOSED] = "unclosed", [KIND_MUTE] = "mute",   [KIND_PAUSED] = "paused",
};

/* What it is asking for. */
enum step { STEP_BOOT, STEP_LEASE, STEP_KEYS, STEP_CLOSING, STEP_SILENT, STEP_OFF };

struct vm {
	char workspace[ID_TEXT_MAX + 1], name[ID_TEXT_MAX + 1];
	enum kind kind;
	enum step step;
	bool counted, is_second; /* it was admitted once; it has booted again */
	struct signing_key *key, *boot_key;
	uint8_t report[BOOT_REPORT_SIZE], admission[HASH_SIZE];
	uint64_t number;
	uint8_t challenge[CHALLENGE_SIZE];
	struct sequence highest;
	uint32_t pauses;
	enum reason reason;
	uint64_t verdict_ns;
	uint8_t previous[HASH_SIZE]; /* what the next receipt follows */
	/* Its request. */
	CURL *curl;
	bool under_way;
	uint64_t due_ms; /* where it is not */
	uint8_t body[RECEIPT_SIZE];
	uint8_t answer[TOKEN_SIZE];
	size_t n;
};

/* The manager admits so many of a workspace at once, and then so often one: who comes earlier is put off
 * for longer (src/manager/rate.c). */
#define AT_ONCE	 24
#define EVERY_MS 220

static const char *arg_state, *arg_url;
static struct vm *vms;
static size_t n_vms, n_admitted;
static struct signing_keys trusted;
static CURLM *multi;
static volatile sig_atomic_t go_silent, come_back;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	exit(1);
}

static void must(bool good, const char *what)
{
	if (!good)
		die("fleet_vms: %s", what);
}

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

static void say(const struct vm *vm, const char *event, const char *more)
{
	printf("%s %s/%s%s%s\n", event, vm->workspace, vm->name, *more ? " " : "", more);
}

/* --- enrolment --- */

static const char *in_state(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned turn;
	char *path = paths[turn++ % ELEMENTSOF(paths)];

	snprintf(path, PATH_MAX, "%s/%s", arg_state, name);
	return path;
}

static struct signing_key *new_key(void)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key = NULL;

	must(signing_key_generate(seed) == 0 && signing_key_new_from_seed(seed, &key) == 0,
	     "no key can be made");
	return key;
}

static CURL *new_request(void)
{
	CURL *curl = curl_easy_init();

	must(curl, "libcurl has no handle");
	curl_easy_setopt(curl, CURLOPT_CAINFO, in_state("ca.pem"));
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	return curl;
}

static void read_url(char url[static 512])
{
	ssize_t n = file_read(AT_FDCWD, in_state("identities/operator/url"), url, 256);

	must(n > 0 && n < 256, "the operator's identity names no URL");
	url[n] = '\0';
	url[strcspn(url, "\n")] = '\0';
	strcat(url, "/v1/vms");
}

/* The same handle for all: one connection. */
static void enrol(CURL *curl, const char *url, struct vm *vm)
{
	char hex[2 * PUBLIC_KEY_SIZE + 1], body[512];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	long status = 0;

	vm->key = new_key();
	signing_key_public(vm->key, public_key);
	hex_encode(public_key, sizeof(public_key), hex);
	snprintf(body, sizeof(body), "{\"workspace\":\"%s\",\"vm\":\"%s\",\"public_key\":\"%s\"}",
		 vm->workspace, vm->name, hex);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 204)
		die("%s/%s: not enrolled: %ld", vm->workspace, vm->name, status);
}

static void enrol_all(void)
{
	CURL *curl = new_request();
	char url[512];

	read_url(url);
	curl_easy_setopt(curl, CURLOPT_SSLCERT, in_state("identities/operator/cert.pem"));
	curl_easy_setopt(curl, CURLOPT_SSLKEY, in_state("identities/operator/key.pem"));
	for (size_t i = 0; i < n_vms; i++)
		enrol(curl, url, &vms[i]);
	curl_easy_cleanup(curl);
}

struct bytes {
	uint8_t bytes[SIGNING_KEYS_SIZE];
	size_t n;
};

static size_t take_bytes(char *bytes, size_t one, size_t n, void *userdata)
{
	struct bytes *to = userdata;

	if (n > sizeof(to->bytes) - to->n)
		return 0;
	memcpy(to->bytes + to->n, bytes, n);
	to->n += n;
	return n;
}

/* As a VM does: the set of signing keys, by the root key alone. */
static void trust(void)
{
	uint8_t root_public[PUBLIC_KEY_SIZE];
	struct bytes set = {.n = 0};
	CURL *curl = new_request();
	char hex[80], url[512];

	must(file_read(AT_FDCWD, in_state("offline/root.pub"), hex, sizeof(hex)) == 65 &&
		     hex_decode(hex, 64, root_public, sizeof(root_public)) == 0,
	     "no root key");
	snprintf(url, sizeof(url), "%s/v1/signing-keys", arg_url);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &set);
	must(curl_easy_perform(curl) == CURLE_OK &&
		     signing_keys_verify(set.bytes, set.n, root_public, &trusted) == 0,
	     "no signing keys that the root key signed");
	curl_easy_cleanup(curl);
}

/* --- what a boot says --- */

static void next_challenge(struct vm *vm)
{
	vm->number++;
	must(signing_key_generate(vm->challenge) == 0, "no challenge can be made");
}

static void boot(struct vm *vm)
{
	struct boot_report report = {
		.version = "0.1.0",
		.kernel = "6.1.0",
		.n_volumes = 1,
		.volumes = {{.name = "data",
			     .use = VOLUME_EXT4,
			     .state = VOLUME_READY,
			     .n_segments = 2,
			     .bytes = 1 << 20}},
	};
	uint8_t seed[IDENTITY_SEED_SIZE];

	signing_key_free(vm->boot_key);
	vm->boot_key = new_key();
	must(signing_key_generate(seed) == 0, "no boot id can be made");
	memcpy(report.boot_id, seed, BOOT_ID_SIZE);
	snprintf(report.workspace, sizeof(report.workspace), "%s", vm->workspace);
	snprintf(report.vm, sizeof(report.vm), "%s", vm->name);
	must(boot_report_sign(vm->key, vm->boot_key, &report, vm->report) == 0 &&
		     sha256(vm->report, BOOT_REPORT_SIZE, vm->admission) == 0,
	     "a boot report cannot be signed");
	vm->number = 0;
	vm->highest = (struct sequence){0};
	next_challenge(vm);
	vm->step = STEP_BOOT;
}

static void write_request(const struct vm *vm, uint8_t bytes[static LEASE_REQUEST_SIZE])
{
	struct lease_request request = {
		.number = vm->number,
		.highest = vm->highest,
		.pauses = vm->pauses,
	};

	memcpy(request.admission, vm->admission, HASH_SIZE);
	memcpy(request.challenge, vm->challenge, CHALLENGE_SIZE);
	must(lease_request_sign(vm->boot_key, &request, bytes) == 0, "a request cannot be signed");
}

static void write_receipt(struct vm *vm)
{
	bool wiped = vm->kind != KIND_UNWIPED;
	struct receipt receipt = {
		.kind = vm->step == STEP_KEYS ? RECEIPT_KEYS : RECEIPT_CLOSING,
		.reason = vm->reason,
		.verdict_ns = vm->verdict_ns,
		.start_ns = vm->verdict_ns + 100000,
		.keys_gone_ns = wiped ? vm->verdict_ns + 3000000 : 0,
		.blocked_io_ns = vm->step == STEP_KEYS ? 0 : vm->verdict_ns + 4000000,
		.n_segments = 2,
		.segments = {{.volume = "data", .segment = 0, .fate = SEGMENT_WIPED},
			     {.volume = "data",
			      .segment = 1,
			      .fate = wiped ? SEGMENT_WIPED : SEGMENT_UNWIPED}},
	};

	memcpy(receipt.admission, vm->admission, HASH_SIZE);
	memcpy(receipt.previous, vm->previous, HASH_SIZE);
	must(receipt_sign(vm->boot_key, &receipt, vm->body) == 0, "a receipt cannot be signed");
}

/* --- its requests --- */

static size_t take_answer(char *bytes, size_t one, size_t n, void *userdata)
{
	struct vm *vm = userdata;
	size_t room = sizeof(vm->answer) - vm->n, taken = n < room ? n : room;

	memcpy(vm->answer + vm->n, bytes, taken);
	vm->n += taken;
	return n;
}

static size_t write_body(struct vm *vm, const char **ret_path)
{
	switch (vm->step) {
	case STEP_BOOT:
		*ret_path = "/v1/boot";
		memcpy(vm->body, vm->report, BOOT_REPORT_SIZE);
		write_request(vm, vm->body + BOOT_REPORT_SIZE);
		return BOOT_BODY_SIZE;
	case STEP_LEASE:
		*ret_path = "/v1/lease";
		write_request(vm, vm->body);
		return LEASE_REQUEST_SIZE;
	default:
		*ret_path = "/v1/receipt";
		write_receipt(vm);
		return RECEIPT_SIZE;
	}
}

static void begin(struct vm *vm)
{
	const char *path;
	char url[512];
	size_t n = write_body(vm, &path);

	snprintf(url, sizeof(url), "%s%s", arg_url, path);
	curl_easy_setopt(vm->curl, CURLOPT_URL, url);
	curl_easy_setopt(vm->curl, CURLOPT_POSTFIELDS, vm->body);
	curl_easy_setopt(vm->curl, CURLOPT_POSTFIELDSIZE, (long)n);
	vm->n = 0;
	vm->under_way = true;
	must(curl_multi_add_handle(multi, vm->curl) == CURLM_OK, "libcurl takes no request");
}

static void end(struct vm *vm)
{
	if (vm->under_way)
		curl_multi_remove_handle(multi, vm->curl);
	vm->under_way = false;
}

static void on_verdict(struct vm *vm, const struct token *token)
{
	vm->reason = token->reason;
	vm->verdict_ns = clock_boottime_ns();
	must(sha256(vm->answer, TOKEN_SIZE, vm->previous) == 0, "no hash can be made");
	say(vm, "told", reason_name(token->reason));
	vm->step = STEP_KEYS;
}

static void on_token(struct vm *vm)
{
	struct token token;

	if (token_verify(vm->answer, vm->n, &trusted, &token) < 0 ||
	    !bytes_equal(token.admission, vm->admission, HASH_SIZE))
		die("%s/%s: what it was given is no token for it", vm->workspace, vm->name);
	if (token.verdict == VERDICT_SHRED) {
		on_verdict(vm, &token);
		return;
	}
	if (!bytes_equal(token.challenge, vm->challenge, CHALLENGE_SIZE) ||
	    sequence_compare(token.sequence, vm->highest) <= 0)
		die("%s/%s: its lease is not the one that it asked for", vm->workspace, vm->name);
	vm->highest = token.sequence;
	next_challenge(vm);
	if (vm->step == STEP_BOOT)
		say(vm, vm->is_second ? "again" : "admitted", "");
	vm->step = STEP_LEASE;
	if (vm->counted)
		return;
	vm->counted = true;
	if (++n_admitted == n_vms)
		puts("ready");
}

static void on_receipt_taken(struct vm *vm)
{
	must(sha256(vm->body, RECEIPT_SIZE, vm->previous) == 0, "no hash can be made");
	if (vm->step == STEP_KEYS && vm->kind != KIND_UNCLOSED) {
		vm->step = STEP_CLOSING;
		return;
	}
	say(vm, "closed", "");
	vm->step = STEP_OFF;
	if (vm->kind != KIND_AGAIN || vm->is_second)
		return;
	vm->is_second = true;
	boot(vm);
}

/* An answer that is none is asked for again, as the manager says. */
static void on_answer(struct vm *vm)
{
	curl_off_t after = 0;
	long status = 0;

	curl_easy_getinfo(vm->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(vm->curl, CURLINFO_RETRY_AFTER, &after);
	end(vm);
	vm->due_ms = now_ms();
	if (status != 200)
		vm->due_ms += after > 0 ? (uint64_t)after * 1000 : 200;
	else if (vm->step == STEP_BOOT || vm->step == STEP_LEASE)
		on_token(vm);
	else
		on_receipt_taken(vm);
}

/* --- all of them --- */

static void silence(void)
{
	for (size_t i = 0; i < n_vms; i++) {
		struct vm *vm = &vms[i];

		if ((vm->kind != KIND_MUTE && vm->kind != KIND_PAUSED) || vm->step != STEP_LEASE)
			continue;
		end(vm);
		vm->step = STEP_SILENT;
	}
	puts("silent");
}

static void bring_back(void)
{
	for (size_t i = 0; i < n_vms; i++) {
		struct vm *vm = &vms[i];

		if (vm->kind != KIND_PAUSED || vm->step != STEP_SILENT)
			continue;
		vm->pauses++;
		next_challenge(vm);
		vm->step = STEP_LEASE;
		vm->due_ms = 0;
	}
	puts("back");
}

static void turn(void)
{
	uint64_t now = now_ms();
	CURLMsg *message;
	int running, left;

	for (size_t i = 0; i < n_vms; i++)
		if (!vms[i].under_way && vms[i].step < STEP_SILENT && vms[i].due_ms <= now)
			begin(&vms[i]);
	must(curl_multi_perform(multi, &running) == CURLM_OK, "libcurl fails");
	while ((message = curl_multi_info_read(multi, &left))) {
		struct vm *vm;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &vm);
		on_answer(vm);
	}
	if (go_silent) {
		go_silent = 0;
		silence();
	}
	if (come_back) {
		come_back = 0;
		bring_back();
	}
	must(curl_multi_poll(multi, NULL, 0, 50, NULL) == CURLM_OK, "libcurl fails");
}

static void on_signal(int number)
{
	if (number == SIGUSR1)
		go_silent = 1;
	else
		come_back = 1;
}

/* "WORKSPACE:KIND:NUMBER". */
static void add_group(const char *text)
{
	char workspace[ID_TEXT_MAX + 1], name[16];
	unsigned n, kind = 0;

	if (sscanf(text, "%63[^:]:%15[^:]:%u", workspace, name, &n) != 3)
		die("fleet_vms: '%s' is not WORKSPACE:KIND:NUMBER", text);
	while (kind < KIND__MAX && strcmp(kind_names[kind], name) != 0)
		kind++;
	if (kind == KIND__MAX)
		die("fleet_vms: '%s' is no kind", name);
	vms = reallocarray(vms, n_vms + n, sizeof(*vms));
	must(vms, "out of memory");
	for (unsigned i = 0; i < n; i++) {
		struct vm *vm = &vms[n_vms++];

		*vm = (struct vm){.kind = (enum kind)kind};
		strcpy(vm->workspace, workspace);
		snprintf(vm->name, sizeof(vm->name), "%s-%u", name, i);
	}
}

static uint64_t first_due(const struct vm *vm)
{
	uint64_t before = 0;

	for (const struct vm *v = vms; v < vm; v++)
		before += strcmp(v->workspace, vm->workspace) == 0;
	return now_ms() + (before > AT_ONCE ? (before - AT_ONCE) * EVERY_MS : 0);
}

static void open_all(void)
{
	multi = curl_multi_init();
	must(multi, "libcurl has no handle");
	/* A connection a VM. */
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)n_vms);
	for (size_t i = 0; i < n_vms; i++) {
		vms[i].curl = new_request();
		curl_easy_setopt(vms[i].curl, CURLOPT_PRIVATE, &vms[i]);
		curl_easy_setopt(vms[i].curl, CURLOPT_WRITEFUNCTION, take_answer);
		curl_easy_setopt(vms[i].curl, CURLOPT_WRITEDATA, &vms[i]);
		boot(&vms[i]);
		vms[i].due_ms = first_due(&vms[i]);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};

	if (argc < 4)
		die("usage: fleet_vms STATE MANAGER-URL WORKSPACE:KIND:NUMBER...");
	arg_state = argv[1];
	arg_url = argv[2];
	for (int i = 3; i < argc; i++)
		add_group(argv[i]);
	setlinebuf(stdout);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	curl_global_init(CURL_GLOBAL_ALL);
	enrol_all();
	trust();
	open_all();
	for (;;)
		turn();
}

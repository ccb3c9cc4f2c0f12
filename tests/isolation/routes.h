/* SPDX-License-Identifier: Apache-2.0 */
/* A request for each route of the server's own tables, which whom it is for can make once. */
#pragma once

#include "world.h"

/* What of a request is made anew for each attempt. */
struct made {
	char first[HTTP_PARAMETER_SIZE]; /* the {} of the pattern */
	char second[HTTP_PARAMETER_SIZE];
	uint8_t body[16384];
	size_t n;
	const char *header; /* NULL: none of ours */
};

struct entry {
	enum manager_listener listener;
	enum http_method method;
	const char *pattern;
	const char *first, *second, *body; /* NULL: none, or of .make */
	/* Once, before the first attempt. */
	void (*prepare)(struct made *made);
	/* Of records: as BY signs it, whom it does not concern; NULL: as it must be. */
	void (*make)(struct made *made, const struct signing_key *by);
	bool open; /* to all whom the listener lets in */
};

static struct vm doomed, held;
static char doomed_node[2 * HASH_SIZE + 1];

static inline void body_json(struct made *made, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline void body_json(struct made *made, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	made->n = (size_t)vsnprintf((char *)made->body, sizeof(made->body), format, list);
	va_end(list);
	assert_true(made->n < sizeof(made->body));
}

/* --- administrators --- */

static inline void prepare_key(struct made *made)
{
	assert_int_equal(keyfile_create(key_dir, "doomed-key"), 0);
	body_json(made,
		  "{\"name\":\"doomed-key\",\"file_key_info\":{\"key_id\":\"doomed-key\","
		  "\"directory\":\"%s\"}" POLL "}",
		  key_dir);
}

static inline void prepare_vm(struct made *made)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	char hex[2 * PUBLIC_KEY_SIZE + 1];

	doomed = (struct vm){.workspace = "doomed", .name = "vm1"};
	random_key(&doomed.key);
	signing_key_public(doomed.key, public_key);
	hex_encode(public_key, sizeof(public_key), hex);
	body_json(made, "{\"workspace\":\"doomed\",\"vm\":\"vm1\",\"public_key\":\"%s\"}", hex);
}

static inline void prepare_shred(struct made *made)
{
	vm_boot(&doomed);
	admit(&doomed);
}

static inline void prepare_drill(struct made *made)
{
	vm_boot(&doomed);
	admit(&doomed);
	hex_encode(doomed.admission, HASH_SIZE, made->first);
}

/* A boot that waits for an operator. */
static inline void prepare_confirm(struct made *made)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	make_key("held-key", POLL ",\"confirm_boot\":true");
	make_workspace("held", "held-key");
	vm_enrol(&held, "held", "vm1");
	vm_post_boot(&held, answer);
	assert_int_equal(answer->status, 202);
	free(answer);
	hex_encode(held.admission, HASH_SIZE, made->first);
}

static inline void prepare_node(struct made *made)
{
	struct node node;

	node_make(&node, "doomed", "doomed-node", doomed_node);
	body_json(made, "{\"workspace\":\"doomed\",\"node\":\"node1\",\"public_key\":\"%s\"}",
		  doomed_node);
}

static inline void make_receipt(const struct vm *vm, const struct signing_key *by,
				uint8_t bytes[static RECEIPT_SIZE])
{
	struct receipt receipt = {
		.kind = RECEIPT_KEYS,
		.reason = REASON_OPERATOR,
		.start_ns = 1000,
		.keys_gone_ns = 2000,
		.n_segments = 1,
		.segments = {{.volume = "data", .fate = SEGMENT_WIPED, .wiped_us = 5}},
	};

	memcpy(receipt.admission, vm->admission, HASH_SIZE);
	assert_int_equal(sha256(vm->token_bytes, TOKEN_SIZE, receipt.previous), 0);
	assert_int_equal(receipt_sign(by, &receipt, bytes), 0);
}

/* The second VM of a tenant ends: it leaves a receipt. */
static inline void end_second(struct tenant *tenant)
{
	uint8_t bytes[RECEIPT_SIZE];
	struct answer *answer = calloc(1, sizeof(*answer));
	char path[64];

	snprintf(path, sizeof(path), "/v1/vms/%s/vm2/shred", tenant->workspace);
	operate("POST", path, 204);
	vm_post_lease(&tenant->second, answer);
	vm_take(&tenant->second, answer, VERDICT_SHRED, REASON_OPERATOR);
	make_receipt(&tenant->second, tenant->second.boot_key, bytes);
	post("/v1/receipt", bytes, sizeof(bytes), answer);
	assert_int_equal(answer->status, 200);
	free(answer);
}

static inline void prepare_receipt(struct made *made)
{
	hex_encode(alpha.second.admission, HASH_SIZE, made->first);
}

static inline void read_root(struct signing_key **ret_root)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	char path[128], hex[2 * IDENTITY_SEED_SIZE];
	FILE *file;

	snprintf(path, sizeof(path), "%s/offline/root.key", state_dir);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fread(hex, 1, sizeof(hex), file), sizeof(hex));
	fclose(file);
	assert_int_equal(hex_decode(hex, sizeof(hex), seed, sizeof(seed)), 0);
	assert_int_equal(signing_key_new_from_seed(seed, ret_root), 0);
}

/* The present keys once more, in a newer set. */
static inline void prepare_set(struct made *made)
{
	_cleanup_signing_key_ struct signing_key *root = NULL;
	char hex[2 * SIGNING_KEYS_SIZE + 1];
	uint8_t bytes[SIGNING_KEYS_SIZE];
	struct signing_keys set = trusted;

	read_root(&root);
	set.epoch++;
	assert_int_equal(signing_keys_sign(root, &set, bytes), 0);
	hex_encode(bytes, sizeof(bytes), hex);
	body_json(made, "{\"set\":\"%s\"}", hex);
}

static inline void prepare_workspace(struct made *made)
{
	key_admin("POST", "/v1/workspaces", "{\"name\":\"empty\"}", 204);
}

static inline void prepare_loose_key(struct made *made)
{
	make_key("loose-key", POLL);
}

/* --- VMs: the records of alpha's vm1 --- */

static inline void sign_request(const struct vm *vm, const struct signing_key *by, uint8_t *bytes)
{
	struct lease_request request = {.number = vm->number, .highest = vm->highest};

	memcpy(request.admission, vm->admission, HASH_SIZE);
	memcpy(request.challenge, vm->challenge, CHALLENGE_SIZE);
	assert_int_equal(lease_request_sign(by, &request, bytes), 0);
}

/* A new boot of the VM; where somebody else signs, with that key as the boot's too. */
static inline void make_boot(struct made *made, const struct signing_key *by)
{
	static struct vm thief;

	made->n = BOOT_BODY_SIZE;
	if (!by) {
		vm_boot(&alpha.first);
		memcpy(made->body, alpha.first.report, BOOT_REPORT_SIZE);
		vm_request(&alpha.first, made->body + BOOT_REPORT_SIZE);
		return;
	}
	thief = (struct vm){.workspace = "alpha", .name = "vm1"};
	thief.key = (struct signing_key *)by;
	vm_boot(&thief);
	memcpy(made->body, thief.report, BOOT_REPORT_SIZE);
	vm_request(&thief, made->body + BOOT_REPORT_SIZE);
	thief.boot_key = signing_key_free(thief.boot_key);
}

/* The same, with a bound volume and an offer, which are signed by the same. */
static inline void make_bound_boot(struct made *made, const struct signing_key *by)
{
	struct vm vm = {.workspace = "alpha", .name = "vm1"};
	struct bind_offer offer = {.key = {9}};
	struct boot_report report;

	vm.key = by ? (struct signing_key *)by : alpha.first.key;
	vm_boot(&vm);
	assert_int_equal(boot_report_decode(vm.report, BOOT_REPORT_SIZE, &report), 0);
	report.bound = 1;
	assert_int_equal(boot_report_sign(vm.key, vm.boot_key, &report, vm.report), 0);
	assert_int_equal(sha256(vm.report, BOOT_REPORT_SIZE, vm.admission), 0);
	memcpy(offer.admission, vm.admission, HASH_SIZE);
	made->n = BOUND_BODY_SIZE;
	memcpy(made->body, vm.report, BOOT_REPORT_SIZE);
	vm_request(&vm, made->body + BOOT_REPORT_SIZE);
	assert_int_equal(bind_offer_sign(vm.boot_key, &offer, made->body + BOOT_BODY_SIZE), 0);
	if (by) {
		vm.boot_key = signing_key_free(vm.boot_key);
		return;
	}
	/* It is this boot from now on. */
	signing_key_free(alpha.first.boot_key);
	alpha.first = vm;
}

static inline void make_lease(struct made *made, const struct signing_key *by)
{
	made->n = LEASE_REQUEST_SIZE;
	if (!by)
		new_challenge(&alpha.first);
	sign_request(&alpha.first, by ? by : alpha.first.boot_key, made->body);
}

static inline void make_note(struct made *made, const struct signing_key *by)
{
	struct ending ending = {.verb = END_REBOOT, .bound_ms = 1000, .began_ns = 1};

	made->n = ENDING_SIZE;
	memcpy(ending.admission, alpha.first.admission, HASH_SIZE);
	assert_int_equal(ending_sign(by ? by : alpha.first.boot_key, &ending, made->body), 0);
}

static inline void make_last(struct made *made, const struct signing_key *by)
{
	made->n = RECEIPT_SIZE;
	make_receipt(&alpha.first, by ? by : alpha.first.boot_key, made->body);
}

/* --- storage nodes: alpha's --- */

static inline void prepare_blob(struct made *made)
{
	body_json(made, "{\"items\":[{\"blob\":\"%s\",\"context\":\"page=1\"}]}", alpha.dek.blob);
}

/* --- clouds: a source of events each tenant --- */

#define EVENT_TOPIC "/subscriptions/s-1/vaults/v"
#define EVENT_KEY   "event-key-of-the-first-of-both-tenants"
#define OTHER_KEY   "event-key-of-the-second-of-both-tenants"

static inline void write_source(const char *name, const char *key)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/events/%s", state_dir, name);
	file = fopen(path, "wx");
	assert_non_null(file);
	assert_int_equal(fchmod(fileno(file), 0600), 0);
	fprintf(file, "{\"provider\":\"azure\",\"topic\":\"%s\",\"key\":\"%s\"}", EVENT_TOPIC, key);
	assert_int_equal(fclose(file), 0);
}

static inline void prepare_sources(struct made *made)
{
	write_source("alpha-key", EVENT_KEY);
	write_source("gamma-key", OTHER_KEY);
}

/* Somebody else's comes with the other tenant's key, or with none. */
static inline void make_event(struct made *made, const struct signing_key *by)
{
	time_t now = time(NULL);
	char stamp[32];
	struct tm tm;

	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	body_json(made,
		  "[{\"id\":\"1\",\"topic\":\"%s\",\"subject\":\"k\",\"eventType\":"
		  "\"Microsoft.KeyVault.KeyNewVersionCreated\",\"eventTime\":\"%s\"}]",
		  EVENT_TOPIC, stamp);
	made->header = !by		? "x-emberlock-key: " EVENT_KEY
		       : by == stranger ? NULL
					: "x-emberlock-key: " OTHER_KEY;
}

/* In an order in which each finds what it needs. */
/* clang-format off */
static const struct entry entries[] = {
	{LISTENER_ADMIN, HTTP_GET, "/v1/keys"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/keys/{}", "alpha-key"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/keys", .prepare = prepare_key},
	{LISTENER_ADMIN, HTTP_POST, "/v1/keys/{}/clear", "doomed-key"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/workspaces"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/workspaces/{}", "alpha"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/workspaces", .body = "{\"name\":\"doomed\"}"},
	{LISTENER_ADMIN, HTTP_PUT, "/v1/workspaces/{}/key", "doomed", .body = "{\"key\":\"doomed-key\"}"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/keys/{}/rotate", "doomed-key", .body = "{}"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/keys/{}/rotation", "doomed-key"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/workspaces/{}/keks", "alpha"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/workspaces/{}/keks/rotate", "alpha", .body = "{\"use\":\"data\"}"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/workspaces/{}/keks/retire", "alpha",
	 .body = "{\"use\":\"data\",\"version\":1}"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/workspaces/{}/keks/restore", "alpha",
	 .body = "{\"use\":\"data\",\"version\":1}"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/vms"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/vms", .prepare = prepare_vm},
	{LISTENER_ADMIN, HTTP_POST, "/v1/vms/{}/{}/shred", "doomed", "vm1", .prepare = prepare_shred},
	{LISTENER_ADMIN, HTTP_POST, "/v1/boots/{}/confirm", .prepare = prepare_confirm},
	{LISTENER_ADMIN, HTTP_POST, "/v1/boots/{}/drill", .prepare = prepare_drill},
	{LISTENER_ADMIN, HTTP_GET, "/v1/storage-nodes"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/storage-nodes", .prepare = prepare_node},
	{LISTENER_ADMIN, HTTP_DELETE, "/v1/storage-nodes/{}/{}", "doomed", "node1"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/fleet"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/receipts"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/receipts/{}", .prepare = prepare_receipt},
	{LISTENER_ADMIN, HTTP_GET, "/v1/signing-keys"},
	{LISTENER_ADMIN, HTTP_POST, "/v1/signing-keys/new"},
	{LISTENER_ADMIN, HTTP_PUT, "/v1/signing-keys", .prepare = prepare_set},
	{LISTENER_ADMIN, HTTP_POST, "/v1/store/adopt"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/audit"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/audit/checkpoint"},
	{LISTENER_ADMIN, HTTP_GET, "/v1/metrics"},
	{LISTENER_ADMIN, HTTP_DELETE, "/v1/vms/{}/{}", "doomed", "vm1"},
	{LISTENER_ADMIN, HTTP_DELETE, "/v1/workspaces/{}", "empty", .prepare = prepare_workspace},
	{LISTENER_ADMIN, HTTP_DELETE, "/v1/keys/{}", "loose-key", .prepare = prepare_loose_key},
	{LISTENER_VM, HTTP_POST, "/v1/boot", .make = make_boot},
	{LISTENER_VM, HTTP_POST, "/v1/bound-boot", .make = make_bound_boot},
	{LISTENER_VM, HTTP_POST, "/v1/lease", .make = make_lease},
	{LISTENER_VM, HTTP_POST, "/v1/ending", .make = make_note},
	{LISTENER_VM, HTTP_POST, "/v1/receipt", .make = make_last},
	{LISTENER_VM, HTTP_GET, "/v1/signing-keys", .open = true},
	{LISTENER_VM, HTTP_GET, "/healthz", .open = true},
	{LISTENER_STORAGE, HTTP_POST, "/v1/deks/generate", .body = "{\"use\":\"data\",\"items\":[{}]}"},
	{LISTENER_STORAGE, HTTP_POST, "/v1/deks/unwrap", .prepare = prepare_blob},
	{LISTENER_STORAGE, HTTP_POST, "/v1/deks/rewrap", .prepare = prepare_blob},
	{LISTENER_STORAGE, HTTP_GET, "/v1/deks/watch"},
	{LISTENER_STORAGE, HTTP_GET, "/v1/node"},
	{LISTENER_STORAGE, HTTP_GET, "/healthz", .open = true},
	{LISTENER_EVENTS, HTTP_POST, "/v1/events/{}", "alpha-key", .prepare = prepare_sources, .make = make_event},
	{LISTENER_EVENTS, HTTP_GET, "/healthz", .open = true},
};
/* clang-format on */

static inline const struct http_route *routes_of(enum manager_listener listener, size_t *ret_n)
{
	*ret_n = listener == LISTENER_VM	? vm_routes_n
		 : listener == LISTENER_ADMIN	? admin_routes_n
		 : listener == LISTENER_STORAGE ? storage_routes_n
						: event_routes_n;
	return listener == LISTENER_VM	      ? vm_routes
	       : listener == LISTENER_ADMIN   ? admin_routes
	       : listener == LISTENER_STORAGE ? storage_routes
					      : event_routes;
}

/* The server's row of METHOD PATTERN on LISTENER; NULL where it has none. */
static inline const struct http_route *route_of(enum manager_listener listener,
						enum http_method method, const char *pattern)
{
	const struct http_route *routes;
	size_t n;

	routes = routes_of(listener, &n);
	for (size_t i = 0; i < n; i++)
		if (routes[i].method == method && strcmp(routes[i].pattern, pattern) == 0)
			return &routes[i];
	return NULL;
}

static const char *const method_names[HTTP_METHOD__MAX] = {
	[HTTP_GET] = "GET",
	[HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",
	[HTTP_DELETE] = "DELETE",
};

/* PATTERN with its {} filled in. */
static inline void fill_pattern(const char *pattern, const char *first, const char *second,
				char target[static HTTP_PATH_SIZE])
{
	const char *values[] = {first, second};
	size_t n = 0, value = 0;

	while (*pattern) {
		if (strncmp(pattern, "{}", 2) != 0) {
			target[n++] = *pattern++;
			continue;
		}
		assert_true(value < 2 && values[value] && values[value][0]);
		n += (size_t)snprintf(target + n, HTTP_PATH_SIZE - n, "%s", values[value++]);
		pattern += 2;
	}
	target[n] = '\0';
}

/* Everything of ENTRY's request but who makes it. */
static inline void entry_shot(const struct entry *entry, const struct made *made,
			      char target[static HTTP_PATH_SIZE], struct shot *shot)
{
	fill_pattern(entry->pattern, entry->first ? entry->first : made->first,
		     entry->second ? entry->second : made->second, target);
	*shot = (struct shot){
		.listener = entry->listener,
		.method = method_names[entry->method],
		.target = target,
		.body = entry->body   ? (const void *)entry->body
			: made->n > 0 ? made->body
				      : NULL,
		.n = entry->body ? strlen(entry->body) : made->n,
		.header = made->header,
	};
	/* A request of a method that has a body, with none. */
	if (!shot->body && entry->method != HTTP_GET && entry->method != HTTP_DELETE)
		shot->body = "";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Each identity tries every route of a real manager, and every id of another tenant. What the manager
 * must refuse is tried as a request that would succeed: afterwards whom it belongs to makes the same
 * one, and it does. EMBERLOCK_TESTS_WHOLE=no: of what is tried bit by bit, one in eight. */
#include "../unit/standin.h"
#include "routes.h"

static bool whole(void)
{
	const char *text = getenv("EMBERLOCK_TESTS_WHOLE");

	return !text || strcmp(text, "no") != 0;
}

/* --- routes --- */

static void record_route(enum manager_listener listener, const struct http_route *route)
{
	record(json_pack("{s:s, s:s, s:s, s:b, s:b, s:b}", "listener", listener_name(listener),
			 "method", method_names[route->method], "route", route->pattern, "takes",
			 route->body_max > 0, "key-administrator",
			 (route->roles & ROLE_KEY_ADMINISTRATOR) != 0, "operator",
			 (route->roles & ROLE_OPERATOR) != 0));
}

/* A new route of the server has an entry here, or this fails. */
static void every_route_has_its_entry(void **state)
{
	size_t n_routes = 0;

	for (int l = 0; l < LISTENER__MAX; l++) {
		const struct http_route *routes;
		size_t n;

		routes = routes_of((enum manager_listener)l, &n);
		n_routes += n;
		for (size_t i = 0; i < n; i++)
			record_route((enum manager_listener)l, &routes[i]);
	}
	for (size_t i = 0; i < ELEMENTSOF(entries); i++) {
		if (!route_of(entries[i].listener, entries[i].method, entries[i].pattern))
			print_error("%s %s: the server has no such route\n",
				    method_names[entries[i].method], entries[i].pattern);
		assert_non_null(
			route_of(entries[i].listener, entries[i].method, entries[i].pattern));
		for (size_t k = 0; k < i; k++)
			assert_false(entries[i].listener == entries[k].listener &&
				     entries[i].method == entries[k].method &&
				     strcmp(entries[i].pattern, entries[k].pattern) == 0);
	}
	assert_int_equal(n_routes, ELEMENTSOF(entries));
}

/* How IDENTITY is refused at ROUTE; 0: it is for it. */
static unsigned refusals_at(const struct entry *entry, const struct http_route *route,
			    const struct identity *identity)
{
	bool somebody = identity->certificate[0];

	switch (entry->listener) {
	case LISTENER_ADMIN:
		if (identity->role & route->roles)
			return 0;
		return identity->role & ROLE_ANY_ADMIN ? FORBIDDEN : BY_TLS;
	case LISTENER_STORAGE:
		if (!somebody)
			return BY_TLS;
		return entry->open || identity->role & ROLE_STORAGE_NODE ? 0 : NO_NODE;
	case LISTENER_EVENTS:
		return entry->open ? 0 : FORBIDDEN;
	default:
		return entry->open ? 0 : UNSIGNED;
	}
}

static void try_identities(const struct entry *entry, const struct http_route *route,
			   const struct shot *shot)
{
	for (size_t i = 0; i < n_identities; i++) {
		unsigned refusals = refusals_at(entry, route, &identities[i]);
		struct shot as = *shot;

		as.by = &identities[i];
		if (refusals)
			attempt(&as, refusals, "a route of another role");
	}
}

static void try_signers(const struct entry *entry, const struct http_route *route,
			struct made *made)
{
	const struct signing_key *const signers[] = {
		stranger,	   alpha.second.key, alpha.second.boot_key,
		alpha.removed.key, other.first.key,  other.first.boot_key,
	};
	char target[HTTP_PATH_SIZE];
	struct shot shot;

	for (size_t i = 0; i < ELEMENTSOF(signers); i++) {
		entry->make(made, signers[i]);
		entry_shot(entry, made, target, &shot);
		try_identities(entry, route, &shot);
	}
}

static const struct identity *rightful(const struct http_route *route)
{
	for (size_t i = 0; i < n_identities; i++)
		if (identities[i].role & route->roles)
			return &identities[i];
	return NULL;
}

static void every_identity_at_every_route(void **state)
{
	static struct answer answer;
	static struct made made;

	for (size_t i = 0; i < ELEMENTSOF(entries); i++) {
		const struct entry *entry = &entries[i];
		const struct http_route *route =
			route_of(entry->listener, entry->method, entry->pattern);
		char target[HTTP_PATH_SIZE];
		struct shot shot;

		made = (struct made){0};
		if (entry->prepare)
			entry->prepare(&made);
		if (entry->make) {
			try_signers(entry, route, &made);
			entry->make(&made, NULL);
		}
		entry_shot(entry, &made, target, &shot);
		if (!entry->make)
			try_identities(entry, route, &shot);
		shot.by = rightful(route);
		must_succeed(&shot, &answer);
		assert_false(refusal_of(&answer) & EACH_ITEM);
		if (entry->make == make_boot)
			admit(&alpha.first);
	}
	admit(&held);
	vm_done(&held);
	vm_done(&doomed);
}

/* --- paths --- */

/* With what stands for {} in a pattern. */
static void any_target(const struct http_route *route, char target[static HTTP_PATH_SIZE])
{
	fill_pattern(route->pattern, "alpha", "vm1", target);
}

/* What is no route of a listener is none for anybody there. */
static void routes_of_other_listeners(void **state)
{
	static const int who[] = {KEY_ADMINISTRATOR, OPERATOR, NODE_ALPHA, NOBODY};

	for (int from = 0; from < LISTENER__MAX; from++) {
		const struct http_route *routes;
		size_t n;

		routes = routes_of((enum manager_listener)from, &n);
		for (size_t i = 0; i < n * LISTENER__MAX * ELEMENTSOF(who); i++) {
			const struct http_route *route = &routes[i % n];
			enum manager_listener to = (enum manager_listener)(i / n % LISTENER__MAX);
			const struct identity *by = &identities[who[i / n / LISTENER__MAX]];
			char target[HTTP_PATH_SIZE];
			struct shot shot = {
				.by = by,
				.listener = to,
				.method = method_names[route->method],
				.target = target,
				.body = route->body_max > 0 ? "{}" : NULL,
				.n = 2,
			};
			bool enters = to == LISTENER_VM || to == LISTENER_EVENTS ||
				      (to == LISTENER_ADMIN ? (by->role & ROLE_ANY_ADMIN) != 0
							    : by->certificate[0] != '\0');

			if (route_of(to, route->method, route->pattern))
				continue;
			any_target(route, target);
			attempt(&shot, enters ? NO_PATH | NO_METHOD : BY_TLS,
				"a route of another listener");
		}
	}
}

/* TARGET in the Nth other spelling; false where there are no more. */
static bool spell(const char *target, unsigned n, char text[static HTTP_PATH_SIZE])
{
	static const struct {
		const char *before, *after;
	} around[] = {
		{"", "/"},
		{"", "//"},
		{"/", ""},
		{"/.", ""},
		{"/x/..", ""},
		{"", "/."},
		{"", "/.."},
		{"", "?role=key-administrator"},
		{"", "?"},
		{"", "#"},
		{"", "%00"},
		{"", ";x"},
		{"", "%20"},
		{"", "%2f"},
		{"", "/%2e%2e"},
		{"https://localhost", ""},
		{"//localhost", ""},
		{"", "?x=/../"},
		{"", "\\"},
		{"/healthz/..", ""},
		{"/v1/audit/..", ""},
	};
	const char *second = strchr(target + 1, '/');

	if (n < ELEMENTSOF(around)) {
		snprintf(text, HTTP_PATH_SIZE, "%s%s%s", around[n].before, target, around[n].after);
		return true;
	}
	n -= ELEMENTSOF(around);
	snprintf(text, HTTP_PATH_SIZE, "%s", target);
	if (n == 0) {
		text[1] = text[1] == 'v' ? 'V' : 'H';
		return true;
	}
	if (!second || n > 6)
		return false;
	text[second - target] = '\0';
	switch (n) {
	case 1: /* /v1//keys */
		snprintf(text + strlen(text), 256, "/%s", second);
		return true;
	case 2: /* /v1/./keys */
		snprintf(text + strlen(text), 256, "/.%s", second);
		return true;
	case 3: /* /v1%2fkeys */
		snprintf(text + strlen(text), 256, "%%2f%s", second + 1);
		return true;
	case 4: /* /v1/%6beys */
		snprintf(text + strlen(text), 256, "/%%%02x%s", second[1], second + 2);
		return true;
	case 5: /* /v1\keys */
		snprintf(text + strlen(text), 256, "\\%s", second + 1);
		return true;
	default: /* /v1/x/../keys */
		snprintf(text + strlen(text), 256, "/x/..%s", second);
		return true;
	}
}

static void try_spellings(struct shot *shot, unsigned refusals)
{
	static const char *const methods[] = {"get",   "post",	"HEAD",	  "OPTIONS",
					      "PATCH", "TRACE", "CONNECT"};
	static const char *const headers[] = {
		"X-HTTP-Method-Override: GET",
		"X-Forwarded-For: 127.0.0.1",
		"X-SSL-Client-Verify: SUCCESS",
		"X-SSL-Client-S-DN: CN=key-administrator,OU=key-administrator,O=Emberlock",
		"X-Forwarded-Client-Cert: Subject=\"OU=key-administrator\"",
		"Authorization: Bearer key-administrator",
		"Host: 169.254.169.254",
	};
	const char *target = shot->target, *method = shot->method;
	char text[HTTP_PATH_SIZE];

	for (unsigned n = 0; spell(target, n, text); n++) {
		shot->target = text;
		attempt(shot, refusals, "another spelling");
	}
	shot->target = target;
	for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
		shot->method = methods[i];
		attempt(shot, refusals, "another method");
	}
	shot->method = method;
	for (size_t i = 0; i < ELEMENTSOF(headers); i++) {
		shot->header = headers[i];
		attempt(shot, refusals, "a header that claims more");
	}
	shot->header = NULL;
}

static void other_spellings(void **state)
{
	const unsigned any = NO_PATH | NO_METHOD | BAD_FORM | BY_TLS;

	for (int l = 0; l < LISTENER__MAX; l++) {
		const struct http_route *routes;
		size_t n;

		routes = routes_of((enum manager_listener)l, &n);
		for (size_t i = 0; i < n; i++) {
			char target[HTTP_PATH_SIZE];
			struct shot shot = {
				.method = method_names[routes[i].method],
				.target = target,
				.body = routes[i].body_max > 0 ? "{}" : NULL,
				.n = 2,
			};

			any_target(&routes[i], target);
			if (l == LISTENER_STORAGE && strcmp(target, "/healthz") != 0) {
				shot.listener = LISTENER_STORAGE;
				shot.by = &identities[NODE_REMOVED];
				try_spellings(&shot, any | NO_NODE);
			}
			if (l != LISTENER_ADMIN)
				continue;
			/* These two let everybody in. */
			shot.by = &identities[NOBODY];
			shot.listener = LISTENER_VM;
			if (!route_of(LISTENER_VM, routes[i].method, routes[i].pattern))
				try_spellings(&shot, any);
			shot.listener = LISTENER_EVENTS;
			if (!route_of(LISTENER_EVENTS, routes[i].method, routes[i].pattern))
				try_spellings(&shot, any);
			shot.listener = LISTENER_ADMIN;
			shot.by = &identities[routes[i].roles & ROLE_OPERATOR ? KEY_ADMINISTRATOR
									      : OPERATOR];
			if (!(shot.by->role & routes[i].roles))
				try_spellings(&shot, any | FORBIDDEN);
		}
	}
}

/* --- DEKs --- */

/* The fields of a blob: id, version, salt, use, wrapped KEK, sealed DEK. */
static size_t mix_blobs(const char *ours, const char *theirs, unsigned which, char *text)
{
	static const size_t starts[] = {8, 24, 32, 64, 96};
	size_t n = strlen(ours), sealed = n / 2 - DEK_SIZE - AEAD_TAG_SIZE;
	const size_t ends[] = {24, 28, 64, 96, sealed};

	assert_int_equal(strlen(theirs), n);
	memcpy(text, ours, n + 1);
	for (size_t i = 0; i < ELEMENTSOF(starts); i++)
		if (which & 1u << i)
			memcpy(text + 2 * starts[i], theirs + 2 * starts[i],
			       2 * (ends[i] - starts[i]));
	if (which & 1u << ELEMENTSOF(starts))
		memcpy(text + 2 * sealed, theirs + 2 * sealed, n - 2 * sealed);
	return n;
}

static void try_blob(const struct identity *by, const char *blob, const char *context,
		     const char *what)
{
	static const char *const targets[] = {"/v1/deks/unwrap", "/v1/deks/rewrap"};

	for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
		json_t *object = one_blob(blob, context);
		char *body = json_dumps(object, JSON_COMPACT);
		struct shot shot = {
			.by = by,
			.listener = LISTENER_STORAGE,
			.method = "POST",
			.target = targets[i],
			.body = body,
			.n = strlen(body),
		};

		attempt(&shot, EACH_ITEM, what);
		free(body);
		json_decref(object);
	}
}

static void deks_of_another(void **state)
{
	static const char *const contexts[] = {"page=1", "page=2", NULL, "alpha", "gamma"};
	const struct identity *thief = &identities[NODE_GAMMA];
	struct node node = node_of(NODE_ALPHA), own = node_of(NODE_GAMMA);
	char mixed[2 * DEK_BLOB_MAX + 1];
	struct dek dek;

	for (size_t i = 0; i < ELEMENTSOF(contexts); i++)
		try_blob(thief, alpha.dek.blob, contexts[i], "a blob of another workspace");
	try_blob(thief, alpha.other_dek.blob, "page=2", "a blob of another workspace");
	for (unsigned which = 1; which < 1u << 6; which++) {
		mix_blobs(other.dek.blob, alpha.dek.blob, which, mixed);
		if (strcmp(mixed, other.dek.blob) == 0)
			continue;
		try_blob(thief, mixed, "page=1", "a blob with parts of another workspace's");
	}
	/* Among its own, a blob of another use. */
	for (unsigned which = 1; which < 1u << 6; which++) {
		mix_blobs(other.dek.blob, other.other_dek.blob, which, mixed);
		if (strcmp(mixed, other.dek.blob) == 0 || strcmp(mixed, other.other_dek.blob) == 0)
			continue;
		try_blob(thief, mixed, "page=1", "a blob with parts of another use");
	}
	try_blob(thief, other.dek.blob, "page=2", "a blob of another context");
	dek = unwrap(&node, alpha.dek.blob, "page=1");
	assert_string_equal(dek.text, alpha.dek.text);
	dek = unwrap(&own, other.dek.blob, "page=1");
	assert_string_equal(dek.text, other.dek.text);
	assert_string_not_equal(alpha.dek.text, other.dek.text);
}

/* Who a node is, its key says alone. */
static void nodes_that_name_another(void **state)
{
	static const char *const bodies[] = {
		"{\"workspace\":\"alpha\",\"use\":\"data\",\"items\":[{}]}",
		"{\"use\":\"data\",\"items\":[{\"workspace\":\"alpha\"}]}",
		"{\"use\":\"data\",\"items\":[{}],\"node\":\"node-alpha\"}",
		"{\"use\":\"alpha/data\",\"items\":[{}]}",
		"{\"use\":\"../data\",\"items\":[{}]}",
	};

	for (size_t i = 0; i < ELEMENTSOF(bodies); i++) {
		struct shot shot = {
			.by = &identities[NODE_GAMMA],
			.listener = LISTENER_STORAGE,
			.method = "POST",
			.target = "/v1/deks/generate",
			.body = bodies[i],
			.n = strlen(bodies[i]),
		};

		attempt(&shot, BAD_FORM, "a node that names another workspace");
	}
}

/* --- tokens --- */

/* The machine of VM's boot, as its agent has started it. */
static struct lease machine_of(const struct vm *vm)
{
	const struct lease_limits limits = {.max_ttl_ms = UINT32_MAX};
	const struct lease_event start = {.type = LEASE_EVENT_START,
					  .challenge = vm->token.challenge};
	struct lease lease;

	lease_init(&lease, &limits, vm->admission);
	lease_step(&lease, &start, NSEC_PER_SEC);
	return lease;
}

static unsigned show(struct lease *lease, const struct token *token)
{
	static const uint8_t next[CHALLENGE_SIZE] = {1};
	const struct lease_event event = {
		.type = LEASE_EVENT_TOKEN, .token = token, .challenge = next};

	return lease_step(lease, &event, 2 * NSEC_PER_SEC);
}

static void try_token(const struct vm *vm, const struct token *token, const char *what)
{
	struct lease lease = machine_of(vm);
	unsigned actions = show(&lease, token);

	attempted(lease.state == LEASE_STARTING && actions & LEASE_ACTION_REJECT &&
			  !(actions & (LEASE_ACTION_ADMIT | LEASE_ACTION_SHRED)),
		  "%s, at %s/%s", what, vm->workspace, vm->name);
}

static struct vm *const boots[] = {&alpha.first, &alpha.second, &other.first, &other.second};

static void tokens_of_another(void **state)
{
	for (size_t i = 0; i < ELEMENTSOF(boots); i++) {
		struct lease lease = machine_of(boots[i]);

		for (size_t k = 0; k < ELEMENTSOF(boots); k++)
			if (k != i)
				try_token(boots[i], &boots[k]->token, "a token of another boot");
		assert_true(show(&lease, &boots[i]->token) & LEASE_ACTION_ADMIT);
		attempted(show(&lease, &boots[i]->token) & LEASE_ACTION_REJECT,
			  "a token a second time, at %s/%s", boots[i]->workspace, boots[i]->name);
	}
}

static void try_bytes(const uint8_t bytes[static TOKEN_SIZE], const char *what)
{
	struct token token;

	attempted(token_verify(bytes, TOKEN_SIZE, &trusted, &token) < 0, "%s", what);
}

static void tokens_that_were_changed(void **state)
{
	const struct vm *vm = &alpha.first, *thief = &other.first;
	struct token token = vm->token;
	uint8_t bytes[TOKEN_SIZE];

	for (unsigned bit = 0; bit < 8 * TOKEN_SIZE; bit += whole() ? 1 : 8) {
		memcpy(bytes, vm->token_bytes, TOKEN_SIZE);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit / 8 + bit) % 8);
		try_bytes(bytes, "a token with a bit changed");
	}
	memcpy(token.admission, thief->admission, HASH_SIZE);
	memcpy(token.challenge, thief->token.challenge, CHALLENGE_SIZE);
	token_encode(&token, bytes);
	try_bytes(bytes, "a token made out to another boot");
	/* As somebody without a key of the set signs it: a key id can be said by anyone. */
	assert_int_equal(token_sign(stranger, &token, bytes), 0);
	try_bytes(bytes, "a token signed by a stranger");
	assert_int_equal(token_sign(thief->boot_key, &token, bytes), 0);
	try_bytes(bytes, "a token signed by a VM");
	token = vm->token;
	memcpy(bytes + TOKEN_SIZE - SIGNATURE_SIZE, vm->token_bytes + TOKEN_SIZE - SIGNATURE_SIZE,
	       SIGNATURE_SIZE);
	try_bytes(bytes, "a token under another's signature");
	assert_int_equal(token_verify(vm->token_bytes, TOKEN_SIZE, &trusted, &token), 0);
}

/* --- ids of boots --- */

static void try_record(const char *target, const void *body, size_t n, unsigned refusals,
		       const char *what)
{
	const struct shot shot = {
		.listener = LISTENER_VM, .method = "POST", .target = target, .body = body, .n = n};

	attempt(&shot, refusals, what);
}

/* The report of alpha's VM is genuine, the request with it somebody else's. */
static void try_borrowed_report(const struct signing_key *by)
{
	uint8_t body[BOOT_BODY_SIZE];

	memcpy(body, alpha.first.report, BOOT_REPORT_SIZE);
	sign_request(&alpha.first, by, body + BOOT_REPORT_SIZE);
	try_record("/v1/boot", body, sizeof(body), UNSIGNED, "a report of another, replayed");
}

static void boots_of_another(void **state)
{
	static struct answer answer;
	uint8_t body[BOOT_BODY_SIZE], stale[LEASE_REQUEST_SIZE];
	struct boot_report report;
	struct vm thief = {.workspace = "gamma", .name = "vm1", .key = other.first.key};

	try_borrowed_report(other.first.boot_key);
	try_borrowed_report(alpha.second.boot_key);
	try_borrowed_report(other.first.key);
	/* A boot id of another tenant's is used already, whoever asks. */
	vm_boot(&thief);
	assert_int_equal(boot_report_decode(thief.report, BOOT_REPORT_SIZE, &report), 0);
	memcpy(report.boot_id, alpha.first.boot_id, BOOT_ID_SIZE);
	assert_int_equal(boot_report_sign(thief.key, thief.boot_key, &report, thief.report), 0);
	assert_int_equal(sha256(thief.report, BOOT_REPORT_SIZE, thief.admission), 0);
	memcpy(body, thief.report, BOOT_REPORT_SIZE);
	vm_request(&thief, body + BOOT_REPORT_SIZE);
	try_record("/v1/boot", body, sizeof(body), BOOT_TAKEN, "a boot id of another");
	vm_request(&thief, stale);
	try_record("/v1/lease", stale, sizeof(stale), NO_BOOT, "a boot that was not admitted");
	thief.boot_key = signing_key_free(thief.boot_key);
	/* A request that was made before, again. */
	vm_request(&alpha.first, stale);
	vm_renew(&alpha.first);
	vm_renew(&alpha.first);
	try_record("/v1/lease", stale, sizeof(stale), OLDER, "an old request, replayed");
	/* A tenant that has its own workspace stopped by a sequence of its invention stops no other. */
	thief = other.first;
	thief.highest.epoch++;
	vm_post_lease(&thief, &answer);
	attempted(answer.status == 503, "a token that nobody issued was believed");
	vm_renew(&alpha.first);
	key_admin("POST", "/v1/store/adopt", NULL, 204);
	/* And whose they are goes on. */
	vm_renew(&alpha.first);
	vm_renew(&other.first);
}

/* Whoever signs for no VM learns from the refusal nothing about which there are. */
static void names_of_vms(void **state)
{
	static const struct {
		const char *workspace, *name;
	} names[] = {
		{"alpha", "vm1"},   {"alpha", "vm3"}, {"alpha", "none"},
		{"nowhere", "vm1"}, {"gamma", "vm2"},
	};
	static struct answer first, answer;

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		struct vm thief = {
			.workspace = names[i].workspace, .name = names[i].name, .key = stranger};

		vm_boot(&thief);
		vm_post_boot(&thief, i == 0 ? &first : &answer);
		attempted(i == 0 || (answer.status == first.status && answer.size == first.size &&
				     memcmp(answer.body, first.body, first.size) == 0),
			  "%s/%s is told apart", names[i].workspace, names[i].name);
		signing_key_free(thief.boot_key);
	}
	assert_int_equal(refusal_of(&first), UNSIGNED);
}

/* --- credentials that are copied, taken away, over --- */

static void credentials_of_a_removed_vm(void **state)
{
	static struct answer answer;
	struct vm vm, again;
	uint8_t body[BOOT_BODY_SIZE];

	vm_enrol(&vm, "alpha", "vm4");
	admit(&vm);
	operate("DELETE", "/v1/vms/alpha/vm4", 204);
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REMOVED);
	attempts.made++;
	vm_boot(&vm);
	memcpy(body, vm.report, BOOT_REPORT_SIZE);
	vm_request(&vm, body + BOOT_REPORT_SIZE);
	try_record("/v1/boot", body, sizeof(body), VM_REMOVED, "a VM that was removed");
	vm_enrol(&again, "alpha", "vm4");
	try_record("/v1/boot", body, sizeof(body), UNSIGNED, "the key from before the removal");
	admit(&again);
	vm_done(&vm);
	vm_done(&again);
}

/* The key of a VM can open a boot, and do nothing to one that is open. */
static void credentials_of_a_vm_copied(void **state)
{
	const struct vm *vm = &other.first;
	uint8_t request[LEASE_REQUEST_SIZE], receipt[RECEIPT_SIZE], note[ENDING_SIZE];
	struct ending ending = {.verb = END_REBOOT, .bound_ms = 1000, .began_ns = 1};

	sign_request(vm, vm->key, request);
	try_record("/v1/lease", request, sizeof(request), UNSIGNED, "a lease by the VM's key");
	make_receipt(vm, vm->key, receipt);
	try_record("/v1/receipt", receipt, sizeof(receipt), UNSIGNED, "a receipt by the VM's key");
	memcpy(ending.admission, vm->admission, HASH_SIZE);
	assert_int_equal(ending_sign(vm->key, &ending, note), 0);
	try_record("/v1/ending", note, sizeof(note), UNSIGNED, "a note by the VM's key");
	vm_renew(&other.first);
}

/* Two that hold one boot: the second to ask ends it for both. */
static void a_boot_copied(void **state)
{
	static struct answer answer;
	struct vm vm, copy;

	vm_enrol(&vm, "gamma", "vm5");
	admit(&vm);
	copy = vm;
	vm_renew(&vm);
	copy.number = vm.number - 1;
	new_challenge(&copy);
	copy.number = vm.number - 1;
	vm_post_lease(&copy, &answer);
	vm_take(&copy, &answer, VERDICT_SHRED, REASON_CLONE);
	attempts.made++;
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_CLONE);
	vm_done(&vm);
}

/* Again over the connection that is there. */
static void fire_again(CURL *curl, struct answer *answer)
{
	long connects = -1;

	answer->size = 0;
	answer->status = 0;
	answer->error = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
	assert_int_equal(connects, 0);
}

static CURL *fire_first(const struct shot *shot, struct answer *answer)
{
	CURL *curl = shot_handle(shot, answer);

	answer->size = 0;
	answer->status = 0;
	answer->error = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	return curl;
}

static void a_node_removed_while_connected(void **state)
{
	static struct answer answer;
	struct identity identity = {.name = "a node that is being removed"};
	struct shot shot = {.by = &identity,
			    .listener = LISTENER_STORAGE,
			    .method = "GET",
			    .target = "/v1/node"};
	char hex[2 * HASH_SIZE + 1], body[512];
	struct node node;
	CURL *curl;

	node_make(&node, "alpha", "node-leaving", hex);
	node_announce(&node, hex);
	memcpy(identity.certificate, node.certificate, sizeof(node.certificate));
	memcpy(identity.key, node.key, sizeof(node.key));
	curl = fire_first(&shot, &answer);
	assert_int_equal(answer.status, 200);
	fire_again(curl, &answer);
	assert_int_equal(answer.status, 200);
	operate("DELETE", "/v1/storage-nodes/alpha/node-leaving", 204);
	fire_again(curl, &answer);
	judge(&shot, &answer, NO_NODE, "a connection from before the removal");
	curl_easy_cleanup(curl);
	attempt(&shot, NO_NODE, "a node that was removed");
	/* Nor does its key, which others may have seen, become another tenant's. */
	snprintf(body, sizeof(body),
		 "{\"workspace\":\"gamma\",\"node\":\"node-leaving\",\"public_key\":\"%s\"}", hex);
	shot = (struct shot){
		.by = &identities[KEY_ADMINISTRATOR],
		.listener = LISTENER_ADMIN,
		.method = "POST",
		.target = "/v1/storage-nodes",
		.body = body,
		.n = strlen(body),
	};
	attempt(&shot, THERE_ALREADY, "a node's key for another workspace");
}

/* True once it was seen to be good for a while and then, over the same connection, no more. */
static bool expires_while_connected(int64_t seconds)
{
	static struct answer answer;
	const struct pki_subject subject = {
		.kind = PKI_CLIENT, .common_name = "operator", .unit = "operator"};
	struct authority authority = authority_load("admin-ca.pem", "admin-ca.key");
	int64_t ends = (int64_t)clock_realtime_s() + seconds;
	struct shot shot = {
		.listener = LISTENER_ADMIN,
		.method = "GET",
		.target = "/v1/keys",
		.by = identity_make("an operator whose time ends", &subject, &authority,
				    ends - pki_lifetime_s(PKI_CLIENT), NULL),
	};
	bool in_time;
	CURL *curl;

	n_identities--;
	authority_done(&authority);
	curl = fire_first(&shot, &answer);
	in_time = answer.status == 200;
	while ((int64_t)clock_realtime_s() <= ends)
		pause_ms(100);
	if (in_time) {
		fire_again(curl, &answer);
		judge(&shot, &answer, FORBIDDEN, "a connection older than its certificate");
		attempt(&shot, BY_TLS, "a certificate whose time is over");
	}
	curl_easy_cleanup(curl);
	return in_time;
}

static void an_administrator_expires_while_connected(void **state)
{
	int64_t seconds = 2;

	while (!expires_while_connected(seconds))
		seconds *= 2;
}

/* --- what one tenant is shown --- */

static struct receipt_bundle bundle_of(const struct vm *vm)
{
	static struct answer answer;
	char hex[2 * HASH_SIZE + 1], target[128], error[256] = "";
	struct receipt_bundle bundle;
	struct shot shot = {.by = &identities[OPERATOR],
			    .listener = LISTENER_ADMIN,
			    .method = "GET",
			    .target = target};

	hex_encode(vm->admission, HASH_SIZE, hex);
	snprintf(target, sizeof(target), "/v1/receipts/%s", hex);
	must_succeed(&shot, &answer);
	if (receipt_bundle_read((char *)answer.body, answer.size, &bundle, error) < 0)
		fail_msg("%s", error);
	return bundle;
}

static int verify_bundle(const struct receipt_bundle *bundle)
{
	static struct receipt_proof proof;
	uint8_t root_public[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *root = NULL;
	char error[256];

	read_root(&root);
	signing_key_public(root, root_public);
	return receipt_bundle_verify(bundle, root_public, &proof, error);
}

static void receipts_of_another(void **state)
{
	static const struct {
		const char *name;
		size_t at, size;
	} parts[] = {
		{"report", offsetof(struct receipt_bundle, report), BOOT_REPORT_SIZE},
		{"vm_key", offsetof(struct receipt_bundle, vm_key), PUBLIC_KEY_SIZE},
		{"token", offsetof(struct receipt_bundle, token), TOKEN_SIZE},
		{"lease", offsetof(struct receipt_bundle, lease), TOKEN_SIZE},
		{"verdict", offsetof(struct receipt_bundle, verdict), TOKEN_SIZE},
		{"receipts", offsetof(struct receipt_bundle, receipts), RECEIPT_SIZE},
	};
	static struct receipt_bundle own, theirs, mixed;
	struct token verdict;

	end_second(&alpha);
	end_second(&other);
	own = bundle_of(&alpha.second);
	theirs = bundle_of(&other.second);
	assert_int_equal(verify_bundle(&own), 0);
	assert_int_equal(verify_bundle(&theirs), 0);
	for (unsigned which = 1; which < (1u << ELEMENTSOF(parts)) - 1; which++) {
		mixed = own;
		for (size_t i = 0; i < ELEMENTSOF(parts); i++)
			if (which & 1u << i)
				memcpy((uint8_t *)&mixed + parts[i].at,
				       (uint8_t *)&theirs + parts[i].at, parts[i].size);
		attempted(verify_bundle(&mixed) < 0, "a receipt with parts %x of another's", which);
	}
	assert_int_equal(token_verify(own.verdict, TOKEN_SIZE, &trusted, &verdict), 0);
	for (size_t i = 0; i < ELEMENTSOF(boots); i++)
		if (boots[i] != &alpha.second)
			try_token(boots[i], &verdict, "a verdict on another boot");
}

static bool holds(const struct answer *answer, const char *text)
{
	return memmem(answer->body, answer->size, text, strlen(text)) != NULL;
}

static void pages_of_one_tenant(void **state)
{
	static const char *const pages[] = {"/v1/vms?workspace=", "/v1/fleet?workspace=",
					    "/v1/receipts?workspace=", "/v1/audit?workspace="};
	const struct tenant *tenants[] = {&alpha, &other};
	static struct answer answer;

	for (size_t i = 0; i < 2 * ELEMENTSOF(pages) * 2; i++) {
		const struct tenant *whose = tenants[i % 2], *not = tenants[1 - i % 2];
		char target[64], key[2 * PUBLIC_KEY_SIZE + 1], admission[2 * HASH_SIZE + 1];
		uint8_t public_key[PUBLIC_KEY_SIZE];
		struct shot shot = {.by = &identities[i / 2 % 2],
				    .listener = LISTENER_ADMIN,
				    .method = "GET",
				    .target = target};

		snprintf(target, sizeof(target), "%s%s", pages[i / 4], whose->workspace);
		must_succeed(&shot, &answer);
		signing_key_public(not ->first.key, public_key);
		hex_encode(public_key, sizeof(public_key), key);
		hex_encode(not ->second.admission, HASH_SIZE, admission);
		assert_true(holds(&answer, whose->workspace));
		attempted(!holds(&answer, not ->workspace) && !holds(&answer, key) &&
				  !holds(&answer, admission),
			  "%s shows what is of %s", target, not ->workspace);
	}
}

/* --- the manager's identity at the KMS --- */

static void try_body(const char *method, const char *target, const char *body, unsigned refusals,
		     const char *what)
{
	const struct shot shot = {
		.by = &identities[KEY_ADMINISTRATOR],
		.listener = LISTENER_ADMIN,
		.method = method,
		.target = target,
		.body = body,
		.n = strlen(body),
	};

	attempt(&shot, refusals, what);
}

static void assert_bound(const char *workspace, const char *key)
{
	char path[64];
	json_t *row;

	snprintf(path, sizeof(path), "/v1/workspaces/%s", workspace);
	row = admin("operator", "GET", path, NULL, 200);
	assert_string_equal(json_string_value(json_object_get(row, "key")), key);
	json_decref(row);
}

/* A tenant names the CMK of another as its own. */
static void a_cmk_of_another(void **state)
{
	static const char *const spelled[] = {"%s/", "/%s", "%s/.", "%s/../kms", "%s//", "./%s"};
	char body[512], directory[128];

	snprintf(body, sizeof(body),
		 "{\"name\":\"thief\",\"file_key_info\":{\"key_id\":\"alpha-key\","
		 "\"directory\":\"%s\"}" POLL "}",
		 key_dir);
	key_admin("POST", "/v1/keys", body, 204);
	key_admin("POST", "/v1/workspaces", "{\"name\":\"thief\"}", 204);
	try_body("PUT", "/v1/workspaces/thief/key", "{\"key\":\"thief\"}", IN_USE,
		 "the CMK of another, by a new workspace");
	try_body("PUT", "/v1/workspaces/gamma/key", "{\"key\":\"thief\"}", IN_USE,
		 "the CMK of another, by a workspace with its own");
	assert_bound("thief", "");
	assert_bound("gamma", "gamma-key");
	for (size_t i = 0; i < ELEMENTSOF(spelled); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(directory, sizeof(directory), spelled[i], key_dir);
#pragma GCC diagnostic pop
		snprintf(body, sizeof(body),
			 "{\"name\":\"again\",\"file_key_info\":{\"key_id\":\"alpha-key\","
			 "\"directory\":\"%s\"}" POLL "}",
			 directory);
		try_body("POST", "/v1/keys", body, NOT_VALID, "the CMK of another, spelled anew");
	}
	/* Who is under a CMK goes on with it by another key configuration, and others follow. */
	key_admin("POST", "/v1/workspaces", "{\"name\":\"alpha-two\"}", 204);
	key_admin("PUT", "/v1/workspaces/alpha-two/key", "{\"key\":\"alpha-key\"}", 204);
	key_admin("PUT", "/v1/workspaces/alpha/key", "{\"key\":\"thief\"}", 204);
	key_admin("PUT", "/v1/workspaces/alpha-two/key", "{\"key\":\"thief\"}", 204);
	key_admin("PUT", "/v1/workspaces/alpha/key", "{\"key\":\"alpha-key\"}", 204);
	key_admin("PUT", "/v1/workspaces/alpha-two/key", "{\"key\":\"alpha-key\"}", 204);
	key_admin("DELETE", "/v1/keys/thief", NULL, 204);
	vm_renew(&alpha.first);
}

#define AWS_KEY	   "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e"
#define AWS_ROLE   "\"role_arn\":\"arn:aws:iam::111122223333:role/customer\""
#define GOOGLE_KEY "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"

#define AWS(more) "\"aws_key_info\":{\"key_arn\":\"" AWS_KEY "\"" more "},\"credentials\":"
#define AZURE(more)                                                                                \
	"\"azure_key_info\":{\"key_vault_uri\":\"https://emberlock.vault.azure.net\","             \
	"\"key_name\":\"k\"" more "},\"credentials\":"
#define GOOGLE(more) "\"gcp_key_info\":{\"kms_key_id\":\"" GOOGLE_KEY "\"" more "},\"credentials\":"

/* The manager's own credentials are good for the customer's CMK: it is the deputy. */
static const struct cloud {
	const char *name, *rightful;
	/* What a tenant may say of itself, and how it is refused: when the configuration is made (0: it
	 * is made), or when a workspace is bound. */
	struct {
		const char *settings;
		unsigned at_creation;
	} claims[9];
} clouds[] = {
	{"aws",
	 AWS("," AWS_ROLE ",\"external_id\":\"tenant-4711\"") "\"aws-static\"",
	 {
		 {AWS("," AWS_ROLE ",\"external_id\":\"tenant-4711\"") "\"aws-static\"", 0},
		 {AWS("," AWS_ROLE ",\"external_id\":\"tenant-4712\"") "\"aws-static\"",
		  REFUSED_BY_KMS},
		 {AWS("," AWS_ROLE) "\"aws-static\"", NOT_VALID},
		 {AWS(",\"external_id\":\"tenant-4711\"") "\"aws-static\"", NOT_VALID},
		 {AWS(",\"role_arn\":\"arn:aws:iam::111122223333:role/other\","
		      "\"external_id\":\"tenant-4711\"") "\"aws-static\"",
		  REFUSED_BY_KMS},
		 {AWS("") "\"aws-static\"", 0},
		 {AWS(",\"key_alias\":\"alias/mine\"") "\"aws-static\"", 0},
		 {AWS("") "\"../credentials/aws-static\"", BAD_FORM},
		 {AWS("") "\"azure-secret\"", REFUSED_BY_KMS | NOT_NOW},
	 }},
	{"azure",
	 AZURE("") "\"azure-secret\"",
	 {
		 {AZURE("") "\"azure-secret\"", 0},
		 {AZURE("") "\"azure-assertion\"", 0},
		 {AZURE(",\"tenant_id\":\"tenant-1\"") "\"azure-secret\"", 0},
		 {AZURE(",\"tenant_id\":\"tenant-2\"") "\"azure-secret\"",
		  REFUSED_BY_KMS | NOT_NOW},
		 {AZURE(",\"tenant_id\":\"../tenant-1\"") "\"azure-secret\"", BAD_FORM},
		 {AZURE("," AWS_ROLE) "\"azure-secret\"", BAD_FORM},
		 {"\"azure_key_info\":{\"key_vault_uri\":\"https://emberlock.vault.azure.net//\","
		  "\"key_name\":\"k\"},\"credentials\":\"azure-secret\"",
		  NOT_VALID},
		 {AZURE("") "\"azure-secret\"," GOOGLE("") "\"google-account\"", BAD_FORM},
	 }},
	{"google",
	 GOOGLE("") "\"google-account\"",
	 {
		 {GOOGLE("") "\"google-account\"", 0},
		 {GOOGLE("") "\"google-metadata\"", 0},
		 {GOOGLE(",\"tenant_id\":\"tenant-1\"") "\"google-account\"", BAD_FORM},
	 }},
};

static void cloud_key(const char *name, const char *settings, char body[static 1024])
{
	snprintf(body, 1024, "{\"name\":\"%s\",%s" POLL "}", name, settings);
}

static void try_claims(const struct cloud *cloud)
{
	char body[1024], name[32], key[64];

	for (size_t i = 0; i < ELEMENTSOF(cloud->claims) && cloud->claims[i].settings; i++) {
		snprintf(name, sizeof(name), "claim-%s-%zu", cloud->name, i);
		cloud_key(name, cloud->claims[i].settings, body);
		if (cloud->claims[i].at_creation) {
			try_body("POST", "/v1/keys", body, cloud->claims[i].at_creation,
				 "a claim to another's CMK");
			continue;
		}
		key_admin("POST", "/v1/keys", body, 204);
		snprintf(key, sizeof(key), "{\"key\":\"%s\"}", name);
		try_body("PUT", "/v1/workspaces/gamma/key", key, IN_USE,
			 "a claim to another's CMK");
	}
	assert_bound("gamma", "gamma-key");
}

static void the_deputy_in_the_clouds(void **state)
{
	char from[128], to[128], body[1024], path[64];

	unsetenv("HTTPS_PROXY");
	unsetenv("https_proxy");
	snprintf(from, sizeof(from), "%s/clouds", top);
	assert_int_equal(mkdir(from, 0700), 0);
	assert_int_equal(standin_start(from), 0);
	snprintf(from, sizeof(from), "%s/clouds/credentials", top);
	snprintf(to, sizeof(to), "%s/credentials", state_dir);
	assert_int_equal(rmdir(to), 0);
	assert_int_equal(rename(from, to), 0);
	for (size_t i = 0; i < ELEMENTSOF(clouds); i++) {
		const char *name = clouds[i].name;

		cloud_key(name, clouds[i].rightful, body);
		key_admin("POST", "/v1/keys", body, 204);
		make_workspace(name, name);
		try_claims(&clouds[i]);
		/* The workspace of the rightful one is under it all the while, and stays. */
		snprintf(path, sizeof(path), "/v1/keys/%s/clear", name);
		key_admin("POST", path, "", 204);
		assert_bound(name, name);
	}
	standin_stop();
}

static unsigned long in_all, in_vain;

/* *STATE is the attack. None of its attempts may have succeeded, nor ended so that nothing is known. */
static void carry_out(void **state)
{
	void (*attack)(void **state) = *(void (**)(void **)) * state;

	attempts.made = attempts.succeeded = attempts.unproven = 0;
	attack(state);
	in_all += attempts.made;
	in_vain += attempts.made - attempts.succeeded - attempts.unproven;
	assert_int_equal(attempts.succeeded, 0);
	assert_int_equal(attempts.unproven, 0);
}

/* The last takes the world apart. */
#define ATTACK(name)                                                                               \
	{                                                                                          \
#name, name                                                                        \
	}
static struct {
	const char *name;
	void (*attack)(void **state);
} attacks[] = {
	ATTACK(every_route_has_its_entry),
	ATTACK(routes_of_other_listeners),
	ATTACK(other_spellings),
	ATTACK(deks_of_another),
	ATTACK(nodes_that_name_another),
	ATTACK(tokens_of_another),
	ATTACK(tokens_that_were_changed),
	ATTACK(boots_of_another),
	ATTACK(names_of_vms),
	ATTACK(credentials_of_a_removed_vm),
	ATTACK(credentials_of_a_vm_copied),
	ATTACK(a_boot_copied),
	ATTACK(a_node_removed_while_connected),
	ATTACK(an_administrator_expires_while_connected),
	ATTACK(receipts_of_another),
	ATTACK(pages_of_one_tenant),
	ATTACK(a_cmk_of_another),
	ATTACK(the_deputy_in_the_clouds),
	ATTACK(every_identity_at_every_route),
};

static int run(void)
{
	struct CMUnitTest tests[ELEMENTSOF(attacks)];
	int failed;

	for (size_t i = 0; i < ELEMENTSOF(attacks); i++)
		tests[i] = (struct CMUnitTest){.name = attacks[i].name,
					       .test_func = carry_out,
					       .initial_state = &attacks[i].attack};
	failed = cmocka_run_group_tests(tests, make_world, end_world);
	printf("# %lu attempts, %lu succeeded or are in doubt\n", in_all, in_all - in_vain);
	return failed;
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, run);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Walks lease_step() and engine_decide() together: one VM, one manager, a network that loses,
 * doubles, delays and reorders.
 *
 *	lease_step() ─▶ requests ─▶ engine_decide(), engine_granted() ─▶ tokens ─▶ lease_step()
 *
 * Two walks, of the code itself:
 * - all orders of events up to a depth: delivery of any message on its way, which may stay there as a
 *   copy; time; probes, revocation, a change of policy, a restart of the manager, of its machine, a
 *   pause of the VM, an agent killed between telling the keeper and saving. The VM's clock is the
 *   slower one by the 1 % that the fence allows. Nodes are the same where no rule can tell them apart.
 * - all ways through a time in which nothing fails, under every configuration at the edges of what
 *   store_key_check() lets through, with delays at theirs: no lease may end. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/lease.h"
#include "core/shred.h"
#include "manager/lease_engine.h"
#include "shred/twin.h"

#define MS UINT64_C(1000000)
/* What the keeper may need from the deadline on, with a primary that stands still: its twin's grace,
 * the time it leaves the primary, step 1. */
#define SHRED_MS ((TWIN_GRACE_NS + SHRED_TWIN_NS + SHRED_KEYS_BUDGET_NS) / MS)

#define DEPTH	      10
#define PASSING_MS    4040 /* of the manager; the VM counts 4000: both whole */
#define VM_PASSING_MS 4000
#define REQUESTS_MAX  2
#define TOKENS_MAX    2

struct wire_request {
	bool used, admitting;
	uint64_t arrived_ms;
	struct lease_request request;
};

struct wire_token {
	bool used;
	struct token token;
};

struct node {
	struct lease lease;
	uint64_t end_ns; /* the keeper's, LEASE_NEVER where it has none */
	uint64_t vm_ns;
	struct engine_time now;
	struct store_boot boot;
	struct sequence last;
	uint64_t evidence_ms, revoked_ms;
	enum expiry expiry; /* the policy's */
	/* What is known from outside: until when evidence carried any lease; what happened. */
	uint64_t carried_ms;
	bool paused, warned;
	struct wire_request requests[REQUESTS_MAX];
	struct wire_token tokens[TOKENS_MAX];
};

static const uint8_t admission[HASH_SIZE] = "ours";
static unsigned long n_granted, n_accepted, n_steps;
static unsigned seen_actions, seen_reasons;
static const char *last_event = "nothing";

static void broken(const struct node *node, const char *rule)
{
	fprintf(stderr,
		"broken: %s, after %s\nVM at %" PRIu64 " ms: %s, deadline %" PRIu64
		" ms, keeper's %" PRIu64 " ms, challenge %" PRIu64 ", reason %s\n"
		"manager at %" PRIu64 " ms: state %d, fence %" PRIu64 " ms, evidence %" PRIu64
		" ms carried to %" PRIu64 " ms, unbounded %d\n",
		rule, last_event, node->vm_ns / MS, lease_state_name(node->lease.state),
		node->lease.deadline_ns / MS, node->end_ns / MS, node->lease.number,
		reason_name(node->lease.reason), node->now.boot_ms, node->boot.state,
		node->boot.fence_boot_ms, node->evidence_ms, node->carried_ms,
		node->boot.unbounded);
	exit(EXIT_FAILURE);
}

/* The manager's time when the VM's clock shows END_NS: it is the slower one, 100 to 101. */
static uint64_t managers_time(const struct node *node, uint64_t end_ns)
{
	if (end_ns <= node->vm_ns)
		return node->now.boot_ms;
	return node->now.boot_ms + (end_ns - node->vm_ns + 100 * MS - 1) / (100 * MS) * 101;
}

/* What must hold wherever both are. */
static void check(const struct node *node)
{
	const struct store_boot *boot = &node->boot;
	uint64_t end_ms = managers_time(node, node->end_ns);

	if (node->end_ns != LEASE_NEVER && node->end_ns > node->vm_ns && !boot->unbounded &&
	    !node->paused) {
		if (!boot->was_admitted)
			broken(node, "a deadline, and the manager admitted nobody");
		if (end_ms + SHRED_MS > boot->fence_boot_ms)
			broken(node, "keys outlive the manager's fence");
		if (end_ms > node->carried_ms + boot->lease_ms / 100 + 1000)
			broken(node, "a lease outlives its evidence");
	}
	if (node->lease.state != LEASE_SHREDDING)
		return;
	seen_reasons |= 1u << node->lease.reason;
	if (node->lease.reason == REASON_REVOKED && node->revoked_ms == 0)
		broken(node, "a shred as revoked, and nobody revoked");
	if (node->lease.reason == REASON_LEASE && node->lease.deadline_ns > node->vm_ns &&
	    node->lease.deadline_ns != LEASE_NEVER && !node->paused)
		broken(node, "a lease was current");
	if (node->lease.reason != REASON_REVOKED && node->lease.reason != REASON_LEASE)
		broken(node, "a shred for a reason that nobody gave");
}

/* --- the VM --- */

static void push_request(struct node *node)
{
	struct wire_request *at = &node->requests[0];

	/* The older one is lost where there is no room. */
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (!node->requests[i].used ||
		    (at->used && node->requests[i].request.number < at->request.number))
			at = &node->requests[i];
	*at = (struct wire_request){
		.used = true,
		.admitting = node->lease.state == LEASE_STARTING,
		.request = {.number = node->lease.number,
			    .highest = node->lease.highest,
			    .pauses = node->lease.pauses},
	};
	memcpy(at->request.admission, admission, HASH_SIZE);
	memcpy(at->request.challenge, node->lease.challenge, CHALLENGE_SIZE);
}

/* Carries out in the agent's order; KILLED: after the keeper was told, before the page is saved. */
static void vm_step(struct node *node, enum lease_event_type type, const struct token *token,
		    bool killed)
{
	uint8_t challenge[CHALLENGE_SIZE] = "challenge";
	struct lease_event event = {.type = type, .token = token, .challenge = challenge};
	struct lease before = node->lease;
	unsigned actions;

	put_be64(challenge + 16, node->lease.number + 1);
	actions = lease_step(&node->lease, &event, node->vm_ns);
	if (actions & LEASE_ACTION_DEADLINE)
		node->end_ns =
			node->lease.expiry == EXPIRY_SHRED ? node->lease.deadline_ns : LEASE_NEVER;
	if (killed) {
		node->lease = before;
		return;
	}
	n_accepted += node->lease.answered != before.answered;
	if (actions & LEASE_ACTION_REQUEST)
		push_request(node);
}

/* --- the manager --- */

static void push_token(struct node *node, const struct token *token)
{
	struct wire_token *at = &node->tokens[0];

	for (size_t i = 0; i < TOKENS_MAX; i++) {
		if (node->tokens[i].used &&
		    sequence_compare(node->tokens[i].token.sequence, token->sequence) == 0)
			return;
		if (!node->tokens[i].used ||
		    (at->used &&
		     sequence_compare(node->tokens[i].token.sequence, at->token.sequence) < 0))
			at = &node->tokens[i];
	}
	*at = (struct wire_token){.used = true, .token = *token};
}

static struct token next_token(struct node *node, const struct lease_request *request,
			       const struct engine_decision *d)
{
	struct token token = {
		.ttl_ms = d->ttl_ms,
		.margin_ms = d->margin_ms,
		.poll_ms = d->poll_ms,
		.verdict = d->verdict,
		.expiry = d->expiry,
		.cmk_state = d->cmk_state,
		.reason = d->reason,
	};

	node->last.counter++;
	token.sequence = node->last;
	memcpy(token.admission, admission, HASH_SIZE);
	memcpy(token.challenge, request->challenge, CHALLENGE_SIZE);
	return token;
}

static void repeat(struct node *node, const uint8_t *bytes)
{
	struct token token;

	if (token_decode(bytes, TOKEN_SIZE, &token) == 0)
		push_token(node, &token);
}

static void grant(struct node *node, const struct engine_facts *facts,
		  const struct engine_decision *d)
{
	struct token token = next_token(node, facts->request, d);
	uint64_t carried = node->evidence_ms + facts->key->max_staleness_ms;
	uint8_t bytes[TOKEN_SIZE];

	if (node->now.boot_ms + d->ttl_ms > carried)
		broken(node, "a grant beyond its evidence");
	if (node->revoked_ms > 0)
		broken(node, "a grant under a revoked key");
	token_encode(&token, bytes);
	engine_granted(&node->boot, facts, d, token.sequence, bytes, node->now);
	if (carried > node->carried_ms)
		node->carried_ms = carried;
	n_granted++;
	push_token(node, &token);
}

static void end_boot(struct node *node, const struct engine_facts *facts,
		     const struct engine_decision *d)
{
	if (d->reason == REASON_CLONE)
		broken(node, "a clone, and there is none");
	if (bytes_are_zero(node->boot.shred_token, TOKEN_SIZE)) {
		struct token token = next_token(node, facts->request, d);

		token_encode(&token, node->boot.shred_token);
		node->boot.issued = token.sequence;
		node->boot.reason = d->reason;
		node->boot.state = BOOT_ENDING;
	}
	repeat(node, node->boot.shred_token);
}

static struct engine_decision decide(struct node *node, const struct store_key *key,
				     struct wire_request *wire)
{
	struct store_key policy = *key;
	struct engine_facts facts = {
		.boot = &node->boot,
		.request = &wire->request,
		.admitting = wire->admitting,
		.key = &policy,
		.evidence_ms = node->evidence_ms,
		.cmk_state = CMK_HEALTHY,
		.last = node->last,
	};
	struct engine_decision d;

	policy.expiry = node->expiry;
	policy.revoked_ms = node->revoked_ms;
	if (wire->arrived_ms == 0)
		wire->arrived_ms = node->now.boot_ms;
	facts.arrived_ms = wire->arrived_ms;
	d = engine_decide(&facts, node->now);
	seen_actions |= 1u << d.action;
	switch (d.action) {
	case ENGINE_GRANT:
		grant(node, &facts, &d);
		break;
	case ENGINE_REPEAT:
		repeat(node, node->boot.token);
		break;
	case ENGINE_SHRED:
		end_boot(node, &facts, &d);
		break;
	case ENGINE_FROZEN:
	case ENGINE_ABSURD:
		broken(node, "a rollback, and there is none");
		break;
	default:
		break;
	}
	return d;
}

/* --- first walk: all orders --- */

static const struct {
	const char *name;
	struct store_key key;
	struct lease_limits limits;
	bool changes_policy;
} setups[] = {
	{"shred",
	 {.poll_ms = 4000,
	  .lease_ms = 20000,
	  .margin_ms = 4000,
	  .max_staleness_ms = 16000,
	  .expiry = EXPIRY_SHRED},
	 {.max_ttl_ms = UINT32_MAX},
	 false},
	{"long lease",
	 {.poll_ms = 4000,
	  .lease_ms = 1200000,
	  .margin_ms = 4000,
	  .max_staleness_ms = 86400000,
	  .expiry = EXPIRY_SHRED},
	 {.max_ttl_ms = UINT32_MAX},
	 false},
	{"warn, and not",
	 {.poll_ms = 4000,
	  .lease_ms = 12000,
	  .margin_ms = 1000,
	  .max_staleness_ms = 20000,
	  .expiry = EXPIRY_WARN},
	 {.max_ttl_ms = UINT32_MAX},
	 true},
	{"limits",
	 {.poll_ms = 4000,
	  .lease_ms = 20000,
	  .margin_ms = 4000,
	  .max_staleness_ms = 20000,
	  .expiry = EXPIRY_WARN},
	 {.max_ttl_ms = 12000, .forbid_warn = true},
	 true},
};

struct walk {
	const struct store_key *key;
	bool changes_policy;
	struct node *now, *next; /* the nodes of a depth, and of the one below */
	size_t n_now, n_next, room;
	uint64_t (*seen)[2]; /* hashes of all nodes; 0: free */
	size_t n_seen, seen_size;
};

static uint64_t hash(const void *bytes, size_t n, uint64_t seed)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		seed = (seed ^ p[i]) * 0x100000001b3;
	return seed ^ seed >> 29;
}

#define ADD(value)                                                                                 \
	do {                                                                                       \
		uint64_t v = (value);                                                              \
		words[n++] = v;                                                                    \
	} while (0)

/* Numbers and times count only by what they are compared with. */
static void key_of(const struct node *node, uint64_t ret_hash[2])
{
	const struct lease *l = &node->lease;
	const struct store_boot *b = &node->boot;
	uint64_t words[80];
	size_t n = 0;

	ADD(l->state | l->expiry << 8 | l->reason << 16 | (uint64_t)node->expiry << 24 |
	    (uint64_t)b->state << 32 | (uint64_t)b->unbounded << 40 | (uint64_t)node->paused << 41 |
	    (uint64_t)b->was_admitted << 42 | (uint64_t)(node->revoked_ms > 0) << 43);
	ADD(l->deadline_ns == LEASE_NEVER ? 1 : l->deadline_ns - node->vm_ns);
	ADD(l->warning_ns == LEASE_NEVER ? 1 : l->warning_ns - node->vm_ns);
	ADD(node->end_ns == LEASE_NEVER ? 1 : node->end_ns - node->vm_ns);
	ADD(l->challenge_ns - node->vm_ns);
	ADD(l->ttl_ms);
	ADD(l->number - b->number);
	ADD(l->highest.epoch);
	ADD(l->highest.counter);
	ADD(node->last.epoch);
	ADD(node->last.counter);
	ADD(b->issued.epoch);
	ADD(b->issued.counter);
	ADD(l->pauses - b->pauses);
	ADD(b->fence_boot_ms - node->now.boot_ms);
	ADD(b->fence_ms - node->now.real_ms);
	ADD(b->granted_ms - node->now.real_ms);
	ADD(b->lease_ms);
	ADD(node->evidence_ms - node->now.boot_ms);
	ADD(node->carried_ms - node->now.boot_ms);
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		const struct wire_request *r = &node->requests[i];

		ADD(!r->used ? 0 : 1 + 2 * r->admitting + 4 * (l->number - r->request.number));
		ADD(!r->used || r->arrived_ms == 0 ? 0 : node->now.boot_ms - r->arrived_ms + 1);
		ADD(r->request.highest.counter);
		ADD(r->request.pauses);
	}
	for (size_t i = 0; i < TOKENS_MAX; i++) {
		const struct wire_token *t = &node->tokens[i];
		bool current =
			t->used && memcmp(t->token.challenge, l->challenge, CHALLENGE_SIZE) == 0;

		ADD(!t->used ? 0 : 1 + 2 * current + 4 * t->token.verdict + 16 * t->token.expiry);
		ADD(t->token.ttl_ms);
		ADD(t->token.sequence.epoch);
		ADD(t->token.sequence.counter);
	}
	ret_hash[0] = hash(words, n * sizeof(words[0]), 0xcbf29ce484222325) | 1;
	ret_hash[1] = hash(words, n * sizeof(words[0]), 0x9e3779b97f4a7c15);
}

static void *must_allocate(void *old, size_t n, size_t size)
{
	void *p = reallocarray(old, n, size);

	if (!p)
		abort();
	return p;
}

static uint64_t *find(const struct walk *walk, const uint64_t h[2])
{
	size_t i = h[1] & (walk->seen_size - 1);

	while (walk->seen[i][0] && (walk->seen[i][0] != h[0] || walk->seen[i][1] != h[1]))
		i = (i + 1) & (walk->seen_size - 1);
	return walk->seen[i];
}

static void grow_seen(struct walk *walk)
{
	uint64_t(*old)[2] = walk->seen;
	size_t n = walk->seen_size;

	walk->seen_size = n ? 2 * n : 1 << 16;
	walk->seen = calloc(walk->seen_size, sizeof(*walk->seen));
	if (!walk->seen)
		abort();
	for (size_t i = 0; i < n; i++)
		if (old[i][0])
			memcpy(find(walk, old[i]), old[i], sizeof(old[i]));
	free(old);
}

static void visit(struct walk *walk, const struct node *node, const char *event)
{
	uint64_t h[2], *slot;

	n_steps++;
	last_event = event;
	check(node);
	if (2 * walk->n_seen >= walk->seen_size)
		grow_seen(walk);
	key_of(node, h);
	slot = find(walk, h);
	if (slot[0])
		return;
	memcpy(slot, h, sizeof(h));
	walk->n_seen++;
	if (walk->n_next == walk->room) {
		walk->room = walk->room ? 2 * walk->room : 1024;
		walk->now = must_allocate(walk->now, walk->room, sizeof(*walk->now));
		walk->next = must_allocate(walk->next, walk->room, sizeof(*walk->next));
	}
	walk->next[walk->n_next++] = *node;
}

static void step_messages(struct walk *walk, const struct node *from)
{
	struct node to;

	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (!from->requests[i].used)
			continue;
		to = *from;
		decide(&to, walk->key, &to.requests[i]);
		visit(walk, &to, "a request");
	}
	for (size_t i = 0; i < TOKENS_MAX; i++) {
		if (!from->tokens[i].used)
			continue;
		for (int how = 0; how < 3; how++) { /* once; and a copy stays; and killed */
			struct token token = from->tokens[i].token;

			to = *from;
			if (how == 0)
				to.tokens[i] = (struct wire_token){0};
			vm_step(&to, LEASE_EVENT_TOKEN, &token, how == 2);
			visit(walk, &to, how == 2 ? "a token, killed before SAVE" : "a token");
		}
	}
}

static void pass(struct node *node, bool paused)
{
	node->now.boot_ms += PASSING_MS;
	node->now.real_ms += PASSING_MS;
	if (!paused)
		node->vm_ns += VM_PASSING_MS * MS;
	node->paused |= paused;
	/* The keeper does not wait for the agent. */
	if (node->end_ns <= node->vm_ns)
		vm_step(node, LEASE_EVENT_TICK, NULL, false);
}

static void step_world(struct walk *walk, const struct node *from)
{
	struct node to = *from;

	pass(&to, false);
	visit(walk, &to, "time");
	to = *from;
	vm_step(&to, LEASE_EVENT_TICK, NULL, false);
	visit(walk, &to, "a tick");
	to = *from;
	to.evidence_ms = to.now.boot_ms;
	visit(walk, &to, "a probe");
	if (from->revoked_ms == 0) {
		to = *from;
		to.revoked_ms = to.now.real_ms;
		visit(walk, &to, "a revocation");
	}
	if (!from->paused) {
		to = *from;
		pass(&to, true);
		vm_step(&to, LEASE_EVENT_PAUSE, NULL, false);
		visit(walk, &to, "a pause");
	}
	if (from->last.epoch < 3) {
		to = *from;
		to.last = (struct sequence){to.last.epoch + 1, 0};
		to.evidence_ms = 0;
		visit(walk, &to, "a restart of the manager");
	}
	if (walk->changes_policy) {
		to = *from;
		to.expiry = to.expiry == EXPIRY_WARN ? EXPIRY_SHRED : EXPIRY_WARN;
		visit(walk, &to, "a change of policy");
	}
	/* An agent that starts again tells the keeper what the page says. */
	if (from->end_ns != from->lease.deadline_ns && from->lease.deadline_ns != LEASE_NEVER &&
	    from->lease.expiry == EXPIRY_SHRED && from->lease.state != LEASE_SHREDDING) {
		to = *from;
		to.end_ns = to.lease.deadline_ns;
		visit(walk, &to, "a start of the agent");
	}
}

static void walk_setup(struct walk *walk, size_t setup)
{
	struct node first = {
		.end_ns = LEASE_NEVER,
		.vm_ns = 1000000 * MS,
		.now = {.boot_ms = 2000000, .real_ms = 5000000000},
		.last = {1, 0},
		.evidence_ms = 2000000,
		.expiry = setups[setup].key.expiry,
		.boot = {.state = BOOT_WAITING, .paired = true},
	};

	walk->key = &setups[setup].key;
	walk->changes_policy = setups[setup].changes_policy;
	walk->n_next = walk->n_seen = 0;
	if (walk->seen)
		memset(walk->seen, 0, walk->seen_size * sizeof(*walk->seen));
	lease_init(&first.lease, &setups[setup].limits, admission);
	vm_step(&first, LEASE_EVENT_START, NULL, false);
	visit(walk, &first, "the start");
	for (unsigned depth = 0; depth < DEPTH; depth++) {
		struct node *swap = walk->now;

		walk->now = walk->next;
		walk->next = swap;
		walk->n_now = walk->n_next;
		walk->n_next = 0;
		for (size_t i = 0; i < walk->n_now; i++) {
			struct node from = walk->now[i];

			if (from.lease.state == LEASE_SHREDDING)
				continue;
			step_messages(walk, &from);
			step_world(walk, &from);
		}
	}
	printf("%s: %zu states\n", setups[setup].name, walk->n_seen);
}

/* --- second walk: nothing fails --- */

#define CYCLES	  6
#define DELAY_MS  300  /* of a message, at most */
#define UNWRAP_MS 1000 /* of the KMS, at most */

struct delays {
	uint64_t request_ms, token_ms, evidence_ms;
};

/* The VM's clock and the manager's agree here. */
static void set_time(struct node *node, uint64_t ms)
{
	node->now.boot_ms = ms;
	node->now.real_ms = ms + 5000000000;
	node->vm_ns = ms * MS;
}

static void tick_until(struct node *node, uint64_t ms)
{
	uint64_t next;

	while ((next = lease_next(&node->lease)) <= ms * MS) {
		set_time(node, (next + MS - 1) / MS);
		vm_step(node, LEASE_EVENT_TICK, NULL, false);
	}
	set_time(node, ms);
}

/* The newest request, its answer after no more than the manager says, and back. */
static void cycle(struct node *node, const struct store_key *key, const struct delays *delays)
{
	struct wire_request wire = {0};
	uint64_t arrived, due;
	struct engine_decision d;
	struct node manager;

	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (node->requests[i].used &&
		    node->requests[i].request.number == node->lease.number)
			wire = node->requests[i];
	arrived = node->now.boot_ms + delays->request_ms;
	manager = *node;
	set_time(&manager, arrived);
	manager.evidence_ms = arrived - delays->evidence_ms;
	memset(manager.tokens, 0, sizeof(manager.tokens));
	d = decide(&manager, key, &wire);
	for (int i = 0; d.action == ENGINE_WAIT && i < 4; i++) {
		due = d.due_ms;
		set_time(&manager, due);
		manager.evidence_ms = due - delays->evidence_ms;
		d = decide(&manager, key, &wire);
	}
	if (d.action != ENGINE_GRANT)
		broken(&manager, "no lease, and nothing failed");
	/* What the VM does meanwhile. */
	tick_until(node, manager.now.boot_ms + delays->token_ms);
	node->boot = manager.boot;
	node->last = manager.last;
	node->evidence_ms = manager.evidence_ms;
	node->carried_ms = manager.carried_ms;
	for (size_t i = 0; i < TOKENS_MAX; i++)
		if (manager.tokens[i].used && node->lease.state != LEASE_SHREDDING)
			vm_step(node, LEASE_EVENT_TOKEN, &manager.tokens[i].token, false);
	if (node->lease.state == LEASE_SHREDDING)
		broken(node, "a lease ended, and nothing failed");
}

static unsigned long walk_cycles(const struct node *from, const struct store_key *key,
				 unsigned left)
{
	uint64_t oldest = key->probe_ms + key->probe_ms / 10 + UNWRAP_MS;
	unsigned long n = 0;

	for (unsigned which = 0; which < 8; which++) {
		const struct delays delays = {
			.request_ms = which & 1 ? DELAY_MS : 0,
			.token_ms = which & 2 ? DELAY_MS : 0,
			.evidence_ms = which & 4 ? oldest : 0,
		};
		struct node to = *from;

		cycle(&to, key, &delays);
		n++;
		if (left > 1)
			n += walk_cycles(&to, key, left - 1);
	}
	return n;
}

/* From a challenge that is AGE_MS old when it is answered at last: the boot was held, or waited for
 * evidence. */
static unsigned long walk_healthy(const struct store_key *key, uint64_t age_ms)
{
	struct node first = {
		.end_ns = LEASE_NEVER,
		.expiry = key->expiry,
		.boot = {.state = BOOT_WAITING, .paired = true},
		.last = {1, 0},
	};

	set_time(&first, 100000000);
	lease_init(&first.lease, &setups[0].limits, admission);
	vm_step(&first, LEASE_EVENT_START, NULL, false);
	tick_until(&first, 100000000 + age_ms);
	return walk_cycles(&first, key, CYCLES);
}

static void walk_edges(void)
{
	static const uint32_t leases[] = {10000, 20000, 300000},
			      stalenesses[] = {10000, 20000, 120000};
	static const uint64_t ages[] = {0, 20000, 59000};
	unsigned long n = 0, configurations = 0;
	char error[256];

	for (size_t i = 0; i < ELEMENTSOF(leases); i++)
		for (size_t j = 0; j < ELEMENTSOF(stalenesses); j++) {
			struct store_key key;

			store_key_defaults(&key);
			strcpy(key.name, "k");
			strcpy(key.kms.provider, "file");
			strcpy(key.kms.key_id, "k");
			strcpy(key.kms.directory, "/d");
			key.lease_ms = leases[i];
			key.max_staleness_ms = stalenesses[j];
			key.margin_ms = leases[i] / 3;
			key.probe_ms = stalenesses[j] / 4;
			/* The longest that it lets through. */
			for (key.poll_ms = 30000; store_key_check(&key, error) < 0;
			     key.poll_ms -= 100)
				if (key.poll_ms < 1000) {
					fprintf(stderr, "%s\n", error);
					exit(EXIT_FAILURE);
				}
			for (size_t k = 0; k < ELEMENTSOF(ages); k++)
				n += walk_healthy(&key, ages[k]);
			configurations++;
		}
	printf("nothing fails: %lu configurations, %lu renewals, no lease ended\n", configurations,
	       n);
}

int main(void)
{
	const unsigned actions = 1u << ENGINE_GRANT | 1u << ENGINE_REPEAT | 1u << ENGINE_SHRED |
				 1u << ENGINE_WAIT | 1u << ENGINE_STALE | 1u << ENGINE_OLDER;
	struct walk walk = {0};
	size_t n = 0;

	for (size_t i = 0; i < ELEMENTSOF(setups); i++) {
		walk_setup(&walk, i);
		n += walk.n_seen;
	}
	free(walk.now);
	free(walk.next);
	free(walk.seen);
	printf("%zu states to depth %d, %lu steps, %lu leases granted, %lu accepted\n", n, DEPTH,
	       n_steps, n_granted, n_accepted);
	walk_edges();
	if ((seen_actions & actions) != actions || !(seen_reasons & 1u << REASON_REVOKED) ||
	    !(seen_reasons & 1u << REASON_LEASE)) {
		printf("a decision or a reason was never met: %x, %x\n", seen_actions,
		       seen_reasons);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

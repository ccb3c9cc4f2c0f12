/* SPDX-License-Identifier: Apache-2.0 */
/* Walks lease_step() over all sequences of events of a small alphabet, until no new state appears.
 *
 * A node is a lease and a time. From each, every event of the alphabet is stepped, and time alone
 * may pass, in steps of five seconds; all that has a duration here lasts a multiple of that, so that
 * every instant that means something is met exactly, and from before and after. Nodes are the same
 * where no rule can tell them apart: times count from now, numbers and sequences only by what a
 * token can be compared with. Every step is held against lease_invariants.c, and every pair of
 * state and event must have been seen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/lease.h"
#include "lease_invariants.h"

#define MS	1000000ull
#define START	(1000000 * MS)
#define PASSING (5000 * MS)
/* Beyond the longest lease the age of a challenge makes no difference. */
#define AGE_MAX (100000 * MS)

/* What tokens of the alphabet are worth: time to live and margin in ms. */
static const struct terms {
	uint32_t ttl_ms, margin_ms;
	enum expiry expiry;
} all_terms[] = {
	{90000, 30000, EXPIRY_SHRED}, {90000, 30000, EXPIRY_WARN}, {60000, 0, EXPIRY_SHRED},
	{0, 0, EXPIRY_SHRED},	      {30000, 30000, EXPIRY_WARN},
};

static const struct lease_limits all_limits[] = {
	{.max_ttl_ms = UINT32_MAX},
	{.max_ttl_ms = UINT64_MAX, .forbid_warn = true},
	{.max_ttl_ms = 30000},
	{.max_ttl_ms = UINT32_MAX,
	 .poweroff_on_admission_timeout = true,
	 .admission_timeout_ns = 80000 * MS},
	{.max_ttl_ms = 30000,
	 .forbid_warn = true,
	 .poweroff_on_admission_timeout = true,
	 .admission_timeout_ns = 40000 * MS},
};

static const uint8_t our_admission[HASH_SIZE] = "ours", other_admission[HASH_SIZE] = "another's";

struct node {
	struct lease lease;
	uint64_t now_ns;
	uint32_t depth;
};

/* What tells nodes apart; no padding, it is hashed. */
struct key {
	uint64_t deadline, margin, challenge, started, ttl_ms;
	uint32_t state, expiry, reason, has_challenge, has_epoch, has_counter;
};

struct walk {
	struct node *nodes;
	size_t n_nodes, nodes_size, n_transitions;
	size_t *table; /* index into nodes plus 1; open addressing */
	size_t table_size;
	uint32_t depth;
	size_t coverage[LEASE_STATE__MAX][LEASE_EVENT__MAX];
};

static void *must_allocate(void *old, size_t n, size_t size)
{
	void *p = reallocarray(old, n, size);

	if (!p)
		abort();
	return p;
}

static uint64_t passed(uint64_t from_ns, uint64_t now_ns)
{
	return now_ns - from_ns < AGE_MAX ? now_ns - from_ns : AGE_MAX;
}

/* Times count from now, and only while a rule looks at them; a deadline that is past is past. */
static struct key key_of(const struct node *node)
{
	const struct lease *lease = &node->lease;
	bool final = lease->state == LEASE_SHREDDING || lease->state == LEASE_OFF;
	bool bounded = lease->state == LEASE_ADMITTED || lease->state == LEASE_WARNING;
	bool timed = lease->state == LEASE_STARTING && lease->number > 0 &&
		     lease->limits.poweroff_on_admission_timeout;
	struct key key = {.state = lease->state, .reason = lease->reason};

	if (final)
		return key;
	key.has_challenge = lease->number > 0;
	key.has_epoch = lease->highest.epoch > 0;
	key.has_counter = lease->highest.counter > 0;
	key.expiry = lease->expiry;
	key.ttl_ms = lease->ttl_ms;
	if (key.has_challenge)
		key.challenge = passed(lease->challenge_ns, node->now_ns);
	if (timed)
		key.started = passed(lease->started_ns, node->now_ns);
	if (bounded && lease->deadline_ns > node->now_ns)
		key.deadline = lease->deadline_ns - node->now_ns;
	if (bounded)
		key.margin = lease->deadline_ns - lease->warning_ns;
	return key;
}

/* FNV-1a, folded: the low bits of times in ms are alike. */
static size_t hash_of(const struct key *key)
{
	const uint8_t *bytes = (const uint8_t *)key;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return (size_t)(hash ^ hash >> 32);
}

static size_t *find(struct walk *walk, const struct key *key)
{
	size_t i = hash_of(key) & (walk->table_size - 1);

	for (; walk->table[i] > 0; i = (i + 1) & (walk->table_size - 1)) {
		struct key other = key_of(&walk->nodes[walk->table[i] - 1]);

		if (memcmp(&other, key, sizeof(other)) == 0)
			break;
	}
	return &walk->table[i];
}

static void grow(struct walk *walk)
{
	walk->nodes_size = walk->nodes_size ? 2 * walk->nodes_size : 1024;
	walk->nodes = must_allocate(walk->nodes, walk->nodes_size, sizeof(*walk->nodes));
	free(walk->table);
	walk->table_size = 4 * walk->nodes_size;
	walk->table = must_allocate(NULL, walk->table_size, sizeof(*walk->table));
	memset(walk->table, 0, walk->table_size * sizeof(*walk->table));
	for (size_t i = 0; i < walk->n_nodes; i++) {
		struct key key = key_of(&walk->nodes[i]);

		*find(walk, &key) = i + 1;
	}
}

static void visit(struct walk *walk, const struct node *node)
{
	struct key key = key_of(node);
	size_t *slot;

	if (walk->n_nodes == walk->nodes_size)
		grow(walk);
	slot = find(walk, &key);
	if (*slot > 0)
		return;
	memcpy(&walk->nodes[walk->n_nodes++], node, sizeof(*node));
	*slot = walk->n_nodes;
	if (node->depth > walk->depth)
		walk->depth = node->depth;
}

static void show(const char *name, const struct lease *lease)
{
	fprintf(stderr,
		"%s: %s, deadline %" PRIu64 ", warning %" PRIu64 ", challenge %" PRIu64
		" at %" PRIu64 ", answered %" PRIu64 ", sequence %" PRIu64 ".%" PRIu64
		", ttl %" PRIu64 " ms, expiry %d, reason %s, rejected: %s\n",
		name, lease_state_name(lease->state), lease->deadline_ns, lease->warning_ns,
		lease->number, lease->challenge_ns, lease->answered, lease->highest.epoch,
		lease->highest.counter, lease->ttl_ms, lease->expiry, reason_name(lease->reason),
		lease_rejection_name(lease->rejected));
}

static const char *const event_names[LEASE_EVENT__MAX] = {
	"start", "tick", "token", "pause", "operator", "fault", "off",
};

static void step(struct walk *walk, const struct node *from, struct lease_event *event)
{
	struct node to;
	struct lease_walk_step seen = {
		.before = &from->lease, .after = &to.lease, .event = event, .now_ns = from->now_ns};
	uint8_t challenge[CHALLENGE_SIZE] = "challenge";
	const char *violation;

	put_be64(challenge + 16, from->lease.number + 1);
	event->challenge = challenge;
	memcpy(&to, from, sizeof(to));
	to.depth++;
	seen.actions = lease_step(&to.lease, event, to.now_ns);
	walk->n_transitions++;
	walk->coverage[from->lease.state][event->type]++;
	violation = lease_violation(&seen);
	if (violation) {
		fprintf(stderr, "broken: %s\nevent %s at %" PRIu64 ", actions 0x%x, depth %u\n",
			violation, event_names[event->type], from->now_ns, seen.actions,
			from->depth);
		show("before", seen.before);
		show("after", seen.after);
		if (event->token)
			fprintf(stderr,
				"token: %s, ttl %u ms, margin %u ms, sequence %" PRIu64 ".%" PRIu64
				"\n",
				verdict_name(event->token->verdict), event->token->ttl_ms,
				event->token->margin_ms, event->token->sequence.epoch,
				event->token->sequence.counter);
		exit(EXIT_FAILURE);
	}
	visit(walk, &to);
}

/* Lower, equal, higher by its counter, higher by its epoch alone, lower by its epoch alone. */
static size_t sequences_about(struct sequence highest, struct sequence *sequences)
{
	size_t n = 0;

	sequences[n++] = highest;
	sequences[n++] = (struct sequence){highest.epoch, highest.counter + 1};
	sequences[n++] = (struct sequence){highest.epoch + 1, 0};
	if (highest.counter > 0)
		sequences[n++] = (struct sequence){highest.epoch, highest.counter - 1};
	if (highest.epoch > 0)
		sequences[n++] = (struct sequence){highest.epoch - 1, UINT64_MAX};
	return n;
}

/* The current challenge, the one before (a late or replayed answer), and none of ours. */
static void set_challenge(struct token *token, const struct lease *lease, int which)
{
	memcpy(token->challenge, lease->challenge, CHALLENGE_SIZE);
	if (which == 1)
		put_be64(token->challenge + 16, lease->number - 1);
	if (which == 2)
		token->challenge[0] ^= 1;
}

static void step_tokens_of(struct walk *walk, const struct node *from, struct token *token)
{
	struct sequence sequences[5];
	size_t n = sequences_about(from->lease.highest, sequences);
	struct lease_event event = {.type = LEASE_EVENT_TOKEN, .token = token};

	for (int which = 0; which < 3; which++) {
		set_challenge(token, &from->lease, which);
		for (size_t i = 0; i < n; i++) {
			token->sequence = sequences[i];
			step(walk, from, &event);
		}
	}
}

static void step_tokens(struct walk *walk, const struct node *from)
{
	for (int ours = 0; ours < 2; ours++)
		for (int verdict = VERDICT_ADMIT; verdict < VERDICT__MAX; verdict++)
			for (size_t i = 0; i < ELEMENTSOF(all_terms); i++) {
				struct token token = {
					.ttl_ms = all_terms[i].ttl_ms,
					.margin_ms = all_terms[i].margin_ms,
					.expiry = all_terms[i].expiry,
					.verdict = verdict,
					.cmk_state = CMK_HEALTHY,
				};

				if (verdict == VERDICT_SHRED)
					token.reason = REASON_REVOKED;
				memcpy(token.admission, ours ? our_admission : other_admission,
				       HASH_SIZE);
				step_tokens_of(walk, from, &token);
			}
}

static void pass(struct walk *walk, const struct node *from)
{
	struct node to;

	memcpy(&to, from, sizeof(to));
	to.now_ns += PASSING;
	to.depth++;
	walk->n_transitions++;
	visit(walk, &to);
}

static void step_all(struct walk *walk, const struct node *from)
{
	step_tokens(walk, from);
	for (int type = 0; type < LEASE_EVENT__MAX; type++) {
		struct lease_event event = {.type = type};

		if (type != LEASE_EVENT_TOKEN)
			step(walk, from, &event);
	}
	pass(walk, from);
}

/* All that can be reached under LIMITS. */
static void walk_limits(struct walk *walk, const struct lease_limits *limits)
{
	struct node first = {.now_ns = START};

	lease_init(&first.lease, limits, our_admission);
	walk->n_nodes = 0;
	if (walk->table)
		memset(walk->table, 0, walk->table_size * sizeof(*walk->table));
	visit(walk, &first);
	for (size_t i = 0; i < walk->n_nodes; i++) {
		struct node from;

		memcpy(&from, &walk->nodes[i], sizeof(from));
		step_all(walk, &from);
	}
}

/* Prints how often each pair of state and event was stepped; whether each was. */
static bool print_coverage(const struct walk *walk)
{
	bool all = true;

	printf("%-10s", "");
	for (int event = 0; event < LEASE_EVENT__MAX; event++)
		printf(" %9s", event_names[event]);
	for (int state = 0; state < LEASE_STATE__MAX; state++) {
		printf("\n%-10s", lease_state_name(state));
		for (int event = 0; event < LEASE_EVENT__MAX; event++) {
			printf(" %9zu", walk->coverage[state][event]);
			all = all && walk->coverage[state][event] > 0;
		}
	}
	printf("\n");
	return all;
}

int main(void)
{
	struct walk walk = {};
	size_t n_states = 0;
	bool all;

	for (size_t i = 0; i < ELEMENTSOF(all_limits); i++) {
		walk_limits(&walk, &all_limits[i]);
		printf("limits %zu: %zu states\n", i, walk.n_nodes);
		n_states += walk.n_nodes;
	}
	free(walk.nodes);
	free(walk.table);
	printf("%zu states, %zu transitions, depth %u: no state is left to visit\n", n_states,
	       walk.n_transitions, walk.depth);
	all = print_coverage(&walk);
	if (!all)
		printf("a pair of state and event was never stepped\n");
	return all ? EXIT_SUCCESS : EXIT_FAILURE;
}

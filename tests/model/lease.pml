/* SPDX-License-Identifier: Apache-2.0 */
/* Keeper, agent, watchdog, network and two managers over one store, for spin(1).
 *
 *	manager 0, 1 ─ store ◀── network ──▶ watchdog ─▶ agent ─▶ keeper      one or two guests
 *
 * States, verdicts and reasons are the code's words (tests/model/spin checks that each exists there):
 * guest_t is what keeper, state page and agent hold, boot_t a row of the store. Each process does one
 * of its steps at a time, in any order with the others'; time passes in ticks, after all that must
 * not wait has been done. What may wait, or fail, does so by choice. Five worlds, each explored whole:
 *
 *	lease		the network loses, doubles, delays and reorders; agent, watchdog and either
 *			keeper process die at any instant, the agent between any two of its actions
 *			too, and the first two come back or do not; the KMS is silent
 *	revocation	the network; the KMS is silent, refuses once by mistake, or is taken away by the
 *			customer; an operator ends the boot, at the manager or in the guest; managers
 *			stop, start, and hand the probing to each other
 *	supersede	the network; the VM boots again while its first guest runs on
 *	clone		the network; a second guest is made of the first one's memory
 *	rollback	the network, without copies; the store starts again, is put back to an older
 *			copy of it, is adopted
 *
 * In all of them a manager may die between commit and send. Without ROLLBACK no sequence matters, and
 * numbers are kept relative: runs have no end and no fault a limit; but a request that two newer ones
 * have left behind is lost. With ROLLBACK challenges and epochs are numbered up to a bound.
 *
 * Left out, because lease_walk.c and fence_walk.c step the real code through them: expiry = warn,
 * WARNING (it changes nothing but what is said), pauses, policy, clocks that run apart.
 *
 * Properties, each an assertion:
 *	P1 bound	a guest that was admitted holds no key once its last lease has been over for the
 *			shred budget, whatever became of the store
 *	P2 evidence	nor once the customer has taken the key back for max_staleness and that budget;
 *			where all else works, for confirmation, push and that budget
 *	P3 fence	nor once the store's fence has passed, where it has lost no commit
 *	P4 cause	no guest is shredded but for a reason, and that one is true: somebody revoked,
 *			asked, cloned, was admitted, died, is gone. "lease" is true unless manager,
 *			evidence, network, watchdog and agent have all worked for SETTLED ticks
 *	P5 finality	no lease is granted to a boot that has ended, or under a revoked key
 *	P6 sequence	unless the store was put back, no agent refuses an answer for its sequence and no
 *			manager takes the store for one that was
 *
 * -DDEFECT=n plants one defect; spin must find it (tests/model/spin). */

#ifndef DEFECT
#define DEFECT 0
#endif
#if defined(CLONE) || defined(SUPERSEDE)
#define GUESTS 2
#else
#define GUESTS 1
#endif

/* In ticks: the smallest numbers in the order that the defaults have. */
#define LEASE  4 /* lease_ms, and max_staleness_ms */
#define THIRD  2 /* after which a challenge is replaced */
#define POLL   1
#define BUDGET 1 /* ENGINE_SHRED_BUDGET_MS */
#define GONE   2 /* AgentGoneSec= */
#define NEVER  15
/* Defect 2 forgets the time that a shred takes. */
#if DEFECT == 2
#define FENCE(ttl) (ttl + 1)
#else
#define FENCE(ttl) (ttl + BUDGET + 1)
#endif
#define SETTLED 2
#define CAUSE	1

mtype = {LEASE_STARTING, LEASE_ADMITTED, LEASE_SHREDDING, LEASE_OFF};
mtype = {BOOT_WAITING, BOOT_LIVE, BOOT_ENDING};
mtype = {REASON_NONE, REASON_REVOKED, REASON_LEASE, REASON_SUPERSEDED, REASON_OPERATOR,
	 REASON_CLONE, REASON_FAULT};
mtype = {KMS_OK, KMS_UNAVAILABLE, KMS_REVOKED_ACCESS};

#ifdef ROLLBACK
#define NUMBERS 4 /* and no challenge after */
#define TOKENS	2 /* a lost store's, and the next one's */
#else
#define NUMBERS 3 /* relative: the current one, and the two before */
#define TOKENS	1
#endif

typedef guest_t {
	byte boot;
	/* keeper */
	bit keys;
	byte end;	/* ticks to the deadline it enforces */
	mtype begun;	/* the shred's reason */
	bit late;	/* the shred has taken a tick */
	bit process_died;
	byte gone;	/* ticks without an agent */
	/* agent; the page */
	bit has_agent;
	mtype state;
	mtype reason;
	byte number;
	byte age;	/* of the challenge */
	byte deadline;
	bit again;	/* two challenges were made with one number (defect 7) */
	byte highest;
	/* watchdog, and the network beyond: bit n is the request with number n */
	bit has_watchdog;
	byte sent, doubled;
	byte shown[NUMBERS + 1];
	/* tokens on their way that answer the current challenge; and the verdict shred */
	byte ttl[TOKENS], sequence[TOKENS];
	mtype verdict_shred;
	/* whether anything went wrong in this tick; for how many ticks on end nothing did; ticks
	 * since that were SETTLED */
	bit ill;
	byte wells, ills;
	byte bound;	/* what P1 says: ticks to it, plus 1; 0 passed or none */
};
guest_t guest[GUESTS];

typedef boot_t {
	mtype state;
	mtype reason;
	bit was_admitted;
	byte number;
	byte maker;	/* of the challenge: guest, and whether again */
	byte ttl;	/* of the last lease */
	byte granted;	/* ticks since, up to POLL */
	byte fence;	/* ticks to it, plus 1; 0 passed or none */
	byte issued;
};
boot_t boot[GUESTS];

/* The rest of the store. */
bit revoked;
byte evidence;	/* ticks since the last good unwrap began */
byte refused;	/* refusals on end */

bit up[2];	/* managers; the first has the lease to probe */
byte disabled;	/* the customer: ticks since, plus 1; 0 never */
bit connected;	/* and everything has worked since */
bit asked;	/* an operator has ended something */
bit cloned;
bit lost;	/* what was committed, by a rollback */
bit admitted[GUESTS];
byte younger = 0; /* the guest that booted last */

#if DEFECT == 5
byte decided = NEVER, decided_ttl; /* a grant that is not committed yet */
#endif

#ifdef ROLLBACK
/* A sequence is epoch × 16 + counter. */
#define EPOCH(sequence) ((sequence) / 16)
#define EPOCHS 3
byte last = 16;	   /* issued by this store to anybody */
byte adopted_epoch, rolled_back;
bit frozen;
boot_t copy;
byte copy_last, copies, rollbacks;
bit copy_revoked;
#endif

/* Whether "lease" is a true cause is looked at where one guest lives under a store that loses nothing. */
#if GUESTS == 1 && !defined(ROLLBACK)
#define MISHAP(g) guest[g].ill = HOLDS_(g)
#define CAUSED(g) (guest[g].ills >= CAUSE)
#else
#define MISHAP(g) skip
#define CAUSED(g) 1
#endif
#ifdef ROLLBACK
#define FROZEN frozen
#else
#define FROZEN 0
#endif
#define RUNS(g)	  (guest[g].state != LEASE_OFF)
#define HAS(mask, n) ((mask >> (n)) & 1)
#define BIT(n)	  (1 << (n))
#define B	  boot[guest[g].boot]
#define IS_BOUNDED(g) (admitted[g] && guest[g].keys && RUNS(g))

/* --- keeper --- */

inline drop_tokens()
{
	skip;
#if DEFECT != 9 /* a token counts whatever challenge it answers */
	guest[g].ttl[0] = 0;
	guest[g].sequence[0] = 0;
#if TOKENS == 2
	guest[g].ttl[1] = 0;
	guest[g].sequence[1] = 0;
#endif
#endif
}

inline forget()
{
	guest[g].state = LEASE_SHREDDING;
	guest[g].reason = REASON_NONE;
	guest[g].has_agent = 0;
	guest[g].has_watchdog = 0;
	guest[g].process_died = 0;
	guest[g].gone = 0;
	guest[g].end = NEVER;
	guest[g].age = 0;
	guest[g].deadline = NEVER;
	guest[g].verdict_shred = REASON_NONE;
	guest[g].ttl[0] = 0;
	guest[g].sequence[0] = 0;
#if TOKENS == 2
	guest[g].ttl[1] = 0;
	guest[g].sequence[1] = 0;
#endif
	guest[g].ill = 0;
	guest[g].wells = 0;
	guest[g].ills = 0
}

inline begin(why)
{
	assert(guest[g].begun == REASON_NONE);
	/* P4 */
	assert(why != REASON_REVOKED || disabled > 0);
	assert(why != REASON_SUPERSEDED || boot[1 - guest[g].boot].was_admitted);
#ifdef STRICTLY_YOUNGER
	assert(why != REASON_SUPERSEDED || younger != g);
#endif
	assert(why != REASON_CLONE || cloned);
	assert(why != REASON_OPERATOR || asked);
	assert(why != REASON_FAULT || guest[g].process_died || guest[g].gone >= GONE);
	assert(why != REASON_LEASE || CAUSED(g));
	guest[g].begun = why;
	/* Whatever agent, watchdog and network do now changes nothing. */
	forget()
}

#define HOLDS_(g)   (RUNS(g) && guest[g].keys && guest[g].begun == REASON_NONE)
#define HOLDS	    (RUNS(g) && guest[g].keys && guest[g].begun == REASON_NONE)
#if DEFECT == 6 /* the agent alone keeps the deadline, and nobody misses it */
#define IS_OVER(g)  0
#define IS_GONE(g)  0
#else
#define IS_OVER(g)  (guest[g].end == 0)
#define IS_GONE(g)  (guest[g].gone >= GONE)
#endif
#if DEFECT == 8 /* the twin does not see the primary die, and nobody keeps the deadline then */
#define IS_ALONE(g) 0
#define KEEPS(g)    !guest[g].process_died
#else
#define IS_ALONE(g) guest[g].process_died
#define KEEPS(g)    1
#endif
#define MUST_BEGIN(g)                                                                              \
	(RUNS(g) && guest[g].keys && guest[g].begun == REASON_NONE &&                              \
	 ((KEEPS(g) && (IS_OVER(g) || IS_GONE(g))) || IS_ALONE(g)))
#define IS_LATE(g)  (RUNS(g) && guest[g].keys && guest[g].begun != REASON_NONE && guest[g].late)

inline off()
{
	guest[g].keys = 0;
	guest[g].begun = REASON_NONE;
	guest[g].state = LEASE_OFF;
	guest[g].late = 0;
	guest[g].bound = 0
}

proctype keeper(byte g)
{
	do
	:: atomic { HOLDS && KEEPS(g) && IS_OVER(g) -> begin(REASON_LEASE) }
	:: atomic { HOLDS && KEEPS(g) && IS_GONE(g) -> begin(REASON_FAULT) }
	:: atomic { HOLDS && IS_ALONE(g) -> begin(REASON_FAULT) }
	#ifdef PROCESSES
	:: atomic { HOLDS && !guest[g].process_died -> guest[g].process_died = 1 }
#endif
	:: atomic { RUNS(g) && guest[g].keys && guest[g].begun != REASON_NONE -> off() }
	od
}

/* --- agent --- */

inline sort_tokens()
{
#if TOKENS == 2
	if
	:: guest[g].ttl[0] == 0 ->
		guest[g].ttl[0] = guest[g].ttl[1];
		guest[g].sequence[0] = guest[g].sequence[1];
		guest[g].ttl[1] = 0;
		guest[g].sequence[1] = 0
	:: else
	fi
#else
	skip
#endif
}

inline shift_numbers()
{
	guest[g].number--;
	guest[g].sent = guest[g].sent >> 1 & ~1;
	guest[g].doubled = guest[g].doubled >> 1 & ~1;
	boot[guest[g].boot].number = (B.number > 0 -> B.number - 1 : 0);
#ifdef CLONE
	if
	:: guest[1 - g].number > 0 ->
		guest[1 - g].number--;
		guest[1 - g].sent = guest[1 - g].sent >> 1 & ~1;
		guest[1 - g].doubled = guest[1 - g].doubled >> 1 & ~1
	:: else
	fi
#endif
}

/* The challenge on the page, to the watchdog; gone where there is none. */
inline request()
{
	if
	:: guest[g].has_watchdog ->
		guest[g].sent = guest[g].sent | BIT(guest[g].number);
		guest[g].shown[guest[g].number] = guest[g].highest
	:: else -> MISHAP(g)
	fi
}

inline agent_dies()
{
	guest[g].has_agent = 0;
	MISHAP(g);
	goto dead
}

#ifdef AGENT
#define MAY_DIE                                                                                    \
	if                                                                                         \
	:: agent_dies()                                                                            \
	:: skip                                                                                    \
	fi
#else
#define MAY_DIE skip
#endif

/* What follows LEASE_ACTION_SAVE, which has made a new challenge. */
inline new_challenge()
{
	assert(guest[g].number < NUMBERS);
#if DEFECT == 7 /* sends before it saves */
	guest[g].number++;
	request();
	guest[g].number--;
	if
	:: guest[g].again = 1; agent_dies()
	:: skip
	fi;
#endif
	guest[g].number++;
	guest[g].age = 0;
	drop_tokens()
}

inline make_room()
{
	if
#ifdef ROLLBACK
	:: guest[g].number == NUMBERS -> false /* the end of what is looked at */
#else
	:: guest[g].number == NUMBERS -> shift_numbers()
#endif
	:: else
	fi
}

inline accept(i)
{
#if DEFECT == 1 /* the deadline counts from the answer */
	left = guest[g].ttl[i];
#else
	left = (guest[g].ttl[i] > guest[g].age -> guest[g].ttl[i] - guest[g].age : 0);
#endif
	make_room();
	MAY_DIE;
#if DEFECT != 15 /* saves before it tells the keeper */
	/* LEASE_ACTION_DEADLINE */
	guest[g].end = left;
	MAY_DIE;
#endif
	/* LEASE_ACTION_SAVE */
#ifdef ROLLBACK
	guest[g].highest = guest[g].sequence[i];
#endif
	guest[g].deadline = left;
	guest[g].state = LEASE_ADMITTED;
	admitted[g] = 1;
	new_challenge();
	MAY_DIE;
#if DEFECT == 15
	guest[g].end = left;
	MAY_DIE;
#endif
	/* LEASE_ACTION_REQUEST */
	request()
}

inline shred_now(why)
{
	MAY_DIE;
	/* LEASE_ACTION_SHRED: before the page is saved, which nobody reads any more */
	begin(why);
	guest[g].state = LEASE_SHREDDING;
	guest[g].reason = why
}

#define IS_AWAKE(g) (RUNS(g) && guest[g].has_agent && guest[g].begun == REASON_NONE)
#define IS_ASKING(g)                                                                               \
	(IS_AWAKE(g) && (guest[g].state == LEASE_STARTING || guest[g].state == LEASE_ADMITTED))
#define WAITS(g)                                                                                   \
	(HAS(guest[g].sent, guest[g].number) || guest[g].ttl[0] > 0 ||                             \
	 guest[g].ttl[TOKENS - 1] > 0 || guest[g].verdict_shred != REASON_NONE)
#define MUST_RETRY(g) (IS_ASKING(g) && guest[g].has_watchdog && !WAITS(g))
#define MUST_TICK(g)                                                                               \
	(IS_ASKING(g) && ((guest[g].state == LEASE_ADMITTED && guest[g].deadline == 0) ||          \
			  guest[g].age >= THIRD))
#define MAY_REPLACE(g) (IS_ASKING(g) && guest[g].age >= THIRD)

proctype agent(byte g)
{
	byte i, left;

dead:
	i = 0;
	left = 0;
	do
	/* A token for the current challenge: lease_step() judges it. */
	:: atomic {
		IS_ASKING(g) && guest[g].ttl[0] > 0 ->
		if
		:: guest[g].ttl[0] > 0 -> i = 0
#if TOKENS == 2
		:: guest[g].ttl[1] > 0 -> i = 1
#endif
		fi;
		if
#ifdef ROLLBACK
		:: guest[g].sequence[i] <= guest[g].highest ->
			assert(lost); /* P6 */
			guest[g].ttl[i] = 0;
			guest[g].sequence[i] = 0;
			sort_tokens()
#endif
#if DEFECT != 14 /* counts, however little of it is left */
		:: guest[g].state == LEASE_STARTING && 2 * guest[g].age > guest[g].ttl[i] ->
			/* LEASE_REJECT_LATE */
			make_room();
			new_challenge();
			request()
#endif
		:: else -> accept(i)
		fi;
		i = 0;
		left = 0
	}
	:: atomic {
		IS_ASKING(g) && guest[g].verdict_shred != REASON_NONE ->
		shred_now(guest[g].verdict_shred)
	}
	/* LEASE_EVENT_TICK */
	:: atomic {
		IS_ASKING(g) && guest[g].state == LEASE_ADMITTED && guest[g].deadline == 0 ->
		shred_now(REASON_LEASE)
	}
	:: atomic {
		MAY_REPLACE(g) && guest[g].deadline > 0 ->
		make_room();
		MAY_DIE;
		new_challenge();
		MAY_DIE;
		request()
	}
	:: atomic { MUST_RETRY(g) -> request() }
	/* LEASE_EVENT_OPERATOR */
#ifdef OPERATOR
	:: atomic { IS_ASKING(g) && !asked -> asked = 1; shred_now(REASON_OPERATOR) }
#endif
	/* Death, and lease_resume() of the next one. */
#ifdef AGENT
	:: atomic { HOLDS && guest[g].has_agent -> agent_dies() }
#endif
	:: atomic {
		HOLDS && !guest[g].has_agent ->
		guest[g].has_agent = 1;
		guest[g].gone = 0;
		if
		:: guest[g].state == LEASE_SHREDDING -> begin(guest[g].reason)
		:: guest[g].state == LEASE_ADMITTED -> guest[g].end = guest[g].deadline; request()
		:: else -> request()
		fi
	}
	od
}

/* --- watchdog and network --- */

#define SHOWS(g, n) guest[g].shown[n] = (HAS(guest[g].sent, n) -> guest[g].shown[n] : 0)

/* What can have no effect any more is kept out of sight: requests older than the last answer, and
 * copies of an answered one whose challenge is gone. To a boot that has ended all are alike. */
inline tidy(g_)
{
#if DEFECT != 11
	if
	:: !(HOLDS_(g_) || boot[guest[g_].boot].state == BOOT_WAITING) ->
		guest[g_].sent = 0;
		guest[g_].doubled = 0
	:: else ->
		if
		:: boot[guest[g_].boot].state == BOOT_ENDING ->
			guest[g_].doubled = (guest[g_].sent | guest[g_].doubled) & ~BIT(guest[g_].number);
			guest[g_].doubled = (guest[g_].doubled > 0 -> 2 : 0);
			guest[g_].sent = guest[g_].sent & BIT(guest[g_].number)
		:: boot[guest[g_].boot].state == BOOT_LIVE ->
			guest[g_].sent = guest[g_].sent & ~(BIT(boot[guest[g_].boot].number) - 1);
			guest[g_].doubled = guest[g_].doubled & ~(BIT(boot[guest[g_].boot].number) - 1);
			if
			:: guest[g_].number != boot[guest[g_].boot].number && !cloned ->
				guest[g_].sent = guest[g_].sent & ~BIT(boot[guest[g_].boot].number);
				guest[g_].doubled =
					guest[g_].doubled & ~BIT(boot[guest[g_].boot].number)
			:: else
			fi
		:: else
		fi
	fi
#endif
#ifdef ROLLBACK
	SHOWS(g_, 1);
	SHOWS(g_, 2);
	SHOWS(g_, 3);
	SHOWS(g_, 4);
#endif
	skip
}

proctype watchdog(byte g)
{
#ifdef PROCESSES
	do
	/* What it carried is lost with it. */
	:: atomic {
		HOLDS && guest[g].has_watchdog ->
		guest[g].has_watchdog = 0;
		MISHAP(g);
		guest[g].sent = guest[g].sent & ~BIT(guest[g].number)
	}
	:: atomic { HOLDS && !guest[g].has_watchdog -> guest[g].has_watchdog = 1 }
	od
#else
	skip
#endif
}

inline select_number()
{
	n = 1;
	do
	:: n < NUMBERS -> n++
	:: break
	od
}

proctype network(byte g)
{
	byte n;

	do
	:: atomic {
		guest[g].sent != 0 ->
		select_number();
		if
		:: HAS(guest[g].sent, n) -> /* lost */
			guest[g].sent = guest[g].sent & ~BIT(n);
			MISHAP(g)
		:: else
		fi;
		tidy(g);
		n = 0
	}
	:: atomic {
		guest[g].doubled != 0 ->
		select_number();
		guest[g].doubled = guest[g].doubled & ~BIT(n);
		n = 0
	}
	:: atomic {
		guest[g].ttl[0] > 0 ->
		guest[g].ttl[0] = 0;
		guest[g].sequence[0] = 0;
		MISHAP(g);
		sort_tokens()
	}
	:: atomic {
		guest[g].verdict_shred != REASON_NONE ->
		guest[g].verdict_shred = REASON_NONE;
		MISHAP(g)
	}
	od
}

/* --- managers, store --- */

/* Row ROW ends, where it has not. */
inline end_boot(row, cause)
{
	if
	:: boot[row].state != BOOT_ENDING ->
		boot[row].state = BOOT_ENDING;
		boot[row].reason = cause
	:: else
	fi
}

#define MAKER	    (g + 2 * guest[g].again)

/* The verdict shred is stored, then sent; or the manager dies between. */
inline send_shred()
{
	if
	:: guest[g].verdict_shred = (HOLDS -> B.reason : REASON_NONE)
	:: MISHAP(g)
	fi
}

inline send_token(value)
{
	if
	:: !HOLDS || n != guest[g].number
	:: else ->
		if
		:: guest[g].ttl[0] == 0 || TOKENS == 1 ->
			guest[g].ttl[0] = value;
			guest[g].sequence[0] = B.issued
#if TOKENS == 2
		:: else ->
			if
			:: guest[g].sequence[0] == B.issued
			:: else ->
				guest[g].ttl[1] = value;
				guest[g].sequence[1] = B.issued
			fi
#endif
		fi
	fi
}

/* engine_granted(), and what goes with it in one transaction. */
inline commit(value)
{
	/* P5 */
	assert(B.state != BOOT_ENDING && !revoked);
	B.state = BOOT_LIVE;
	B.was_admitted = 1;
	B.number = n;
	B.maker = MAKER;
	B.ttl = value;
	B.granted = 0;
	B.fence = (FENCE(value) > B.fence -> FENCE(value) : B.fence);
#ifdef ROLLBACK
	last++;
	B.issued = last;
#endif
#if GUESTS == 2
	if
	:: guest[0].boot != guest[1].boot -> end_boot(1 - guest[g].boot, REASON_SUPERSEDED)
	:: else
	fi
#endif
}

inline note_bound(value)
{
	guest[g].bound = (value + BUDGET + 1 > guest[g].bound -> value + BUDGET + 1 : guest[g].bound)
}

inline grant(value)
{
	if
	:: value == 0 /* ENGINE_STALE */
#if DEFECT == 4 /* sent before it is committed */
	:: value > 0 -> send_token(value); note_bound(value); MISHAP(g)
#endif
#if DEFECT == 5 /* what was read is committed later */
	:: value > 0 && decided == NEVER -> decided = g; decided_ttl = value
#endif
	:: value > 0 ->
		commit(value);
		note_bound(value);
		if
		:: send_token(value)
		:: MISHAP(g)
		fi
	fi
}

#define LEAST(a, b) ((a) < (b) -> (a) : (b))
#if DEFECT == 3 /* no look at the evidence's age */
#define TTL LEASE
#else
#define TTL (evidence >= LEASE -> 0 : LEASE - evidence)
#endif
#if DEFECT == 11 /* an older number is taken for another maker's */
#define IS_CLONE (B.number > 0 && n <= B.number && (n < B.number || B.maker != MAKER))
#else
#define IS_CLONE (B.number > 0 && n == B.number && B.maker != MAKER)
#endif
#ifdef ROLLBACK
#define PAST_FENCE (B.state == BOOT_LIVE && B.fence == 0 && guest[g].shown[n] <= B.issued)
#else
#define PAST_FENCE (B.state == BOOT_LIVE && B.fence == 0)
#endif
/* After the poll interval, or a quarter of the lease where that is shorter (due_ms()). */
#define IS_DUE(n) (B.state != BOOT_LIVE || B.granted >= POLL || B.ttl < LEASE || (n) <= B.number)

#define SHOWS_ROLLBACK                                                                             \
	(frozen || guest[g].shown[n] > last ||                                                     \
	 (EPOCH(guest[g].shown[n]) >= adopted_epoch && guest[g].shown[n] > B.issued))

/* engine_decide(): one transaction. A request that waits, or finds no evidence, stays parked. */
inline decide()
{
	if
#ifdef ROLLBACK
	:: SHOWS_ROLLBACK ->
		/* ENGINE_FROZEN */
		assert(lost); /* P6 */
		frozen = 1;
		rolled_back = (guest[g].shown[n] > rolled_back -> guest[g].shown[n] : rolled_back)
#endif
	:: else ->
		if
		:: B.state == BOOT_ENDING -> send_shred()
		:: else ->
			if
			:: IS_CLONE -> end_boot(guest[g].boot, REASON_CLONE); send_shred()
			:: else ->
				if
				:: revoked -> end_boot(guest[g].boot, REASON_REVOKED); send_shred()
				:: n < B.number && !revoked /* ENGINE_OLDER */
				:: n == B.number && !revoked -> send_token(B.ttl) /* ENGINE_REPEAT */
				:: n > B.number && !revoked ->
					if
					:: PAST_FENCE -> end_boot(guest[g].boot, REASON_LEASE); send_shred()
					:: else -> grant(TTL)
					fi
				fi
			fi
		fi
	fi
}

#define IS_ANSWERABLE(n) (B.state == BOOT_ENDING || revoked || IS_DUE(n))

/* One request is taken from the network, or a copy of it. */
inline handle()
{
	if
	:: HAS(guest[g].sent, n) && IS_ANSWERABLE(n) ->
		decide();
		if
		:: guest[g].sent = guest[g].sent & ~BIT(n)
#ifndef ROLLBACK
		:: guest[g].sent = guest[g].sent & ~BIT(n);
			guest[g].doubled = guest[g].doubled | BIT(n)
#endif
		fi
	:: HAS(guest[g].doubled, n) && IS_ANSWERABLE(n) -> decide()
	:: else
	fi;
	tidy(g);
	g = 0;
	n = 0
}

#ifndef ROLLBACK
#define new_epoch() skip
#elif DEFECT == 12 /* a start counts from 0 again, in the same epoch */
#define new_epoch() last = EPOCH(last) * 16
#else
inline new_epoch()
{
	if
	:: EPOCH(last) >= EPOCHS -> false /* the end of what is looked at */
	:: else -> last = (EPOCH(last) + 1) * 16
	fi
}
#endif

proctype manager(byte m)
{
	byte g, n;

	do
	:: atomic {
		up[m] && (guest[0].sent | guest[0].doubled) != 0 -> g = 0;
		select_number();
		handle()
	}
#if GUESTS == 2
	:: atomic {
		up[m] && (guest[1].sent | guest[1].doubled) != 0 -> g = 1;
		select_number();
		handle()
	}
#endif
#if DEFECT == 5
	:: atomic {
		up[m] && decided != NEVER ->
		g = decided;
		n = guest[g].number;
		commit(decided_ttl);
		note_bound(decided_ttl);
		send_token(decided_ttl);
		decided = NEVER;
		decided_ttl = 0;
		g = 0;
		n = 0
	}
#endif
	od
}

/* --- the customer, the KMS, operators, the hypervisor, the disk of the store --- */

inline power_on(g_)
{
	guest[g_].keys = 1;
	guest[g_].end = NEVER;
	guest[g_].begun = REASON_NONE;
	guest[g_].has_agent = 1;
	guest[g_].has_watchdog = 1;
	guest[g_].state = LEASE_STARTING;
	guest[g_].reason = REASON_NONE;
	guest[g_].number = 1;
	guest[g_].deadline = NEVER;
	guest[g_].verdict_shred = REASON_NONE
}


#define COPY_BOOT(to, from)                                                                        \
	to.state = from.state;                                                                     \
	to.reason = from.reason;                                                                   \
	to.was_admitted = from.was_admitted;                                                       \
	to.number = from.number;                                                                   \
	to.maker = from.maker;                                                                     \
	to.ttl = from.ttl;                                                                         \
	to.granted = from.granted;                                                                 \
	to.fence = from.fence;                                                                     \
	to.issued = from.issued

proctype world()
{
	do
	:: false
#ifdef REVOKE
	:: atomic { disabled == 0 -> disabled = 1; connected = 1 }
#endif
#ifdef OPERATOR
	:: atomic { !asked && boot[0].state == BOOT_LIVE -> asked = 1; end_boot(0, REASON_OPERATOR) }
#endif
#ifdef CLONE
	:: atomic {
		!cloned && RUNS(0) && guest[0].begun == REASON_NONE ->
		cloned = 1;
		guest[1].boot = 0;
		guest[1].keys = guest[0].keys;
		guest[1].end = guest[0].end;
		guest[1].process_died = guest[0].process_died;
		guest[1].gone = guest[0].gone;
		guest[1].has_agent = guest[0].has_agent;
		guest[1].state = guest[0].state;
		guest[1].reason = guest[0].reason;
		guest[1].number = guest[0].number;
		guest[1].age = guest[0].age;
		guest[1].deadline = guest[0].deadline;
		guest[1].bound = guest[0].bound;
		guest[1].has_watchdog = guest[0].has_watchdog;
		admitted[1] = admitted[0]
	}
#endif
#ifdef SUPERSEDE
	:: atomic {
		younger == 0 ->
		younger = 1;
		guest[1].boot = 1;
		power_on(1)
#if DEFECT == 13 /* a report ends the boot before it, not an admission */
		; end_boot(0, REASON_SUPERSEDED)
#endif
	}
#endif
#ifdef ROLLBACK
	:: atomic { EPOCH(last) < EPOCHS -> new_epoch() }
	:: atomic {
		copies == 0 ->
		copies = 1;
		COPY_BOOT(copy, boot[0]);
		copy_last = last;
		copy_revoked = revoked
	}
	:: atomic {
		copies == 1 && rollbacks == 0 && last > copy_last ->
		rollbacks = 1;
		lost = 1;
		COPY_BOOT(boot[0], copy);
		last = copy_last;
		revoked = copy_revoked;
		frozen = 0;
		new_epoch()
	}
	:: atomic {
		frozen ->
		frozen = 0;
		if
		:: EPOCH(rolled_back) < EPOCHS && EPOCH(last) < EPOCHS ->
			adopted_epoch = (EPOCH(rolled_back) > EPOCH(last) -> EPOCH(rolled_back) : EPOCH(last)) + 1;
			last = adopted_epoch * 16;
			rolled_back = 0
		:: else -> false
		fi
	}
#endif
	od
}

/* --- time --- */

#define LESS(x) x = (x > 0 && x < NEVER -> x - 1 : x)

/* A manager answers what it can; the agent takes what came. Else the network was slow. */
inline look_at(g_)
{
	g = g_;
	if
	:: IS_ASKING(g) && guest[g].has_watchdog && !guest[g].ill && (up[0] || up[1]) &&
	   kms == KMS_OK && evidence <= 1 && guest[g].ttl[0] == 0 &&
	   guest[g].verdict_shred == REASON_NONE &&
	   !FROZEN &&
	   !(HAS(guest[g].sent, guest[g].number) && IS_ANSWERABLE(guest[g].number)) ->
		guest[g].wells = (guest[g].wells < SETTLED -> guest[g].wells + 1 : SETTLED)
	:: else ->
		guest[g].wells = 0;
		if
		:: !(IS_ASKING(g) && guest[g].has_watchdog && !guest[g].ill && (up[0] || up[1]) &&
		     guest[g].ttl[0] == 0 && guest[g].verdict_shred == REASON_NONE &&
		     !(HAS(guest[g].sent, guest[g].number) && IS_ANSWERABLE(guest[g].number))) ->
			connected = 0
		:: else
		fi
	fi;
#if GUESTS == 1 && !defined(ROLLBACK)
	guest[g].ills = (guest[g].wells == SETTLED -> 0 : LEAST(guest[g].ills + 1, CAUSE));
#else
	guest[g].wells = 0;
#endif
	guest[g].ill = 0
}

inline pass(g_)
{
	g = g_;
	if
	:: RUNS(g) ->
		LESS(guest[g].end);
		if
		:: guest[g].state == LEASE_ADMITTED -> LESS(guest[g].deadline)
		:: else
		fi;
		guest[g].age = (guest[g].age < LEASE -> guest[g].age + 1 : guest[g].age);
		guest[g].gone = (!guest[g].has_agent && guest[g].gone < GONE -> guest[g].gone + 1 : guest[g].gone);
		guest[g].late = guest[g].begun != REASON_NONE && guest[g].keys;
		LESS(guest[g].bound)
	:: else
	fi
}

inline pass_boot(row)
{
	LESS(boot[row].fence);
	boot[row].granted = (boot[row].granted < POLL -> boot[row].granted + 1 : boot[row].granted)
}

inline check(g_)
{
	g = g_;
	/* P1 */
	assert(!IS_BOUNDED(g) || guest[g].bound > 0);
	/* P2 */
	assert(!IS_BOUNDED(g) || disabled <= LEASE + BUDGET + 1);
	assert(!IS_BOUNDED(g) || !connected || disabled <= 2 + BUDGET + 1);
	/* P3 */
#ifdef FENCE_AFTER_ROLLBACK
	assert(!IS_BOUNDED(g) || B.fence > 0)
#else
	assert(!IS_BOUNDED(g) || B.fence > 0 || lost)
#endif
}

/* record_revocation() */
inline revoke()
{
	revoked = 1;
	end_boot(0, REASON_REVOKED);
#ifdef SUPERSEDE
	end_boot(1, REASON_REVOKED)
#endif
}

inline probe()
{
	if
	:: !up[0] -> /* the other one takes over */
		up[0] = up[1];
		up[1] = 0;
		evidence = (evidence < LEASE -> evidence + 1 : evidence);
		connected = 0
	:: up[0] && kms == KMS_OK -> evidence = 0; refused = 0
	:: up[0] && kms != KMS_OK ->
		evidence = (evidence < LEASE -> evidence + 1 : evidence);
		if
		:: kms == KMS_REVOKED_ACCESS ->
			refused = (refused < 2 -> refused + 1 : refused);
			if
#if DEFECT == 10 /* one refusal is enough */
			:: refused >= 1
#else
			:: refused >= 2
#endif
			   -> revoke()
			:: else
			fi
		:: else -> refused = 0
		fi
	fi
}

#if GUESTS == 2
#define ALL_MAY_PASS (MAY_PASS(0) && MAY_PASS(1))
#else
#define ALL_MAY_PASS MAY_PASS(0)
#endif
#define MAY_PASS(g) (!MUST_BEGIN(g) && !IS_LATE(g) && !MUST_RETRY(g) && !MUST_TICK(g))

/* How KMS and managers fare in this tick. */
inline fare()
{
	if
	:: disabled > 0 -> kms = KMS_REVOKED_ACCESS
	:: disabled == 0 -> kms = KMS_OK
#ifdef REVOKE
	:: disabled == 0 && refused == 0 -> kms = KMS_REVOKED_ACCESS
#endif
#ifdef SILENT
	:: kms = KMS_UNAVAILABLE
#endif
	fi;
#ifdef MANAGERS
	if
	:: skip
	:: up[0] -> up[0] = 0
	:: up[1] -> up[1] = 0
	:: !up[0] -> up[0] = 1; new_epoch()
	:: !up[1] -> up[1] = 1; new_epoch()
	fi
#else
	skip
#endif
}

proctype time()
{
	byte g;
	mtype kms;

	do
	:: atomic {
		ALL_MAY_PASS ->
		fare();
		tidy(0);
#if GUESTS == 2
		tidy(1);
#endif
		look_at(0);
		pass(0);
		pass_boot(0);
#if GUESTS == 2
		look_at(1);
		pass(1);
#ifdef SUPERSEDE
		pass_boot(1);
#endif
#endif
		probe();
		disabled = (disabled > 0 && disabled <= LEASE + BUDGET + 1 -> disabled + 1 : disabled);
		check(0);
#if GUESTS == 2
		check(1);
#endif
		kms = KMS_OK;
		g = 0
	}
	od
}

init {
	byte g;

	atomic {
		g = 0;
		do
		:: g < GUESTS ->
			guest[g].begun = REASON_NONE;
			guest[g].reason = REASON_NONE;
			guest[g].verdict_shred = REASON_NONE;
			guest[g].state = LEASE_OFF;
			guest[g].end = NEVER;
			guest[g].deadline = NEVER;
			boot[g].state = BOOT_WAITING;
			boot[g].reason = REASON_NONE;
			run keeper(g);
			run agent(g);
			run watchdog(g);
			run network(g);
			g++
		:: else -> break
		od;
		g = 0;
		up[0] = 1;
		up[1] = 1;
		power_on(0);
		run manager(0);
		run manager(1);
		run world();
		run time()
	}
}

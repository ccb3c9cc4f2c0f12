/* SPDX-License-Identifier: Apache-2.0 */
/* The note that this boot ends in good order: signed when the keeper says that the machine stops, and
 * sent until the manager has it. It promises what the keeper does, and changes nothing here: leases go
 * on, and a shred's receipt says more.
 *
 * The page keeps the note, so that an agent that is restarted sends the same. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "keys/hygiene.h"

#define RESEND_MS 500

static bool note_is_made(const struct agent *a)
{
	return a->state.ending[0] != 0;
}

bool ending_is_over(const struct agent *a)
{
	return a->ending.over || a->shred.begun;
}

static void over(struct agent *a)
{
	a->ending.over = true;
	control_notify(a);
}

static void push(struct agent *a)
{
	struct exchange *exchange = &a->ending.exchange;

	if (!note_is_made(a) || ending_is_over(a) || exchange->number || !watchdog_connected(a))
		return;
	*exchange = (struct exchange){.number = requests_number(a), .route = ROUTE_ENDING};
	watchdog_send(a, ROUTE_ENDING, exchange->number, a->state.ending, ENDING_SIZE);
}

static int on_resend(sd_event_source *s, uint64_t usec, void *userdata)
{
	push(userdata);
	return 0;
}

static int note_make(struct agent *a, const struct keeper_ending *said)
{
	_cleanup_signing_key_ struct signing_key *key = NULL;
	struct ending note = {
		.verb = said->verb,
		.bound_ms = (uint32_t)((said->end_ns - said->began_ns) / NSEC_PER_MSEC),
		.began_ns = said->began_ns,
	};
	int r;

	memcpy(note.admission, a->state.lease.admission, sizeof(note.admission));
	r = identity_key(a, &key);
	r = r < 0 ? r : ending_sign(key, &note, a->state.ending);
	registers_scrub();
	return r;
}

void ending_begin(struct agent *a, const struct keeper_ending *said)
{
	int r;

	log_notice("this boot ends: %s", end_verb_name(said->verb));
	/* The manager keeps the first one. */
	if (note_is_made(a))
		return;
	if (!a->state.reported || !lease_is_admitted(a)) {
		over(a);
		return;
	}
	r = note_make(a, said);
	if (r < 0) {
		log_errno(r, "the note that this boot ends");
		memset(a->state.ending, 0, sizeof(a->state.ending));
		over(a);
		return;
	}
	if (keeper_save(a) == 0)
		push(a);
}

void ending_response(struct agent *a, const struct watchdog_message *message)
{
	uint16_t status = message->http_status;

	if (message->number == 0 || message->number != a->ending.exchange.number)
		return;
	a->ending.exchange.number = 0;
	if (status / 100 != 2)
		log_warning("the note that this boot ends: manager answered %u", status);
	/* As with receipts: what is refused once is refused again. */
	if (status / 100 == 2 || (status / 100 == 4 && status != 429))
		over(a);
	else
		agent_timer(a, &a->ending.timer, clock_boottime_ns() + RESEND_MS * NSEC_PER_MSEC,
			    on_resend);
}

void ending_watchdog_changed(struct agent *a)
{
	a->ending.exchange.number = 0;
	push(a);
}

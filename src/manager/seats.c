/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests: at most one for each boot, forgotten when its peer goes. */
#include "manager/seats.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"

#define CHAINS 4096

struct seats {
	sd_event *event;
	void (*due)(struct seat *seat, void *userdata);
	void *userdata;
	struct seat *chains[CHAINS]; /* by the first bytes of the admission */
	unsigned n_parked;
};

static struct seat **chain_of(struct seats *seats, const uint8_t *admission)
{
	return &seats->chains[get_be16(admission) % CHAINS];
}

struct seat *seat_find(struct seats *seats, const uint8_t admission[static HASH_SIZE])
{
	struct seat *seat = *chain_of(seats, admission);

	while (seat && !bytes_equal(seat->admission, admission, HASH_SIZE))
		seat = seat->next;
	return seat;
}

void seat_leave(struct seat *seat)
{
	struct seat **at = chain_of(seat->seats, seat->admission);

	if (seat->http) {
		seat->http->on_gone = NULL;
		seat->http = http_request_unref(seat->http);
		seat->seats->n_parked--;
	}
	if (seat->timer)
		sd_event_source_set_enabled(seat->timer, SD_EVENT_OFF);
	if (seat->pairing)
		return;
	while (*at != seat)
		at = &(*at)->next;
	*at = seat->next;
	sd_event_source_disable_unref(seat->timer);
	free(seat);
}

static void on_gone(struct http_request *http)
{
	seat_leave(http->userdata);
}

static struct seat *seat_new(struct seats *seats, const struct ask *ask)
{
	struct seat **chain = chain_of(seats, ask->boot->admission);
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return NULL;
	seat->seats = seats;
	memcpy(seat->admission, ask->boot->admission, HASH_SIZE);
	seat->vm = ask->boot->vm;
	seat->next = *chain;
	*chain = seat;
	return seat;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct seat *seat = userdata;

	if (seat->http)
		seat->seats->due(seat, seat->seats->userdata);
	return 0;
}

int seat_wait(struct seat *seat, uint64_t due_ms)
{
	int r;

	if (!seat->timer)
		return sd_event_add_time(seat->seats->event, &seat->timer, CLOCK_BOOTTIME,
					 due_ms * 1000, 10000, on_timer, seat);
	r = sd_event_source_set_time(seat->timer, due_ms * 1000);
	return r < 0 ? r : sd_event_source_set_enabled(seat->timer, SD_EVENT_ONESHOT);
}

struct seat *seat_take(struct seats *seats, const struct ask *ask)
{
	struct seat *seat = seat_find(seats, ask->boot->admission);

	if (!seat)
		seat = seat_new(seats, ask);
	if (!seat)
		return NULL;
	if (seat->http == ask->http)
		return seat;
	if (seat->http) {
		http_reply_error(seat->http, 409, "replaced", "a newer request of this boot came");
		seat->http->on_gone = NULL;
		http_request_unref(seat->http);
		seats->n_parked--;
	}
	seat->http = http_request_ref(ask->http);
	seat->http->userdata = seat;
	seat->http->on_gone = on_gone;
	seat->request = *ask->request;
	seat->admitting = ask->facts.admitting;
	seat->arrived_ms = ask->facts.arrived_ms;
	seat->key = ask->workspace.key;
	seats->n_parked++;
	return seat;
}

size_t seats_collect(const struct seats *seats, bool of_key, int64_t id,
		     uint8_t (*ret_admissions)[HASH_SIZE])
{
	size_t n = 0;

	for (size_t i = 0; i < CHAINS; i++) {
		for (const struct seat *seat = seats->chains[i]; seat; seat = seat->next) {
			if (seat->http && (of_key ? seat->key : seat->vm) == id)
				memcpy(ret_admissions[n++], seat->admission, HASH_SIZE);
		}
	}
	return n;
}

unsigned seats_parked(const struct seats *seats)
{
	return seats->n_parked;
}

struct seats *seats_new(sd_event *event, void (*due)(struct seat *seat, void *userdata),
			void *userdata)
{
	struct seats *seats = calloc(1, sizeof(*seats));

	if (!seats)
		return NULL;
	seats->event = event;
	seats->due = due;
	seats->userdata = userdata;
	return seats;
}

struct seats *seats_free(struct seats *seats)
{
	for (size_t i = 0; seats && i < CHAINS; i++) {
		while (seats->chains[i]) {
			seats->chains[i]->pairing = false;
			seat_leave(seats->chains[i]);
		}
	}
	free(seats);
	return NULL;
}

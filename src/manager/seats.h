/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests: at most one for each boot, forgotten when its peer goes. */
#pragma once

#include "manager/issue.h"

struct seats;

struct seat {
	struct seat *next; /* of its chain */
	struct seats *seats;
	uint8_t admission[HASH_SIZE];
	int64_t vm, key;	   /* row ids */
	struct http_request *http; /* NULL: nobody waits, a pair is under way */
	struct lease_request request;
	bool admitting;
	bool pairing; /* set by the owner: the seat outlives who waits in it */
	uint64_t arrived_ms;
	sd_event_source *timer;
};

/* DUE is called when a seat's time has come while somebody waits in it. NULL: out of memory. */
struct seats *seats_new(sd_event *event, void (*due)(struct seat *seat, void *userdata),
			void *userdata);
struct seats *seats_free(struct seats *seats);

struct seat *seat_find(struct seats *seats, const uint8_t admission[static HASH_SIZE]);
/* Puts ASK into its boot's seat; who sits there is told that it was replaced. NULL: out of memory. */
struct seat *seat_take(struct seats *seats, const struct ask *ask);
/* Until CLOCK_BOOTTIME DUE_MS. */
int seat_wait(struct seat *seat, uint64_t due_ms);
/* Nobody waits in it any more; it goes, unless a pair still is under way for it. */
void seat_leave(struct seat *seat);

unsigned seats_parked(const struct seats *seats);
/* The admissions of those who wait, of a key (OF_KEY) or of a VM; room for seats_parked(). */
size_t seats_collect(const struct seats *seats, bool of_key, int64_t id,
		     uint8_t (*ret_admissions)[HASH_SIZE]);

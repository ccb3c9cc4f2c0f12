/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges with the manager: sends the current challenge, again when that failed, and hands on what
 * comes back. Whatever the watchdog does, at most one answer is looked at for each request sent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "keys/hygiene.h"

#define PATIENCE_MS  70000 /* over the watchdog's own limit: it is stuck then */
#define PARKED_MS    200   /* after an answer that only says "ask again" */
#define KEYS_WAIT_MS 10000
#define NS_PER_MS    1000000ull

uint32_t requests_number(struct agent *a)
{
	if (++a->requests.last_number == 0)
		a->requests.last_number = 1;
	return a->requests.last_number;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	if (a->requests.token_waits)
		token_keys_missing(a);
	requests_send(a);
	return 0;
}

static void send_after(struct agent *a, uint64_t ms)
{
	agent_timer(a, &a->requests.timer, clock_boottime_ns() + ms * NS_PER_MS, on_timer);
}

/* Signs the current challenge; a repetition is the same bytes again. */
static int request_sign(struct agent *a)
{
	_cleanup_signing_key_ struct signing_key *key = NULL;
	const struct lease *lease = &a->state.lease;
	struct lease_request request = {
		.number = lease->number,
		.highest = lease->highest,
		.self_test_passed = a->state.self_test_passed,
		.self_test_failed = a->state.self_test_failed,
		.pauses = lease->pauses,
	};
	int r;

	if (a->requests.signed_number == lease->number)
		return 0;
	memcpy(request.admission, lease->admission, sizeof(request.admission));
	memcpy(request.challenge, lease->challenge, sizeof(request.challenge));
	r = identity_key(a, &key);
	r = r < 0 ? r : lease_request_sign(key, &request, a->requests.signed_request);
	registers_scrub();
	if (r < 0)
		return r;
	a->requests.signed_number = lease->number;
	return 0;
}

static enum route lease_route(const struct agent *a)
{
	if (a->state.lease.state != LEASE_STARTING)
		return ROUTE_LEASE;
	return bind_asked(a) ? ROUTE_BOUND_BOOT : ROUTE_BOOT;
}

void requests_send(struct agent *a)
{
	struct agent_requests *q = &a->requests;
	enum route route = lease_route(a);
	uint8_t *body = q->body;
	int r;

	if (!a->state.reported || a->state.lease.number == 0 || a->shred.begun ||
	    !watchdog_connected(a))
		return;
	r = request_sign(a);
	if (r == 0 && route == ROUTE_BOUND_BOOT)
		r = offer_make(a);
	if (r < 0) {
		log_errno(r, "lease request");
		requests_retry(a, 0);
		return;
	}
	if (route != ROUTE_LEASE) {
		memcpy(body, a->state.report, BOOT_REPORT_SIZE);
		body += BOOT_REPORT_SIZE;
	}
	memcpy(body, q->signed_request, LEASE_REQUEST_SIZE);
	if (route == ROUTE_BOUND_BOOT)
		memcpy(body + LEASE_REQUEST_SIZE, q->offer, BIND_OFFER_SIZE);
	q->lease = (struct exchange){.number = requests_number(a), .route = route};
	send_after(a, PATIENCE_MS);
	watchdog_send(a, route, q->lease.number, q->body, route_body_size(route));
}

void requests_retry(struct agent *a, uint32_t min_ms)
{
	uint32_t random, delay_ms;

	agent_random(a, &random, sizeof(random));
	delay_ms = retry_failed(&a->requests.retry, random);
	send_after(a, delay_ms > min_ms ? delay_ms : min_ms);
}

int requests_ask_keys(struct agent *a)
{
	struct agent_requests *q = &a->requests;

	q->keys = (struct exchange){.number = requests_number(a), .route = ROUTE_SIGNING_KEYS};
	send_after(a, KEYS_WAIT_MS);
	return watchdog_send(a, ROUTE_SIGNING_KEYS, q->keys.number, NULL, 0);
}

/* Says what goes wrong on the way to the manager: when it changes, not each time. */
static void error_note(struct agent *a, const char *text)
{
	char escaped[sizeof(a->requests.last_error)];

	text_escape(escaped, sizeof(escaped), text, strlen(text));
	if (strcmp(escaped, a->requests.last_error) == 0)
		return;
	memcpy(a->requests.last_error, escaped, sizeof(escaped));
	log_warning("manager: %s", escaped);
}

static void failure_note(struct agent *a, const struct watchdog_message *message)
{
	char text[128];

	if (message->http_status == 0)
		snprintf(text, sizeof(text), "no answer: %s",
			 message->header.status < 0 && message->header.status > INT32_MIN
				 ? strerror(-message->header.status)
				 : "unknown");
	else
		snprintf(text, sizeof(text), "%s answered %u", route_path(message->route),
			 message->http_status);
	error_note(a, text);
}

static bool answer_is_whole(const struct watchdog_message *message)
{
	return message->length == TOKEN_SIZE ||
	       (message->route == ROUTE_BOUND_BOOT && message->length == BOUND_ANSWER_SIZE);
}

static void lease_response(struct agent *a, const struct watchdog_message *message)
{
	struct agent_requests *q = &a->requests;

	q->lease.number = 0;
	q->manager_connected = message->http_status != 0;
	if (message->http_status == 200 && answer_is_whole(message)) {
		q->last_error[0] = '\0';
		/* Accepted, it makes the next request; otherwise this stands. */
		requests_retry(a, 0);
		token_received(a, message->body, message->length);
	} else if (message->http_status == 202) {
		q->last_error[0] = '\0';
		retry_succeeded(&q->retry);
		send_after(a, PARKED_MS);
	} else {
		failure_note(a, message);
		requests_retry(a, message->retry_after_ms);
	}
}

static void keys_response(struct agent *a, const struct watchdog_message *message)
{
	a->requests.keys.number = 0;
	if (message->http_status == 200) {
		token_keys_received(a, message->body, message->length);
		return;
	}
	failure_note(a, message);
	token_keys_missing(a);
	requests_retry(a, message->retry_after_ms);
}

void requests_response(struct agent *a, const struct watchdog_message *message)
{
	const struct exchange *lease = &a->requests.lease, *keys = &a->requests.keys;

	if (message->number == 0 || message->length > sizeof(message->body))
		return;
	if (message->number == lease->number && message->route == lease->route)
		lease_response(a, message);
	else if (message->number == keys->number && message->route == keys->route)
		keys_response(a, message);
	else
		log_debug("watchdog: answer to request %u, which is not under way",
			  message->number);
}

void requests_watchdog_lost(struct agent *a)
{
	a->requests.lease.number = 0;
	a->requests.keys.number = 0;
	a->requests.manager_connected = false;
	if (a->requests.token_waits)
		token_keys_missing(a);
	error_note(a, "emberlock-watchdog is not connected");
}

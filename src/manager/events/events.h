/* SPDX-License-Identifier: Apache-2.0 */
/* Events of clouds: a message that proves to be of a key configuration's source makes its probes due.
 *
 *	POST /v1/events/KEY ─▶ source ─▶ verify ─▶ prober_event()
 *	                                  │  ▲
 *	             key unknown: fetched ▼  │  from the source's own host alone,
 *	                              kms pool  and seldom, whatever arrives
 */
#pragma once

#include "manager/manager.h"

extern const struct http_route event_routes[];
extern const size_t event_routes_n;

int events_new(struct manager *manager, struct events **ret_events);
/* Those that wait for a key are answered. */
struct events *events_free(struct events *events);

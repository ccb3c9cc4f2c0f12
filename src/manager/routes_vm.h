/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the first listener, where VMs speak: signed records, no certificate. */
#pragma once

#include "manager/http.h"

extern const struct http_route vm_routes[];
extern const size_t vm_routes_n;

/* receipts.c */
void receipt_handle(struct http_request *http);
/* endings.c */
void ending_handle(struct http_request *http);

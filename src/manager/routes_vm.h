/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the first listener, where VMs speak: signed records, no certificate. */
#pragma once

#include <stdbool.h>

#include "core/message.h"
#include "manager/http.h"
#include "manager/store.h"

extern const struct http_route vm_routes[];
extern const size_t vm_routes_n;

/* Answers about a record that a boot has signed: not of the form; not signed by WHOSE; not now. */
void vm_reply_malformed(struct http_request *http);
void vm_reply_unsigned(struct http_request *http, const char *whose);
void vm_reply_store_error(struct http_request *http);
/* The boot of ADMISSION and its report; false where there is none and the request has been answered. */
bool vm_boot_find(struct http_request *http, const uint8_t admission[static HASH_SIZE],
		  struct store_boot *ret_boot, struct boot_report *ret_report);

/* receipts.c */
void receipt_handle(struct http_request *http);
/* endings.c */
void ending_handle(struct http_request *http);

/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the third listener, where storage nodes ask for DEKs. */
#pragma once

#include "manager/http.h"
#include "manager/store.h"

/* For the listener: a body is kept of enrolled nodes alone. */
bool storage_admit(struct http_request *http);

extern const struct http_route storage_routes[];
extern const size_t storage_routes_n;

/* The enrolled node whose key the client has shown; else the request has been answered and -EACCES or
 * -EIO is returned. */
int storage_node_of(struct http_request *http, struct store_node *ret_node);

/* SPDX-License-Identifier: Apache-2.0 */
/* A key configuration as the admin API reads and shows it: one of aws_key_info, azure_key_info,
 * gcp_key_info and file_key_info names the CMK, in the words of its cloud. */
#pragma once

#include "manager/http.h"
#include "manager/store.h"

/* Defaults, then what REQUEST's body says, then the checks that need no KMS. On error the request has
 * been answered. */
int admin_key_read(struct http_request *request, struct store_key *ret_key);
/* What was configured; the caller's. NULL: out of memory. */
json_t *admin_key_shape(const struct store_key *key);

/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTPS request of a provider and its answer, by libcurl. Blocking; for the pool's workers.
 *
 * TLS 1.2 or later, verified; no redirect, no netrc; proxies as HTTPS_PROXY and NO_PROXY say. What
 * passes through libcurl's memory is wiped when libcurl frees it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/kms/kms.h"

#define KMS_HTTP_HEADERS_MAX 8
#define KMS_HTTP_REQUEST_MAX (16 * 1024)
#define KMS_HTTP_REPLY_MAX   (32 * 1024)

/* Lives in locked memory (struct kms_call). */
struct kms_http {
	/* The request; zero where not wanted. */
	const char *method;
	char url[1024];
	const char *headers[KMS_HTTP_HEADERS_MAX]; /* "Name: value"; the caller's */
	char request[KMS_HTTP_REQUEST_MAX];
	size_t request_size;
	const char *sigv4; /* "aws:amz:REGION:SERVICE": sign as USER with PASSWORD */
	const char *user, *password;
	const char *ca_file; /* trusted in place of the system's; NULL */
	bool metadata;	     /* a link-local service: plain HTTP, no proxy, short times */
	bool retry_missing;  /* 404 and 410 pass (Azure's metadata service) */
	/* The answer. */
	unsigned tries; /* requests that were sent, or that found nobody */
	int error;	/* negative errno where none came: -EHOSTUNREACH name, -ECONNREFUSED,
		      -ETIMEDOUT, -EKEYREJECTED certificate, -EMSGSIZE, -EPROTO */
	long status;
	int64_t date_s; /* Date: in seconds since 1970; 0 none */
	char error_type[96];
	char request_id[KMS_REQUEST_ID_MAX]; /* of AWS and Azure; "" none */
	char reply[KMS_HTTP_REPLY_MAX];
	size_t reply_size;
};

/* Asks, and again after a pause where the network, 429 or 5xx says so: 3 times and 8 s at most. */
void kms_http_perform(struct kms_http *http);

/* Appends printf text to the request; -EMSGSIZE where it does not fit. */
int kms_http_add(struct kms_http *http, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Appends VALUE percent-encoded, after NAME and "=", and "&" where something stands before. */
int kms_http_add_form(struct kms_http *http, const char *name, const char *value);

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of storage nodes for DEKs: what they need is found or fetched, then all is done at once.
 *
 *	request ─▶ who, whether (dek_engine.h) ─▶ KEKs held? ─ yes ─▶ open, seal ─▶ reply
 *	               ▲                              │ no
 *	               └──────── fetched, or not ◀────┘ keks.h */
#pragma once

#include "manager/keks.h"

#define DEK_BATCH_MAX 64 /* DEKs of a request */
#define DEK_KEKS_MAX  8	 /* KEKs that a request may need */

struct deks;
int deks_new(struct manager *manager, struct deks **ret_deks);
/* After the KMS pool, before keks_free(). */
struct deks *deks_free(struct deks *deks);

enum dek_operation { DEK_GENERATE, DEK_UNWRAP, DEK_REWRAP };

struct dek_item {
	char context[DEK_CONTEXT_MAX + 1];
	uint8_t blob[DEK_BLOB_MAX]; /* of unwrap and rewrap */
	size_t size;
	/* deks.c's: */
	const char *wrong; /* with the blob; NULL: nothing so far */
	struct dek_need *source, *target;
};

/* A KEK that a request needs. */
struct dek_need {
	struct dek_request *request;
	struct kek_wrapped wrapped; /* id zero: the first of its use, to be made */
	bool stored;		    /* .wrapped is the store's */
	bool foreign;		    /* it is another workspace's */
	bool retired;		    /* nothing under it is unwrapped any more */
	bool superseded;	    /* there is a newer one of its use */
	bool asked;		    /* it was fetched, or is being; over where it is not pending: */
	int r;
	enum kms_class class;
	const struct kek *kek; /* held; NULL: not */
};

struct dek_request {
	struct dek_request *next;
	struct http_request *http; /* its own reference */
	enum dek_operation operation;
	char use[KEK_USE_MAX + 1]; /* of generate */
	struct dek_item items[DEK_BATCH_MAX];
	size_t n;
	/* deks.c's: */
	struct deks *deks;
	int64_t node, workspace;
	struct dek_need needs[DEK_KEKS_MAX];
	size_t n_needs;
	unsigned pending; /* of the needs */
	bool stale;	  /* one of them changed meanwhile */
	unsigned again;	  /* how often that made it begin anew */
	bool answered;
};

/* Takes over REQUEST (malloc'd), and answers it now or later. */
void deks_request(struct deks *deks, struct dek_request *request);

/* Answers when the node may have no more DEKs, as deks_request() would refuse them; else with 200 after
 * the poll interval. 429 above DEK_WATCHES_MAX of a node at once. */
#define DEK_WATCHES_MAX 4
void deks_watch(struct deks *deks, struct http_request *http);
/* A key was revoked, or a node removed: looks at all who watch. */
void deks_review(struct deks *deks);

/* Whether DEKs of WORKSPACE may be in storage nodes' memory: its CMK is watched. */
bool deks_current(const struct deks *deks, int64_t workspace);

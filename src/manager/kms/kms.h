/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager asks of a customer's KMS, whoever provides it, and the pool that asks.
 *
 * A provider is a directory with one table of blocking, thread-safe functions; they run in the
 * workers of a pool, and the results come back to the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define KMS_PLAIN_MAX	4096
#define KMS_BLOB_MAX	8192
#define KMS_CONTEXT_MAX 4

/* What an answer means; facts: the classification table of emberlock-manager(8). */
enum kms_class {
	KMS_OK,
	KMS_REVOKED_STATE,  /* the key is disabled, scheduled for deletion, or gone */
	KMS_REVOKED_ACCESS, /* the customer withdrew our permission */
	KMS_IDENTITY,	    /* our own credentials fail: never a revocation */
	KMS_UNAVAILABLE,    /* unreachable, throttled, an error of theirs, or not understood */
	KMS_MISCONFIGURED,  /* refused before the first success, or the settings are wrong */
	KMS_CORRUPT,	    /* the blob is not of this key and context */
	KMS_CLASS__MAX
};
const char *kms_class_name(enum kms_class class);

struct kms_outcome {
	enum kms_class class;
	char code[96]; /* the provider's own words, for records; never a secret */
};

/* What names a CMK. */
struct kms_key {
	char provider[16];
	char key_id[256];
	char directory[256]; /* of the file provider; "" elsewhere */
	bool proven;	     /* this key, identity and endpoint once answered with success */
};

/* Authenticated text pairs, in the caller's order; the same at unwrap as at wrap. */
struct kms_context {
	size_t n;
	struct {
		const char *name;
		const char *value;
	} pairs[KMS_CONTEXT_MAX];
};

struct kms_provider {
	const char *name;
	/* Whether KEY's settings have the right form; no I/O. 0, or -EINVAL with ERROR naming the
	 * setting. */
	int (*check)(const struct kms_key *key, char error[static 256]);
	/* BLOB takes at most KMS_BLOB_MAX bytes. */
	void (*wrap)(const struct kms_key *key, const struct kms_context *context,
		     const uint8_t *plain, size_t n, uint8_t *blob, size_t *ret_n,
		     struct kms_outcome *ret_outcome);
	/* PLAIN is locked memory of KMS_PLAIN_MAX bytes; wiped unless the class is KMS_OK. */
	void (*unwrap)(const struct kms_key *key, const struct kms_context *context,
		       const uint8_t *blob, size_t n, uint8_t *plain, size_t *ret_n,
		       struct kms_outcome *ret_outcome);
	/* The key's state as the provider tells it: KMS_OK enabled, or the class that follows. */
	void (*describe)(const struct kms_key *key, struct kms_outcome *ret_outcome);
};

extern const struct kms_provider kms_file;

/* NULL where there is none of that name. */
const struct kms_provider *kms_provider_find(const char *name);

/* --- the pool --- */
struct kms_pool;

/* A piece of work: RUN in a worker, then DONE in the loop (always, also at the pool's end, unless
 * kms_pool_free() runs first: then only FREE). The struct is embedded in the caller's; FREE
 * releases it after DONE. */
struct kms_job {
	void (*run)(struct kms_job *job);
	void (*done)(struct kms_job *job);
	void (*free)(struct kms_job *job);
	bool reserved; /* a probe: taken before all others, and by a worker that takes only such */
	struct kms_job *next;
};

/* Starts N_WORKERS threads (at least 2: the first takes reserved jobs only). Results arrive through
 * an eventfd on EVENT. */
int kms_pool_new(sd_event *event, unsigned n_workers, struct kms_pool **ret_pool);
/* Waits for the workers; returns NULL. */
struct kms_pool *kms_pool_free(struct kms_pool *pool);
/* -EAGAIN where more than 1,024 jobs that are not reserved wait: the caller answers 503. */
int kms_pool_submit(struct kms_pool *pool, struct kms_job *job);

/* --- locked memory --- */
/* SIZE bytes that are locked, left out of core dumps, and zero; -errno where the lock fails. */
int locked_new(size_t size, void **ret_memory);
/* Wipes, unlocks, unmaps; NULL is harmless. Returns NULL. */
void *locked_free(void *memory, size_t size);

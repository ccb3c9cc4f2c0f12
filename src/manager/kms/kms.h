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

#include "base/locked.h"

#define KMS_PLAIN_MAX	   4096
#define KMS_BLOB_MAX	   8192
#define KMS_CONTEXT_MAX	   4
#define KMS_REQUEST_ID_MAX 96
#define KMS_VERSION_MAX	   80

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

/* What follows from a class. All but KMS_FOLLOW_GO let evidence age. */
enum kms_follow {
	KMS_FOLLOW_GO,		/* evidence */
	KMS_FOLLOW_DESCRIBE,	/* revoked where the key's described state agrees */
	KMS_FOLLOW_PROBE_AGAIN, /* revoked where a second probe, seconds later, is refused too */
	KMS_FOLLOW_WAIT,	/* lease on evidence to max_staleness */
	KMS_FOLLOW_ALARM,	/* the same, and people must look */
	KMS_FOLLOW__MAX
};
const char *kms_follow_name(enum kms_follow follow);

struct kms_outcome {
	enum kms_class class;
	bool alarm;	/* people must look, although the class alone would not say so */
	char code[96];	/* the provider's own words, for records; printable, never a secret */
	uint8_t by[32]; /* who asked, and where: SHA-256; zero where the provider has no identity */
	/* What the provider calls the request, for a search in its log; printable, "" none. */
	char request_id[KMS_REQUEST_ID_MAX];
	const char *lacks; /* the right that the refused request needs; NULL: it is not about one */
};
enum kms_follow kms_follow_of(const struct kms_outcome *outcome);

/* What names a CMK, and who asks for it. */
struct kms_key {
	char provider[16];
	char key_id[256];
	char directory[256];	   /* of the file provider; "" elsewhere */
	char credentials[64];	   /* a file of credentials_dir; "" of the file provider */
	char role_arn[256];	   /* aws: assumed with external_id; "" none */
	char external_id[128];	   /* aws */
	char tenant_id[64];	   /* azure: of the customer, where it is not the credentials' */
	char credentials_dir[256]; /* the manager's; not stored */
	bool proven;		   /* key, identity and endpoint once answered with success: */
	uint8_t proven_by[32];	   /* kms_outcome.by of that success */
	unsigned *calls;	   /* requests to the KMS are added here; NULL; not stored */
};

/* What a KMS, or an identity provider before it, was asked. */
enum kms_op {
	KMS_WRAP,
	KMS_UNWRAP,
	KMS_DESCRIBE,
	KMS_TOKEN,  /* the identity provider: a token of our own identity */
	KMS_ASSUME, /* aws: the customer's role, by our own identity */
	KMS_OP__MAX
};

/* What it answered. */
struct kms_reply {
	enum kms_op op;
	int error; /* negative errno: no answer came, and only op and error count */
	long status;
	const char *error_type; /* the header x-amzn-ErrorType; "" none */
	const char *body;
	size_t n;
	enum kms_class described; /* of the key, where it was asked; KMS_CLASS__MAX where not */
	bool identity_answers;	  /* KMS_ASSUME: our own identity is known to be good */
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
	/* Whether both, of this provider, name one CMK, in whatever spelling the settings allow. */
	bool (*same)(const struct kms_key *a, const struct kms_key *b);
	/* BLOB takes at most KMS_BLOB_MAX bytes. */
	void (*wrap)(const struct kms_key *key, const struct kms_context *context,
		     const uint8_t *plain, size_t n, uint8_t *blob, size_t *ret_n,
		     struct kms_outcome *ret_outcome);
	/* PLAIN is locked memory of KMS_PLAIN_MAX bytes; wiped unless the class is KMS_OK. */
	void (*unwrap)(const struct kms_key *key, const struct kms_context *context,
		       const uint8_t *blob, size_t n, uint8_t *plain, size_t *ret_n,
		       struct kms_outcome *ret_outcome);
	/* The state of the key, of the version that BLOB needs where the provider has such (BLOB
	 * NULL: of the newest), as the provider tells it: KMS_OK enabled, or the class that
	 * follows. */
	void (*describe)(const struct kms_key *key, const uint8_t *blob, size_t n,
			 struct kms_outcome *ret_outcome);
	/* Pure: the version of the key that has wrapped BLOB; "" where it is no blob of KEY. NULL where
	 * the provider does not tell, and keeps what unwraps by itself. */
	void (*version)(const struct kms_key *key, const uint8_t *blob, size_t n,
			char version[static KMS_VERSION_MAX]);
	/* Pure: what REPLY means once key, identity and endpoint have answered with success (see
	 * kms_first_success()). NULL where the provider has no wire. */
	void (*classify)(const struct kms_reply *reply, struct kms_outcome *ret_outcome);
};

extern const struct kms_provider kms_file, kms_aws, kms_azure, kms_google;

/* CODE is cut to what fits, with '?' for what cannot be printed. */
void kms_outcome_set(struct kms_outcome *outcome, enum kms_class class, bool alarm,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* What the KMS said, for who administers the key: class, code, and the right that is missing. */
void kms_outcome_tell(const struct kms_outcome *outcome, char text[static 256]);

/* Before the first success of key, identity and endpoint a refusal is a setting that is wrong. */
void kms_first_success(bool proven, struct kms_outcome *outcome);

/* NULL where there is none of that name. */
const struct kms_provider *kms_provider_find(const char *name);

/* Whether A and B name one CMK, whoever asks for it. */
bool kms_key_same(const struct kms_key *a, const struct kms_key *b);

/* The version of KEY that has wrapped BLOB; "" where the provider does not tell. */
void kms_version(const struct kms_key *key, const uint8_t *blob, size_t n,
		 char version[static KMS_VERSION_MAX]);

/* --- the pool --- */
struct kms_pool;

/* Why a KMS is asked. */
enum kms_purpose {
	KMS_FOR_PROBE,
	KMS_FOR_ADMISSION,
	KMS_FOR_KEK, /* of DEKs */
	KMS_FOR_ADMINISTRATION,
	KMS_PURPOSE__MAX
};

/* A piece of work: RUN in a worker, then DONE in the loop (always, also at the pool's end, unless
 * kms_pool_free() runs first: then only FREE). The struct is embedded in the caller's; FREE
 * releases it after DONE. */
struct kms_job {
	void (*run)(struct kms_job *job);
	void (*done)(struct kms_job *job);
	void (*free)(struct kms_job *job);
	bool reserved; /* a probe: taken before all others, and by a worker that takes only such */
	struct kms_job *next;
	/* Whom the calls are counted for: the row id of the key configuration, 0 none. RUN counts the
	 * requests by pointing kms_key.calls here. */
	enum kms_purpose purpose;
	int64_t key;
	unsigned calls;
};

/* Starts N_WORKERS threads (at least 2: the first takes reserved jobs only). Results arrive through
 * an eventfd on EVENT. */
int kms_pool_new(sd_event *event, unsigned n_workers, struct kms_pool **ret_pool);
/* COUNT is told of each job in the loop, after its DONE. */
void kms_pool_set_count(struct kms_pool *pool,
			void (*count)(const struct kms_job *job, void *userdata), void *userdata);
/* Waits for the workers; returns NULL. */
struct kms_pool *kms_pool_free(struct kms_pool *pool);
/* -EAGAIN where more than 1,024 jobs that are not reserved wait: the caller answers 503. */
int kms_pool_submit(struct kms_pool *pool, struct kms_job *job);

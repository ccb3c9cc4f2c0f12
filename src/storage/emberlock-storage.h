/* SPDX-License-Identifier: Apache-2.0 */
/* For storage nodes: data-encryption keys (DEKs) from an Emberlock manager, kept in locked memory for as
 * long as the manager allows and not a moment longer: emberlock-storage(3). They go at once when the
 * customer takes the key back and the manager can say so, else at the end of their time.
 *
 * A node stores a blob beside its data and asks for the DEK in it when it needs it. A DEK is handed
 * to a function of the caller's while that runs, and lies nowhere else.
 *
 * All functions may be called from any thread; a call that asks the manager waits for others that do.
 * They return 0 or a negative errno, with a line for people in ERROR (EMBERLOCK_ERROR_MAX bytes, or
 * NULL):
 *	-EKEYREVOKED	the customer took the key back; all DEKs have been dropped
 *	-EACCES		the manager knows no such node any more; all DEKs have been dropped
 *	-EBADMSG	the blob is damaged, or of another workspace or context
 *	-EINVAL		an argument, or a file of the credentials
 *	-EAGAIN		the manager has no evidence, or too much to do, now: later
 *	-EHOSTUNREACH	the manager does not answer
 *	-EPROTO		its answer is not of the form
 *	-ENOMEM		no memory, or none that can be locked */
#pragma once

#include <stddef.h>

#define EMBERLOCK_DEK_SIZE	32
#define EMBERLOCK_DEK_BLOB_MAX	2192
#define EMBERLOCK_DEK_BATCH_MAX 64
#define EMBERLOCK_CONTEXT_MAX	255 /* characters of printable ASCII */
#define EMBERLOCK_ERROR_MAX	256

struct emberlock_storage;

struct emberlock_dek_blob {
	size_t size;
	unsigned char bytes[EMBERLOCK_DEK_BLOB_MAX];
};

/* One of a batch. CONTEXT is the caller's; NULL: none. */
struct emberlock_dek {
	struct emberlock_dek_blob blob;
	const char *context;
	int result; /* of this one, as above */
	int rewrap; /* not 0: have the blob rewrapped, and store that */
};

/* Opens the credentials that `emberlock-admin storage-node enrol` wrote to DIRECTORY, and room for
 * MAX_DEKS (0: 1,024) in locked memory. Nothing is asked yet. Two threads are started. Call it before
 * anything else uses libcurl or libjansson: it makes both wipe what they free. */
int emberlock_storage_open(const char *directory, unsigned max_deks,
			   struct emberlock_storage **ret_storage, char *error);
/* Drops all DEKs, ends the thread. NULL is harmless. No other call may be under way. */
void emberlock_storage_close(struct emberlock_storage *storage);

/* Makes N (1 to EMBERLOCK_DEK_BATCH_MAX) new DEKs of USE ("data"), a name of at most 31 characters;
 * fills in their blobs. They are at hand for emberlock_dek_use(). */
int emberlock_dek_generate(struct emberlock_storage *storage, const char *use,
			   struct emberlock_dek *deks, size_t n, char *error);

/* Asks for those that are not at hand. 0 where that was answered; each has its result. */
int emberlock_dek_fetch(struct emberlock_storage *storage, struct emberlock_dek *deks, size_t n,
			char *error);

/* Runs FUNCTION with the DEK in BLOB, fetched first where it is not at hand, and returns what that
 * returns. DEKs are dropped by nobody while it runs, so it should be short and call none of these. */
typedef int (*emberlock_dek_function)(const unsigned char dek[EMBERLOCK_DEK_SIZE], void *userdata);
int emberlock_dek_use(struct emberlock_storage *storage, const struct emberlock_dek_blob *blob,
		      const char *context, emberlock_dek_function function, void *userdata,
		      char *error);

/* The same DEKs in other blobs, under the newest key of their use; in place. The old blobs go on
 * to work. 0 where that was answered; each has its result. */
int emberlock_dek_rewrap(struct emberlock_storage *storage, struct emberlock_dek *deks, size_t n,
			 char *error);

/* How many DEKs are at hand. */
unsigned emberlock_dek_count(struct emberlock_storage *storage);
/* Drops all. */
void emberlock_dek_drop(struct emberlock_storage *storage);

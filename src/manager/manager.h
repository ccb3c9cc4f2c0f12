/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's context, and the operations that the admin API carries out on it.
 *
 *	http_server (VM) ──▶ routes_vm ──▶ lease_engine (pure) ──▶ leases ──▶ store ──▶ reply
 *	http_server (admin) ▶ admin_routes ▶ operations below ───▶ store
 *	http_server (storage) ▶ routes_storage ▶ deks ─▶ keks ───▶ store, kms pool
 *	http_server (events) ─▶ events ─▶ prober
 *	prober ──▶ kms pool ──▶ evidence, revocation ──▶ parked requests answered at once
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "core/message.h"
#include "manager/http.h"
#include "manager/kms/kms.h"
#include "manager/store.h"

struct audit_log;
struct http_server;
struct http_stream;
struct leases;
struct prober;
struct rotation;
struct keks;
struct deks;
struct signing;
struct metrics;
struct events;
struct tally;

enum manager_listener {
	LISTENER_VM,
	LISTENER_ADMIN,
	LISTENER_STORAGE,
	LISTENER_EVENTS,
	LISTENER__MAX
};

struct manager_options {
	const char *state;  /* directory; manager.db, signing.key and the PKI files lie in it */
	const char *listen; /* "127.0.0.1:8443"; port 0: the kernel chooses */
	const char *admin_listen;
	const char *storage_listen; /* NULL: storage nodes are not served */
	const char *events_listen;  /* NULL: clouds cannot send events */
	unsigned max_connections;   /* a listener; 0: 16,384 */
	unsigned kms_workers;	    /* 0: 8 */
	const struct http_route *admin_routes;
	size_t n_admin_routes;
};

struct manager {
	sd_event *event;
	struct store *store;
	struct kms_pool *kms;
	struct signing *signing;
	struct leases *leases;
	struct prober *prober;
	struct keks *keks;
	struct rotation *rotation;
	struct deks *deks;
	struct events *events;
	struct metrics *metrics;
	struct tally *tally;
	struct audit_log *audit;
	struct http_server *servers[LISTENER__MAX]; /* NULL: not asked for */
	sd_event_source *turn;			    /* commits, then lets the replies go */
	uint64_t turn_ms;	      /* since when it is due; CLOCK_BOOTTIME, 0: it is not */
	struct http_stream *finished; /* replies that wait for the commit */
	unsigned n_finished;
	int lock;	 /* keeps a second manager away from the state directory */
	char state[256]; /* that directory */
};

/* Opens the store, the signing key and both listeners; the PKI must be there (pki_ensure()). Errors
 * are logged with the object's name. */
int manager_new(sd_event *event, const struct manager_options *options,
		struct manager **ret_manager);
struct manager *manager_free(struct manager *manager);
/* For whoever wrote to the store or made a reply: a commit is due at the end of the turn. */
void manager_turn_due(struct manager *manager);
/* At the end of each piece of work: commits now where too much waits for it already. */
void manager_turn_bound(struct manager *manager);
/* Loads server.pem and the rest again, for new connections. */
int manager_reload_tls(struct manager *manager);
/* "127.0.0.1:PORT" of a listener, as bound; "" where it was not asked for. */
void manager_address(const struct manager *manager, enum manager_listener listener,
		     char text[static 64]);

/* --- operations of the admin API ---
 * Those with DONE talk to the KMS: they return at once, and DONE runs later in the loop, or at once
 * where the KMS need not be asked; exactly once unless the return value was negative (then never). R is 0, or negative with MESSAGE naming
 * what was refused: -EEXIST, -ENOENT, -EBUSY; -ENOTSUP the key is not for that use; -EINVAL settings; -EKEYREJECTED the KMS refused;
 * -EAGAIN the KMS did not answer; -EIO the store. */
typedef void (*operation_done)(int r, const char *message, void *userdata);

/* Live wrap and unwrap of random bytes under KEY, then insert. */
int operation_key_create(struct manager *manager, const struct store_key *key, operation_done done,
			 void *userdata);
/* A live unwrap of every bound workspace's KEK (or of random bytes where none is bound), then the
 * revocation is forgotten. */
int operation_key_clear(struct manager *manager, const char *name, operation_done done,
			void *userdata);
/* A live unwrap of a bound workspace's KEK by the key's CMK, and a wrap by it, or by that of SUCCESSOR (NULL:
 * none); then rotation.h goes on in the background. -EBUSY: SUCCESSOR is the key itself, or in a rotation.
 * -EKEYREJECTED for a revoked one. */
int operation_key_rotate(struct manager *manager, const char *name, const char *successor,
			 operation_done done, void *userdata);
/* The next version of WORKSPACE's KEK of USE is made; new DEKs are sealed under it. -ENOENT: there is none
 * yet; -ENOKEY: it is bound to no key; -EBUSY: it has too many; -EKEYREJECTED: its key is revoked. */
int operation_kek_rotate(struct manager *manager, const char *workspace, const char *use,
			 operation_done done, void *userdata);
/* Nothing under that version is unwrapped any more; or, where RETIRED is false, again. -EBUSY: it is the
 * newest one; -ENOENT. */
int operation_kek_retire(struct manager *manager, const char *workspace, const char *use,
			 uint32_t version, bool retired);
/* Makes a KEK, wraps it under the CMK, unwraps it again, binds. Where the workspace is bound
 * already: only while its old key answers with success (a live unwrap), and with all KEKs of its DEKs.
 * -EKEYREJECTED for a revoked KEY; -EBUSY where other workspaces are under its CMK by another key
 * configuration, and this one is not, nor any by KEY. */
int operation_workspace_bind(struct manager *manager, const char *workspace, const char *key,
			     operation_done done, void *userdata);

/* Verdict shred for the VM's current boots, answered at once. Returns how many boots; -ENOENT. */
int operation_vm_shred(struct manager *manager, const char *workspace, const char *vm);
/* Removes the enrolment; current boots are answered shred, reason removed. */
int operation_vm_remove(struct manager *manager, const char *workspace, const char *vm);
/* Lets a held boot in. -ENOENT unknown, -EINVAL not held. */
int operation_boot_confirm(struct manager *manager, const uint8_t admission[static HASH_SIZE]);
/* Verdict shred, reason drill, for this boot, answered at once. -ENOENT unknown; -EINVAL it runs under no
 * lease, or ends already. */
int operation_boot_drill(struct manager *manager, const uint8_t admission[static HASH_SIZE]);
/* Makes a new signing key beside the active one (replaced where there is one already). */
int operation_signing_key_new(struct manager *manager, uint8_t ret_public[static PUBLIC_KEY_SIZE]);
/* Installs a root-signed set. -EBADMSG form, -EKEYREJECTED signature, -ESTALE its epoch is not
 * higher, -ENOKEY it holds neither our active nor our new key. */
int operation_signing_keys_install(struct manager *manager,
				   const uint8_t set[static SIGNING_KEYS_SIZE]);
/* Public halves: the active key, and the new one (zero where there is none). */
void operation_signing_key_list(const struct manager *manager,
				uint8_t ret_active[static PUBLIC_KEY_SIZE],
				uint8_t ret_new[static PUBLIC_KEY_SIZE]);
/* After a rollback was noticed: the epoch rises above all that was shown, and leases are issued
 * again. */
int operation_store_adopt(struct manager *manager);

/* What the prober knows of a key configuration. */
struct key_health {
	const char *state; /* "healthy", "revoked", "unavailable", "identity", "misconfigured",
			      "corrupt", "unknown" */
	const char *class, *follow; /* of the last answer, and what follows; "" none */
	char code[96]; /* the provider's words of the last answer that was not a success */
	uint64_t last_evidence_s; /* start of the last successful unwrap, seconds since 1970; 0 none
				   */
};
void operation_key_health(const struct manager *manager, const struct store_key *key,
			  struct key_health *ret_health);

/* The array of GET /v1/fleet; WORKSPACE NULL: all. NULL: out of memory or store error. */
json_t *fleet_list(struct manager *manager, const char *workspace);
/* Prometheus text, malloc'd. */
int metrics_text(struct manager *manager, char **ret_text);

/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's own certificates: who it is to VMs, and who may administer it.
 *
 *	ca.pem ca.key			the authority VMs trust (credential emberlock.ca)
 *	server.pem server.key		both listeners', issued by it
 *	admin-ca.pem admin-ca.key	the authority the admin listener trusts
 *	identities/ROLE/		cert.pem key.pem (a client of ROLE), ca.pem (a copy of the
 *					first), url, manager-url, storage-url: what
 *					emberlock-admin --identity takes
 *
 * All ECDSA P-256. Authorities last 20 years and are renewed over the same key, so that a copy of
 * the old one still verifies; the others last 397 days and get a new key. A certificate is renewed
 * in the last tenth of its life. */
#pragma once

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

enum pki_role { PKI_ROLE_NONE, PKI_ROLE_KEY_ADMINISTRATOR, PKI_ROLE_OPERATOR, PKI_ROLE__MAX };
/* "none", "key-administrator", "operator": the OU of the client certificate, and the directory. */
const char *pki_role_name(enum pki_role role);

/* Of a client certificate that the TLS handshake has verified against admin-ca.pem. PKI_ROLE_NONE
 * unless it has exactly one OU and that is a role. */
enum pki_role pki_certificate_role(X509 *certificate);

struct pki_options {
	const char *state_dir;
	/* Host names and IP addresses of server.pem, besides localhost, 127.0.0.1 and ::1. */
	const char *const *sans;
	size_t n_sans;
	/* Into identities/ROLE/url and .../manager-url: where emberlock-admin finds the admin
	 * listener, and what `vm enrol` tells VMs. */
	const char *admin_url, *manager_url;
	/* .../storage-url: what `storage-node enrol` tells storage nodes. NULL: no such file. */
	const char *storage_url;
};

/* Makes what is missing under the state directory and renews what is about to expire or lacks a
 * name. Keys and directories are for their owner alone; an authority whose key is lost or readable
 * by others is an error, never replaced. NOW: seconds since 1970. Returns 1 where server.pem is new
 * (load it), 0 where not, or negative errno with ERROR naming the file. */
int pki_ensure(const struct pki_options *options, int64_t now, char error[static 256]);

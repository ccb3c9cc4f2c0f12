/* SPDX-License-Identifier: Apache-2.0 */
/* One X.509 certificate: built, signed, looked at. No files. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pki_kind {
	PKI_AUTHORITY,
	PKI_SERVER,
	PKI_CLIENT,
	PKI_NODE, /* signs itself; a storage node is known by its key alone */
};

struct pki_subject {
	enum pki_kind kind;
	const char *common_name;
	const char *unit;	  /* OU; NULL none */
	const char *const *names; /* host names and IP addresses of a server; NULL none */
	size_t n_names;
};

/* A new P-256 key. 0 or -EIO. */
int pki_key_new(EVP_PKEY **ret_key);

/* Certifies KEY as SUBJECT, with a random serial number, valid from a day before NOW (seconds since
 * 1970; the day is for clocks that are slow) until pki_lifetime_s(kind) after it. ISSUER NULL: it
 * signs itself with ISSUER_KEY. 0, -EINVAL where a name is no host name or address, -EIO.
 */
int pki_certify(const struct pki_subject *subject, EVP_PKEY *key, X509 *issuer,
		EVP_PKEY *issuer_key, int64_t now, X509 **ret_certificate);

int64_t pki_lifetime_s(enum pki_kind kind);

/* Whether CERTIFICATE is still good for SUBJECT at NOW: belongs to KEY, signed by ISSUER, valid
 * and not in the last tenth of its life, carries the unit and every name. */
bool pki_certificate_serves(X509 *certificate, const struct pki_subject *subject, EVP_PKEY *key,
			    X509 *issuer, int64_t now);

/* SPDX-License-Identifier: Apache-2.0 */
/* Everybody who may come with a client certificate, rightful or not. */
#pragma once

#include "attempt.h"

#include "base/cleanup.h"
#include "manager/pki_cert.h"

enum {
	KEY_ADMINISTRATOR,
	OPERATOR,
	NODE_ALPHA,
	NODE_GAMMA,
	NODE_REMOVED,
	NOBODY,
};

#define IDENTITIES_MAX 40
static struct identity identities[IDENTITIES_MAX];
static size_t n_identities;

static inline struct identity *identity_add(const char *name, unsigned role)
{
	struct identity *identity = &identities[n_identities++];

	assert_true(n_identities <= IDENTITIES_MAX);
	*identity = (struct identity){.name = name, .role = role};
	return identity;
}

/* One of the manager's own making, in DIRECTORY under the state directory. */
static inline void identity_of_manager(const char *name, unsigned role, const char *directory)
{
	struct identity *identity = identity_add(name, role);

	snprintf(identity->certificate, sizeof(identity->certificate), "%s/%s/cert.pem", state_dir,
		 directory);
	snprintf(identity->key, sizeof(identity->key), "%s/%s/key.pem", state_dir, directory);
}

/* --- certificates --- */

struct authority {
	X509 *certificate;
	EVP_PKEY *key;
};

static inline struct authority authority_load(const char *certificate, const char *key)
{
	struct authority authority;
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", state_dir, certificate);
	file = fopen(path, "re");
	assert_non_null(file);
	authority.certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	snprintf(path, sizeof(path), "%s/%s", state_dir, key);
	file = fopen(path, "re");
	assert_non_null(file);
	authority.key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(authority.certificate);
	assert_non_null(authority.key);
	return authority;
}

static inline void authority_done(struct authority *authority)
{
	X509_free(authority->certificate);
	EVP_PKEY_free(authority->key);
}

/* Into files of a number of its own; CHAIN (may be NULL) follows in the same file. */
static inline void identity_save(struct identity *identity, X509 *certificate, EVP_PKEY *key,
				 X509 *chain)
{
	FILE *file;

	snprintf(identity->certificate, sizeof(identity->certificate), "%s/%zu.pem", top,
		 (size_t)(identity - identities));
	snprintf(identity->key, sizeof(identity->key), "%s/%zu.key", top,
		 (size_t)(identity - identities));
	save_pem(identity->certificate, NULL, certificate);
	save_pem(identity->key, key, NULL);
	if (!chain)
		return;
	file = fopen(identity->certificate, "a");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, chain), 1);
	fclose(file);
}

/* AUTHORITY NULL: it signs itself. KEY is taken over; NULL: a new one. */
static inline struct identity *identity_make(const char *name, const struct pki_subject *subject,
					     const struct authority *authority, int64_t at,
					     EVP_PKEY *key)
{
	struct identity *identity = identity_add(name, 0);
	X509 *certificate;

	if (!key)
		assert_int_equal(pki_key_new(&key), 0);
	assert_int_equal(pki_certify(subject, key, authority ? authority->certificate : NULL,
				     authority ? authority->key : key, at, &certificate),
			 0);
	identity_save(identity, certificate, key, authority ? authority->certificate : NULL);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return identity;
}

/* Of the administrators' authority, after CHANGE has been at it. */
static inline void identity_bent(const char *name, const struct authority *authority, int64_t at,
				 void (*change)(X509 *certificate))
{
	const struct pki_subject subject = {.kind = PKI_CLIENT, .common_name = "key-administrator"};
	struct identity *identity = identity_add(name, 0);
	X509 *certificate;
	EVP_PKEY *key;

	assert_int_equal(pki_key_new(&key), 0);
	assert_int_equal(pki_certify(&subject, key, authority->certificate, authority->key, at,
				     &certificate),
			 0);
	change(certificate);
	assert_true(X509_sign(certificate, authority->key, EVP_sha256()) > 0);
	identity_save(identity, certificate, key, NULL);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static inline void add_unit(X509 *certificate, const char *unit, int n)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "OU",
						    MBSTRING_ASC, (const unsigned char *)unit, n,
						    -1, 0),
			 1);
}

static inline void two_units(X509 *certificate)
{
	add_unit(certificate, "key-administrator", -1);
	add_unit(certificate, "operator", -1);
}

static inline void unit_with_nul(X509 *certificate)
{
	add_unit(certificate, "key-administrator\0x", 19);
}

static inline void identities_of_authority(const struct authority *authority, int64_t now)
{
	static const struct {
		const char *name, *unit;
		enum pki_kind kind;
	} rows[] = {
		{"viewer", "viewer", PKI_CLIENT},
		{"auditor", "auditor", PKI_CLIENT},
		{"a unit of the manager's words", "none", PKI_CLIENT},
		{"a unit in capitals", "Key-Administrator", PKI_CLIENT},
		{"a unit with a space", "operator ", PKI_CLIENT},
		{"no unit", NULL, PKI_CLIENT},
		{"a server's certificate", "key-administrator", PKI_SERVER},
	};
	const char *const roles[] = {"key-administrator", "operator"};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		const struct pki_subject subject = {.kind = rows[i].kind,
						    .common_name = "key-administrator",
						    .unit = rows[i].unit};

		identity_make(rows[i].name, &subject, authority, now, NULL);
	}
	for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
		const struct pki_subject subject = {
			.kind = PKI_CLIENT, .common_name = roles[i], .unit = roles[i]};

		identity_make(i == 0 ? "an expired key administrator" : "an expired operator",
			      &subject, authority, now - pki_lifetime_s(PKI_CLIENT) - 60, NULL);
		identity_make(i == 0 ? "a key administrator of the day after tomorrow"
				     : "an operator of the day after tomorrow",
			      &subject, authority, now + 2 * 86400, NULL);
	}
	identity_bent("two units", authority, now, two_units);
	identity_bent("a unit with a NUL", authority, now, unit_with_nul);
}

static inline void identities_of_others(int64_t now)
{
	const struct pki_subject administrator = {.kind = PKI_CLIENT,
						  .common_name = "key-administrator",
						  .unit = "key-administrator"};
	const struct pki_subject operator= {
		.kind = PKI_CLIENT, .common_name = "operator", .unit = "operator"};
	struct authority server = authority_load("ca.pem", "ca.key");
	struct authority by_operator =
		authority_load("identities/operator/cert.pem", "identities/operator/key.pem");

	identity_make("a key administrator of the servers' authority", &administrator, &server, now,
		      NULL);
	identity_make("an operator of the servers' authority", &operator, & server, now, NULL);
	identity_make("a key administrator by an operator's word", &administrator, &by_operator,
		      now, NULL);
	identity_make("a key administrator by its own word", &administrator, NULL, now, NULL);
	authority_done(&server);
	authority_done(&by_operator);
}

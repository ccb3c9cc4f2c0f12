/* SPDX-License-Identifier: Apache-2.0 */
/* One X.509 certificate: built, signed, looked at. */
#include "manager/pki_cert.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define DAY_S	    INT64_C(86400)
#define SERIAL_BITS 159 /* RFC 5280 4.1.2.2: positive, at most 20 octets */

static void free_bignum(BIGNUM **p)
{
	BN_free(*p);
}

static void free_certificate(X509 **p)
{
	X509_free(*p);
}

static void free_extension(X509_EXTENSION **p)
{
	X509_EXTENSION_free(*p);
}

static void free_names(GENERAL_NAMES **p)
{
	GENERAL_NAMES_free(*p);
}

int pki_key_new(EVP_PKEY **ret_key)
{
	*ret_key = EVP_EC_gen("P-256");
	return *ret_key ? 0 : -EIO;
}

int64_t pki_lifetime_s(enum pki_kind kind)
{
	return kind == PKI_AUTHORITY || kind == PKI_NODE ? 20 * 365 * DAY_S : 397 * DAY_S;
}

static int set_serial(X509 *certificate)
{
	_cleanup_(free_bignum) BIGNUM *serial = BN_new();

	if (!serial || BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1)
		return -EIO;
	if (!BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate)))
		return -EIO;
	return 0;
}

static int set_subject(X509 *certificate, const struct pki_subject *subject)
{
	X509_NAME *name = X509_get_subject_name(certificate);
	const unsigned char *common_name = (const unsigned char *)subject->common_name;

	if (X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Emberlock",
				       -1, -1, 0) != 1)
		return -EIO;
	if (subject->unit &&
	    X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC,
				       (const unsigned char *)subject->unit, -1, -1, 0) != 1)
		return -EIO;
	if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0) != 1)
		return -EIO;
	return 0;
}

static int add_extension(X509 *certificate, X509V3_CTX *context, int nid, const char *value)
{
	_cleanup_(free_extension) X509_EXTENSION *extension =
		X509V3_EXT_conf_nid(NULL, context, nid, value);

	if (!extension || X509_add_ext(certificate, extension, -1) != 1)
		return -EIO;
	return 0;
}

static int add_name(GENERAL_NAMES *names, const char *text)
{
	GENERAL_NAME *name;
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(text);

	if (!address && !name_is_valid(text, 253))
		return -EINVAL;
	/* Not a2i_GENERAL_NAME(): it would read its own syntax out of the text. */
	name = GENERAL_NAME_new();
	if (!name) {
		ASN1_OCTET_STRING_free(address);
		return -EIO;
	}
	if (address) {
		GENERAL_NAME_set0_value(name, GEN_IPADD, address);
	} else {
		ASN1_IA5STRING *host = ASN1_IA5STRING_new();

		GENERAL_NAME_set0_value(name, GEN_DNS, host);
		if (!host || ASN1_STRING_set(host, text, -1) != 1) {
			GENERAL_NAME_free(name);
			return -EIO;
		}
	}
	if (sk_GENERAL_NAME_push(names, name) <= 0) {
		GENERAL_NAME_free(name);
		return -EIO;
	}
	return 0;
}

static int add_names(X509 *certificate, const struct pki_subject *subject)
{
	_cleanup_(free_names) GENERAL_NAMES *names = GENERAL_NAMES_new();
	int r;

	if (!names)
		return -EIO;
	for (size_t i = 0; i < subject->n_names; i++) {
		r = add_name(names, subject->names[i]);
		if (r < 0)
			return r;
	}
	return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) ==
			       1
		       ? 0
		       : -EIO;
}

static int add_extensions(X509 *certificate, X509 *issuer, const struct pki_subject *subject)
{
	static const struct {
		int nid;
		const char *value[4]; /* by kind; NULL: without */
	} table[] = {
		{NID_basic_constraints,
		 {"critical,CA:TRUE,pathlen:0", "critical,CA:FALSE", "critical,CA:FALSE",
		  "critical,CA:FALSE"}},
		{NID_key_usage,
		 {"critical,keyCertSign,cRLSign", "critical,digitalSignature",
		  "critical,digitalSignature", "critical,digitalSignature"}},
		{NID_ext_key_usage, {NULL, "serverAuth", "clientAuth", "clientAuth"}},
		{NID_subject_key_identifier, {"hash", "hash", "hash", "hash"}},
		{NID_authority_key_identifier,
		 {"keyid:always", "keyid:always", "keyid:always", "keyid:always"}},
	};
	X509V3_CTX context;
	int r;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	for (size_t i = 0; i < ELEMENTSOF(table); i++) {
		const char *value = table[i].value[subject->kind];

		if (!value)
			continue;
		r = add_extension(certificate, &context, table[i].nid, value);
		if (r < 0)
			return r;
	}
	return subject->n_names ? add_names(certificate, subject) : 0;
}

int pki_certify(const struct pki_subject *subject, EVP_PKEY *key, X509 *issuer,
		EVP_PKEY *issuer_key, int64_t now, X509 **ret_certificate)
{
	_cleanup_(free_certificate) X509 *certificate = X509_new();
	X509 *by = issuer ? issuer : certificate;
	int r;

	if (!certificate || X509_set_version(certificate, X509_VERSION_3) != 1)
		return -EIO;
	r = set_serial(certificate);
	if (r < 0)
		return r;
	r = set_subject(certificate, subject);
	if (r < 0)
		return r;
	if (!ASN1_TIME_set(X509_getm_notBefore(certificate), now - DAY_S) ||
	    !ASN1_TIME_set(X509_getm_notAfter(certificate), now + pki_lifetime_s(subject->kind)) ||
	    X509_set_pubkey(certificate, key) != 1 ||
	    X509_set_issuer_name(certificate, X509_get_subject_name(by)) != 1)
		return -EIO;
	r = add_extensions(certificate, by, subject);
	if (r < 0)
		return r;
	if (X509_sign(certificate, issuer_key, EVP_sha256()) <= 0)
		return -EIO;
	*ret_certificate = TAKE_PTR(certificate);
	return 0;
}

static bool has_unit(X509 *certificate, const char *unit)
{
	char text[64];
	int n = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
					  NID_organizationalUnitName, text, sizeof(text));

	return n >= 0 && strcmp(text, unit) == 0;
}

static bool has_name(X509 *certificate, const char *name)
{
	return X509_check_ip_asc(certificate, name, 0) == 1 ||
	       X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

bool pki_certificate_serves(X509 *certificate, const struct pki_subject *subject, EVP_PKEY *key,
			    X509 *issuer, int64_t now)
{
	time_t early = (time_t)now, late = (time_t)(now + pki_lifetime_s(subject->kind) / 10);
	EVP_PKEY *issuer_key = X509_get0_pubkey(issuer ? issuer : certificate);

	if (X509_check_private_key(certificate, key) != 1)
		return false;
	if (X509_verify(certificate, issuer_key) != 1)
		return false;
	if (X509_cmp_time(X509_get0_notAfter(certificate), &late) <= 0 ||
	    X509_cmp_time(X509_get0_notBefore(certificate), &early) > 0)
		return false;
	if (subject->unit && !has_unit(certificate, subject->unit))
		return false;
	for (size_t i = 0; i < subject->n_names; i++)
		if (!has_name(certificate, subject->names[i]))
			return false;
	return true;
}

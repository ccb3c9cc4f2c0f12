/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's certificates: made, kept, renewed, refused. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "manager/pki.h"

#define NOW   INT64_C(1800000000)
#define DAY_S INT64_C(86400)

static char directory[] = "/tmp/emberlock-test-pki-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static X509 *certificate(const char *name)
{
	FILE *f = fopen(path_of(name), "re");
	X509 *read;

	assert_non_null(f);
	read = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(read);
	return read;
}

static EVP_PKEY *private_key(const char *name)
{
	FILE *f = fopen(path_of(name), "re");
	EVP_PKEY *read;

	assert_non_null(f);
	read = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(read);
	return read;
}

static int ensure(const char *const *sans, size_t n, int64_t now, char error[static 256])
{
	const struct pki_options options = {.state_dir = directory,
					    .sans = sans,
					    .n_sans = n,
					    .admin_url = "https://127.0.0.1:8444",
					    .manager_url = "https://vault.example:8443"};

	strcpy(error, "");
	return pki_ensure(&options, now, error);
}

/* Exactly what a TLS peer would check that trusts AUTHORITIES (one or more in a file), at time NOW. */
static bool is_trusted(const char *leaf, const char *authorities, int purpose, int64_t now)
{
	X509 *certificate_read = certificate(leaf);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	bool trusted;

	assert_int_equal(X509_STORE_load_file(store, path_of(authorities)), 1);
	X509_STORE_CTX_init(context, store, certificate_read, NULL);
	X509_STORE_CTX_set_purpose(context, purpose);
	X509_STORE_CTX_set_time(context, 0, (time_t)now);
	X509_STORE_CTX_set_flags(context, X509_V_FLAG_X509_STRICT);
	trusted = X509_verify_cert(context) == 1;
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_free(certificate_read);
	return trusted;
}

static bool is_same_file(const char *name, const char *before, size_t n)
{
	char now[8192];
	ssize_t k = file_read(AT_FDCWD, path_of(name), now, sizeof(now));

	return k == (ssize_t)n && memcmp(now, before, n) == 0;
}

static size_t remember(const char *name, char *text)
{
	ssize_t n = file_read(AT_FDCWD, path_of(name), text, 8192);

	assert_true(n > 0);
	return (size_t)n;
}

static void first_start_makes_all(void **state)
{
	static const char *const sans[] = {"vault.example", "10.0.2.2", "fd00::1"};
	char error[256];
	X509 *server;

	assert_int_equal(ensure(sans, 3, NOW, error), 1);
	assert_true(is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_SERVER, NOW));
	assert_true(is_trusted("identities/operator/cert.pem", "admin-ca.pem",
			       X509_PURPOSE_SSL_CLIENT, NOW));
	assert_true(is_trusted("identities/key-administrator/cert.pem", "admin-ca.pem",
			       X509_PURPOSE_SSL_CLIENT, NOW));
	server = certificate("server.pem");
	assert_int_equal(X509_check_host(server, "vault.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(server, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(server, "other.example", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(server, "10.0.2.2", 0), 1);
	assert_int_equal(X509_check_ip_asc(server, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(server, "fd00::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(server, "10.0.2.3", 0), 0);
	X509_free(server);
}

/* A certificate of one authority or purpose never serves for another. */
static void authorities_are_apart(void **state)
{
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	assert_false(is_trusted("server.pem", "admin-ca.pem", X509_PURPOSE_SSL_SERVER, NOW));
	assert_false(
		is_trusted("identities/operator/cert.pem", "ca.pem", X509_PURPOSE_SSL_CLIENT, NOW));
	assert_false(is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_CLIENT, NOW));
	assert_false(is_trusted("identities/operator/cert.pem", "admin-ca.pem",
				X509_PURPOSE_SSL_SERVER, NOW));
}

static void keys_are_p256_and_private(void **state)
{
	static const char *const names[] = {"ca.key", "server.key", "admin-ca.key",
					    "identities/operator/key.pem",
					    "identities/key-administrator/key.pem"};
	char error[256], group[32];
	struct stat st;

	umask(0);
	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		EVP_PKEY *key = private_key(names[i]);

		assert_int_equal(EVP_PKEY_get_group_name(key, group, sizeof(group), NULL), 1);
		assert_string_equal(group, "prime256v1");
		EVP_PKEY_free(key);
		assert_int_equal(stat(path_of(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	assert_int_equal(stat(path_of("identities"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(path_of("identities/operator"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	umask(022);
}

static void roles_are_told(void **state)
{
	static const struct {
		const char *name;
		enum pki_role role;
	} cases[] = {
		{"identities/operator/cert.pem", PKI_ROLE_OPERATOR},
		{"identities/key-administrator/cert.pem", PKI_ROLE_KEY_ADMINISTRATOR},
		{"server.pem", PKI_ROLE_NONE},
		{"admin-ca.pem", PKI_ROLE_NONE},
	};
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		X509 *read = certificate(cases[i].name);

		assert_int_equal(pki_certificate_role(read), cases[i].role);
		X509_free(read);
	}
}

static X509 *with_units(const char *first, int n_first, const char *second)
{
	X509 *made = X509_new();
	X509_NAME *name = X509_get_subject_name(made);

	X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, (const unsigned char *)first, n_first,
				   -1, 0);
	if (second)
		X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, (const unsigned char *)second,
					   -1, -1, 0);
	return made;
}

static void other_units_are_no_role(void **state)
{
	static const struct {
		const char *first;
		int n;
		const char *second;
		enum pki_role role;
	} cases[] = {
		{"operator", -1, NULL, PKI_ROLE_OPERATOR},
		{"Operator", -1, NULL, PKI_ROLE_NONE},
		{"operators", -1, NULL, PKI_ROLE_NONE},
		{"none", -1, NULL, PKI_ROLE_NONE},
		{"operator\0x", 10, NULL, PKI_ROLE_NONE},
		{"operator", -1, "key-administrator", PKI_ROLE_NONE},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		X509 *made = with_units(cases[i].first, cases[i].n, cases[i].second);

		assert_int_equal(pki_certificate_role(made), cases[i].role);
		X509_free(made);
	}
}

static void second_start_changes_nothing(void **state)
{
	static const char *const names[] = {"ca.pem", "ca.key", "server.pem", "server.key",
					    "identities/operator/cert.pem"};
	char before[ELEMENTSOF(names)][8192], error[256];
	size_t sizes[ELEMENTSOF(names)];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		sizes[i] = remember(names[i], before[i]);
	assert_int_equal(ensure(NULL, 0, NOW + 300 * DAY_S, error), 0);
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		assert_true(is_same_file(names[i], before[i], sizes[i]));
}

static void serials_differ(void **state)
{
	char error[256];
	X509 *a, *b;

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	a = certificate("identities/operator/cert.pem");
	b = certificate("identities/key-administrator/cert.pem");
	assert_true(ASN1_INTEGER_cmp(X509_get0_serialNumber(a), X509_get0_serialNumber(b)) != 0);
	assert_true(ASN1_STRING_length(X509_get0_serialNumber(a)) >= 16);
	X509_free(a);
	X509_free(b);
}

static void old_certificates_are_renewed(void **state)
{
	char ca[8192], key[8192], error[256];
	size_t n_ca, n_key;
	const int64_t later = NOW + 380 * DAY_S;

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	n_ca = remember("ca.pem", ca);
	n_key = remember("server.key", key);
	assert_int_equal(ensure(NULL, 0, later, error), 1);
	assert_true(is_same_file("ca.pem", ca, n_ca));
	assert_false(is_same_file("server.key", key, n_key));
	assert_true(
		is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_SERVER, later + 100 * DAY_S));
	assert_true(is_trusted("identities/operator/cert.pem", "admin-ca.pem",
			       X509_PURPOSE_SSL_CLIENT, later + 100 * DAY_S));
	assert_int_equal(ensure(NULL, 0, later, error), 0);
}

/* VMs that hold the old authority must accept what the renewed one issues. */
static void renewed_authority_keeps_its_key(void **state)
{
	const int64_t later = NOW + 19 * 365 * DAY_S;
	char old[8192], error[256];
	size_t n;

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	n = remember("ca.pem", old);
	assert_int_equal(ensure(NULL, 0, later, error), 1);
	assert_false(is_same_file("ca.pem", old, n));
	assert_false(is_same_file("identities/operator/ca.pem", old, n));
	assert_int_equal(file_write_atomic(path_of("old.pem"), old, n, 0600), 0);
	assert_true(is_trusted("server.pem", "old.pem", X509_PURPOSE_SSL_SERVER, later));
	assert_true(is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_SERVER, later));
}

static void move(const char *from, const char *to)
{
	char old[PATH_MAX];

	strcpy(old, path_of(from));
	assert_int_equal(rename(old, path_of(to)), 0);
}

/* Another authority takes the first one's place: VMs that hold both accept the manager before and
 * after, and those that hold the new one alone after. */
static void authorities_change_with_overlap(void **state)
{
	char both[2 * 8192], error[256];
	size_t n;

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	move("ca.pem", "old.pem");
	move("ca.key", "old.key");
	move("server.pem", "old-server.pem");
	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	n = remember("old.pem", both);
	n += remember("ca.pem", both + n);
	assert_int_equal(file_write_atomic(path_of("both.pem"), both, n, 0600), 0);
	assert_true(is_trusted("old-server.pem", "both.pem", X509_PURPOSE_SSL_SERVER, NOW));
	assert_true(is_trusted("server.pem", "both.pem", X509_PURPOSE_SSL_SERVER, NOW));
	assert_true(is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_SERVER, NOW));
	assert_false(is_trusted("server.pem", "old.pem", X509_PURPOSE_SSL_SERVER, NOW));
	n = remember("ca.pem", both);
	assert_true(is_same_file("identities/operator/ca.pem", both, n));
}

static void new_name_renews_the_server(void **state)
{
	static const char *const sans[] = {"10.0.2.2"};
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	assert_int_equal(ensure(sans, 1, NOW, error), 1);
	assert_int_equal(ensure(sans, 1, NOW, error), 0);
	assert_int_equal(ensure(NULL, 0, NOW, error), 0);
}

static void clock_that_went_back_renews(void **state)
{
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	assert_int_equal(ensure(NULL, 0, NOW - 30 * DAY_S, error), 1);
	assert_true(is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_SERVER, NOW - 30 * DAY_S));
}

static void bad_names_are_refused(void **state)
{
	static const char *const bad[] = {"", "a b", "*.example", "DNS:x", "-x", "x,IP:1.2.3.4"};
	char error[256];

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		assert_int_equal(ensure(&bad[i], 1, NOW, error), -EINVAL);
		assert_non_null(strstr(error, "server.pem"));
	}
}

static void lost_authority_is_not_replaced(void **state)
{
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	assert_int_equal(unlink(path_of("ca.key")), 0);
	assert_int_equal(ensure(NULL, 0, NOW, error), -ENOKEY);
	assert_non_null(strstr(error, "ca.key"));
	assert_int_equal(access(path_of("ca.key"), F_OK), -1);
}

static void readable_key_is_refused(void **state)
{
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	assert_int_equal(chmod(path_of("admin-ca.key"), 0640), 0);
	assert_int_equal(ensure(NULL, 0, NOW, error), -EPERM);
	assert_non_null(strstr(error, "admin-ca.key"));
}

static void swapped_key_is_refused(void **state)
{
	char other[8192], error[256];
	size_t n;

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	n = remember("server.key", other);
	assert_int_equal(file_write_atomic(path_of("ca.key"), other, n, 0600), 0);
	assert_int_equal(ensure(NULL, 0, NOW, error), -EBADMSG);
	assert_non_null(strstr(error, "does not belong"));
	assert_int_equal(file_write_atomic(path_of("ca.key"), "junk", 4, 0600), 0);
	assert_int_equal(ensure(NULL, 0, NOW, error), -EBADMSG);
}

/* A start that was cut between the two files of a pair ends well at the next. */
static void half_made_pairs_are_completed(void **state)
{
	static const char *const names[] = {"ca.pem", "server.pem", "server.key",
					    "identities/operator/cert.pem"};
	char error[256];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		assert_int_equal(unlink(path_of(names[i])), 0);
		assert_true(ensure(NULL, 0, NOW, error) >= 0);
		assert_true(is_trusted("server.pem", "ca.pem", X509_PURPOSE_SSL_SERVER, NOW));
		assert_true(is_trusted("identities/operator/cert.pem", "admin-ca.pem",
				       X509_PURPOSE_SSL_CLIENT, NOW));
	}
}

/* A certificate that was put into the other role's directory does not stay there. */
static void misplaced_identity_is_renewed(void **state)
{
	char pem[8192], error[256];
	X509 *read;
	size_t n;

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	n = remember("identities/operator/cert.pem", pem);
	assert_int_equal(
		file_write_atomic(path_of("identities/key-administrator/cert.pem"), pem, n, 0644),
		0);
	n = remember("identities/operator/key.pem", pem);
	assert_int_equal(
		file_write_atomic(path_of("identities/key-administrator/key.pem"), pem, n, 0600),
		0);
	assert_int_equal(ensure(NULL, 0, NOW, error), 0);
	read = certificate("identities/key-administrator/cert.pem");
	assert_int_equal(pki_certificate_role(read), PKI_ROLE_KEY_ADMINISTRATOR);
	X509_free(read);
}

static void urls_are_told(void **state)
{
	char error[256], text[8192];

	assert_int_equal(ensure(NULL, 0, NOW, error), 1);
	text[remember("identities/operator/url", text)] = '\0';
	assert_string_equal(text, "https://127.0.0.1:8444\n");
	text[remember("identities/operator/manager-url", text)] = '\0';
	assert_string_equal(text, "https://vault.example:8443\n");
}

#define PKI_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PKI_TEST(first_start_makes_all),
		PKI_TEST(authorities_are_apart),
		PKI_TEST(keys_are_p256_and_private),
		PKI_TEST(roles_are_told),
		cmocka_unit_test(other_units_are_no_role),
		PKI_TEST(second_start_changes_nothing),
		PKI_TEST(serials_differ),
		PKI_TEST(old_certificates_are_renewed),
		PKI_TEST(renewed_authority_keeps_its_key),
		PKI_TEST(authorities_change_with_overlap),
		PKI_TEST(new_name_renews_the_server),
		PKI_TEST(clock_that_went_back_renews),
		PKI_TEST(bad_names_are_refused),
		PKI_TEST(lost_authority_is_not_replaced),
		PKI_TEST(readable_key_is_refused),
		PKI_TEST(swapped_key_is_refused),
		PKI_TEST(half_made_pairs_are_completed),
		PKI_TEST(misplaced_identity_is_renewed),
		PKI_TEST(urls_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The credentials emberlock.vm and emberlock.manager. */
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "core/config_grammar.h"

static const struct config_key vm_keys[] = {
	{"VM", "Workspace", config_set_name, "a name of 1 to 63 of A-Z a-z 0-9 . _ -",
	 CONFIG_FIELD(vm_credential, workspace), .required = true},
	{"VM", "VM", config_set_name, "a name of 1 to 63 of A-Z a-z 0-9 . _ -",
	 CONFIG_FIELD(vm_credential, vm), .required = true},
	{"VM", "PrivateKey", config_set_hex, "64 hexadecimal digits",
	 CONFIG_FIELD(vm_credential, private_key), .required = true, .secret = true},
	{"VM", "RootKey", config_set_hex, "64 hexadecimal digits",
	 CONFIG_FIELD(vm_credential, root_key), .required = true},
	{"VM", "SigningKeys", config_set_hex, "704 hexadecimal digits",
	 CONFIG_FIELD(vm_credential, signing_keys), .required = true},
};

int vm_credential_parse(const char *text, size_t len, struct vm_credential *ret_credential,
			struct config_error *ret_error)
{
	static const struct config_table table = {vm_keys, ELEMENTSOF(vm_keys)};
	struct config_lines lines;
	int r;

	memset(ret_credential, 0, sizeof(*ret_credential));
	r = config_read(text, len, &table, ret_credential, &lines, ret_error);
	if (r < 0)
		bytes_wipe(ret_credential, sizeof(*ret_credential));
	return r;
}

/* What follows "https://": a name, an IPv4 address, or an IPv6 address in brackets. Returns what
 * comes after it, or NULL. */
static const char *skip_host(const char *text)
{
	static const char name[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
	size_t len;

	if (*text == '[') {
		len = strspn(text + 1, "0123456789abcdefABCDEF:.");
		return len > 0 && text[len + 1] == ']' ? text + len + 2 : NULL;
	}
	len = strspn(text, name);
	return len > 0 && text[0] != '-' && text[0] != '.' ? text + len : NULL;
}

static bool set_url(const struct config_key *key, const char *value, void *field)
{
	static const char scheme[] = "https://";
	const char *rest;
	uint32_t port;

	if (strncmp(value, scheme, strlen(scheme)) != 0)
		return false;
	rest = skip_host(value + strlen(scheme));
	if (!rest || *rest != ':' || parse_u32(rest + 1, &port) < 0 || port < 1 || port > 65535)
		return false;
	return config_set_text(key, value, field);
}

static const struct config_key manager_keys[] = {
	{"Manager", "URL", set_url, "https://HOST:PORT of at most 255 characters",
	 CONFIG_FIELD(manager_credential, url), .required = true},
};

int manager_credential_parse(const char *text, size_t len,
			     struct manager_credential *ret_credential,
			     struct config_error *ret_error)
{
	static const struct config_table table = {manager_keys, ELEMENTSOF(manager_keys)};
	struct config_lines lines;
	int r;

	memset(ret_credential, 0, sizeof(*ret_credential));
	r = config_read(text, len, &table, ret_credential, &lines, ret_error);
	if (r < 0)
		bytes_wipe(ret_credential, sizeof(*ret_credential));
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Disk keys on their way through the kernel's keyrings: keyrings(7), add_key(2), keyctl(2). */
#include "keys/keyring.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int keyring_add(const char *name, const uint8_t *payload, size_t n, int32_t *ret_serial)
{
	char description[KEYRING_DESCRIPTION];
	long serial;
	int len;

	len = snprintf(description, sizeof(description), KEYRING_PREFIX "%s", name);
	if (len < 0 || (size_t)len >= sizeof(description))
		return -ENAMETOOLONG;

	serial = syscall(SYS_add_key, "logon", description, payload, n, KEY_SPEC_THREAD_KEYRING);
	if (serial < 0)
		return -errno;
	*ret_serial = (int32_t)serial;
	return 0;
}

int keyring_remove(int32_t serial)
{
	int r = 0;

	if (syscall(SYS_keyctl, KEYCTL_REVOKE, serial) < 0)
		r = -errno;
	if (syscall(SYS_keyctl, KEYCTL_UNLINK, serial, KEY_SPEC_THREAD_KEYRING) < 0 && r == 0)
		r = -errno;
	return r;
}

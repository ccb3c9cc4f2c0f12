/* SPDX-License-Identifier: Apache-2.0 */
/* The key of a segment, from the boot key. */
#include "keys/derive.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/hkdf.h"

/* Their NULs belong to them. */
#define INFO_PREFIX	  "emberlock v1 segment"
#define BOUND_INFO_PREFIX "emberlock v1 bound segment"
#define INFO_SIZE_MAX	  (sizeof(BOUND_INFO_PREFIX) + 4 + VOLUME_NAME_MAX + 8 + 8)

static size_t info_encode(const char *prefix, const char *name, size_t name_length,
			  uint64_t instance, uint64_t segment, uint8_t info[static INFO_SIZE_MAX])
{
	uint8_t *p = info;

	memcpy(p, prefix, strlen(prefix) + 1);
	p += strlen(prefix) + 1;
	put_be32(p, (uint32_t)name_length);
	p += 4;
	memcpy(p, name, name_length);
	p += name_length;
	put_be64(p, instance);
	put_be64(p + 8, segment);
	return (size_t)(p + 16 - info);
}

static int derive(const char *prefix, const uint8_t *key, size_t key_size,
		  const uint8_t boot_id[static BOOT_ID_SIZE], const char *name, uint64_t instance,
		  uint64_t segment, uint8_t ret_key[static SEGMENT_KEY_SIZE])
{
	uint8_t info[INFO_SIZE_MAX];
	struct hkdf_input input = {.key = key,
				   .key_size = key_size,
				   .salt = boot_id,
				   .salt_size = BOOT_ID_SIZE,
				   .info = info};
	size_t name_length = strlen(name);

	if (name_length > VOLUME_NAME_MAX)
		return -ENAMETOOLONG;
	input.info_size = info_encode(prefix, name, name_length, instance, segment, info);
	return hkdf(HKDF_SHA512, &input, ret_key, SEGMENT_KEY_SIZE);
}

int segment_key_derive(const uint8_t boot_key[static BOOT_KEY_SIZE],
		       const uint8_t boot_id[static BOOT_ID_SIZE], const char *name,
		       uint64_t instance, uint64_t segment,
		       uint8_t ret_key[static SEGMENT_KEY_SIZE])
{
	return derive(INFO_PREFIX, boot_key, BOOT_KEY_SIZE, boot_id, name, instance, segment,
		      ret_key);
}

int bound_segment_key_derive(const uint8_t boot_key[static BOOT_KEY_SIZE],
			     const uint8_t share[static BIND_SHARE_SIZE],
			     const uint8_t boot_id[static BOOT_ID_SIZE], const char *name,
			     uint64_t instance, uint64_t segment,
			     uint8_t ret_key[static SEGMENT_KEY_SIZE])
{
	uint8_t both[BOOT_KEY_SIZE + BIND_SHARE_SIZE];
	int r;

	memcpy(both, boot_key, BOOT_KEY_SIZE);
	memcpy(both + BOOT_KEY_SIZE, share, BIND_SHARE_SIZE);
	r = derive(BOUND_INFO_PREFIX, both, sizeof(both), boot_id, name, instance, segment,
		   ret_key);
	bytes_wipe(both, sizeof(both));
	return r;
}

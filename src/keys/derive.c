/* SPDX-License-Identifier: Apache-2.0 */
/* The key of a segment, from the boot key. */
#include "keys/derive.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/hkdf.h"

#define INFO_PREFIX	 "emberlock v1 segment"
#define INFO_PREFIX_SIZE sizeof(INFO_PREFIX) /* its NUL belongs to it */
#define INFO_SIZE_MAX	 (INFO_PREFIX_SIZE + 4 + VOLUME_NAME_MAX + 8 + 8)

static size_t info_encode(const char *name, size_t name_length, uint64_t instance, uint64_t segment,
			  uint8_t info[static INFO_SIZE_MAX])
{
	uint8_t *p = info;

	memcpy(p, INFO_PREFIX, INFO_PREFIX_SIZE);
	p += INFO_PREFIX_SIZE;
	put_be32(p, (uint32_t)name_length);
	p += 4;
	memcpy(p, name, name_length);
	p += name_length;
	put_be64(p, instance);
	put_be64(p + 8, segment);
	return (size_t)(p + 16 - info);
}

int segment_key_derive(const uint8_t boot_key[static BOOT_KEY_SIZE],
		       const uint8_t boot_id[static BOOT_ID_SIZE], const char *name,
		       uint64_t instance, uint64_t segment,
		       uint8_t ret_key[static SEGMENT_KEY_SIZE])
{
	uint8_t info[INFO_SIZE_MAX];
	struct hkdf_input input = {.key = boot_key,
				   .key_size = BOOT_KEY_SIZE,
				   .salt = boot_id,
				   .salt_size = BOOT_ID_SIZE,
				   .info = info};
	size_t name_length = strlen(name);

	if (name_length > VOLUME_NAME_MAX)
		return -ENAMETOOLONG;
	input.info_size = info_encode(name, name_length, instance, segment, info);
	return hkdf(HKDF_SHA512, &input, ret_key, SEGMENT_KEY_SIZE);
}

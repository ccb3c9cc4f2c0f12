/* SPDX-License-Identifier: Apache-2.0 */
/* What libblkid sees on a device: its low-level interface, which has no cache. */
#include "disks/probe.h"

#include <blkid/blkid.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

#define SIGNATURE_TEXT_SIZE 32
#define LABEL_SIZE	    64

void fact_copy(char *to, size_t size, const char *text)
{
	size_t n = strlen(text);

	memset(to, 0, size);
	if (n >= size)
		return;
	for (size_t i = 0; i < n; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
}

/* The byte of "\xNN" at TEXT, or -1. */
static int encoded_byte(const char *text)
{
	uint8_t byte;

	if (text[0] != '\\' || text[1] != 'x' || strnlen(text + 2, 2) < 2 ||
	    hex_decode(text + 2, 2, &byte, 1) < 0)
		return -1;
	return byte;
}

void fact_copy_property(char *to, size_t size, const char *text)
{
	char plain[256] = "";
	size_t n = 0;

	while (*text && n < sizeof(plain) - 1) {
		int byte = encoded_byte(text);
		char c = byte < 0 ? *text : (char)byte;

		text += byte < 0 ? 1 : 4;
		if (c != ' ')
			plain[n++] = c;
		else if (n > 0 && plain[n - 1] != ' ')
			plain[n++] = ' ';
	}
	if (*text) /* cut, it could match what it is not */
		n = 0;
	if (n > 0 && plain[n - 1] == ' ')
		n--;
	plain[n] = '\0';
	fact_copy(to, size, plain);
}

static void signature_copy(char signature[static SIGNATURE_TEXT_SIZE], const char *text)
{
	fact_copy(signature, SIGNATURE_TEXT_SIZE, text);
	/* A name that does not fit must not look like a blank disk. */
	if (signature[0] == '\0')
		fact_copy(signature, SIGNATURE_TEXT_SIZE, "unknown");
}

static blkid_probe probe_new(int fd)
{
	blkid_probe probe = blkid_new_probe();

	if (!probe)
		return NULL;
	/* A superblock whose checksum is wrong may still be what is left of someone's data. */
	if (blkid_probe_set_device(probe, fd, 0, 0) < 0 ||
	    blkid_probe_enable_superblocks(probe, 1) < 0 ||
	    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
							     BLKID_SUBLKS_BADCSUM) < 0 ||
	    blkid_probe_enable_partitions(probe, 1) < 0) {
		blkid_free_probe(probe);
		return NULL;
	}
	return probe;
}

void disk_probe(int fd, char signature[static SIGNATURE_TEXT_SIZE], char label[static LABEL_SIZE])
{
	blkid_probe probe = probe_new(fd);
	const char *type = NULL, *table = NULL, *text = NULL;
	int r;

	memset(signature, 0, SIGNATURE_TEXT_SIZE);
	memset(label, 0, LABEL_SIZE);
	if (!probe) {
		signature_copy(signature, "unreadable");
		return;
	}

	r = blkid_do_safeprobe(probe);
	if (r == 0) {
		(void)blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
		(void)blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL);
		if (blkid_probe_lookup_value(probe, "LABEL", &text, NULL) == 0)
			fact_copy(label, LABEL_SIZE, text);
		if (type && table)
			signature_copy(signature, "ambiguous");
		else if (type || table)
			signature_copy(signature, type ? type : table);
	} else if (r == -2) {
		signature_copy(signature, "ambiguous");
	} else if (r < 0) {
		signature_copy(signature, "unreadable");
	}
	blkid_free_probe(probe);
}

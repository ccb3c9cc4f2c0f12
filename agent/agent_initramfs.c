/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent does in the initramfs, and what the real root's makes of it.
 *
 * There it has no credential and no peers: it maps the volume that the root needs, mounts the overlay
 * and ends. The page is the keeper's, so the real root's agent goes on from there, in the same boot,
 * with the same instance numbers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "disks/config.h"
#include "disks/overlay.h"

void initramfs_config_filter(struct agent *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_volumes; i++)
		if (a->volumes[i].use == VOLUME_OVERLAY)
			a->volumes[n++] = a->volumes[i];
	a->n_volumes = n;
	if (n == 0 && a->failure[0] == '\0')
		agent_fail(a, "initramfs: no volume has Use=overlay");
}

/* The configuration that counts here. false where it cannot be told. */
static bool config_hash(struct initramfs_config *ret_config)
{
	char error[256] = "";
	int r = configs_initramfs("", ret_config, error);

	if (r < 0)
		log_error("configuration: %s", error);
	return r == 0;
}

/* For emberlockctl check, which compares it with the configuration of its day. */
static int hash_leave(const uint8_t hash[static HASH_SIZE])
{
	char hex[2 * HASH_SIZE + 2];

	hex_encode(hash, HASH_SIZE, hex);
	strcat(hex, "\n");
	return file_write_atomic(INITRAMFS_HASH, hex, strlen(hex), 0644);
}

static int overlay_make(struct agent *a)
{
	struct initramfs_config config;
	char reason[REASON_SIZE];
	int r;

	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		r = overlay_mount(a->state.volumes[i].name, a->initramfs_root, reason);
		if (r < 0) {
			agent_fail(a, "%s", reason);
			return r;
		}
	}
	if (!config_hash(&config))
		return -EIO;
	memcpy(a->state.initramfs_config, config.hash, sizeof(a->state.initramfs_config));
	r = hash_leave(config.hash);
	if (r < 0)
		log_errno(r, INITRAMFS_HASH);
	return keeper_save(a);
}

void initramfs_done(struct agent *a)
{
	cleanup_close(&a->carry.boot_key_fd);
	a->carry.boot_key_fd = -1;
	if (a->failure[0] == '\0' && overlay_make(a) == 0) {
		log_info("initramfs: the overlay is mounted over %s", a->initramfs_root);
		agent_exit(a, 0);
		return;
	}
	console_write(a, "the boot ends here: the root would be unencrypted");
	keeper_shred(a, REASON_FAULT);
	agent_exit(a, -ECANCELED);
}

void initramfs_check(struct agent *a, uint32_t index)
{
	struct state_volume *volume = &a->state.volumes[index];
	char reason[160];
	bool mounted = false;

	if (a->initramfs_root || volume->use != VOLUME_OVERLAY)
		return;
	if (volume->state == VOLUME_PLANNED) {
		snprintf(reason, sizeof(reason),
			 "volume %s: Use=overlay, and the initramfs has not mapped it "
			 "(update-initramfs -u, dracut --force)",
			 volume->name);
		volume_failed(a, index, reason);
	} else if (volume->state == VOLUME_READY &&
		   (overlay_is_mounted("/", &mounted) < 0 || !mounted)) {
		agent_fail(a, "volume %s: Use=overlay, and / is no overlay", volume->name);
	}
}

bool initramfs_agrees(struct agent *a)
{
	struct initramfs_config config;

	if (!config_hash(&config))
		return false;
	if (config.n > 0 &&
	    memcmp(config.hash, a->state.initramfs_config, sizeof(config.hash)) == 0)
		return true;
	log_warning("the initramfs carries another configuration or version than the root's "
		    "(update-initramfs -u, dracut --force)");
	return false;
}

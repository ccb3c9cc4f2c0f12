#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Takes keeper, agent and the overlay's configuration into the initramfs, where a volume has Use=overlay: dracut.modules(7).
# shellcheck disable=SC2154 # variables of dracut's

# "NAME PATH" a line; nothing where no volume has Use=overlay.
carried() {
	emberlockctl initramfs --root="${dracutsysrootdir:-/}"
}

check() {
	local files

	# A configuration with an error in it makes no initramfs: that would be found at the next boot.
	files=$(carried) || {
		dfatal "emberlock: an error in the configuration"
		exit 1
	}
	[ -n "$files" ]
}

depends() {
	echo systemd systemd-initrd systemd-udevd systemd-modules-load dm udev-rules
}

# The maps and their cipher, the layers of the root, a watchdog below the keeper. What a kernel has built in, or has
# not, is no error.
installkernel() {
	hostonly='' instmods dm_mod dm_crypt xts ecb aes_generic aesni_intel aes_ce_blk ext4 erofs squashfs overlay \
		softdog i6300esb
}

install() {
	local name path unit units=$systemdsystemunitdir

	while read -r name path; do
		inst_simple "$path" "/etc/emberlock/$name"
	done < <(carried)

	inst_multiple /usr/lib/emberlock/emberlock-keeper /usr/lib/emberlock/emberlock-agent mkfs.ext4
	inst_simple /usr/lib/modules-load.d/emberlock.conf
	inst_multiple -o /etc/mke2fs.conf # mkfs has defaults of its own
	inst_rules_wildcard '??-emberlock.rules'
	inst_libdir_file 'libgcc_s.so*' # pthread_cancel(3) loads it

	# The keeper's unit as it is in the real root: see emberlock-overlay.service.
	for unit in emberlock-keeper emberlock-softdog; do
		inst_simple "$units/$unit.service"
	done
	inst_script "$moddir/overlay" /usr/lib/emberlock/overlay
	inst_simple "$moddir/emberlock-overlay.service" "$units/emberlock-overlay.service"
	$SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target emberlock-overlay.service
}

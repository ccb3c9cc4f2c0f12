#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# emberlock-generator: which units it makes of volume files, and what it refuses. $1 is the program.
set -euo pipefail

generator=${1:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
conf=$work/root/etc/emberlock/volumes.d
units=$work/early

fail() {
	echo "generator: $*" >&2
	exit 1
}

# volume NAME VOLUME-LINE...: a volume file; the disk is never looked for.
volume() {
	local name=$1

	shift
	printf '%s\n' '[Volume]' "$@" '[Disk]' "Serial=$name" >"$conf/$name.conf"
}

begin() {
	rm -rf "$work/root" "$work"/{normal,early,late}
	mkdir -p "$conf" "$work"/{normal,early,late}
}

generate() {
	"$generator" --root="$work/root" "$work/normal" "$units" "$work/late"
}

has() {
	grep -qxF -- "$2" "$units/$1" || fail "$1 has no line '$2'"
}

lacks() {
	! grep -q -- "$2" "$units/$1" || fail "$1 has a line like '$2'"
}

required_mount() {
	begin
	volume pg-data Use=ext4 MountPoint=/var/lib/post-gres.d MountOptions=nodev DeviceTimeoutSec=5
	generate
	local unit='var-lib-post\x2dgres.d.mount'
	has "$unit" 'What=/dev/mapper/emberlock-pg-data'
	has "$unit" 'Where=/var/lib/post-gres.d'
	has "$unit" 'Type=ext4'
	has "$unit" 'Options=nodev,noinit_itable'
	has "$unit" 'Wants=emberlock-agent.service'
	[ -e "$units/local-fs.target.wants/$unit" ] || fail "local-fs.target does not want $unit"
	[ ! -e "$units/local-fs.target.requires" ] || fail "local-fs.target requires something"
	has 'dev-mapper-emberlock\x2dpg\x2ddata.device.d/50-emberlock.conf' JobRunningTimeoutSec=95000ms
	has 'dev-mapper-emberlock\x2dpg\x2ddata.device.d/50-emberlock.conf' After=emberlock-keeper.service
	has emberlock-admitted.target.d/50-volumes.conf "Requires=$unit"
	has emberlock-admitted.target.d/50-volumes.conf "After=$unit"
}

optional_mount() {
	begin
	volume tmp Use=xfs MountPoint=/tmp Required=no
	generate
	has tmp.mount 'Options=noatime,nofail'
	[ -e "$units/local-fs.target.wants/tmp.mount" ] || fail "local-fs.target does not want tmp.mount"
	[ ! -e "$units/emberlock-admitted.target.d" ] || fail "admission waits for an optional volume"
}

# It is mounted when it comes, and unmounted when it goes; nothing waits for it.
hot_plugged() {
	begin
	volume hot Use=ext4 MountPoint=/hot HotPlug=yes
	volume bare Use=raw HotPlug=yes
	generate
	has hot.mount 'BindsTo=dev-mapper-emberlock\x2dhot.device'
	has hot.mount 'Options=noatime,noinit_itable,nofail'
	has 'dev-mapper-emberlock\x2dhot.device.d/50-emberlock.conf' Wants=hot.mount
	lacks 'dev-mapper-emberlock\x2dhot.device.d/50-emberlock.conf' JobRunningTimeoutSec
	lacks 'dev-mapper-emberlock\x2dbare.device.d/50-emberlock.conf' Wants
	[ ! -e "$units/local-fs.target.wants" ] || fail "local-fs.target wants a volume that may never come"
	[ ! -e "$units/emberlock-admitted.target.d" ] || fail "admission waits for a volume that may never come"
}

# What Discard= and ProjectQuota= add to the options of a mount.
# After the admission: nothing that comes before it waits, and nothing times out meanwhile.
bound() {
	begin
	volume bound Use=ext4 MountPoint=/bound Bind=yes DeviceTimeoutSec=5
	volume boundswap Use=swap Bind=yes
	generate
	has bound.mount 'Options=noatime,noinit_itable,nofail'
	has 'dev-mapper-emberlock\x2dboundswap.swap' DefaultDependencies=no
	has 'dev-mapper-emberlock\x2dbound.device.d/50-emberlock.conf' After=emberlock-admitted.service
	has 'dev-mapper-emberlock\x2dbound.device.d/50-emberlock.conf' JobRunningTimeoutSec=95000ms
	[ -e "$units/emberlock-admitted.target.wants/bound.mount" ] || fail "no target wants bound.mount"
	[ ! -e "$units/local-fs.target.wants" ] || fail "local-fs.target waits for the admission"
	[ ! -e "$units/swap.target.wants" ] || fail "swap.target waits for the admission"
	has emberlock-admitted.target.d/50-volumes.conf 'Requires=bound.mount dev-mapper-emberlock\x2dboundswap.swap'
}

options() {
	begin
	volume a Use=ext4 MountPoint=/a Discard=always ProjectQuota=yes
	volume b Use=xfs MountPoint=/b Discard=fstrim ProjectQuota=yes
	volume s Use=swap Discard=always
	volume t Use=swap Discard=fstrim
	generate
	has a.mount 'Options=noatime,noinit_itable,discard,prjquota'
	has b.mount 'Options=noatime,prjquota'
	has 'dev-mapper-emberlock\x2ds.swap' 'Options=discard'
	lacks 'dev-mapper-emberlock\x2dt.swap' Options
}

swaps() {
	begin
	volume a Use=swap Priority=7
	volume b Use=swap Required=no
	generate
	has 'dev-mapper-emberlock\x2da.swap' 'What=/dev/mapper/emberlock-a'
	has 'dev-mapper-emberlock\x2da.swap' 'Priority=7'
	lacks 'dev-mapper-emberlock\x2da.swap' DefaultDependencies
	has 'dev-mapper-emberlock\x2db.swap' 'DefaultDependencies=no'
	lacks 'dev-mapper-emberlock\x2db.swap' Priority
	[ -e "$units/swap.target.wants/dev-mapper-emberlock\x2db.swap" ] || fail "swap.target does not want b"
	has emberlock-admitted.target.d/50-volumes.conf 'Requires=dev-mapper-emberlock\x2da.swap'
}

without_units() {
	begin
	volume raw Use=raw
	volume data Use=ext4
	generate
	[ -z "$(find "$units" -name '*.mount' -o -name '*.swap')" ] || fail "a unit nobody asked for"
	[ -e "$units/dev-mapper-emberlock\x2draw.device.d" ] || fail "no timeout for raw"
}

# The root's own layer is mounted before any unit; nobody waits for its device.
overlay() {
	begin
	volume root Use=overlay
	generate
	[ -z "$(ls -A "$units")" ] || fail "units for the overlay"
}

override() {
	begin
	volume one Use=ext4 MountPoint=/one
	mkdir -p "$work/root/usr/lib/emberlock/volumes.d"
	sed s,/one,/vendor, "$conf/one.conf" >"$work/root/usr/lib/emberlock/volumes.d/one.conf"
	sed s,/one,/two, "$conf/one.conf" >"$work/root/usr/lib/emberlock/volumes.d/two.conf"
	ln -s /dev/null "$conf/two.conf"
	generate
	[ -e "$units/one.mount" ] || fail "the administrator's file does not count"
	[ ! -e "$units/vendor.mount" ] || fail "the vendor's file counts too"
	[ ! -e "$units/two.mount" ] || fail "a mask masks nothing"
}

refusals() {
	begin
	volume one Use=ext4 MountPoint=/one
	volume bad Use=ext5
	! generate 2>"$work/log" || fail "a bad file is no error"
	grep -q 'bad.conf:2: ' "$work/log" || fail "the error does not name file and line"
	[ -z "$(ls -A "$units")" ] || fail "units in spite of an error"

	begin
	volume one Use=ext4 MountPoint=/same
	volume two Use=ext4 MountPoint=/same
	! generate 2>"$work/log" || fail "one mount point twice is no error"
	grep -q "volume 'two'.*MountPoint=" "$work/log" || fail "the error does not name the volume"

	! "$generator" "$units" 2>/dev/null || fail "runs with one directory"
}

# The escape is systemd's own, where it is at hand.
escapes() {
	local path unit

	command -v systemd-escape >/dev/null || return 0
	for path in /a-b/c_d /.hidden/x /a+b@c:d,e=f~g /srv/x.y-z; do
		begin
		volume v Use=ext4 "MountPoint=$path"
		generate
		unit=$(systemd-escape --path --suffix=mount "$path")
		[ -e "$units/$unit" ] || fail "no unit '$unit' for $path"
	done
}

required_mount
optional_mount
hot_plugged
bound
options
swaps
without_units
overlay
override
refusals
escapes

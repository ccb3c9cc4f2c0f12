#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# emberlockctl without agent or keeper: usage, check of kernels and images. $1 is the program.
set -euo pipefail

ctl=${1:?}
units=$(dirname "$(readlink -f "$0")")/../../units
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

fail() {
	echo "ctl: $*" >&2
	[ ! -e "$work/out" ] || cat "$work/out" >&2
	exit 1
}

# expect STATUS ARGUMENT...: the exit status; the output goes to $work/out.
expect() {
	local want=$1 got=0

	shift
	"$ctl" "$@" >"$work/out" 2>&1 </dev/null || got=$?
	[ "$got" = "$want" ] || fail "$* ended with $got, not $want"
}

says() {
	grep -qE -- "$1" "$work/out" || fail "does not say '$1'"
}

says_not() {
	! grep -qE -- "$1" "$work/out" || fail "says '$1'"
}

usage() {
	expect 0 --help
	expect 0 --version
	expect 2
	expect 2 nothing
	expect 2 status --root=/
	says 'status does not take --root'
	expect 2 wait --for=rain
	expect 2 wait --timeout=soon
	expect 2 end
	expect 2 end sleep
	expect 2 status more
	expect 2 check --no-such-option
}

# Every option that the table may ask for, as far as a distribution's kernel has it.
full_kernel() {
	printf 'CONFIG_%s\n' X86_64=y MD=y BLK_DEV_DM=m DM_CRYPT=m CRYPTO_XTS=m CRYPTO_AES=y KEYS=y SYSVIPC=y \
		DEVTMPFS=y EXT4_FS=y XFS_FS=m SWAP=y CRYPTO_AES_NI_INTEL=m SECRETMEM=y MEMFD_CREATE=y UNIX=y \
		PROC_FS=y SYSFS=y EPOLL=y SIGNALFD=y TIMERFD=y CGROUPS=y MAGIC_SYSRQ=y ACPI=y WATCHDOG=y \
		SOFT_WATCHDOG=m RTC_CLASS=y RTC_DRV_CMOS=y INET=y SECCOMP_FILTER=y CGROUP_BPF=y NAMESPACES=y \
		USER_NS=y TMPFS=y DMI_SYSFS=y 'DEFAULT_HOSTNAME="(none)"'
}

kernel() {
	full_kernel >"$work/config"
	expect 0 check --kernel-config="$work/config"
	says '^check: 0 missing, 0 conflicts, 0 warnings$'

	full_kernel | sed 's/^CONFIG_DM_CRYPT=m/# CONFIG_DM_CRYPT is not set/; s/^CONFIG_UNIX=y/CONFIG_UNIX=m/
		s/^CONFIG_SECRETMEM=y//; s/^CONFIG_MD=y/CONFIG_MD_AUTODETECT=y/' >"$work/config"
	expect 1 check --kernel-config="$work/config"
	says '^missing +kernel .*CONFIG_MD=y:'
	says '^missing +kernel .*CONFIG_DM_CRYPT=y/m: '
	says '^missing +kernel .*CONFIG_UNIX=y \(is =m\): '
	says '^warning +kernel .*CONFIG_SECRETMEM=y: '
	says '^check: 3 missing, 0 conflicts, 1 warnings$'

	echo 'nothing of the kind' >"$work/config"
	expect 1 check --kernel-config="$work/config"
	says 'no kernel configuration'
	expect 1 check --kernel-config="$work/none"
	says 'No such file'
}

# An image as the package makes it, with programs that are empty.
image() {
	local file

	rm -rf "$root"
	mkdir -p "$root"/etc/emberlock/volumes.d "$root"/usr/{bin,sbin} "$root"/usr/lib/{emberlock,udev/rules.d} \
		"$root"/usr/lib/systemd/{system,system-generators,system-shutdown} \
		"$root"/etc/systemd/system/{sysinit,multi-user}.target.wants "$root/boot" "$root/usr/lib/modules/6.1"
	ln -s usr/sbin "$root/sbin"
	ln -s usr/lib "$root/lib"
	for file in lib/emberlock/emberlock-{keeper,agent,watchdog} bin/emberlockctl lib/systemd/systemd \
		lib/systemd/system-generators/emberlock-generator lib/systemd/system-shutdown/emberlock.shutdown \
		sbin/dmsetup sbin/mkfs.ext4 lib/udev/rules.d/{55-dm,58-emberlock,95-dm-notify}.rules; do
		: >"$root/usr/$file"
	done
	cp "$units"/emberlock-*.{service,target} "$root/usr/lib/systemd/system/"
	for file in keeper agent watchdog; do
		ln -s "/lib/systemd/system/emberlock-$file.service" "$root/etc/systemd/system/sysinit.target.wants/"
	done
	ln -s /lib/systemd/system/emberlock-admitted.target "$root/etc/systemd/system/multi-user.target.wants/"
	echo 'emberlock-watchdog:x:990:990::/:/usr/sbin/nologin' >"$root/etc/passwd"
	echo 'emberlock:x:991:' >"$root/etc/group"
	full_kernel >"$root/boot/config-6.1"
	printf '[Volume]\nUse=ext4\nMountPoint=/data\n[Disk]\nSerial=a\n' >"$root/etc/emberlock/volumes.d/data.conf"
}

# lacks PATTERN COMMAND...: the whole image has nothing to say; after COMMAND in it, it says PATTERN.
lacks() {
	local pattern=$1

	shift
	image
	expect 0 check --root="$root"
	says '^check: 0 missing, 0 conflicts, 0 warnings$'
	(cd "$root" && "$@")
	expect 1 check --root="$root"
	says "$pattern"
}

append() {
	printf '%s\n' "$2" >>"$1"
}

images() {
	lacks '^missing +program /usr/lib/emberlock/emberlock-keeper ' rm usr/lib/emberlock/emberlock-keeper
	lacks '^missing +program /sbin/mkfs.ext4 .*Use=ext4' rm usr/sbin/mkfs.ext4
	lacks '^missing +unit +emberlock-agent.service is not enabled' \
		rm etc/systemd/system/sysinit.target.wants/emberlock-agent.service
	lacks '^missing +unit +/etc/systemd/system/emberlock-keeper.service: masks' \
		ln -s /dev/null etc/systemd/system/emberlock-keeper.service
	lacks '^missing +udev +/usr/lib/udev/rules.d/58-emberlock.rules' rm usr/lib/udev/rules.d/58-emberlock.rules
	lacks "^missing +users +/etc/group: has no 'emberlock'" sed -i /emberlock/d etc/group
	lacks "Owner= of volume 'data'" sed -i 's/^Use=/Owner=nobody9\nUse=/' etc/emberlock/volumes.d/data.conf
	lacks '^missing +config +/.*data.conf:2: ' sed -i s/ext4/ext5/ etc/emberlock/volumes.d/data.conf
	lacks '^missing +config +/etc/emberlock/keeper.conf:1: ' append etc/emberlock/keeper.conf 'Color=red'
	lacks "^conflict +fstab .*/dev/sdb on /data: is MountPoint= of volume 'data'" \
		append etc/fstab '/dev/sdb /data ext4 defaults 0 0'
	lacks '^conflict +crypttab .*emberlock-data' append etc/crypttab 'emberlock-data /dev/sdb none luks'
	lacks "^conflict +config +volumes 'data' and 'more' both have MountPoint=/data" \
		cp etc/emberlock/volumes.d/{data,more}.conf
	lacks '^missing +kernel +/boot/config-6.1: CONFIG_DM_CRYPT=y/m' sed -i /DM_CRYPT/d boot/config-6.1
	lacks '^missing +kernel +/etc/kernel/cmdline: emberlock.power=armed' install -D /dev/null etc/kernel/cmdline

	# A file system that no volume has is not asked for.
	image
	sed -i /XFS_FS/d "$root/boot/config-6.1"
	expect 0 check --root="$root"
	sed -i s/ext4/xfs/ "$root/etc/emberlock/volumes.d/data.conf"
	expect 1 check --root="$root"
	says CONFIG_XFS_FS
}

json() {
	image
	rm "$root/usr/bin/emberlockctl"
	expect 1 check --root="$root" --json
	python3 - "$work/out" <<-END || fail "the JSON is not what it should be"
	import json, sys
	check = json.load(open(sys.argv[1]))
	assert check["passed"] is False
	assert [(f["level"], f["area"]) for f in check["findings"]] == [("missing", "program")]
	END
}

alone() {
	# Nobody is there to ask.
	[ ! -e /run/emberlock/control/agent.sock ] || return 0
	expect 1 status
	says 'emberlock-agent does not run'
	expect 1 shred --yes
	expect 1 wait --timeout=100ms
	says 'not admitted in the time'
	expect 1 end poweroff
}

usage
kernel
images
json
alone

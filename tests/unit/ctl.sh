#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# emberlockctl without keeper: usage, check of kernels and images, and what it asks an agent. $1 is the program, $2 the agent.
set -euo pipefail

ctl=${1:?} agent=${2:?}
here=$(dirname "$(readlink -f "$0")")
units=$here/../../units
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
	expect 2 grow
	expect 2 grow a b
	expect 2 grow a/b
	expect 2 swap resize
	expect 2 swap shrink a
	says "'shrink' is not resize"
	expect 2 swap resize a big
	says "'big' is no size"
	expect 2 swap resize a 1G more
	expect 2 add
	expect 2 end sleep
	expect 2 ending
	expect 2 ending halt
	expect 2 status more
	expect 2 check --no-such-option
}

# Every option that the table may ask for, as far as a distribution's kernel has it.
full_kernel() {
	printf 'CONFIG_%s\n' X86_64=y BLOCK=y CRYPTO=y NET=y SHMEM=y MULTIUSER=y FUTEX=y EVENTFD=y MD=y BLK_DEV_DM=m DM_CRYPT=m CRYPTO_XTS=m CRYPTO_AES=y KEYS=y \
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

# A kernel that lacks everything: each option is named, with what needs it, and with the setting where one does.
kernel_tiny() {
	local level option needs

	image
	printf '[Keeper]\nRequireMemfdSecret=yes\n' >"$root/etc/emberlock/keeper.conf"
	printf '[Volume]\nUse=ext4\nMountPoint=/data\nProjectQuota=yes\n[Disk]\nSerial=a\n' >"$root/etc/emberlock/volumes.d/data.conf"
	printf '[Volume]\nUse=xfs\nMountPoint=/x\nProjectQuota=yes\n[Disk]\nSerial=b\n' >"$root/etc/emberlock/volumes.d/x.conf"
	printf '[Volume]\nUse=swap\n[Disk]\nSerial=c\n' >"$root/etc/emberlock/volumes.d/swap.conf"
	printf '[Volume]\nUse=overlay\n[Disk]\nSerial=d\n' >"$root/etc/emberlock/volumes.d/root.conf"
	expect 1 check --root="$root" --kernel-config="$here/kernel-tiny.config"
	while read -r level option needs; do
		says "^$level +kernel +[^:]*: CONFIG_$option=y[^:]*: .*$needs"
	done <<-'END'
		missing X86_64 64 bits
		missing BLOCK disks
		missing CRYPTO CONFIG_DM_CRYPT
		missing NET CONFIG_UNIX and CONFIG_INET
		missing SHMEM CONFIG_TMPFS
		missing MULTIUSER own user
		missing MD CONFIG_BLK_DEV_DM
		missing BLK_DEV_DM segments and volumes
		missing DM_CRYPT encrypts
		missing CRYPTO_XTS aes-xts
		missing CRYPTO_AES aes-xts
		missing KEYS tables
		missing DEVTMPFS maps
		missing EXT4_FS Use=ext4
		missing XFS_FS Use=xfs
		missing SWAP Use=swap
		missing QUOTA ProjectQuota=yes
		missing QFMT_V2 ProjectQuota=yes
		missing XFS_QUOTA ProjectQuota=yes
		missing OVERLAY_FS Use=overlay
		missing BLK_DEV_INITRD Use=overlay
		missing SECRETMEM RequireMemfdSecret=yes
		missing MEMFD_CREATE keeper and agent
		missing UNIX local sockets
		missing PROC_FS /proc
		missing SYSFS /sys
		missing FUTEX threads
		missing EVENTFD threads
		missing EPOLL event loop
		missing SIGNALFD signals
		missing TIMERFD deadlines
		missing CGROUPS shred
		missing MAGIC_SYSRQ power-off
		missing INET manager
		missing TMPFS /run
		warning WATCHDOG Watchdog=none
		warning SOFT_WATCHDOG Watchdog=none
		warning RTC_CLASS /dev/rtc0
		warning RTC_DRV_CMOS /dev/rtc0
		warning SECCOMP_FILTER SystemCallFilter=
		warning CGROUP_BPF DeviceAllow=
		warning NAMESPACES sandbox
		warning USER_NS PrivateUsers=
		warning DMI_SYSFS credentials
	END
	[ "$(grep -cE '^[a-z]+ +kernel ' "$work/out")" = 44 ] || fail "another number of options than are listed here"

	# With the fragment nothing is missing. (merge_config.sh and the kernel's own make olddefconfig drop none of it.)
	{ cat "$here/kernel-tiny.config" "$here/../../vm-images/kernel.config"; echo CONFIG_X86_64=y; } >"$work/config"
	expect 1 check --root="$root" --kernel-config="$work/config"
	says_not '^[a-z]+ +kernel '
	says '^missing +program +neither /usr/sbin/mkinitramfs'
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
		sbin/mkfs.ext4 lib/udev/rules.d/{54-emberlock,55-dm,58-emberlock}.rules; do
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
	lacks '^missing +udev +/usr/lib/udev/rules.d/54-emberlock.rules' rm usr/lib/udev/rules.d/54-emberlock.rules
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

	# What stands in it neither steers the terminal nor gets a finding out of the JSON.
	lacks '^conflict +fstab +/etc/fstab: /dev/sdb\?\[2J\? on /data: ' \
		append etc/fstab $'/dev/sdb\033[2J\377 /data ext4 defaults 0 0'
	expect 1 check --root="$root" --json
	says '"text": "/etc/fstab: /dev/sdb\?\[2J\? on /data: '

	# What else takes disks by itself.
	lacks "^conflict +fstab .*LABEL=l on /x: mounts the bare disk of volume 'data'" \
		sh -c 'sed -i s/Serial=a/Label=l/ etc/emberlock/volumes.d/data.conf; echo "LABEL=l /x ext4 defaults 0 0" >etc/fstab'
	lacks '^conflict +fstab .*/dev/disk/by-id/d on /x: mounts the bare disk' \
		sh -c 'sed -i s,Serial=a,Path=/dev/disk/by-id/d, etc/emberlock/volumes.d/data.conf; echo "/dev/disk/by-id/d /x ext4 defaults 0 0" >etc/fstab'
	local key
	for key in disk_setup fs_setup swap mounts; do
		lacks "^conflict +cloud +/etc/cloud/cloud.cfg.d/50-x.cfg: $key: cloud-init " \
			sh -c "mkdir -p etc/cloud/cloud.cfg.d; printf 'x: 1\n$key:\n' >etc/cloud/cloud.cfg.d/50-x.cfg"
		touch "$root/etc/cloud/cloud-init.disabled"
		expect 0 check --root="$root"
	done
	lacks '^conflict +cloud +/etc/cloud/cloud.cfg: swap:' \
		sh -c "mkdir -p etc/cloud; printf '#swap:\n- swap:\nswap: {}\n' >etc/cloud/cloud.cfg"
	lacks "^conflict +lvm +.*69-lvm.rules: .*LVM2_member, which Destroy= of volume 'data'" \
		sh -c 'touch usr/lib/udev/rules.d/69-lvm.rules; echo Destroy=ext4 LVM2_member >>etc/emberlock/volumes.d/data.conf'
	mkdir -p "$root/etc/udev/rules.d"
	ln -s /dev/null "$root/etc/udev/rules.d/69-lvm.rules"
	expect 0 check --root="$root"
	lacks "^conflict +mdadm +.*64-md-raid-assembly.rules: .*of volume 'data'" \
		sh -c 'touch usr/lib/udev/rules.d/64-md-raid-assembly.rules; echo Destroy=any >>etc/emberlock/volumes.d/data.conf'
	sed -i s/^Destroy=.*/Destroy=ext4/ "$root/etc/emberlock/volumes.d/data.conf"
	expect 0 check --root="$root"
	lacks '^conflict +multipath +/etc/multipath.conf: find_multipaths' \
		sh -c 'touch usr/lib/udev/rules.d/60-multipath.rules; echo " find_multipaths \"greedy\"" >etc/multipath.conf'
	printf '# find_multipaths no\n' >"$root/etc/multipath.conf"
	expect 0 check --root="$root"
	says '^warning +multipath '
	lacks '^conflict +swap +/etc/dphys-swapfile' touch etc/dphys-swapfile
	lacks "^missing +config +volume 'data': HotPlug=yes needs the boot key" \
		sh -c 'sed -i s/Use=/HotPlug=yes\\nUse=/ etc/emberlock/volumes.d/data.conf; printf "[Agent]\nKeepBootKey=no\n" >etc/emberlock/agent.conf'
	lacks '^missing +config +/.*data.conf:3: Bind=yes cannot work with MountPoint=/tmp: ' \
		sed -i 's/Use=.*/MountPoint=\/tmp\nBind=yes\nUse=ext4/;/^MountPoint=.data/d' etc/emberlock/volumes.d/data.conf
	lacks '^missing +config +/.*data.conf:3: Bind=yes cannot work with Use=overlay: ' \
		sed -i 's/Use=.*/Use=overlay\nBind=yes/;/^MountPoint=/d' etc/emberlock/volumes.d/data.conf
	lacks "^conflict +config +volume 'more': MountPoint=/data/more lies on volume 'data', which comes after the admission" \
		sh -c 'cd etc/emberlock/volumes.d; sed "s/=.data/&\/more/;s/Serial=a/Serial=b/" data.conf >more.conf; sed -i s/Use=/Bind=yes\\nUse=/ data.conf'
	lacks "^conflict +fstab +/etc/fstab: /dev/sdb on /data/x: lies on volume 'data', which comes after the admission" \
		sh -c 'sed -i s/Use=/Bind=yes\\nUse=/ etc/emberlock/volumes.d/data.conf; echo "/dev/sdb /data/x ext4 defaults 0 0" >etc/fstab'
	image
	sed -i 's/Use=/Bind=yes\nUse=/' "$root/etc/emberlock/volumes.d/data.conf"
	echo "/dev/sdb /data/x ext4 nofail 0 0" >"$root/etc/fstab"
	expect 0 check --root="$root"
	lacks 'CONFIG_QUOTA=y: ext4 volumes with ProjectQuota=yes' \
		sed -i 's/Use=/ProjectQuota=yes\nUse=/' etc/emberlock/volumes.d/data.conf
	image
	: >"$root/usr/lib/systemd/system-generators/systemd-gpt-auto-generator"
	expect 0 check --root="$root"
	says '^warning +gpt +systemd-gpt-auto-generator: '
	mkdir -p "$root/etc/systemd/system-generators"
	ln -s /dev/null "$root/etc/systemd/system-generators/systemd-gpt-auto-generator"
	expect 0 check --root="$root"
	says_not gpt

	# A file system that no volume has is not asked for.
	image
	sed -i /XFS_FS/d "$root/boot/config-6.1"
	expect 0 check --root="$root"
	sed -i s/ext4/xfs/ "$root/etc/emberlock/volumes.d/data.conf"
	expect 1 check --root="$root"
	says CONFIG_XFS_FS
}

# initramfs_maker PROGRAM OURS: where the image has the program, it must have what is ours of it.
initramfs_maker() {
	: >"$root/usr/$1"
	expect 1 check --root="$root"
	says "^missing +program +/usr/$2 "
	says '^check: 1 missing, 0 conflicts, 0 warnings$'
	install -D /dev/null "$root/usr/$2"
	expect 0 check --root="$root"
	rm "$root/usr/$1"
}

# What an initramfs carries, and that the image can make one.
initramfs() {
	image
	expect 0 initramfs --root="$root"
	[ ! -s "$work/out" ] || fail "without an overlay an initramfs carries something"
	printf '[Volume]\nUse=overlay\n[Disk]\nSerial=o\n' >"$root/etc/emberlock/volumes.d/root.conf"
	: >"$root/etc/emberlock/agent.conf"
	expect 0 initramfs --root="$root"
	says "^volumes.d/root.conf $root/etc/emberlock/volumes.d/root.conf$"
	says "^agent.conf $root/etc/emberlock/agent.conf$"
	says_not data.conf
	cp "$root"/etc/emberlock/volumes.d/{root,two}.conf
	expect 1 initramfs --root="$root"
	says "two.conf: volume 'root' has Use=overlay already"
	rm "$root/etc/emberlock/volumes.d/two.conf"

	expect 1 check --root="$root"
	says '^missing +kernel +.*CONFIG_OVERLAY_FS=y/m'
	says '^missing +program +neither /usr/sbin/mkinitramfs .* nor /usr/bin/dracut '
	says '^check: 3 missing, 0 conflicts, 0 warnings$'
	printf 'CONFIG_%s\n' OVERLAY_FS=m BLK_DEV_INITRD=y >>"$root/boot/config-6.1"
	initramfs_maker sbin/mkinitramfs share/initramfs-tools/hooks/emberlock
	initramfs_maker bin/dracut lib/dracut/modules.d/90emberlock/module-setup.sh
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
	expect 1 metrics
	says '^emberlock_up 0$'
	expect 1 shred --yes
	expect 1 wait --timeout=100ms
	says 'not admitted in the time'
	expect 1 end poweroff
}

# agent_start [WORD]: an agent, in place of the one before.
agent_start() {
	[ -z "${agent_pid-}" ] || kill "$agent_pid"
	rm -rf /run/emberlock
	mkdir -p /run/emberlock/control
	"$agent" "$@" >"$work/asked" &
	agent_pid=$!
	trap 'kill $agent_pid; rm -rf "$work"' EXIT
	timeout 10 bash -c "until grep -q listening '$work/asked'; do sleep 0.05; done" || fail "no agent"
}

# types LINE STATUS: "emberlockctl shred" on a terminal, where somebody types LINE.
types() {
	local got=0

	script -qec "'$ctl' shred" /dev/null >"$work/out" 2>&1 <<<"$1" || got=$?
	[ "$got" = "$2" ] || fail "shred with '$1' typed ended with $got, not $2"
	says '^This destroys every key'
	says 'volume data, 96 MiB, /data'
}

asked() {
	[ "$(grep -cx "$1" "$work/asked")" = "$2" ] || fail "the agent was not asked for '$1' $2 times"
}

# In a mount namespace of its own, so that nobody else sees the agent.
served() {
	mount -t tmpfs tmpfs /run
	agent_start
	expect 0 status
	says '^lease +200 s left of 300 s, then shred'
	says '^data +ext4 +ready +required 96 MiB +2 +/dev/vdb +/data\?\[2J$'
	expect 0 status --json
	python3 -c '
import json, sys
s = json.load(sys.stdin)
page = open(sys.argv[1]).read()
keys = list(s) + list(s["lease"]) + list(s["volumes"][0])
assert not [k for k in keys if k not in page], [k for k in keys if k not in page]
assert s["lease"]["left_ms"] == 200000 and s["volumes"][0]["mount_point"] == "/data\x1b[2J", s
' "$units/../man/emberlockctl.1" <"$work/out" || fail "the JSON is not what it should be, or is not in the manual page"
	expect 0 wait
	asked ending 0
	expect 0 wait --for=ending --timeout=10
	asked ending 1
	expect 0 metrics
	says '^emberlock_up 1$'
	says '^emberlock_state\{state="admitted"\} 1$'
	says '^emberlock_lease_left_seconds 200.000$'
	says '^emberlock_volume_state\{volume="data",use="ext4",required="yes",state="ready"\} 1$'
	says '^emberlock_volume_bytes\{volume="data"\} 100663296$'
	python3 - "$work/out" <<-'END' || fail "the metrics are not of the form"
	import re, sys
	typed = set()
	for line in open(sys.argv[1]):
	    if m := re.fullmatch(r"# TYPE (emberlock_[a-z_]+) (gauge|counter)\n", line):
	        typed.add(m[1])
	    elif not line.startswith("# HELP "):
	        m = re.fullmatch(r'(emberlock_[a-z_]+)(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [0-9.]+\n', line)
	        assert m and m[1] in typed, line
	END
	expect 0 metrics --output="$work/metrics.prom"
	[ ! -s "$work/out" ] || fail "with --output it prints"
	grep -qx 'emberlock_up 1' "$work/metrics.prom" || fail "--output wrote no metrics"
	expect 1 metrics --output="$work/none/metrics.prom"
	says 'none/metrics.prom: No such file'
	expect 0 grow data
	says '^volume data: 96 MiB, 2 segments$'
	asked 'grow data 0' 1
	expect 0 swap resize data 32M
	asked 'swap data 33554432' 1
	expect 0 add late
	asked 'add late 0' 1

	expect 1 shred
	says 'not on a terminal, and without --yes'
	for word in no '' shre 'shred it' SHRED; do
		types "$word" 1
		says 'nothing was done'
	done
	expect 0 shred --dry-run
	says 'would now destroy'
	asked shred 0
	asked 'dry run' 1
	types shred 0
	asked shred 1
	expect 0 shred --yes
	asked shred 2

	agent_start refuse
	expect 1 grow data
	says 'volume data: no 16 MiB'
	expect 1 add data
	expect 1 swap resize data
	expect 1 shred --yes
	says 'only root of the initial user namespace'
	expect 1 wait --for=ending
	agent_start failed
	expect 3 wait
	says 'will not be admitted: volume data: no disk matches'
}

if [ "${3-}" = served ]; then
	served
	exit
fi
usage
kernel
kernel_tiny
images
initramfs
json
alone
if unshare --mount true 2>/dev/null; then
	unshare --mount "$0" "$ctl" "$agent" served
elif unshare --map-root-user --mount true 2>/dev/null; then
	unshare --map-root-user --mount "$0" "$ctl" "$agent" served
else
	echo "ctl: no mount namespace can be had: what it asks an agent is left out" >&2
fi

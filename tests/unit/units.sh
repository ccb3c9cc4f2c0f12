#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The units: systemd finds nothing to say about them, their exposure is what the manual page says, and each line
# that stays open has its reason there.
set -euo pipefail

top=$(readlink -f "$(dirname "$0")/../..")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
status=0

fail() {
	echo "units: $*" >&2
	status=1
}

command -v systemd-analyze >/dev/null || {
	echo "systemd-analyze is not installed"
	exit 77
}

# A root with systemd's own units, ours, and programs that need only be there.
stage() {
	local program

	mkdir -p "$root"/usr/{bin,sbin,lib/emberlock,lib/systemd} "$root/etc"
	ln -s usr/lib "$root/lib"
	ln -s usr/sbin "$root/sbin"
	cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
	rm -f "$root"/usr/lib/systemd/system/emberlock-*
	cp "$top"/units/emberlock-*.{service,target} "$top"/initramfs/dracut/*.service "$root/usr/lib/systemd/system/"
	for program in lib/emberlock/{overlay,emberlock-{keeper,agent,watchdog}} bin/emberlock{ctl,-manager} sbin/modprobe; do
		install -m 755 /dev/null "$root/usr/$program"
	done
}

# verify exits 0 on an unknown setting: any output about our units is a failure.
verify() {
	local output

	output=$(systemd-analyze verify --man=no --root="$root" "$1" 2>&1 | grep emberlock || true)
	[ -z "$output" ] || fail "$output"
}

exposure() {
	local said score

	said=$(sed -n "s/^\.It Pa $1 Ta \([0-9.]*\)$/\1/p" "$top/man/emberlock-units.7")
	score=$(systemd-analyze security --offline=true --no-pager --root="$root" "$1" 2>/dev/null |
		sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
	[ "$said" = "${score:-unknown}" ] || fail "$1: exposure is $score, emberlock-units(7) says '$said'"
}

# Each line that stays open is named where the page speaks of the unit. Capabilities, which systemd writes as
# groups, are left to the reader.
reasons() {
	local short=${1#emberlock-} lines setting name detail

	short=${short%.service} short=${short%@}
	lines=$(grep -E "^\.It Em (.*\b$short\b|all\b)" "$top/man/emberlock-units.7")
	while IFS= read -r setting; do
		name=${setting%%=*}= detail=${setting#*=}
		case $setting in
		CapabilityBoundingSet=*) continue ;;
		*=~*) detail=${detail#\~} ;;
		*) detail= ;;
		esac
		# "AF_(INET|INET6)": the first stands for both.
		detail=${detail/(/} detail=${detail%%|*}
		grep -F -- "$name" <<<"$lines" | grep -qF -- "$detail" ||
			fail "$1: emberlock-units(7) has no reason for $setting"
	done < <(systemd-analyze security --offline=true --no-pager --root="$root" "$1" 2>/dev/null |
		sed -n 's/^✗ \([^ ]*\) .*/\1/p')
}

stage
# Scores and lines are those of systemd 252; others count otherwise.
version=$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')
for unit in "$top"/units/emberlock-*.{service,target}; do
	name=${unit##*/}
	verify "$name"
	case $version:$name in
	252:*.service)
		exposure "$name"
		reasons "$name"
		;;
	esac
done
# In the initramfs alone: the page on it speaks of it.
for unit in "$top"/initramfs/dracut/*.service; do
	verify "${unit##*/}"
done
exit $status

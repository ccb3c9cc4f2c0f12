# SPDX-License-Identifier: Apache-2.0
# What the programs of vm-images have in common; sourced, with $here set to this directory.
# shellcheck shell=bash

# shellcheck disable=SC2154 # set by the program that sources this
project=$(dirname "$here")
export project
started=$SECONDS

say() {
	printf '%s: [%3d s] %s\n' "${0##*/}" "$((SECONDS - started))" "$*" >&2
}

die() {
	printf '%s: error: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# need_value OPTION [VALUE]...: the option that takes a value has one.
need_value() {
	[ -n "${2-}" ] || die "option $1 needs a value"
}

# need_commands COMMAND:PACKAGE...: each is there, or its package is named.
need_commands() {
	local pair

	for pair in "$@"; do
		command -v "${pair%%:*}" >/dev/null ||
			die "${pair%%:*} is missing: install the package ${pair#*:} (all are in vm-images/prerequisites)"
	done
}

# copy_tree FROM TO: copies files into a root, owned by root, whatever the umask of the checkout was.
copy_tree() {
	tar -C "$1" -c --owner=0 --group=0 --mode=u=rwX,go=rX . | tar -C "$2" -x --no-overwrite-dir
}

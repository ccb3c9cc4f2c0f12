#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# emberlock-admin against the real emberlock-manager on loopback: what it does and what it refuses.
# EMBERLOCK_BIN: where the two programs and storage_node are; default build/debug.
set -u
cd "$(dirname "$0")/../.." || exit 1
bin=${EMBERLOCK_BIN:-build/debug}
work=$(mktemp -d) || exit 1
manager_pid=
standin_pid=
passed=0
failed=0

clean_up() {
	stop_manager
	[ -z "$standin_pid" ] || kill "$standin_pid" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

stop_manager() {
	[ -n "$manager_pid" ] || return 0
	kill "$manager_pid" 2>/dev/null
	wait "$manager_pid"
	manager_pid=
	cat "$work/manager.log" >>"$work/said.log"
}

start_manager() {
	: >"$work/manager.log"
	"$bin/emberlock-manager" --state "$work/state" --listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$admin_port" \
		--storage-listen "127.0.0.1:$storage_port" --events-listen "127.0.0.1:$events_port" --advertise "https://vault.example:$port" --san vault.example >"$work/manager.log" 2>&1 &
	manager_pid=$!
	for _ in $(seq 150); do
		grep -q "^ready: " "$work/manager.log" && return 0
		kill -0 "$manager_pid" 2>/dev/null || break
		sleep 0.1
	done
	sed 's/^/    /' "$work/manager.log"
	return 1
}

# As each role; as nobody.
admin() { timeout 60 "$bin/emberlock-admin" --identity "$work/state/identities/key-administrator" "$@"; }
operator() { timeout 60 "$bin/emberlock-admin" --identity "$work/state/identities/operator" "$@"; }
nobody() { timeout 60 env -u EMBERLOCK_IDENTITY "$bin/emberlock-admin" --identity "$work/absent" "$@"; }

report() {
	cat "$work/output" >>"$work/said.log"
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok admin/$2"
	else
		failed=$((failed + 1))
		sed 's/^/    /' "$work/output"
		echo "not ok admin/$2"
	fi
}

# does NAME TEXT COMMAND...: exits 0 and prints TEXT (an extended regular expression; empty: anything).
does() {
	local name=$1 text=$2
	shift 2
	"$@" >"$work/output" 2>&1 </dev/null && { [ -z "$text" ] || grep -qE -e "$text" "$work/output"; }
	report $? "$name"
}

# refuses NAME STATUS TEXT COMMAND...: exits with STATUS, prints TEXT on standard error.
refuses() {
	local name=$1 status=$2 text=$3 got=0
	shift 3
	"$@" >"$work/output" 2>"$work/errors" </dev/null || got=$?
	cat "$work/errors" >>"$work/output"
	[ "$got" = "$status" ] && grep -qE -e "$text" "$work/errors"
	report $? "$name"
}

test_usage() {
	does usage/help "workspace bind NAME KEY" nobody --help
	does usage/help-of-object "key clear NAME" nobody key --help
	does usage/help-of-command "max-staleness TIME" nobody key create --help
	does usage/version "emberlock-admin [0-9]" nobody --version
	refuses usage/no-command 2 "no command" nobody
	refuses usage/unknown-command 2 "unknown command 'kex'" nobody kex list
	refuses usage/no-verb 2 "'key' needs a verb" nobody key
	refuses usage/missing-argument 2 "NAME is missing" nobody key show
	refuses usage/extra-argument 2 "what is 'more'" nobody key show a more
	refuses usage/missing-option 2 "--root-key is required" nobody signing-key rotate
	refuses usage/unknown-option 2 "unknown option --colour" nobody key list --colour
	refuses usage/option-of-another 2 "unknown option --lease" nobody key list --lease 3s
	refuses usage/option-twice 2 "--lease is given twice" nobody key create k --key-id k --lease 1s --lease=2s
	refuses usage/missing-value 2 "--directory needs a value" nobody file-kms create k --directory
	refuses usage/value-of-switch 2 "--json takes no value" nobody key list --json=yes
}

test_file_kms() {
	local kms=$work/kms

	does file-kms/create "cmk: created" nobody file-kms create cmk --directory "$kms"
	does file-kms/private-file "^600$" stat -c %a "$kms/cmk.json"
	does file-kms/form "" grep -qxE '\{"key":"[0-9a-f]{64}","state":"enabled"\}' "$kms/cmk.json"
	does file-kms/status "cmk: enabled" nobody file-kms status cmk --directory "$kms"
	cp "$kms/cmk.json" "$work/cmk.before"
	refuses file-kms/create-again 1 "cmk: the key is already in" nobody file-kms create cmk --directory "$kms"
	does file-kms/kept "" cmp "$work/cmk.before" "$kms/cmk.json"
	does file-kms/disable "cmk: disabled" nobody file-kms disable cmk --directory "$kms"
	does file-kms/status-json '^\{"key_id":"cmk","state":"disabled"\}$' nobody file-kms status cmk --directory "$kms" --json
	does file-kms/enable "cmk: enabled" nobody file-kms enable cmk --directory "$kms"
	does file-kms/same-key "" cmp "$work/cmk.before" "$kms/cmk.json"
	refuses file-kms/absent 1 "none: no such key in --directory" nobody file-kms disable none --directory "$kms"
	refuses file-kms/bad-name 1 "KEYID: '../cmk' is no name" nobody file-kms disable ../cmk --directory "$kms"
	echo junk >"$kms/junk.json"
	refuses file-kms/junk 1 "junk.json: not a key file" nobody file-kms status junk --directory "$kms"
	nobody file-kms create gone --directory "$kms" >/dev/null
	does file-kms/delete "gone: deleted" nobody file-kms delete gone --directory "$kms"
	refuses file-kms/deleted 1 "gone: no such key" nobody file-kms status gone --directory "$kms"
}

test_identity() {
	refuses identity/absent 1 "identity $work/absent: cannot read its file url" nobody key list
	mkdir "$work/foreign"
	cp "$work/state/identities/operator/"{url,ca.pem} "$work/foreign"
	cp "$work/state/server.pem" "$work/foreign/cert.pem"
	cp "$work/state/server.key" "$work/foreign/key.pem"
	refuses identity/foreign 1 "https://127.0.0.1:$admin_port/v1/keys: " "$bin/emberlock-admin" --identity "$work/foreign" key list
	cp -r "$work/state/identities/operator" "$work/untrusting"
	cp "$work/state/admin-ca.pem" "$work/untrusting/ca.pem"
	refuses identity/untrusted-manager 1 "certificate" "$bin/emberlock-admin" --identity "$work/untrusting" key list
	does identity/environment "NAME" env EMBERLOCK_IDENTITY="$work/state/identities/operator" "$bin/emberlock-admin" key list
}

create_key() { admin key create "$1" --key-id "$2" --directory "$work/kms" "${@:3}"; }

test_keys() {
	does key/create "main: created" create_key main cmk --lease 60s --margin 15s --poll-interval 5s --probe-interval 1s \
		--max-staleness 30s
	does key/list "main .*file .*cmk .*60s .*shred" admin key list
	does key/list-as-operator "main" operator key list
	does key/show "probe interval +1s" admin key show main
	does key/show-json '"lease_ms": 60000' admin key show main --json
	refuses key/create-again 1 "(409).*main" create_key main cmk
	refuses key/absent-cmk 1 "refuses" create_key other absent
	refuses key/as-operator 1 "(403)" operator key create other --key-id cmk --directory "$work/kms"
	refuses key/no-provider 1 "which key: --key-arn, --key-vault-uri, --kms-key-id or --key-id" admin key create other --lease 60s
	refuses key/two-providers 1 "--key-arn is of aws, --key-id of file" admin key create other --key-id cmk --key-arn a --directory "$work/kms"
	refuses key/bad-use 1 "'use_cases' holds a word that is not known" create_key other cmk --use-cases STORAGE,BACKUPS
	refuses key/volumes-of-another 1 "of --key-arn alone" create_key other cmk --reuse-key-for-cluster-volumes false
	does key/show-uses "^use cases +MANAGED_SERVICES, STORAGE$" operator key show main
	refuses key/part-of-a-key 1 "'file_key_info': member 'directory' is missing" admin key create other --key-id cmk
	refuses key/bad-lease 1 "lease" create_key other cmk --lease 1s
	refuses key/bad-duration 1 "--lease: 'soon' is no duration" create_key other cmk --lease soon
	refuses key/bad-expiry 1 "'expiry' must be shred or warn" create_key other cmk --expiry never
	refuses key/bad-name 1 "'name'" create_key ../x cmk
	refuses key/show-absent 1 "(404).*key other" admin key show other
	refuses key/not-made 1 "(404)" admin key show other
}

# A rotation, as far as the file provider has one: the next wrapping of the same key.
test_rotation() {
	does rotation/help "\-\-to KEY" nobody key rotate --help
	does rotation/none "^rotation +none$" operator key progress main
	refuses rotation/as-operator 1 "(403)" operator key rotate main
	refuses rotation/absent 1 "(404).*key none" admin key rotate none
	refuses rotation/to-absent 1 "(404)" admin key rotate main --to none
	refuses rotation/to-itself 1 "(409).*'to': the key itself" admin key rotate main --to main
	does rotation/rotate "main: the rotation began" admin key rotate main
	does rotation/complete "" sh -c "for i in \$(seq 300); do '$bin/emberlock-admin' --identity '$work/state/identities/operator' \
		key progress main | grep -q 'rotation  *complete' && exit; sleep 0.1; done; exit 1"
	does rotation/left "^left +0$" operator key progress main
	does rotation/free '"others_safe_to_disable": true' operator key progress main --json
	does rotation/versions "^\(not told\) +[1-9][0-9]* KEKs$" operator key progress main
	does rotation/page "^the text of this page$" node s3 open page=1 "$work/page"
	does rotation/record "key-rotated" operator audit list --from 1
}

# The next version of a KEK, and an old one refused.
test_keks() {
	cp "$work/page" "$work/page.v1"
	does kek/list "^data +1 +[0-9a-f]{12} " operator kek list acme
	refuses kek/as-operator 1 "(403)" operator kek rotate acme data
	refuses kek/no-workspace 1 "(404).*none" admin kek rotate none data
	refuses kek/no-use 1 "(404).*no KEK of that use" admin kek rotate acme wal
	refuses kek/current 1 "(409).*rotate first" admin kek retire acme data --kek-version 1
	does kek/rotate "acme/data: new DEKs" admin kek rotate acme data
	does kek/next-version "^data +2 " operator kek list acme
	does kek/open-the-old-one "^the text of this page$" node s3 open page=1 "$work/page.v1"
	does kek/rewrap "" node s3 rewrap page=1 "$work/page"
	refuses kek/bad-version 1 "--kek-version: 'x' is no number" admin kek retire acme data --kek-version x
	refuses kek/absent-version 1 "(404).*use and version" admin kek retire acme data --kek-version 9
	does kek/retire "acme/data: no DEK under that version" admin kek retire acme data --kek-version 1
	refuses kek/retired 1 "is retired" node s3 open page=1 "$work/page.v1"
	does kek/open-rewrapped "^the text of this page$" node s3 open page=1 "$work/page"
	does kek/restore "acme/data: DEKs under that version" admin kek restore acme data --kek-version 1
	does kek/restored "^the text of this page$" node s3 open page=1 "$work/page.v1"
}

# A key in each cloud, by the stand-in KMS and the credentials that it leaves.
test_clouds() {
	local cmk=arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e
	local role=arn:aws:iam::111122223333:role/customer

	mkdir "$work/clouds"
	mkfifo "$work/clouds/in"
	python3 tests/conformance/standin.py "$work/clouds" <"$work/clouds/in" &
	standin_pid=$!
	exec 8>"$work/clouds/in"
	for _ in $(seq 300); do
		[ -f "$work/clouds/ready" ] && break
		sleep 0.1
	done
	does clouds/directory "^700$" stat -c %a "$work/state/credentials"
	cp "$work/clouds/credentials/"* "$work/state/credentials"
	does clouds/aws "^a1: created" admin key create a1 --key-arn "$cmk" --credentials aws-static --key-alias alias/main \
		--use-cases STORAGE --reuse-key-for-cluster-volumes false
	does clouds/aws-role "^a2: created" admin key create a2 --key-arn "$cmk" --credentials aws-instance \
		--role-arn "$role" --external-id tenant-4711
	does clouds/azure "^b: created" admin key create b --credentials azure-assertion \
		--key-vault-uri https://emberlock.vault.azure.net/ --key-name k
	does clouds/google "^c: created" admin key create c --credentials google-account \
		--kms-key-id projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k
	does clouds/show-azure "^key +https://emberlock.vault.azure.net/keys/k$" operator key show b
	does clouds/show-azure-json '"key_vault_uri": "https://emberlock.vault.azure.net"' operator key show b --json
	does clouds/show-google "^c +google +projects/p-1/" operator key list
	does clouds/show-alias "^alias +alias/main$" operator key show a1
	does clouds/show-uses "^use cases +STORAGE$" operator key show a1
	does clouds/show-volumes "^cluster volumes +no$" operator key show a1
	does clouds/show-region '"key_region": "eu-central-1"' operator key show a2 --json
	does clouds/show "^role +$role\$" operator key show a2
	does clouds/show-credentials "^credentials +aws-instance$" operator key show a2
	does clouds/no-secret-shown "" sh -c "! '$bin/emberlock-admin' --identity '$work/state/identities/operator' key list --json | grep -e canary -e EXAMPLEKEY"
	refuses clouds/external-id 1 "misconfigured.*(AccessDenied|identity)|identity" admin key create d --key-arn "$cmk" \
		--credentials aws-static --role-arn "$role" --external-id tenant-4712
	refuses clouds/no-external-id 1 "(400).*role_arn, external_id" admin key create d --key-arn "$cmk" --credentials aws-static --role-arn "$role"
	refuses clouds/no-credentials 1 "(400).*credentials" admin key create d --key-arn "$cmk"
	refuses clouds/path 1 "'credentials'" admin key create d --key-arn "$cmk" --credentials ../signing.key
	refuses clouds/absent 1 "credentials/none: No such file" admin key create d --key-arn "$cmk" --credentials none
	refuses clouds/not-credentials 1 "credentials/web-token: .*JSON" admin key create d --key-arn "$cmk" --credentials web-token
	refuses clouds/another-cloud 1 "'provider' is not that of the key" admin key create d --key-arn "$cmk" --credentials google-account
	refuses clouds/alias 1 "(400).*key_arn" admin key create d --key-arn alias/main --credentials aws-static
	refuses clouds/other-region 1 "(400).*key_region" admin key create d --key-arn "$cmk" --key-region us-east-1 --credentials aws-static
	refuses clouds/not-made 1 "(404)" operator key show d
	does clouds/delete "" sh -c "for k in a1 a2 b c; do '$bin/emberlock-admin' --identity '$work/state/identities/key-administrator' key delete \$k || exit 1; done"
	does clouds/no-secret-logged "" sh -c "! grep -e canary -e EXAMPLEKEY '$work/manager.log'"
	exec 8>&-
	wait "$standin_pid"
	standin_pid=
}

# tells KEY BODY: what the listener of events answers to who shows KEY.
tells() {
	curl --silent --http2 --noproxy '*' --cacert "$work/state/ca.pem" -H "x-emberlock-key: $1" --data-binary "$2" --max-time 30 \
		--write-out ' %{http_code}\n' "https://127.0.0.1:$events_port/v1/events/main"
}

test_events() {
	local key=event-grid-key-canary-of-the-test-1 topic=/subscriptions/s/vaults/v now event
	now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
	event='[{"id":"1","topic":"'$topic'","eventType":"Microsoft.KeyVault.KeyExpired","eventTime":"'$now'","data":{}}]'

	does events/no-source "not-found.*404" tells $key "$event"
	(umask 077 && echo '{"provider":"azure","topic":"'$topic'"}' >"$work/state/events/main")
	does events/bad-source "internal.*500" tells $key "$event"
	does events/bad-source-said "events/main: member 'key' must be" cat "$work/manager.log"
	(umask 077 && echo '{"provider":"azure","topic":"'$topic'","key":"'$key'"}' >"$work/state/events/main")
	does events/good "^ 204$" tells $key "$event"
	does events/again "^ 204$" tells $key "$event"
	does events/wrong-key "forbidden.*403" tells "${key}2" "$event"
	does events/other-topic "forbidden.*403" tells $key "${event/vaults/other}"
	does events/shown "^events +1$" operator key show main
	does events/shown-when "^last event +2[0-9]{3}-" operator key show main
	does events/calls-shown "^calls, others +[1-9]" operator key show main
	does events/no-vm-no-rate "^calls/VM-hour +-$" operator key show main
	# None of them is a probe where no VM depends on the key.
	does events/no-probe "^calls, probes +0$" operator key show main
	does events/key-not-said "^0$" sh -c "grep -c canary-of-the-test '$work/manager.log' || true"
	rm "$work/state/events/main"
}

test_workspaces() {
	does workspace/create "acme: created and bound" admin workspace create acme --key main
	does workspace/list "acme +main +0" operator workspace list
	refuses workspace/again 1 "(409).*workspace acme" admin workspace create acme
	refuses workspace/as-operator 1 "(403)" operator workspace create other
	refuses workspace/absent-key 1 "created, but not bound to --key none" admin workspace create loose --key none
	does workspace/bind-later "loose: bound" admin workspace bind loose main
	refuses key/delete-bound 1 "(409).*key main" admin key delete main
	does workspace/delete "loose: deleted" admin workspace delete loose
	refuses workspace/delete-absent 1 "(404).*loose" admin workspace delete loose
	create_key spare cmk >/dev/null 2>&1
	refuses workspace/cmk-of-another 1 "(409).*the CMK of key spare is that of workspace acme, by key main" admin workspace create thief --key spare
	does workspace/cmk-of-another-unbound "thief +- +0" operator workspace list
	nobody file-kms create own --directory "$work/kms" >/dev/null
	create_key own own >/dev/null 2>&1
	admin workspace bind thief own >/dev/null
	refuses rotation/to-cmk-of-another 1 "(409).*key own: the CMK of key spare is that of workspace acme, by key main" admin key rotate own --to spare
	admin workspace delete thief >/dev/null
	admin key delete own >/dev/null
	does key/delete "spare: deleted" admin key delete spare
}

test_vms() {
	local out=$work/db1

	does vm/enrol "acme/db1: enrolled" operator vm enrol acme db1 --output "$out"
	does vm/private-files "^600 600 600 $" sh -c "stat -c %a '$out'/* | tr '\n' ' '"
	does vm/credential "^PrivateKey=[0-9a-f]{64}$" grep -xE '\[VM\]|Workspace=acme|VM=db1|(PrivateKey|RootKey)=[0-9a-f]{64}|SigningKeys=[0-9a-f]{704}' "$out/emberlock.vm"
	does vm/credential-lines "^6$" sh -c "wc -l <'$out/emberlock.vm'"
	does vm/root-key "RootKey=$(cat "$work/state/offline/root.pub")" cat "$out/emberlock.vm"
	does vm/url "^URL=https://vault.example:$port$" cat "$out/emberlock.manager"
	does vm/ca "" cmp "$work/state/ca.pem" "$out/emberlock.ca"
	does vm/key-not-sent "" sh -c "! grep -rlaF \"\$(sed -n s/PrivateKey=//p '$out/emberlock.vm')\" '$work/state'"
	does vm/list "acme +db1" admin vm list
	refuses vm/no-overwrite 1 "--output: .*emberlock.vm is there already" operator vm enrol acme db2 --output "$out"
	refuses vm/again 1 "(409).*VM acme/db1" operator vm enrol acme db1 --output "$work/again"
	does vm/nothing-left "" sh -c "[ -z \"\$(ls -A '$work/again')\" ]"
	refuses vm/no-workspace 1 "(404).*workspace none" operator vm enrol none db1 --output "$work/none"
	refuses vm/bad-name 1 "VM: 'a b' is no name" operator vm enrol acme "a b" --output "$work/none"
	refuses vm/bad-url 1 "--manager-url: must be https" operator vm enrol acme db3 --output "$work/none" --manager-url http://x
	nobody root-key generate --output "$work/stranger" >/dev/null
	refuses vm/other-root 1 "not signed by the root key of $work/stranger/root.pub" \
		operator vm enrol acme db3 --output "$work/none" --root-public "$work/stranger/root.pub"
	refuses vm/key-as-ca 1 "must hold PEM certificates alone" operator vm enrol acme db3 --output "$work/none" --ca "$work/state/ca.key"
	refuses vm/shred-role 1 "(403)" admin vm shred acme db1
	refuses vm/shred-no-boot 1 "(409).*no boot" operator vm shred acme db1
	refuses workspace/delete-with-vms 1 "(409).*it has VMs" admin workspace delete acme
	does vm/remove "acme/db1: removed" operator vm remove acme db1
	refuses vm/remove-again 1 "(404).*acme/db1" operator vm remove acme db1
	does fleet/empty "WORKSPACE" operator fleet
	does fleet/json "^\[\]$" operator fleet --json --workspace acme
	refuses boot/absent 1 "(404).*boot" operator boot confirm "$(printf '%064d' 7)"
	refuses boot/malformed 1 "(400).*64 hex digits" operator boot confirm 7
	refuses boot/role 1 "(403)" admin boot confirm "$(printf '%064d' 7)"
}

# as_node DIRECTORY METHOD PATH: what a storage node with these credentials is answered, and the status.
as_node() {
	timeout 60 curl --silent --noproxy '*' --http2 --cacert "$1/ca.pem" --cert "$1/cert.pem" --key "$1/key.pem" --request "$2" \
		--write-out ' %{http_code}\n' "https://127.0.0.1:$storage_port$3"
}

test_storage_nodes() {
	local out=$work/s1

	does storage-node/enrol "acme/s1: enrolled" admin storage-node enrol acme s1 --output "$out"
	does storage-node/private-files "^600 600 600 600 $" sh -c "stat -c %a '$out'/* | tr '\n' ' '"
	does storage-node/url "^https://127.0.0.1:$storage_port$" cat "$out/url"
	does storage-node/list "acme +s1" operator storage-node list
	does storage-node/known '^{"workspace":"acme","node":"s1"} 200$' as_node "$out" GET /v1/node
	refuses storage-node/no-overwrite 1 "--output: .*key.pem is there already" admin storage-node enrol acme s2 --output "$out"
	refuses storage-node/again 1 "(409).*acme/s1" admin storage-node enrol acme s1 --output "$work/s2"
	does storage-node/nothing-left "" sh -c "[ -z \"\$(ls -A '$work/s2')\" ]"
	refuses storage-node/as-operator 1 "(403)" operator storage-node enrol acme s2 --output "$work/s2"
	refuses storage-node/no-workspace 1 "(404).*workspace none" admin storage-node enrol none s2 --output "$work/s2"
	refuses storage-node/bad-name 1 "NODE: 'a b' is no name" admin storage-node enrol acme "a b" --output "$work/s2"
	refuses storage-node/bad-url 1 "--storage-url: must be https" admin storage-node enrol acme s2 --output "$work/s2" --storage-url http://x
	refuses storage-node/key-as-ca 1 "must hold PEM certificates alone" admin storage-node enrol acme s2 --output "$work/s2" --ca "$work/state/ca.key"
	does storage-node/no-admin "^000$" sh -c "curl --silent --http2 --cacert '$out/ca.pem' --cert '$out/cert.pem' --key '$out/key.pem' \
		--output /dev/null --write-out '%{http_code}\\n' 'https://127.0.0.1:$admin_port/v1/keys'; true"
	does storage-node/stranger '"error":"node".* 403$' as_node "$work/state/identities/key-administrator" GET /v1/node
	refuses workspace/delete-with-nodes 1 "(409).*storage nodes" admin workspace delete acme
	does storage-node/remove "acme/s1: removed" operator storage-node remove acme s1
	does storage-node/removed '"error":"node".* 403$' as_node "$out" GET /v1/node
	refuses storage-node/remove-again 1 "(404).*acme/s1" operator storage-node remove acme s1
	does storage-node/anew "acme/s1: enrolled" admin storage-node enrol acme s1 --output "$work/s3"
	does storage-node/old-key '"error":"node".* 403$' as_node "$out" GET /v1/node
	does storage-node/new-key " 200$" as_node "$work/s3" GET /v1/node
}

# node NAME COMMAND...: the tiny storage node with the credentials $work/NAME.
node() { timeout 60 "$bin/storage_node" "$work/$1" "${@:2}"; }

# What storage nodes do with the client library: keys made, used, rewrapped; not those of others.
test_deks() {
	local file=$work/page

	admin workspace create rival --key main >/dev/null
	admin storage-node enrol rival r1 --output "$work/r1" >/dev/null
	does dek/seal "" node s3 seal data page=1 "the text of this page" "$file"
	does dek/text-is-not-in-the-file "" sh -c "! grep -aq 'the text' '$file'"
	does dek/open "^the text of this page$" node s3 open page=1 "$file"
	refuses dek/other-context 1 "of another workspace or context, or damaged" node s3 open page=2 "$file"
	refuses dek/other-workspace 1 "of another workspace or context, or damaged" node r1 open page=1 "$file"
	refuses dek/removed-node 1 "(403).*no enrolled storage node" node s1 open page=1 "$file"
	cp "$file" "$work/page.before"
	does dek/rewrap "" node s3 rewrap page=1 "$file"
	does dek/another-blob "" sh -c "! cmp -s '$file' '$work/page.before'"
	does dek/open-rewrapped "^the text of this page$" node s3 open page=1 "$file"
	does dek/open-the-old-one "^the text of this page$" node s3 open page=1 "$work/page.before"
	refuses dek/bad-use 1 "(400).*'use'" node s3 seal ../x page=1 text "$work/none"
	refuses dek/no-credentials 1 "$work/absent/url: cannot read it" node absent open page=1 "$file"
	cp -r "$work/s3" "$work/s4"
	cp "$work/state/admin-ca.pem" "$work/s4/ca.pem"
	refuses dek/untrusted-manager 1 "127.0.0.1:$storage_port: .*certificate" node s4 open page=1 "$file"
	does dek/metrics "^emberlock_deks_unwrapped_total [1-9]" as_admin /v1/metrics
}

as_admin() {
	timeout 60 curl --silent --noproxy '*' --http2 --cacert "$work/state/ca.pem" --cert "$work/state/identities/operator/cert.pem" \
		--key "$work/state/identities/operator/key.pem" "https://127.0.0.1:$admin_port$1"
}

# The customer takes the key back while a node holds a DEK: it is dropped, by the library, long before its time, and no more come.
test_dek_revocation() {
	local file=$work/taken-page held=$work/held.log

	nobody file-kms create taken --directory "$work/kms" >/dev/null
	create_key taken taken --lease 300s --margin 15s --poll-interval 20s --probe-interval 500ms --max-staleness 300s >/dev/null
	admin workspace create taken --key taken >/dev/null
	admin storage-node enrol taken t1 --output "$work/t1" >/dev/null
	node t1 seal data "" text "$file"
	node t1 hold "" "$file" >"$held" 2>&1 &
	does dek/held "" sh -c "for i in \$(seq 300); do grep -q 'held 1' '$held' && exit; sleep 0.1; done; exit 1"
	nobody file-kms disable taken --directory "$work/kms" >/dev/null
	wait $!
	does dek/dropped "^dropped$" cat "$held"
	refuses dek/revoked 1 "(403).*its key is revoked" node t1 open "" "$file"
	nobody file-kms enable taken --directory "$work/kms" >/dev/null
	refuses dek/revoked-still 1 "(403).*its key is revoked" node t1 open "" "$file"
	does dek/cleared "taken: cleared" admin key clear taken
	does dek/open-again "^text" node t1 open "" "$file"
}

# Nobody can say no while the manager is away: the DEK goes at the end of its time.
test_dek_expiry() {
	local file=$work/short-page held=$work/short.log

	nobody file-kms create short --directory "$work/kms" >/dev/null
	create_key short short --lease 10s --margin 2s --poll-interval 1s --probe-interval 500ms --max-staleness 10s >/dev/null
	admin workspace create short --key short >/dev/null
	admin storage-node enrol short e1 --output "$work/e1" >/dev/null
	node e1 seal data "" text "$file"
	node e1 hold "" "$file" >"$held" 2>&1 &
	does dek/held-for-a-short-time "" sh -c "for i in \$(seq 300); do grep -q 'held 1' '$held' && exit; sleep 0.1; done; exit 1"
	stop_manager
	wait $!
	does dek/expired "^dropped$" cat "$held"
	does dek/after-expiry "" start_manager
	does dek/open-after-expiry "^text" node e1 open "" "$file"
}

backup() { python3 -c 'import sqlite3, sys; a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b)' "$1" "$2"; }

# As emberlock-operations(7) says: a restored copy, and no copy at all.
test_lost_store() {
	does store/backup "" backup "$work/state/manager.db" "$work/copy.db"
	node s3 seal young page=9 "younger than the copy" "$work/young"
	stop_manager
	rm "$work/state/manager.db"*
	cp "$work/copy.db" "$work/state/manager.db"
	does store/restore "" start_manager
	does store/restored-node "^the text of this page$" node s3 open page=1 "$work/page"
	does store/key-younger-than-the-copy "^younger than the copy$" node s3 open page=9 "$work/young"
	stop_manager
	rm "$work/state/manager.db"*
	does store/none "" start_manager
	refuses store/none-knows-no-node 1 "(403).*no enrolled storage node" node s3 open page=1 "$work/page"
	create_key main cmk --lease 60s --margin 15s --poll-interval 5s --probe-interval 1s --max-staleness 30s >/dev/null
	admin workspace create rival --key main >/dev/null
	admin storage-node enrol rival r2 --output "$work/r2" >/dev/null
	refuses store/none-is-anybodys 1 "of another workspace or context" node r2 open page=1 "$work/page"
	admin workspace create acme --key main >/dev/null
	admin storage-node enrol acme s5 --output "$work/s5" >/dev/null
	does store/nothing-lost "^the text of this page$" node s5 open page=1 "$work/page"
	does store/nothing-lost-of-another-use "^younger than the copy$" node s5 open page=9 "$work/young"
}

# The ID of the key whose use is $1.
signing_key() { admin signing-key list | awk -v use="$1" '$2 == use { print $1; exit }'; }

test_signing_keys() {
	local root=$work/state/offline/root.key first second

	does root-key/private "^600$" stat -c %a "$work/stranger/root.key"
	refuses root-key/no-overwrite 1 "--output: .*root.key is there already" nobody root-key generate --output "$work/stranger"
	does signing-key/list "[0-9a-f]{16} +active" operator signing-key list
	first=$(signing_key active)
	refuses signing-key/other-root 1 "not signed by the root key" admin signing-key rotate --root-key "$work/stranger/root.key"
	refuses signing-key/as-operator 1 "(403)" operator signing-key rotate --root-key "$root"
	chmod 644 "$work/stranger/root.key"
	refuses signing-key/readable-root 1 "must be readable by its owner alone" admin signing-key rotate --root-key "$work/stranger/root.key"
	refuses signing-key/only-one 1 "signing key $first: is the only one" admin signing-key revoke "$first" --root-key "$root"
	does signing-key/rotate "signing key [0-9a-f]{16}: added" admin signing-key rotate --root-key "$root"
	second=$(signing_key next)
	does signing-key/old-active "$first +active" admin signing-key list
	refuses signing-key/revoke-absent 1 "not in the manager's set" admin signing-key revoke 0000000000000000 --root-key "$root"
	refuses signing-key/revoke-malformed 1 "ID: 'x' is not 16 hex digits" admin signing-key revoke x --root-key "$root"
	does signing-key/revoke "signing key $first: revoked" admin signing-key revoke "$first" --root-key "$root"
	does signing-key/gone "" sh -c "! '$bin/emberlock-admin' --identity '$work/state/identities/operator' signing-key list | grep $first"
	does signing-key/changed "$second +active" admin signing-key list
	refuses signing-key/revoke-last 1 "signing key $second: is the only one" admin signing-key revoke "$second" --root-key "$root"
	stop_manager
	does signing-key/restart "" start_manager
	does signing-key/kept "$second +active" admin signing-key list
}

test_revocation() {
	does revoke/enrol "enrolled" operator vm enrol acme db9 --output "$work/db9"
	nobody file-kms disable cmk --directory "$work/kms" >/dev/null
	refuses revoke/bind 1 "(409|503)" admin workspace bind acme main
	refuses revoke/clear-too-early 1 "main|refuse" admin key clear main
	nobody file-kms enable cmk --directory "$work/kms" >/dev/null
	does revoke/clear "main: cleared" admin key clear main
}

test_receipts() {
	does receipt/list-empty "ADMISSION" operator receipt list
	refuses receipt/absent 1 "(404)" operator receipt show "$(printf '%064d' 7)"
	refuses receipt/malformed 1 "(400).*64 hex digits" operator receipt show 7
	echo '{"format":"emberlock receipt 1","surprise":1}' >"$work/bundle"
	refuses receipt/unknown-member 1 "unknown member 'surprise'" nobody receipt verify "$work/bundle" --root-key "$work/state/offline/root.pub"
	refuses receipt/no-file 1 "absent.json: cannot read it" nobody receipt verify "$work/absent.json" --root-key "$work/state/offline/root.pub"
	refuses receipt/no-root 1 "must be one line of 64 hex digits" nobody receipt verify "$work/bundle" --root-key "$work/state/ca.pem"
}

test_store() {
	refuses store/as-operator 1 "(403)" operator store adopt
	does store/adopt "store: adopted" admin store adopt
}

# changed NAME TEXT COMMAND...: the exported log, changed by COMMAND (standard input to output), is refused with TEXT.
changed() {
	local name=$1 text=$2
	shift 2
	"$@" <"$work/audit.log" >"$work/audit.changed"
	if cmp -s "$work/audit.log" "$work/audit.changed"; then
		echo "nothing was changed" >"$work/output"
		report 1 "audit/$name"
	else
		refuses "audit/$name" 1 "NOT verified: .*$text" nobody audit verify --input "$work/audit.changed" --checkpoint "$work/checkpoint"
	fi
}

flip_a_bit() { python3 -c 'import sys; b = bytearray(sys.stdin.buffer.read()); b[len(b) // 3] ^= 1; sys.stdout.buffer.write(b)'; }

test_audit() {
	local root=$work/state/offline/root.pub

	does audit/list "request POST /v1/keys .*key-administrator +204" admin audit list --from 1
	does audit/list-refusals "operator +403 .*not for this role" operator audit list --from 1
	does audit/list-json '"result": "403' operator audit list --from 1 --json
	refuses audit/list-from-nothing 1 "--from: '0' is no number" admin audit list --from 0
	does audit/export "" admin audit export --output "$work/audit.log"
	refuses audit/export-no-overwrite 1 "--output $work/audit.log: cannot make it" admin audit export --output "$work/audit.log"
	does audit/export-from '^\{"number":3,' admin audit export --from 3
	refuses audit/export-twice 1 "--syslog and --output: one of them" admin audit export --syslog --output "$work/none"
	if unshare -m true 2>/dev/null; then
		does audit/export-to-syslog "^<85>emberlock-audit: \\{\"number\":1,.*" unshare -m "$PWD/tests/manager/syslog.py" \
			"$bin/emberlock-admin" --identity "$work/state/identities/operator" audit export --syslog
	else
		echo "# audit: no mount namespace can be had (in a chroot): export --syslog is left out"
	fi
	does audit/each-line-is-json "" python3 -c 'import json, sys
for line in open(sys.argv[1]): json.loads(line)["content"]["event"]' "$work/audit.log"
	does audit/checkpoint "^[0-9a-f]{256}$" operator audit checkpoint
	does audit/checkpoint-json '"number": [1-9]' operator audit checkpoint --json
	admin audit checkpoint --output "$work/checkpoint"
	does audit/said-in-the-journal "" grep -qE "^audit: checkpoint of record [0-9]+: [0-9a-f]{256}$" "$work/manager.log"
	does audit/no-checkpoint "tail not proven: without a checkpoint" nobody audit verify --input "$work/audit.log"
	does audit/proven "proven to the end" nobody audit verify --input "$work/audit.log" --checkpoint "$work/checkpoint"
	does audit/signed '"signature_checked":true' nobody audit verify --input "$work/audit.log" --checkpoint "$work/checkpoint" \
		--root-key "$root" --json
	refuses audit/other-root 1 "no signing key that the root key vouches for" nobody audit verify --input "$work/audit.log" \
		--checkpoint "$work/checkpoint" --root-key "$work/stranger/root.pub"
	changed bit "record [0-9]+:" flip_a_bit
	changed removal "does not follow" sed 5d
	changed reorder "does not follow" sed '5{h;d};6{G}'
	changed truncation "its end was cut off" head -n -1
	changed half-a-line "does not end|not of the form" head -c -20
	changed to-nothing "there is no record" sed d
	does audit/truncation-without-checkpoint "tail not proven" sh -c "head -n -1 '$work/audit.log' >'$work/audit.changed' &&
		'$bin/emberlock-admin' audit verify --input '$work/audit.changed'"
	admin workspace create later >/dev/null
	does audit/newer-records "proven up to record [0-9]+; tail not proven" admin audit verify --checkpoint "$work/checkpoint"
	does audit/online "each follows" operator audit verify --root-key "$root"
	refuses audit/no-file 1 "--input $work/absent: cannot read it" nobody audit verify --input "$work/absent"
	refuses audit/no-checkpoint-file 1 "--checkpoint $work/absent: cannot read it" nobody audit verify --checkpoint "$work/absent"
	refuses audit/bad-checkpoint 1 "line 1: no checkpoint in hex" nobody audit verify --checkpoint "$root"
	test_audit_of_a_tenant
}

test_audit_of_a_tenant() {
	does audit/tenant-export "" admin audit export --workspace later --output "$work/later.log"
	does audit/tenant-sees-its-own "" grep -q '"name":"later"' "$work/later.log"
	does audit/tenant-sees-no-other "" sh -c "! grep -q acme '$work/later.log' && grep -q acme '$work/audit.log'"
	does audit/tenant-verifies "[1-9][0-9]* of them by their hash alone" nobody audit verify --input "$work/later.log" \
		--checkpoint "$work/checkpoint" --root-key "$work/state/offline/root.pub"
	admin audit export --workspace acme >"$work/acme.log"
	does audit/tenant-sees-its-storage-nodes "" sh -c "grep -q 'POST.*/v1/storage-nodes' '$work/acme.log' && grep -q 'DELETE.*/v1/storage-nodes/acme/s1' '$work/acme.log'"
	refuses audit/tenant-absent 1 "(404)" admin audit export --workspace absent
	refuses audit/tenant-malformed 1 "--workspace: '../x' is no name" admin audit export --workspace ../x
}

test_manager() {
	refuses manager/wildcard 2 "--listen 0.0.0.0:0: .*--advertise" timeout 60 "$bin/emberlock-manager" --state "$work/other" --listen 0.0.0.0:0
	refuses manager/storage-wildcard 2 "--storage-listen 0.0.0.0:0: .*--storage-advertise" timeout 60 "$bin/emberlock-manager" \
		--state "$work/other" --storage-listen 0.0.0.0:0
	refuses manager/argument 2 "more" timeout 60 "$bin/emberlock-manager" --state "$work/other" more
	does manager/help "--advertise URL" timeout 60 "$bin/emberlock-manager" --help
}

# What the programs have said, all through, holds none of the keys they made.
test_no_key_is_said() {
	local secrets

	stop_manager
	for secrets in state kms stranger db9 s1 s3 r1 t1 e1 r2 s5; do
		does "no-key-said/$secrets" "^[1-9][0-9]* keys, 1 logs, 0 found" env PYTHONPATH=tests/vm python3 -m lib.leaks \
			"$work/$secrets" "$work/said.log"
	done
	does no-key-said/control "control found" sh -c "sed -n s/PrivateKey=//p '$work/db9/emberlock.vm' >>'$work/said.log'
		PYTHONPATH=tests/vm python3 -m lib.leaks '$work/db9' '$work/said.log' >/dev/null || echo control found"
}

read -r port admin_port storage_port events_port < <(PYTHONPATH=tests/vm python3 -c '
from lib.world import free_port
print(*(free_port() for _ in range(4)))')
test_usage
test_manager
test_file_kms
if start_manager; then
	test_identity
	test_keys
	test_clouds
	test_events
	test_workspaces
	test_vms
	test_storage_nodes
	test_deks
	test_rotation
	test_keks
	test_dek_revocation
	test_dek_expiry
	test_signing_keys
	test_revocation
	test_receipts
	test_store
	test_audit
	test_lost_store
	test_no_key_is_said
else
	echo "not ok admin/manager-starts"
	failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

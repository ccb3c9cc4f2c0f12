# SPDX-License-Identifier: Apache-2.0
"""A VM without systemd and udev, whose init is busybox, by the recipe that the package installs: emberlock-busybox(7)."""

import argparse
import hashlib
import subprocess
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.disks import count_patterns
from lib.guest import AGENT, KEEPER, WATCHDOG, deadline, process_ids, status, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume

# Neither this text nor the guest's shell scripts hold the canary: the guest makes it from its halves.
CANARY = "CANARY-" + hashlib.sha256(b"busybox").hexdigest()[:24]
PRELUDE = """set -eu
C=$(printf 'CANARY-%s' $(printf busybox | sha256sum | cut -c1-24))
sql() { setpriv --reuid=postgres --regid=postgres --init-groups psql -h /run/postgresql -X -q -A -t -v ON_ERROR_STOP=1 -d postgres -c "$1"; }
bare() { for d in /sys/block/vd*; do if [ "$(cat $d/serial)" = "$1" ]; then echo /dev/${d##*/}; fi; done; }
"""
DISKS = {"pgdata": "512M", "swapdisk": "700M", "block": "64M", "control": "64M"}
LABELS = {"pgdata": "pgdata", "swapdisk": "swap"}  # and the volume's name
BLOCK = volume("raw", "block", Owner="postgres", Mode="0600")
COMPUTE = "/var/db/postgres/compute"


def labelled_disks(work: Path) -> None:
    """The disks as such a VM gets them: with a file system and a swap area already, in the clear."""
    work.mkdir()
    for name, command in ("pgdata", ["mkfs.ext4", "-q", "-L", "pgdata"]), ("swapdisk", ["mkswap", "-q", "-L", "swapdisk"]):
        path = work / f"{name}.raw"
        with path.open("wb") as f:
            f.truncate(int(DISKS[name][:-1]) << 20)
        subprocess.run([*command, str(path)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def label_of(path: Path) -> str:
    return subprocess.run(["blkid", "-p", "-s", "LABEL", "-o", "value", str(path)], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False).stdout.decode().strip()


def init_is_busybox(vm: VM) -> None:
    with check("busybox/neither systemd nor udev is there; the recipe's processes are"):
        assert vm.run("readlink /proc/1/exe").text.endswith("/busybox")
        assert vm.run("cat /proc/[0-9]*/comm | grep -E '^(systemd|udevd|\\(udev)'", check=False).text == ""
        assert vm.run("ls -d /run/udev /run/systemd /dev/disk", check=False).text == ""
        assert [len(process_ids(vm, program)) for program in (KEEPER, AGENT, WATCHDOG)] == [2, 1, 1]
    with check("busybox/the watchdog has its own user and no capability; the keeper can freeze PID 1, which is alone in its group"):
        lines = dict(line.split(":", 1) for line in vm.run(f"cat /proc/{process_ids(vm, WATCHDOG)[0]}/status").text.splitlines())
        uid = vm.run("id -u emberlock-watchdog").text
        assert lines["Uid"].split() == [uid] * 4 and uid != "0", lines["Uid"]
        assert {int(value, 16) for name, value in lines.items() if name.startswith("Cap")} == {0}, lines
        assert lines["NoNewPrivs"].strip() == "1" and lines["Groups"].strip() == "", lines
        for pid in process_ids(vm, KEEPER):
            assert "init.scope/cgroup.freeze" in vm.run(f"ls -l /proc/{pid}/fd").text
            assert vm.run(f"cat /proc/{pid}/cgroup").text == "0::/"
        assert vm.run("cat /proc/1/cgroup").text == "0::/init.scope"
        for program in AGENT, WATCHDOG:
            assert vm.run(f"cat /proc/{process_ids(vm, program)[0]}/cgroup").text == "0::/emberlock"
    with check("busybox/credentials are in memory that is never swapped out, each for its own user alone"):
        assert vm.run("findmnt -n -o FSTYPE /run/credentials").text == "ramfs"
        found = vm.run("cd /run/credentials; stat -c '%a %U %n' root emberlock-watchdog */*").text.splitlines()
        assert sorted(found) == sorted([
            "700 root root", "600 root root/emberlock.vm", "700 emberlock-watchdog emberlock-watchdog",
            "600 emberlock-watchdog emberlock-watchdog/emberlock.manager",
            "600 emberlock-watchdog emberlock-watchdog/emberlock.ca"]), found


def labels_lead_to_volumes(vm: VM, when: str) -> None:
    with check(f"busybox/labels lead to the mapping and never to the bare disk: {when}"):
        for label, name in LABELS.items():
            node = vm.run(f"readlink -f /dev/mapper/emberlock-{name}").text
            assert node.startswith("/dev/dm-"), node
            # Without the cache of an earlier look, and with it.
            for command in (f"blkid -c /dev/null -l -o device -t LABEL={label}", f"blkid -L {label}", f"findfs LABEL={label}"):
                found = vm.run(f"readlink -f $({command})").text
                assert found == node, (command, found, node)
            bare = vm.run(PRELUDE + f"blkid -p $(bare {label}) || true").text
            assert bare == "", bare
            # busybox's own look, which knows nothing of what lies on what: the mapping, or what is in it.
            found = vm.run(f"readlink -f $(busybox findfs LABEL={label})").text
            note(f"busybox findfs LABEL={label}: {found}, the volume is {node}")
            assert found.startswith("/dev/dm-"), found


def volumes(vm: VM) -> None:
    with check("busybox/volumes: the disks chosen by label, and by serial number as sysfs has it; names and owner as udev makes them"):
        s = status(vm)
        assert {v["name"]: v["state"] for v in s["volumes"]} == dict.fromkeys(("pgdata", "swap", "block"), "ready"), s["volumes"]
        assert vm.run("ls -l /dev/mapper | grep -c ' emberlock-.* -> ../dm-'").text == "3"
        assert vm.run("stat -L -c '%U %a' /dev/mapper/emberlock-block").text == "postgres 600"
        assert vm.run("dmsetup table --target crypt | wc -l").text == "3"
    labels_lead_to_volumes(vm, "after the start")
    with check("busybox/the mount point is the parent of pgdata, which the workload has made anew; project quota and discard are on"):
        vm.run(PRELUDE + "timeout 150 sh -c 'until [ -S /run/postgresql/.s.PGSQL.5432 ]; do sleep 0.2; done'; until sql 'SELECT 1'; do sleep 0.2; done",
               timeout=160)
        source, options = vm.run(f"findmnt -n -o SOURCE,OPTIONS {COMPUTE}").text.split()
        assert vm.run(f"readlink -f {source}").text == vm.run("readlink -f /dev/mapper/emberlock-pgdata").text, source
        assert {"discard", "prjquota"} <= set(options.split(",")), options
        assert vm.run(f"stat -c %U:%a {COMPUTE} {COMPUTE}/pgdata").text.split() == ["postgres:755", "postgres:700"]
        assert vm.run("cat /proc/$(pgrep -o -x postgres)/cgroup").text == "0::/workload"


def swap_is_made_again(vm: VM) -> None:
    for mib in 64, 512:
        with check(f"busybox/swap: made again by its label and on again, {mib} MiB"):
            vm.run(f"""set -eu; d=$(findfs LABEL=swapdisk); swapoff $d
                mkswap -L swapdisk $d {mib * 1024}; swapon -d $(findfs LABEL=swapdisk)""")
            name, _, kib, *_ = vm.run("tail -n +2 /proc/swaps").text.split()
            node = vm.run("readlink -f /dev/mapper/emberlock-swap").text
            assert vm.run(f"readlink -f {name}").text == node and int(kib) == mib * 1024 - 4, (name, kib)
        labels_lead_to_volumes(vm, f"after swap of {mib} MiB")


def writes(vm: VM) -> None:
    with check("busybox/written: tables, temporary files, swap; and the control disk, in the clear"):
        vm.run(PRELUDE + """sql "CREATE TABLE t AS SELECT n, '$C' || n AS x FROM generate_series(1, 50000) n"; sql CHECKPOINT
            sql "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT DISTINCT x FROM t ORDER BY x DESC) s"
            yes "$C" | head -c 1M | dd of=$(bare control) bs=64k oflag=direct iflag=fullblock conv=fsync status=none
            ram=$(awk '/^MemAvailable/ { print int($2 / 1024) + 150 }' /proc/meminfo)
            yes "$C" | head -c ${ram}M | tail -c ${ram}M | { head -c 64 >/dev/null
                awk '/^SwapTotal/ { t = $2 } /^SwapFree/ { f = $2 } END { exit t - f < 50000 }' /proc/meminfo; cat >/dev/null; }
            sync; echo 3 >/proc/sys/vm/drop_caches""", timeout=300)
        for name, lines in ("pgdata", 40000), ("swap", 1000):
            n = int(vm.run(f"grep -a -c {CANARY} /dev/mapper/emberlock-{name} || true", timeout=300).text)
            note(f"lines with the canary in the volume {name}: {n}")
            assert n >= lines, (name, n)


def agent_comes_back(vm: VM, world: World) -> None:
    with check("busybox/an agent that is killed is started again by init, and the lease goes on"):
        before = status(vm)["agents"]
        vm.run(f"kill -9 {process_ids(vm, AGENT)[0]}")
        world.wait("a new agent", lambda: vm.run("emberlockctl status", check=False).status == 0 and status(vm)["agents"] > before, 60)
        wait_admitted(vm)
        old = deadline(vm)
        world.wait("a later deadline", lambda: deadline(vm) > old, 60)


def nothing_in_the_clear(vm: VM) -> None:
    with check("busybox/the canary is on the control disk, and on no other, the root's neither"):
        found = {name: count_patterns(vm.disk(name), [CANARY.encode()])[CANARY.encode()] for name in DISKS}
        found["root"] = count_patterns(vm.work / "root.qcow2", [CANARY.encode()])[CANARY.encode()]
        control = found.pop("control")
        note(f"on the control disk: {control}")
        assert control > 20000 and set(found.values()) == {0}, (control, found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("busybox") as work, World(work) as world:
        image = image_with(args.image, work / "image", {"/etc/emberlock/volumes.d/block.conf": BLOCK})
        labelled_disks(work / "vm")
        with check("busybox/control: the bare disks have the labels before"):
            assert {name: label_of(work / "vm" / f"{name}.raw") for name in LABELS} == {name: name for name in LABELS}
        guest = {"work": work / "vm", "image": image, "disks": DISKS, "credentials": world.enrol("vm1"), "memory": 640,
                 "snapshot_root": False}
        with VM(**guest) as vm:
            vm.ready()
            try:
                wait_admitted(vm)
                init_is_busybox(vm)
                volumes(vm)
                swap_is_made_again(vm)
                writes(vm)
                agent_comes_back(vm, world)
            finally:
                (vm.work / "dmesg.log").write_bytes(vm.run("dmesg", check=False).out)
            with check("busybox/revoked: keys gone, off, and the receipt verifies with every segment as wiped"):
                admission = status(vm)["admission"]
                world.customer("disable", "cmk")
                assert wait_shred(vm, 90) == ("revoked", 11)
                said = world.verify_receipt(admission)
                assert said.count("wiped after") == 3 and "unwiped" not in said, said
        nothing_in_the_clear(vm)
        with check("busybox/nor are the labels"):
            assert {name: label_of(vm.disk(name)) for name in LABELS} == dict.fromkeys(LABELS, "")
        world.customer("enable", "cmk")
        world.admin("key", "clear", "key")
        with VM(**guest) as vm:
            vm.ready()
            with check("busybox/the same disks again, without labels: refused by name, never admitted, nothing mounted or swapped on"):
                refused = vm.run("emberlockctl wait --timeout 120", check=False, timeout=130)
                failure = status(vm)["failure"]
                note(failure)
                assert refused.status == 3 and "Label=" in failure, (refused, failure)
                assert vm.run(f"findmnt {COMPUTE}; tail -n +2 /proc/swaps; pgrep -x postgres", check=False).text == ""
            with check("busybox/poweroff: the keys that there are go first, by the keeper"):
                vm.channel.start("busybox poweroff")
                assert wait_shred(vm, 90) == ("end", 19)
    finish()


main()

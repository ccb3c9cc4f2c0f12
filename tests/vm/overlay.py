# SPDX-License-Identifier: Apache-2.0
"""A root that is an overlay on an encrypted volume: what is written anywhere reaches no disk in the clear."""

import argparse
import json
import re
import secrets
import subprocess
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.disks import count_patterns, disk_hash
from lib.guest import KEEPER, QUIET, process_ids, status, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume

DISKS = {"overlay": "1G", "pgdata": "1G", "pgtemp": "1G", "swap": "1G", "control": "64M"}
CANARY = f"CANARY-{secrets.token_hex(16)}"
PRELUDE = f"""set -e
C={CANARY}
put() {{
    mkdir -p "$(dirname "$1")"
    echo "$C $1" >>"$1"
    grep -q "$C" "$1"
}}
sql() {{ runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 -d postgres -c "$1"; }}
swapped() {{ awk '/^SwapTotal/ {{ t = $2 }} /^SwapFree/ {{ f = $2 }} END {{ print t - f }}' /proc/meminfo; }}
"""
# Where a process can write: a name, and a script that writes there and sees that it has.
PLACES = {
    "/etc, a new file": "put /etc/canary.conf",
    "/etc, a file of the image": "put /etc/hosts",
    "/etc, the machine's description": "put /etc/machine-info",
    "/etc, an SSH host key": "put /etc/ssh/ssh_host_ed25519_key",
    "/etc, a TLS key": "put /etc/ssl/private/canary.pem",
    "/etc, a unit": "put /etc/systemd/system/canary.service",
    "/etc, a credential": "put /etc/credstore/canary",
    "/etc, cron.d": "put /etc/cron.d/canary",
    "/var/log, a log": "put /var/log/canary.log",
    "/var/log, wtmp": "put /var/log/wtmp",
    "/var/log, the journal": 'logger -t canary "$C"; journalctl --sync; grep -qra "$C" /var/log/journal',
    "/var/tmp": "put /var/tmp/canary",
    "/var/lib, a new directory": "put /var/lib/canary/state",
    "/var/lib, dpkg's status": "put /var/lib/dpkg/status",
    "/var/lib, apt's lists": "put /var/lib/apt/lists/canary_Packages",
    "/var/lib, systemd's random seed": "put /var/lib/systemd/random-seed",
    "/var/lib, a timer's stamp": "put /var/lib/systemd/timers/stamp-canary.timer",
    "/var/cache, apt's archives": "put /var/cache/apt/archives/canary.deb",
    "/var/cache, debconf": "put /var/cache/debconf/config.dat",
    "/var/spool, crontabs": "put /var/spool/cron/crontabs/root",
    "/var/mail": "put /var/mail/root",
    "/var/backups": "put /var/backups/canary",
    "/tmp": "put /tmp/canary",
    "/root": "put /root/.bash_history",
    "/home": "put /home/somebody/notes",
    "/opt": "put /opt/canary/bin",
    "/srv": "put /srv/canary/index",
    "/usr/local": "put /usr/local/bin/canary",
    "/usr": "put /usr/lib/canary",
    "/boot": "put /boot/canary",
    "/": "put /canary",
    "the name of a file": 'touch "/var/lib/$C"; sync',
    "the target of a symbolic link": 'ln -s "/nowhere/$C/$C" /var/lib/canary-link',
    "a directory of the image, renamed": 'mv /usr/share/debconf "/usr/share/$C"',
    "a file that is deleted and still open": 'exec 3>/var/tmp/open; rm /var/tmp/open; echo "$C" >&3; sync',
    "direct I/O": 'yes "$C" | head -c 64k | dd of=/var/tmp/direct bs=64k iflag=fullblock oflag=direct status=none',
    "a file system in a file": """truncate -s 32M /var/lib/canary.img; mkfs.ext4 -q /var/lib/canary.img
        modprobe loop; mount -o loop /var/lib/canary.img /mnt; echo "$C" >/mnt/canary; umount /mnt
        grep -qa "$C" /var/lib/canary.img""",
    "a core dump": """ulimit -c unlimited; cd /; SECRET=$C sh -c 'kill -SEGV $$' || true
        grep -qa "$C" /var/crash/core.sh.*""",
    "a unit's own /tmp": "systemd-run -q --wait -p PrivateTmp=yes sh -c \"echo $C >/tmp/canary && sync\"",
    "a unit's state": "systemd-run -q --wait -p StateDirectory=canary-unit -p DynamicUser=yes "
                      "sh -c \"echo $C >/var/lib/canary-unit/state\"; grep -q $C /var/lib/private/canary-unit/state",
    "a unit's cache and logs": "systemd-run -q --wait -p CacheDirectory=canary -p LogsDirectory=canary "
                               "sh -c \"echo $C | tee /var/cache/canary/x >/var/log/canary/x\"; grep -q $C /var/log/canary/x",
    "PostgreSQL, a table": """sql "CREATE TABLE t AS SELECT n, '$C' || n AS x FROM generate_series(1, 20000) n"; sql CHECKPOINT
        grep -qra "$C" /var/lib/postgresql/15/main/base""",
    "PostgreSQL, an unlogged table": """sql "CREATE UNLOGGED TABLE u AS SELECT '$C' || n AS x FROM generate_series(1, 5000) n"
        sql CHECKPOINT""",
    "PostgreSQL, the write-ahead log": """sql "INSERT INTO t SELECT n, '$C' || n FROM generate_series(1, 5000) n"
        sql "SELECT pg_switch_wal()"; grep -qra "$C" /var/lib/postgresql/15/main/pg_wal""",
    "PostgreSQL, temporary files": """
        sql "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT DISTINCT x FROM t ORDER BY x DESC) s"
        sql "SELECT pg_stat_force_next_flush()"
        [ "$(sql "SELECT temp_bytes > 0 FROM pg_stat_database WHERE datname = 'postgres'")" = t ]""",
    "/run, and by it swap": 'yes "$C" | head -c 30M >/run/canary',
    "/dev/shm, and by it swap": 'yes "$C" | head -c 250M >/dev/shm/canary',
    "a process' memory, and by it swap": """yes "$C" | head -c 300M | tail -c 300M | {
        head -c 64 >/dev/null; [ "$(swapped)" -gt 50000 ]; cat >/dev/null; }""",
}

RUNTIME = "/run/emberlock/conf/volumes.d"
# Volumes that would like to have what a root with dm-verity stands on, and the word of their refusal.
BELOW_VERITY = {
    "data": ("Serial=root\nDestroy=any", r"refused \(in use\).* is in use \(dm-0\)"),
    "hashes": ("Serial=root-hash\nDestroy=any", r"refused \(read-only\).* is read-only"),
    "map": ("Path=/dev/disk/by-id/dm-name-root\nDestroy=any", r"refused \(missing\)"),
}


def search(vm: VM, name: str) -> int:
    return count_patterns(vm.disk(name), [CANARY.encode()])[CANARY.encode()]


def root_writes(vm: VM) -> int:
    """Bytes that the guest has written to its root disk: what its layer above the image holds."""
    extents = json.loads(subprocess.run(["qemu-img", "map", "--output=json", str(vm.work / "root.qcow2")], check=True,
                                        stdin=subprocess.DEVNULL, capture_output=True).stdout)
    return sum(e["length"] for e in extents if e["depth"] == 0 and e["present"])


def root_is_overlay(vm: VM, name: str = "overlay", below: str = "/dev/disk/by-id/virtio-root") -> None:
    with check(f"{name}/the root is an overlay, and neither layer is at a path of its own"):
        assert vm.run("findmnt -n -o FSTYPE /").text == "overlay"
        assert vm.run("findmnt -n -S /dev/mapper/emberlock-root", check=False).text == ""
        root = {v["name"]: v for v in status(vm)["volumes"]}["root"]
        assert (root["use"], root["state"], root["mount_point"]) == ("overlay", "ready", "/"), root
    with check(f"{name}/the disk below it takes no write, also not from root"):
        assert vm.run(f"blockdev --getro {below}").text == "1"
        assert vm.run(f"dd if=/dev/zero of={below} bs=512 count=1", check=False).status != 0


def started_before_journal(vm: VM, pid: int) -> None:
    """Before the real root's journal is before the real root; field 22 is the start in ticks."""
    journal = int(vm.run("systemctl show -P MainPID systemd-journald").text)
    started = [int(vm.run(f"cut -d')' -f2 /proc/{p}/stat | cut -d' ' -f21").text) for p in (pid, journal)]
    assert started[0] < started[1], started


def keeper_is_adopted(vm: VM, name: str = "overlay") -> None:
    with check(f"{name}/the keeper is the initramfs'; its unit is active, with it as main process and in its group"):
        pids = process_ids(vm, KEEPER)
        assert len(pids) == 2, pids
        state = vm.run("systemctl show -P ActiveState -P MainPID -P ControlGroup emberlock-keeper").text.split()
        assert "active" in state and str(pids[0]) in state, (state, pids)
        for pid in pids:
            assert vm.run(f"cat /proc/{pid}/cgroup").text == "0::/system.slice/emberlock-keeper.service"
        started_before_journal(vm, pids[0])
    with check(f"{name}/the keeper has the capabilities of its unit and no more, and can freeze PID 1"):
        # SYS_ADMIN, SYS_BOOT, SYS_NICE, SYS_PTRACE, DAC_OVERRIDE, FOWNER: capability.h
        kept = 1 << 21 | 1 << 22 | 1 << 23 | 1 << 19 | 1 << 1 | 1 << 3
        for pid in pids:
            lines = dict(line.split(":\t") for line in vm.run(f"cat /proc/{pid}/status").text.splitlines())
            assert int(lines["CapEff"], 16) == int(lines["CapBnd"], 16) == kept, lines
            assert lines["NoNewPrivs"] == "1"
            assert "init.scope/cgroup.freeze" in vm.run(f"ls -l /proc/{pid}/fd").text
    one_boot(vm, name)


def keeper_is_carried_over(vm: VM, name: str) -> None:
    with check(f"{name}/the keeper is the initramfs'; its unit, carried over, has not started another, and its sandbox holds"):
        pids = process_ids(vm, KEEPER)
        assert len(pids) == 2, pids
        state = vm.run("systemctl show -P ActiveState -P MainPID emberlock-keeper").text.split()
        assert state[0] in ("active", str(pids[0])) and state[1] in ("active", str(pids[0])), (state, pids)
        started_before_journal(vm, pids[0])
        for pid in pids:
            assert vm.run(f"cat /proc/{pid}/cgroup").text == "0::/system.slice/emberlock-keeper.service"
            lines = dict(line.split(":\t") for line in vm.run(f"cat /proc/{pid}/status").text.splitlines())
            kept = 1 << 21 | 1 << 22 | 1 << 23 | 1 << 19 | 1 << 24  # CapabilityBoundingSet= of its unit: capability.h
            assert int(lines["CapEff"], 16) == int(lines["CapBnd"], 16) == kept and lines["Seccomp"] == "2", lines
            assert "init.scope/cgroup.freeze" in vm.run(f"ls -l /proc/{pid}/fd").text
        assert vm.run("systemctl is-active emberlock-overlay", check=False).text == "inactive"
    one_boot(vm, name)


def one_boot(vm: VM, name: str) -> None:
    with check(f"{name}/one boot: the agent goes on from the initramfs' page, with its boot id"):
        s = status(vm)
        assert s["agents"] == 2, s["agents"]
        assert "initramfs" in s["self_test_passed"] + s["self_test_failed"], s


def write_everywhere(vm: VM, name: str = "overlay") -> None:
    vm.run("timeout 150 sh -c 'until systemctl is-active -q postgresql@15-main; do sleep 0.5; done'", timeout=160)
    for place, script in PLACES.items():
        with check(f"{name}/written: {place}"):
            vm.run(PRELUDE + script, timeout=300)
    with check(f"{name}/control: the canary is on a disk in the clear, and in the volumes, seen from inside"):
        vm.run(PRELUDE + """yes "$C" | head -c 1M | dd of=/dev/disk/by-id/virtio-control bs=64k oflag=direct \\
            iflag=fullblock conv=fsync status=none; sync; echo 3 >/proc/sys/vm/drop_caches""")
        for name, lines in ("root", 40), ("swap", 1000):
            n = int(vm.run(f"grep -a -c {CANARY} /dev/mapper/emberlock-{name} || true", timeout=300).text)
            note(f"lines with the canary in the volume {name}: {n}")
            assert n >= lines, (name, n)


def first_boot(image: Path, work: Path, credentials: dict[str, bytes]) -> str:
    """Gives the machine's id of this boot."""
    with VM(work=work, image=image, disks=DISKS, credentials=credentials, memory=640, snapshot_root=False,
            expected_crashes=1) as vm:
        wait_admitted(vm)
        machine_id = vm.run("cat /etc/machine-id").text
        for line in vm.run("dmesg | grep -E 'Run /init|mounted filesystem|dm-devel|emberlock: |tomoyo|systemd.*running in'").text.splitlines():
            note(line[:80])
        root_is_overlay(vm)
        keeper_is_adopted(vm)
        with check("overlay/the initramfs carries the root's configuration: passed, and check has nothing to say"):
            assert "initramfs" in status(vm)["self_test_passed"], status(vm)
            out = vm.run("emberlockctl check", check=False).text
            assert "initramfs" not in out and "overlay" not in out, out
            vm.run("echo '# another' >>/etc/emberlock/volumes.d/root.conf")
            refused = vm.run("emberlockctl check", check=False)
            assert refused.status == 1 and "the initramfs of this boot carried another configuration" in refused.text, refused
        write_everywhere(vm)
        power_off(vm)
    nothing_in_the_clear(vm, work)
    return machine_id


def power_off(vm: VM, name: str = "overlay") -> None:
    with check(f"{name}/an orderly power-off of it: at once, by the keeper"):
        off = vm.power_off(90)
        vm.console.join(5)
        assert off.reason == "guest-shutdown" and "emberlock: off: end (code 19)" in vm.console.text, off


def nothing_in_the_clear(vm: VM, work: Path, name: str = "overlay") -> None:
    with check(f"{name}/no clear byte: {len(PLACES)} places, 0 canaries on any disk; on the control disk"):
        assert len(PLACES) >= 30
        found = {disk: search(vm, disk) for disk in DISKS}
        for file in work / "root.qcow2", *work.glob("uefi-variables.fd"):
            found[file.stem] = count_patterns(file, [CANARY.encode()])[CANARY.encode()]
        note(f"canaries: {found}")
        assert found.pop("control") > 10000 and not any(found.values()), found
        assert vm.disk("overlay").stat().st_blocks * 512 > 1 << 20
    with check(f"{name}/nothing was written to the root's disk"):
        assert root_writes(vm) == 0


def started_by_firmware(vm: VM, name: str) -> None:
    with check(f"{name}/firmware has started it, from the disk's own kernel, and keeps no variable that a process writes"):
        assert vm.run("test -d /sys/firmware/efi && cat /proc/cmdline").text.startswith("root=PARTLABEL=emberlock-root ")
        vm.run("modinfo -n efivarfs")
        assert vm.run("mount -t efivarfs efivarfs /mnt", check=False).status != 0


def verity_is_accepted(vm: VM, name: str) -> None:
    with check(f"{name}/the root below is dm-verity's, by the hash on the command line, and has been whole so far"):
        root_hash = vm.run("sed -E 's/.*roothash=([0-9a-f]{64}).*/\\1/' /proc/cmdline").text
        assert f" {root_hash} " in vm.run("dmsetup table root").text
        assert vm.run("dmsetup status root").text.split()[2:] == ["verity", "V"]
    with check(f"{name}/its disks, and its map, are no disk for a volume, whatever may be destroyed"):
        for name, (disk, refusal) in BELOW_VERITY.items():
            vm.run(f"mkdir -p {RUNTIME}; cat >{RUNTIME}/{name}.conf", volume("raw", "", disk, Required="no").encode())
        plan = vm.run(f"emberlockctl plan; rm -r {RUNTIME}", check=False).text.splitlines()
        for name, (disk, refusal) in BELOW_VERITY.items():
            said = [line for line in plan if line.startswith(f"volume {name} ")]
            assert len(said) == 1 and re.search(refusal, said[0]), (name, plan)


def flipped_bit(image: Path, work: Path, name: str) -> None:
    """One bit of the root's image, where the file system has nothing: without dm-verity nobody would see it."""
    other = work / "image"
    other.mkdir(parents=True)
    for file in "vmlinuz", "initrd.img", "cmdline", "root-hash.raw":
        (other / file).symlink_to((image / file).resolve())
    subprocess.run(["cp", "--sparse=always", image / "root.raw", other / "root.raw"], check=True)
    with (other / "root.raw").open("r+b") as f:
        assert f.read(1024) == bytes(1024)  # erofs: its superblock comes behind them
        f.seek(512)
        f.write(b"\x01")
    disks = {"overlay": "1G"}
    with VM(work=work, image=other, disks=disks, append="systemd.verity_root_options=panic-on-corruption",
            snapshot_root=False) as vm:
        with check(f"{name}/a flipped bit of the root: the kernel refuses it, and no overlay is made over it"):
            vm.console.wait(r"device-mapper: verity: .*data block 0 is corrupted", 180)
            assert vm.wait_off(120).reason == "guest-reset"
            vm.console.join(5)
            assert "dm-verity device corrupted" in vm.console.text and "the overlay is mounted" not in vm.console.text
    with check(f"{name}/a flipped bit of the root: nothing was written to any disk"):
        assert root_writes(vm) == 0 and vm.disk("overlay").stat().st_blocks == 0


def other_boot(image: Path, work: Path, credentials: dict[str, bytes], name: str, by_dracut: bool = False,
               uefi: bool = False, verity: bool = False) -> None:
    """One boot of another kind of image: what differs, and the proof."""
    with VM(work=work, image=image, disks=DISKS, credentials=credentials, memory=640, snapshot_root=False,
            expected_crashes=1, options=["--uefi"] * uefi) as vm:
        wait_admitted(vm)
        below = "/dev/disk/by-id/virtio-root"
        if uefi:
            started_by_firmware(vm, name)
            below += "-part2"
        if verity:
            verity_is_accepted(vm, name)
            below = "/dev/mapper/root"
        root_is_overlay(vm, name, below)
        (keeper_is_carried_over if by_dracut else keeper_is_adopted)(vm, name)
        with check(f"{name}/the initramfs carries the root's configuration; another one is told by check"):
            assert "initramfs" in status(vm)["self_test_passed"], status(vm)
            assert vm.run("emberlockctl check", check=False).status == 0
            vm.run("echo '# another' >>/etc/emberlock/volumes.d/root.conf")
            refused = vm.run("emberlockctl check", check=False)
            assert refused.status == 1 and "the initramfs of this boot carried another configuration" in refused.text, refused
        write_everywhere(vm, name)
        power_off(vm, name)
    nothing_in_the_clear(vm, work, name)


def second_boot(image: Path, work: Path, world: World, credentials: dict[str, bytes], machine_id: str) -> None:
    """The same disks; the root has another configuration than the initramfs."""
    drifted = image_with(image, work / "drifted", {"/etc/emberlock/agent.conf": "[Agent]\nAdmissionTimeoutSec=301\n"})
    with VM(work=work, image=drifted, disks=DISKS, credentials=credentials, memory=640, append=QUIET,
            snapshot_root=False) as vm:
        wait_admitted(vm)
        with check("overlay/second boot: no trace of what the first one wrote, another machine id"):
            assert vm.run("cat /etc/machine-id").text != machine_id
            for path in "/etc/canary.conf", "/var/lib/canary", "/home/somebody", "/canary":
                assert vm.run(f"test -e {path}", check=False).status != 0, path
            assert vm.run(f"grep -rqs {CANARY} /etc /var /root /usr/local", check=False).status == 1
            assert vm.run(f"grep -a -c {CANARY} /dev/mapper/emberlock-root || true", timeout=300).text == "0"
        with check("overlay/another configuration in the initramfs is told: status, report, journal, check"):
            assert "initramfs" in status(vm)["self_test_failed"], status(vm)
            assert "carries another configuration" in vm.run("journalctl -u emberlock-agent --no-pager").text
            boot = world.boot_of("vm1")
            assert boot and boot["self_test_failed"] & 1 << 9, boot
            refused = vm.run("emberlockctl check", check=False)
            assert refused.status == 1 and "the initramfs of this boot carried another configuration" in refused.text, refused
        # The control of root_writes(): somebody who wants to write there can.
        vm.run("blockdev --setrw /dev/disk/by-id/virtio-root; head -c 65536 /dev/urandom | "
               "dd of=/dev/disk/by-id/virtio-root bs=64k seek=32760 iflag=fullblock conv=fsync status=none")
        admission = status(vm)["admission"]
        vm.channel.start("while :; do head -c 1M /dev/urandom >/var/tmp/a; cp /var/tmp/a /var/tmp/b; sync; done")
        with check("overlay/revoked under load: every key gone, receipts sent, off; no panic without a root"):
            world.customer("disable", "cmk")
            assert wait_shred(vm, 60) == ("revoked", 11)
            assert "Kernel panic" not in vm.console.text
        with check("overlay/the receipts of that: whole, the root's segment wiped"):
            text = world.verify_receipt(admission)
            note(text.replace("\n", " | "))
            assert "did not come" not in text and "root" in text, text
    with check("overlay/control: a write to the root's disk is seen"):
        assert root_writes(vm) > 0


def without_disk(image: Path, work: Path, name: str = "overlay") -> None:
    disks = {name: size for name, size in DISKS.items() if name != "overlay"}
    with VM(work=work, image=image, disks=disks, snapshot_root=False) as vm:
        with check(f"{name}/its disk is missing: the boot ends with a message, and nothing else comes up"):
            vm.console.wait(r"emberlock: failed: volume root: .*Serial=.*overlay.*DeviceTimeoutSec=", 180)
            assert wait_shred(vm, 60) == ("fault", 17)
            assert "the boot ends here" in vm.console.text
            for word in "(initramfs)", "emergency", "emberlock-vm", *(["systemd[1]", "Welcome to"] if name == "overlay" else []):
                assert word not in vm.console.text, word
    with check(f"{name}/its disk is missing: the bare disk was not used instead"):
        assert root_writes(vm) == 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True, help="with initramfs-tools")
    parser.add_argument("--dracut", type=Path, help="with dracut; for the whole run")
    for kind in "erofs", "squashfs":
        parser.add_argument(f"--{kind}", type=Path, help="with a root of that kind; for the whole run")
    parser.add_argument("--verity", type=Path, help="with dm-verity, erofs and dracut; for the whole run")
    parser.add_argument("--uefi", type=Path, help="with a disk that starts under UEFI; for the whole run")
    args = parser.parse_args()
    with work_directory("overlay") as work, World(work) as world:
        before = disk_hash(args.image / "root.raw")
        credentials = world.enrol("vm1")
        machine_id = first_boot(args.image, work / "vm", credentials)
        second_boot(args.image, work / "vm", world, credentials, machine_id)
        without_disk(args.image, work / "vm2")
        for kind in "erofs", "squashfs":
            if image := getattr(args, kind):
                other_boot(image, work / kind, world.enrol(kind), f"overlay/{kind}")
        if args.uefi:
            other_boot(args.uefi, work / "uefi", world.enrol("uefi"), "overlay/uefi", uefi=True)
        if args.dracut:
            other_boot(args.dracut, work / "dracut", world.enrol("dracut"), "overlay/dracut", by_dracut=True)
            without_disk(args.dracut, work / "dracut2", "overlay/dracut")
        if args.verity:
            other_boot(args.verity, work / "verity", world.enrol("verity"), "overlay/verity", by_dracut=True, verity=True)
            flipped_bit(args.verity, work / "verity2", "overlay/verity")
        with check("overlay/the root's image is what it was, byte for byte"):
            assert disk_hash(args.image / "root.raw") == before
    finish()


main()

# SPDX-License-Identifier: Apache-2.0
"""Two boots of one machine: every kind of volume, lease, revocation, shred, receipt, what is left on the disks."""

import argparse
import hashlib
import json
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.disks import count_patterns
from lib.guest import (AGENT, KEEPER, QUIET, WATCHDOG, process_ids, save_journal, status, wait_admitted, wait_shred)
from lib.world import VM, World, image_with, volume

# Neither this text nor the guest's shell scripts hold the canary: the guest makes it from its halves.
CANARY = "CANARY-" + hashlib.sha256(b"main").hexdigest()[:24]
MAKE_CANARY = "printf 'CANARY-%s' $(printf main | sha256sum | cut -c1-24)"

VOLUMES = {
    "data": volume("ext4", "data", MountPoint="/data", Owner="postgres", Group="postgres", Mode="0750",
                   MountOptions="noatime,nodev"),
    "fast": volume("xfs", "fast", MountPoint="/fast"),
    "swap": volume("swap", "swap", Priority="7"),
    "block": volume("raw", "block", Owner="postgres", Mode="0600"),
    # 300 MiB in segments of 64 MiB: five.
    "many": volume("ext4", "many", MountPoint="/many", SegmentSize="64M"),
    "blank": volume("ext4", "blank"),
}
DISKS = {"data": "1G", "fast": "1G", "swap": "512M", "block": "64M", "many": "300M", "blank": "64M", "control": "16M"}
RAW_WAITS = """[Unit]
Requires=dev-mapper-emberlock\\x2dblock.device
After=dev-mapper-emberlock\\x2dblock.device
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""
LOCKED_MIB = {KEEPER: 2, AGENT: 20, WATCHDOG: 32}


def first_boot(vm: VM, world: World) -> None:
    with check("main/admitted"):
        world.wait_state("vm1", "admitted")
        s = wait_admitted(vm)
        assert s["state"] == "ADMITTED" or s["state"] == "admitted", s["state"]
        note(f"self-test: passed {s['self_test_passed']}, failed {s['self_test_failed']}")
    with check("main/volumes ready"):
        states = {v["name"]: (v["state"], v["segments"]) for v in status(vm)["volumes"]}
        assert states == {name: ("ready", 5 if name == "many" else 1) for name in VOLUMES}, states
    with check("main/ext4: mounted with its options, owner, mode"):
        vm.run("systemctl start data.mount many.mount fast.mount; findmnt -n -o FSTYPE,OPTIONS /data | grep ext4.*nodev")
        assert vm.run("stat -c '%U %G %a' /data").text == "postgres postgres 750"
        assert vm.run("findmnt -n -o SOURCE /many").text == "/dev/mapper/emberlock-many"
    with check("main/ext4: its reserve for growth is no larger than needed"):
        # By itself mkfs.ext4 has 127 blocks.
        assert vm.run("dumpe2fs -h /dev/mapper/emberlock-data 2>/dev/null | sed -n 's/^Reserved GDT blocks: *//p'").text == "1"
    with check("main/xfs: mounted"):
        assert vm.run("findmnt -n -o FSTYPE /fast").text == "xfs"
    with check("main/swap: in use with its priority"):
        vm.run("systemctl start swap.target")
        assert vm.run("swapon --show=PRIO --noheadings").text == "7", vm.run("swapon").text
    with check("main/raw: owner, mode, and a unit that waits for it is active"):
        assert vm.run("stat -L -c '%U %a' /dev/mapper/emberlock-block").text == "postgres 600"
        vm.run("systemctl start raw-waits.service; systemctl is-active raw-waits.service")
    with check("main/a volume without a mount point is ready for a unit too"):
        vm.run("systemctl is-active 'dev-mapper-emberlock\\x2dblank.device'")
    with check("main/udev told of everything again: volumes stay in use, and each by its one name"):
        vm.run("udevadm trigger --action=add --subsystem-match=block --settle")
        for unit in r"data.mount many.mount fast.mount dev-mapper-emberlock\x2dswap.swap dev-mapper-emberlock\x2dblock.device".split():
            vm.run(f"systemctl is-active '{unit}'")
        for name in VOLUMES:
            assert vm.run(f"readlink /dev/mapper/emberlock-{name}").text.startswith("../dm-"), name
    with check("main/tables: aes-xts, 4096-byte sectors, no workqueues, a reference and no key"):
        tables = vm.run("dmsetup table --target crypt --showkeys").text.splitlines()
        assert len(tables) == 10, tables
        for table in tables:
            assert " aes-xts-plain64 :64:logon:emberlock:" in table, table
            for word in "sector_size:4096", "no_read_workqueue", "no_write_workqueue":
                assert word in table, table
    with check("main/the processor's own cipher is loaded by name, and not when udev comes to it"):
        said = vm.run("SYSTEMD_LOG_LEVEL=debug /lib/systemd/systemd-modules-load /usr/lib/modules-load.d/emberlock.conf 2>&1").text
        assert "'aesni_intel'" in said and "'dm_crypt'" in said, said
    with check("main/the agent goes before a busy workload"):
        (pid,) = process_ids(vm, AGENT)
        assert vm.run(f"cut -d' ' -f19 /proc/{pid}/stat").text == "-10"
    with check("main/keyrings hold no key of ours"):
        assert "emberlock" not in vm.run("cat /proc/keys").text
        # The control: add_key(2), into the process's keyring.
        add = ("perl -e 'my ($type, $name, $text) = qw(user emberlock:control x); "
               "syscall(248, $type, $name, $text, 1, -2) >= 0 or die; system(q(cat /proc/keys))'")
        assert "emberlock:control" in vm.run(add).text
    with check("main/queues below are bounded"):
        bounds = vm.run("for d in /dev/disk/by-id/virtio-*; do q=/sys/block/$(basename $(readlink $d))/queue; "
                        "echo ${d#*virtio-} $(cat $q/nr_requests $q/max_sectors_kb); done").text
        found = {name: (int(n), int(kib)) for name, n, kib in map(str.split, bounds.splitlines())}
        for name in VOLUMES:
            assert found[name][0] <= 16 and found[name][1] <= 128, found
        assert found["control"][0] > 16, found
    for program, most in LOCKED_MIB.items():
        with check(f"main/memory: {program.rsplit('/', 1)[1]} is locked, and within {most} MiB"):
            ids = process_ids(vm, program)
            assert len(ids) == (2 if program == KEEPER else 1), ids
            for pid in ids:
                text = vm.run(f"cat /proc/{pid}/status").text
                fields = dict(line.split(":", 1) for line in text.splitlines())
                locked = int(fields["VmLck"].split()[0]) / 1024
                note(f"{program} {pid}: VmLck {locked:.2f} MiB")
                assert 0 < locked <= most, locked
                assert fields.get("CoreDumping", " 0").strip() == "0"
    sockets(vm)


def sockets(vm: VM) -> None:
    """Each socket is tried by whom it is not for; the control is whom it is for."""
    connect = ("perl -MSocket -e 'socket(S, PF_UNIX, SOCK_SEQPACKET, 0) or die; "
               "connect(S, sockaddr_un($ARGV[0])) or exit 5; exit 0' ")
    keeper, agent, control = (f"/run/emberlock/{x}.sock" for x in ("keeper/keeper", "watchdog/agent", "control/agent"))
    with check("main/sockets: root connects to each (the control)"):
        for path in keeper, agent, control:
            vm.run(connect + path)
    for who in "postgres", "emberlock-watchdog":
        with check(f"main/sockets: {who} reaches none that is not its own"):
            allowed = [agent] if who == "emberlock-watchdog" else []
            for path in keeper, agent, control:
                r = vm.run(f"setpriv --reuid {who} --regid {who} --clear-groups {connect}{path}", check=False)
                assert r.status == (0 if path in allowed else 5), (path, r)
    with check("main/sockets: root of another user namespace may not shred, nor ask the keeper"):
        r = vm.run("unshare --user --map-root-user emberlockctl shred --yes", check=False)
        assert r.status == 1 and b"only root of the initial user namespace" in r.err, r
        r = vm.run("unshare --user --map-root-user emberlockctl end poweroff", check=False)
        note(f"end poweroff, from the container: {r.err.decode().strip()}")
        assert r.status != 0, r
        # One that is there, is asked, and does not answer: the connection is closed.
        ask = "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_SEQPACKET, 0); connect(S, sockaddr_un($ARGV[0])) or exit 5; " \
              "send(S, pack(q(L S S L l), 0x454d424b, 15, 0, 16, 0), 0); alarm 10; recv(S, my $f, 9999, 0); exit !length $f' "
        assert vm.run(ask + keeper, check=False).status == 0, "the control: the keeper answers STATUS to root"
        assert vm.run(f"unshare --user --map-root-user {ask}{keeper}", check=False).status != 0
    with check("main/sockets: uid 0 of a container with ids of its own reaches none"):
        inside = "setpriv --reuid 100000 --regid 100000 --clear-groups unshare --user --map-root-user "
        assert vm.run(f"{inside} id -u").text == "0", "the control: it is uid 0 in there"
        for path in keeper, agent, control:
            assert vm.run(f"{inside} {connect}{path}", check=False).status == 5, path
    with check("main/sockets: none of them did harm"):
        assert status(vm)["state"].lower() == "admitted" and vm.alive()
    with check("main/sockets: root of the initial user namespace may (the control)"):
        assert vm.run("emberlockctl shred --dry-run").status == 0
    with check("main/sockets: the group sees status, nobody else does"):
        vm.run("setpriv --reuid nobody --regid emberlock --clear-groups emberlockctl status")
        assert vm.run("setpriv --reuid nobody --regid nogroup --clear-groups emberlockctl status", check=False).status != 0


def write_canaries(vm: VM) -> None:
    vm.run(f"""
        for d in /data /fast /many; do for i in 1 2 3 4; do
            yes "$({MAKE_CANARY})" | head -c 4M >$d/file$i; done; done
        yes "$({MAKE_CANARY})" | head -c 16M | dd of=/dev/mapper/emberlock-block bs=1M iflag=fullblock conv=fsync
        yes "$({MAKE_CANARY})" | head -c 1M | dd of=/dev/disk/by-id/virtio-control bs=1M iflag=fullblock conv=fsync
        ram=$(awk '/^MemTotal/ {{ print int($2 / 1024) + 60 }}' /proc/meminfo)
        yes "$({MAKE_CANARY})" | head -c ${{ram}}M | tail -c ${{ram}}M | (read -r x; grep -q '[1-9]' /proc/swaps; cat) >/dev/null
        sync -f /data /fast /many""", timeout=900)


def revoke(vm: VM, world: World, boot: str) -> None:
    with check(f"{boot}/revoked: keys go, VM off, receipt verifies"):
        admission = status(vm)["admission"]
        save_journal(vm)
        world.customer("disable", "cmk")
        assert wait_shred(vm, 60) == ("revoked", 11)
        said = world.verify_receipt(admission)
        note("receipt: " + " / ".join(said.splitlines()))
        assert world.boot_of("vm1")["class"] == "receipt"


def key_pattern(vm: VM) -> None:
    """The same plaintext at the same place in both boots, to compare what the disk holds."""
    vm.run("head -c 4096 /dev/zero | dd of=/dev/mapper/emberlock-block bs=4096 seek=8000 conv=fsync oflag=direct")


def ciphertext(vm: VM) -> bytes:
    with vm.disk("block").open("rb") as f:
        f.seek(8000 * 4096)
        return f.read(4096)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("main") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in VOLUMES.items()}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp")}
        files["/etc/systemd/system/raw-waits.service"] = RAW_WAITS
        image = image_with(args.image, work / "image", files)
        guest = {"work": work / "vm1", "image": image, "disks": DISKS, "credentials": world.enrol("vm1"),
                 "append": QUIET, "memory": 640, "snapshot_root": False}

        with VM(**guest) as vm:
            first_boot(vm, world)
            write_canaries(vm)
            key_pattern(vm)
            revoke(vm, world, "main")
            first = ciphertext(vm)
        with check("main/disks: the canary is on the control disk, and on no other"):
            images = {name: count_patterns(vm.disk(name), [CANARY.encode()])[CANARY.encode()] for name in DISKS}
            images["root"] = count_patterns(work / "vm1" / "root.qcow2", [CANARY.encode()])[CANARY.encode()]
            note(f"canaries: {images}")
            assert images.pop("control") > 10000 and not any(images.values()), images

        with check("main/a revoked workspace: the next boot is refused and powers off, with its own code"):
            with VM(**guest) as vm:
                assert wait_shred(vm, 180) == ("revoked", 11)

        world.customer("enable", "cmk")
        world.admin("key", "clear", "key")
        with VM(**guest) as vm:
            with check("main/second boot: admitted, another key, old content unreadable"):
                world.wait_state("vm1", "admitted")
                wait_admitted(vm)
                found = vm.run("grep -c -a CANARY- /dev/mapper/emberlock-block", check=False, timeout=120).text
                assert found == "0", found
                assert vm.run("ls -A /data /fast/ | grep -c file", check=False).text == "0"
                key_pattern(vm)
                second = ciphertext(vm)
                assert first != second and first != bytes(4096) != second
            with check("main/drill: the VM shreds and says why; its receipts came and verify, and the report says so"):
                admission = status(vm)["admission"]
                said = world.admin("drill", "--workspace", "tenant", "--share", "100%", "--yes", "--json", identity="operator")
                report, _ = json.JSONDecoder().raw_decode(said)  # how far it was, on standard error, comes after
                assert wait_shred(vm, 60) == ("drill", 20)
                said = world.verify_receipt(admission)
                assert "did not come" not in said and "reason: drill" in said, said
                (boot,) = report["boots"]
                note(f"T1 to verdict {boot['verdict_ms']} ms, to the receipt of its keys {boot['keys_gone_ms']} ms, "
                     f"T2 to T3 {boot['wipe_us']} us, to the closing receipt {boot['closing_ms']} ms")
                assert boot["admission"] == admission and boot["receipt"] == "verified" and boot["closing_ms"] is not None, boot
    finish()


main()

# SPDX-License-Identifier: Apache-2.0
"""Bind=yes: volumes whose keys need a share of the manager's, mapped after admission; judged by the guest's RAM and its disks."""

import argparse
import hashlib
import hmac
import json
import os
import sqlite3
import struct
import subprocess
import tempfile
from pathlib import Path

from lib.checks import check, finish, work_directory
from lib.guest import AGENT, QUIET, process_ids, save_journal, status, wait_admitted, wait_shred
from lib.learn import INSTANCES, boot_report, learn
from lib.material import Scanner, hkdf_extract, segment_key
from lib.world import VM, World, image_with, volume

VOLUMES = {
    "plain": volume("ext4", "plain", MountPoint="/plain"),
    "bound": volume("ext4", "bound", MountPoint="/bound", Bind="yes"),
    "boundswap": volume("swap", "boundswap", Bind="yes"),
}
DISKS = {"plain": "64M", "bound": "64M", "boundswap": "32M"}
BOUND = {"bound", "boundswap"}
WAITING = {"plain": "ready", "bound": "planned", "boundswap": "planned"}
MEMORY = 512  # MiB
TENANT = """[Unit]
Requires=emberlock-admitted.target
After=emberlock-admitted.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mountpoint -q /bound && grep -q boundswap-s0 /proc/swaps /sys/block/*/dm/name && echo tenant-has-begun >/dev/console'
"""


def volumes(vm: VM) -> dict[str, str]:
    """The states of those that say Bind=yes, and of all others."""
    found = {v["name"]: v for v in status(vm)["volumes"]}
    assert {name for name, v in found.items() if v["bind"]} == BOUND, found
    return {name: v["state"] for name, v in found.items()}


def new_agent(vm: VM, world: World) -> None:
    """Kills the agent, and waits for the next one."""
    before = process_ids(vm, AGENT)
    vm.run("kill -9 " + " ".join(map(str, before)))
    world.wait("another agent", lambda: (now := process_ids(vm, AGENT)) and not set(now) & set(before)
               and vm.run("emberlockctl status", check=False).status == 0, 60)


def before_admission(vm: VM, world: World) -> None:
    with check("bind/before admission: the others are ready, the bound wait, and nothing of the boot waits for them"):
        vm.ready(240)
        world.wait("the agent", lambda: vm.run("emberlockctl status", check=False).status == 0, 120)
        world.wait("the volume that is not bound", lambda: volumes(vm) == WAITING, 120)
        vm.run("timeout 100 systemctl start sysinit.target local-fs.target swap.target && mountpoint -q /plain")
        assert "emberlock-bound" not in vm.run("dmsetup ls").text
        assert "after admission (Bind=yes)" in vm.run("journalctl -b -o cat -u emberlock-agent").text
    with check("bind/before admission: a new agent waits too"):
        new_agent(vm, world)
        assert status(vm)["state"].lower() == "starting" and volumes(vm) == WAITING
        assert "emberlock-bound" not in vm.run("dmsetup ls").text
        assert vm.run("systemctl is-active emberlock-admitted.target", check=False).status != 0


def after_admission(vm: VM, world: World) -> None:
    with check("bind/after admission: whoever waits for it finds the bound volumes made; then workloads begin"):
        wait_admitted(vm)
        assert volumes(vm) == {"plain": "ready", "bound": "ready", "boundswap": "ready"}
        vm.console.wait("tenant-has-begun", 120)
        assert vm.run("systemctl is-active emberlock-admitted.target").text.strip() == "active"
        vm.run("echo kept >/bound/f; sync -f /bound")
    with check("bind/the report says which are bound, and so does the manager's record of the admission"):
        report = boot_report(world, "vm1")
        names = [report[464 + 44 * i:][:32].rstrip(b"\0").decode() for i in range(len(VOLUMES))]
        bits = int.from_bytes(report[452:454], "big")
        assert {name for i, name in enumerate(names) if bits >> i & 1} == BOUND, (names, bits)
        assert '"bound":true' in world.admin("audit", "export").replace(" ", "")
    with check("bind/another agent after admission: the volumes stay as they are"):
        new_agent(vm, world)
        world.wait("its plan", lambda: set(volumes(vm).values()) == {"ready"}, 60)
        vm.run("grep -qx kept /bound/f")


def share_of(world: World, vm: str) -> bytes:
    """What the CMK encrypted for the boot, decrypted as its owner can: AES-GCM's text is AES-CTR's (NIST SP 800-38D, 6.5)."""
    with sqlite3.connect(f"file:{world.state}/manager.db?mode=ro", uri=True) as db:
        blob = db.execute("SELECT pair FROM boots JOIN vms ON boots.vm = vms.id WHERE vms.name = ?", (vm,)).fetchone()[0]
    nonce, text = blob[8:20], blob[20:-16]  # src/manager/kms/file/file.c
    key = json.loads((world.kms / "cmk.json").read_text())["key"]
    return subprocess.run(["openssl", "enc", "-d", "-aes-256-ctr", "-K", key, "-iv", nonce.hex() + "00000002"], input=text,
                          capture_output=True, check=True).stdout


def bound_key(boot_id: bytes, boot_key: bytes, share: bytes, name: str, instance: int) -> bytes:
    """As src/keys/derive.h says, of segment 0."""
    info = b"emberlock v1 bound segment\0" + struct.pack(">I", len(name)) + name.encode() + struct.pack(">QQ", instance, 0)
    return hmac.digest(hkdf_extract(boot_id, boot_key + share), info + b"\1", "sha512")


def keys(vm: VM, world: World, scanner: Scanner, ram: Path) -> None:
    report = boot_report(world, "vm1")
    share = share_of(world, "vm1")

    def is_ext4(name: str, key: bytes) -> bool:
        return scanner.decrypt(vm.disk(name), 0, 2048, key)[1080:1082] == b"\x53\xef"

    vm.run("sync; sleep 2")  # RCU frees the payloads of keyrings
    vm.qmp.pause()
    try:
        with check("bind/keys: the boot key alone makes the other volume's (the control), and none of a bound one"):
            learnt = learn(scanner, ram, report, {"plain": 1})
            schedules = set(scanner.schedules(ram).values())
            boot_key = next(w.bytes for w in learnt.material.wholes if w.role == "boot key")
            assert is_ext4("plain", learnt.segments["volume plain segment 0"])
            extracted = hkdf_extract(report[136:152], boot_key)
            for name in BOUND:
                for key in (segment_key(extracted, name, i, 0) for i in INSTANCES):
                    assert key[:32] not in schedules and not (name == "bound" and is_ext4(name, key)), name
        with check("bind/keys: with what the CMK encrypted for this boot, and with nothing else, both are found"):
            for name in BOUND:
                made = [k for i in INSTANCES if (k := bound_key(report[136:152], boot_key, share, name, i))[:32] in schedules]
                assert len(made) == 1 and made[0][32:] in schedules, name
                assert name != "bound" or is_ext4(name, made[0])
            for wrong in bytes(32), hashlib.sha256(share).digest():
                assert not any(bound_key(report[136:152], boot_key, wrong, "bound", i)[:32] in schedules for i in INSTANCES)
        with check("bind/keys: the share itself is nowhere in RAM"):
            assert not scanner.find(ram, [share[:16], share[16:]])
    finally:
        vm.qmp.resume()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with work_directory("bind") as work, tempfile.TemporaryDirectory(prefix="emberlock-ram.", dir=shm) as ram, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in VOLUMES.items()}
        files["/etc/systemd/system/tenant.service"] = TENANT
        files["/etc/systemd/system/multi-user.target.d/tenant.conf"] = "[Unit]\nWants=tenant.service\n"
        image = image_with(args.image, work / "image", files)
        credentials = world.enrol("vm1")
        world.stop_manager()
        with VM(work=work / "vm", image=image, disks=DISKS, append=QUIET, credentials=credentials, memory=MEMORY,
                ram_file=Path(ram) / "ram") as vm:
            before_admission(vm, world)
            world.start_manager()
            after_admission(vm, world)
            keys(vm, world, Scanner(work), Path(ram) / "ram")
            save_journal(vm)
            admission = status(vm)["admission"]
            with check("bind/revoked: the keys of bound volumes go like all others, and the receipt says so"):
                world.customer("disable", "cmk")
                assert wait_shred(vm) == ("revoked", 11)
                said = world.verify_receipt(admission)
                assert all(name in said for name in VOLUMES), said
    finish()


main()

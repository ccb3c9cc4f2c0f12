# SPDX-License-Identifier: Apache-2.0
"""One boot from a troubled start to an orderly end: agents killed while they map, a pause; and a keeper that does not start."""

import argparse
import time
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.guest import AGENT, KEEPER, QUIET, process_ids, status, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume

KILLS = 10
VOLUMES = {
    "data": volume("ext4", "data", MountPoint="/data", SegmentSize="64M"),
    "fast": volume("xfs", "fast", MountPoint="/fast"),
    "swap": volume("swap", "swap"),
    "block": volume("raw", "block"),
    "held": volume("ext4", "held", Required="no", DeviceTimeoutSec="2"),
}
DISKS = {"data": "300M", "fast": "400M", "swap": "64M", "block": "64M", "held": "64M"}
SEGMENTS = 8  # of those that are mapped
# Its loop begins with the agent and is over before the VM can be admitted by any but the last one.
KILL_AGENT = f"""[Unit]
DefaultDependencies=no
After=emberlock-keeper.service
[Service]
Type=exec
RemainAfterExit=yes
ExecStart=/bin/bash -c 'n=0; while [ $n -lt {KILLS} ]; do sleep 0.$((RANDOM %% 9 + 1)); \\
    p=$(pgrep -o -f "^{AGENT}") && kill -9 $p && n=$((n + 1)); done; touch /run/kills-done'
"""
HOLD_DISK = """[Unit]
DefaultDependencies=no
Requires=dev-disk-by\\x2did-virtio\\x2dheld.device
After=dev-disk-by\\x2did-virtio\\x2dheld.device
Before=emberlock-agent.service
[Service]
Type=exec
ExecStart=/usr/bin/perl -e 'use Fcntl; sysopen(F, $ARGV[0], O_RDONLY | O_EXCL) or die; sleep' /dev/disk/by-id/virtio-held
"""
PAUSE_S = 8


def troubled_start(vm: VM, world: World) -> None:
    with check(f"life/agent killed {KILLS} times while it plans, maps and reports: all volumes there, once each"):
        vm.run("timeout 120 sh -c 'until [ -e /run/kills-done ]; do sleep 0.2; done'", timeout=130)
        s = wait_admitted(vm)
        restarts = int(vm.run("systemctl show -P NRestarts emberlock-agent").text)
        note(f"{restarts} restarts; {s['agents']} agents got as far as the keeper")
        assert restarts == KILLS and s["agents"] > KILLS / 3, (restarts, s["agents"])
        states = {v["name"]: v["state"] for v in s["volumes"]}
        assert states == {name: "failed" if name == "held" else "ready" for name in VOLUMES}, states
        maps = vm.run("dmsetup ls --target crypt").text.splitlines()
        assert len(maps) == SEGMENTS, maps
        assert vm.run("dmsetup info -c --noheadings -o suspended | grep -v -c Active", check=False).text == "0"
        assert "emberlock" not in vm.run("cat /proc/keys").text
        vm.run("systemctl start data.mount fast.mount swap.target && touch /data/x /fast/x")
    with check("life/a disk that a program holds is refused as in use"):
        reason = next(v["reason"] for v in status(vm)["volumes"] if v["name"] == "held")
        note(reason)
        assert "in use" in reason and "another program" in reason, reason


def keeper_process(vm: VM) -> None:
    pids = process_ids(vm, KEEPER)
    assert len(pids) == 2, pids
    with check("life/keeper: no thread can be signalled, memory never waits for a disk, locked pages stay in place"):
        for pid in pids:
            masks = vm.run(f"cat /proc/{pid}/task/*/status | grep ^SigBlk").text.split()[1::2]
            assert masks and set(masks) == {"fffffffffffbfeff"}, masks
            flags = int(vm.run(f"cat /proc/{pid}/stat").text.rsplit(")", 1)[1].split()[6])
            assert flags & 0x80000, hex(flags)  # PF_MEMALLOC_NOIO (include/linux/sched.h)
        assert vm.run("cat /proc/sys/vm/compact_unevictable_allowed").text == "0"
        vm.run(f"kill -32 {pids[0]}")
        assert process_ids(vm, KEEPER) == pids
    with check("life/keeper: nothing to say against its start"):
        said = vm.run("journalctl -u emberlock-keeper -p warning --no-pager -q").text
        assert said == "", said


def pause(vm: VM, world: World, after: str) -> None:
    before = status(vm)
    vm.qmp.pause()
    time.sleep(PAUSE_S)  # of the host: the guest has no time now
    vm.qmp.resume()
    if after:
        vm.run(after)
    now = world.wait("the pause is noticed", lambda: (s := status(vm))["pauses"] > before["pauses"] and s, 40)
    assert now["state"] == "admitted" and now["pauses"] == before["pauses"] + 1, now
    world.wait("a new lease", lambda: status(vm)["lease"]["deadline_ns"] > now["lease"]["deadline_ns"], 40)


def no_keeper(image: Path, world: World, credentials: dict[str, bytes]) -> None:
    files = {"/etc/emberlock/keeper.conf": "[Keeper]\nNonsense=1\n"}
    with VM(work=world.work / "no-keeper", image=image_with(image, world.work / "image2", files), disks=DISKS, append=QUIET,
            credentials=credentials) as vm:
        with check("life/a keeper that does not start: emberlock-failed.target, the reason said, nothing waits for admission"):
            vm.ready(240)
            vm.run("timeout 60 sh -c 'until systemctl is-active -q emberlock-failed.target; do sleep 0.5; done'", timeout=70)
            assert vm.run("systemctl list-jobs --no-legend | grep -c emberlock-admitted", check=False).text == "0"
            assert vm.run("timeout 20 systemctl start emberlock-admitted.target", check=False).status not in (0, 124)
            assert "Nonsense" in vm.run("journalctl -u emberlock-keeper --no-pager -q").text
            vm.console.wait("emberlock: .*Nonsense", 10)
            assert vm.run("dmsetup ls --target crypt | grep -c emberlock", check=False).text == "0"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("life") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp")}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in VOLUMES.items()}
        files["/etc/systemd/system/kill-agent.service"] = KILL_AGENT
        files["/etc/systemd/system/hold-disk.service"] = HOLD_DISK
        files["/etc/systemd/system/emberlock-agent.service.d/trouble.conf"] = "[Unit]\nWants=kill-agent.service hold-disk.service\n"
        image = image_with(args.image, work / "image", files)
        guest = {"image": image, "disks": DISKS, "append": QUIET, "credentials": world.enrol("vm1")}
        with VM(**guest, work=work / "vm") as vm:
            troubled_start(vm, world)
            keeper_process(vm)
            with check("life/a pause of the hypervisor: noticed, and a new lease at once"):
                pause(vm, world, "")
            with check("life/a pause after which the clock is set: noticed too"):
                pause(vm, world, 'date -s "@$(cat /sys/class/rtc/rtc0/since_epoch)"')
            with check("life/revoked: the receipt has every segment as wiped"):
                admission = status(vm)["admission"]
                world.customer("disable", "cmk")
                assert wait_shred(vm, 60) == ("revoked", 11)
                said = world.verify_receipt(admission)
                assert said.count("wiped after") == SEGMENTS and "unwiped" not in said, said
        world.customer("enable", "cmk")
        world.admin("key", "clear", "key")
        guest["append"] += " systemd.mask=kill-agent.service systemd.mask=hold-disk.service"
        for verb in "poweroff", "reboot":
            with VM(**guest, work=work / verb) as vm, check(f"life/systemctl {verb}: the keys are wiped, then the VM is off"):
                wait_admitted(vm)
                vm.run("systemctl start data.mount fast.mount swap.target && touch /data/x /fast/x")
                vm.channel.start(f"systemctl {verb}")
                assert wait_shred(vm, 120, "guest-shutdown" if verb == "poweroff" else "guest-reset") == ("end", 19)
        no_keeper(args.image, world, world.enrol("vm2"))
    finish()


main()

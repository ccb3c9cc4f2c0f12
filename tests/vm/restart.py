# SPDX-License-Identifier: Apache-2.0
"""The agent killed at random instants under I/O, stopped units, and the death of either keeper process."""

import argparse
import os
import random
import signal
import time
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import (AGENT, KEEPER, QUIET, deadline, process_ids, save_journal, status, wait_admitted, wait_shred)
from lib.world import VM, World, image_with, volume

# The default run kills as often as the issue asks for; the whole suite more.
KILLS = 200 if whole() else 50
# Between two agents there is nobody to kill: then it is no kill, and does not count.
KILL = f"p=$(pgrep -o -f '^{AGENT}') && kill -9 $p && echo killed || true"
LOAD = """
cd /data
i=0
while [ ! -e /run/stop-load ]; do
    head -c 3M /dev/urandom >a && cp a b && sync b && echo 3 >/proc/sys/vm/drop_caches && cmp a b || { echo bad; exit 1; }
    i=$((i + 1))
done
echo "$i rounds"
"""


def random_kills(vm: VM, world: World) -> None:
    seed = int(os.environ.get("EMBERLOCK_SEED", time.time()))
    note(f"EMBERLOCK_SEED={seed}")
    instants = random.Random(seed)
    with check(f"restart/agent killed {KILLS} times under I/O: no volume lost, no key lost, no I/O error"):
        before = status(vm)
        load = vm.channel.start(LOAD)
        kills = 0
        for _ in range(20 * KILLS):
            kills += vm.run(f"{KILL}; sleep {instants.uniform(0, 1.0):.3f}").text == "killed"
            if kills == KILLS:
                break
        vm.run("timeout 60 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.1; done'", timeout=70)
        vm.run("touch /run/stop-load")
        rounds = vm.channel.finish(load, 120)
        note(f"load: {rounds.text}")
        assert rounds.status == 0 and not rounds.text.startswith("0 "), rounds
        after = status(vm)
        note(f"{kills} kills, {after['agents'] - before['agents']} of them after the agent had said hello to the keeper")
        assert kills == KILLS and after["agents"] > before["agents"], (kills, before["agents"], after["agents"])
        assert after["admission"] == before["admission"]
        assert after["volumes"] == before["volumes"], after["volumes"]
        kernel = vm.run("journalctl -k --no-pager -q").text
        assert "Command line:" in kernel and "I/O error" not in kernel, kernel[-2000:]
        assert len(vm.run("dmsetup ls --target crypt").text.splitlines()) == 2
    with check("restart/the deadline does not move by restarts alone"):
        # No answer while the manager is stopped: whatever moved the deadline would be the restarts.
        os.kill(world.manager_pid(), signal.SIGSTOP)
        try:
            time.sleep(1)
            fixed = deadline(vm)
            for _ in range(5):
                vm.run(f"{KILL}; sleep 0.8")
                vm.run("timeout 30 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.1; done'", timeout=40)
                assert deadline(vm) == fixed, (deadline(vm), fixed)
        finally:
            os.kill(world.manager_pid(), signal.SIGCONT)
        world.wait("a renewed lease", lambda: deadline(vm) > fixed, 60)


def stopped_units(vm: VM, world: World) -> None:
    for unit in "emberlock-softdog.service", "emberlock-admitted.target", "emberlock-admitted.service", "emberlock-failed.target":
        with check(f"restart/systemctl stop {unit}: volumes, watchdog device and lease stay"):
            before = status(vm)
            vm.run(f"systemctl stop {unit}")
            assert vm.run(f"systemctl is-active {unit}", check=False).status != 0
            world.wait("a renewed lease", lambda: deadline(vm) > before["lease"]["deadline_ns"], 60)
            after = status(vm)
            assert (after["state"], after["volumes"]) == (before["state"], before["volumes"]), after
            assert vm.run("test -c /dev/watchdog && findmnt -n /data").status == 0
    with check("restart/systemctl start emberlock-admitted.target: reached again"):
        vm.run("systemctl start emberlock-admitted.target; systemctl is-active emberlock-admitted.target")
    with check("restart/systemctl stop emberlock-keeper is refused"):
        assert vm.run("systemctl stop emberlock-keeper", check=False).status != 0
        assert len(process_ids(vm, KEEPER)) == 2
    with check("restart/systemctl stop and start emberlock-watchdog: the lease goes on"):
        vm.run("systemctl stop emberlock-watchdog")
        before = deadline(vm)
        assert not status(vm)["watchdog_connected"]
        vm.run("systemctl start emberlock-watchdog")
        world.wait("a renewed lease", lambda: deadline(vm) > before, 60)
    save_journal(vm)
    with check("restart/systemctl stop emberlock-agent: the keeper shreds after AgentGoneSec="):
        begin = time.monotonic()
        vm.run("systemctl stop emberlock-agent")
        assert process_ids(vm, AGENT) == []
        assert wait_shred(vm, 60) == ("fault", 17)
        note(f"stop to off: {time.monotonic() - begin:.1f} s, AgentGoneSec=10")


def keeper_dies(guest: dict, world: World, which: int, name: str) -> None:
    with VM(**guest, work=world.work / name) as vm:
        with check(f"restart/{name} of the keeper killed: the other shreds, the VM is off"):
            wait_admitted(vm)
            admission = status(vm)["admission"]
            victim = process_ids(vm, KEEPER)[which]
            begin = time.monotonic()
            vm.channel.start(f"kill -9 {victim}")
            assert wait_shred(vm, 30) == ("fault", 17)
            note(f"kill to off: {time.monotonic() - begin:.1f} s; receipt: {world.boot_of('vm1')['class']} ({admission[:12]})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("restart") as work, World(work, {"--lease": "120s", "--max-staleness": "120s"}) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/data.conf"] = volume("ext4", "data", MountPoint="/data")
        files["/etc/emberlock/volumes.d/other.conf"] = volume("raw", "other")
        files["/etc/emberlock/keeper.conf"] = "[Keeper]\nAgentGoneSec=10\n"
        guest = {"image": image_with(args.image, work / "image", files), "disks": {"data": "256M", "other": "64M"},
                 "append": QUIET, "credentials": world.enrol("vm1")}
        with VM(**guest, work=work / "agent") as vm:
            with check("restart/admitted"):
                wait_admitted(vm)
                vm.run("systemctl start data.mount")
            random_kills(vm, world)
            stopped_units(vm, world)
        keeper_dies(guest, world, 0, "primary")
        keeper_dies(guest, world, 1, "twin")
    finish()


main()

# SPDX-License-Identifier: Apache-2.0
"""The fault matrix: each fault, the bound that design.md gives it, and what was seen.

No machine ends for one of the faults in INSIDE and AROUND; they are tried one after the other on one machine, which renews its
lease through each or, where it cannot, after it. Each in ENDED ends a machine of its own, for the reason named and in the time named.
The bounds below were written down before they were tried. HOST_S of lib/matrix.py is allowed on top for the emulated guest.

The run prints the table. The default one takes a few faults; by name the test takes all, three machines at a time.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lib import disturb as d
from lib.checks import check, finish, whole, work_directory
from lib.guest import AGENT, QUIET, WATCHDOG, save_journal, wait_admitted
from lib.matrix import Ended, Endured, Scene, end, endure, rows, table
from lib.world import HOST, VM, World, image_with, volume

LEASE_S, SHORT_S, STALE_S = 90, 20, 15
SHRED_S = 3            # design.md, section 6: all steps
TWIN_S = 15            # a process that stands still, design.md, section 3; emberlock-keeper(8)
AGENT_GONE_S = 10      # AgentGoneSec=, set here
PAUSE_S = 30           # after a pause, design.md, section 5
PROBE_S = 1

LONG = {"--lease": f"{LEASE_S}s", "--margin": "20s", "--max-staleness": f"{LEASE_S}s", "--poll-interval": "2s"}
SHORT = {"--lease": f"{SHORT_S}s", "--margin": "5s", "--max-staleness": f"{SHORT_S}s", "--poll-interval": "2s"}
STALE = SHORT | {"--lease": "60s", "--max-staleness": f"{STALE_S}s", "--poll-interval": "2s"}

GOES_ON = "the lease goes on"
RETURNS = "the lease outlasts it, and goes on after it"
BY_LEASE = f"off by the deadline: lease {SHORT_S} s + shred {SHRED_S} s"
BY_TWIN = f"shred by the other process: {TWIN_S} s without a sign of life + {SHRED_S} s"
BY_DEATH = f"shred by the other process at once: {SHRED_S} s"
BY_GONE = f"AgentGoneSec={AGENT_GONE_S} s + shred {SHRED_S} s"
LEASE, FAULT, REVOKED = ("lease", 12), ("fault", 17), ("revoked", 11)

# Processes of ours, by pgrep: the keeper's older one is the primary.
PID = "$(pgrep -o -f '^%s')"
AGENT_PID, WATCHDOG_PID = PID % AGENT, PID % WATCHDOG
PRIMARY, TWIN = "$(pgrep -f ^@emberlock-keeper | head -n 1)", "$(pgrep -f ^@emberlock-keeper | tail -n 1)"
UNITS = "emberlock-keeper emberlock-agent emberlock-watchdog"


def group(unit: str) -> str:
    return f"/sys/fs/cgroup/system.slice/emberlock-{unit}.service"


def descriptors(pid: str, most: int) -> str:
    return f"prlimit --nofile={most}: --pid {pid}"


# Of the machine itself, and of what runs on it.
INSIDE = (
    Endured("agent out of descriptors", GOES_ON, descriptors(AGENT_PID, 3), descriptors(AGENT_PID, 1024)),
    Endured("root stalled", GOES_ON, d.stall_root, lambda s: s.disk("root", 0)),
)
# Of what is around it, and by its root.
AROUND = (
    Endured("guest paused for 8 s", f"a new lease within {PAUSE_S} s", d.pause(8), renews=False),
    Endured("savevm, and on", GOES_ON, d.save_and_go_on, renews=False),
    Endured("manager slow: 1 s for each piece of an answer", GOES_ON, lambda s: d.change(s, d.slow), d.unchanged),
    Endured("manager stopped (SIGSTOP) for 10 s", RETURNS, d.manager_stopped(10), renews=False),
    Endured("manager restarted", RETURNS, d.manager_restarted, renews=False),
    Endured("manager killed and restarted", RETURNS, d.manager_killed, renews=False),
    Endured("manager rolled back, until the store is adopted", f"{RETURNS}; till then nothing is granted", d.manager_rolled_back,
            renews=False),
    Endured("manager hangs in the middle of an answer", GOES_ON, d.hang_once),
    Endured("manager's answers garbage for 8 s", RETURNS, d.changed_for(d.garbage, 8), renews=False),
    Endured("manager's certificate of another authority for 8 s", RETURNS, d.other_authority, renews=False),
    Endured("manager's certificate expired for 8 s", RETURNS, d.expired_certificate, renews=False),
    Endured("names no longer resolve", GOES_ON, d.NO_NAMES, d.NAMES),
    Endured("names no longer resolve, connection lost, for 8 s", RETURNS, d.no_names_reconnect, d.NAMES, renews=False),
    Endured("network cut from guest to manager for 8 s", RETURNS, d.changed_for(d.cut_up, 8), renews=False),
    Endured("network cut from manager to guest for 8 s", RETURNS, d.changed_for(d.cut_down, 8), renews=False),
    Endured("network card's link down for 8 s", RETURNS, d.link_down(8), renews=False),
    Endured("a storm of admissions from another VM", GOES_ON, d.storm, d.storm_over),
    Endured("systemctl daemon-reload, daemon-reexec", GOES_ON, "systemctl daemon-reload; systemctl daemon-reexec"),
    Endured("systemctl mask of every unit of ours", GOES_ON, f"systemctl mask --runtime {UNITS}", f"systemctl unmask --runtime {UNITS}"),
    Endured("systemctl stop emberlock-keeper", "refused; " + GOES_ON, "! systemctl stop emberlock-keeper"),
    Endured("systemctl stop emberlock-watchdog, and start", RETURNS,
            "systemctl stop emberlock-watchdog; sleep 4; systemctl start emberlock-watchdog", renews=False),
)
ENDED = (
    Ended("manager down", BY_LEASE, SHORT_S + SHRED_S, d.manager_gone, (LEASE,)),
    Ended("manager hangs", BY_LEASE, SHORT_S + SHRED_S, d.manager_hangs, (LEASE,)),
    Ended("manager hangs in the middle of each answer", BY_LEASE, SHORT_S + SHRED_S, d.hang_always, (LEASE,)),
    Ended("manager's answers garbage", BY_LEASE, SHORT_S + SHRED_S, lambda s: d.change(s, d.garbage), (LEASE,)),
    Ended("network cut from guest to manager", BY_LEASE, SHORT_S + SHRED_S, lambda s: d.change(s, d.cut_up), (LEASE,)),
    Ended("network cut from manager to guest", BY_LEASE, SHORT_S + SHRED_S, lambda s: d.change(s, d.cut_down), (LEASE,)),
    Ended("network card's link down", BY_LEASE, SHORT_S + SHRED_S, d.link(False), (LEASE,)),
    Ended("watchdog stopped (SIGSTOP)", BY_LEASE, SHORT_S + SHRED_S, f"kill -STOP {WATCHDOG_PID}", (LEASE,)),
    Ended("agent stopped (SIGSTOP)", BY_LEASE, SHORT_S + SHRED_S, f"kill -STOP {AGENT_PID}", (LEASE,)),
    Ended("agent frozen (cgroup)", BY_LEASE, SHORT_S + SHRED_S, f"echo 1 >{group('agent')}/cgroup.freeze", (LEASE,)),
    Ended("KMS unreachable", f"max_staleness {STALE_S} s + shred {SHRED_S} s", STALE_S + PROBE_S + SHRED_S, d.kms_gone, (LEASE,)),
    Ended("KMS refuses: the key is disabled", f"probe {PROBE_S} s + its confirmation + shred {SHRED_S} s", 2 * PROBE_S + SHRED_S,
          lambda s: s.world.customer("disable", "cmk"), (REVOKED,)),
    Ended("keeper's primary killed", BY_DEATH, SHRED_S, f"kill -9 {PRIMARY}", (FAULT,)),
    Ended("keeper's twin killed", BY_DEATH, SHRED_S, f"kill -9 {TWIN}", (FAULT,)),
    Ended("keeper's primary stopped (SIGSTOP)", BY_TWIN, TWIN_S + SHRED_S, f"kill -STOP {PRIMARY}", (FAULT,)),
    Ended("keeper's twin stopped (SIGSTOP)", BY_TWIN, TWIN_S + SHRED_S, f"kill -STOP {TWIN}", (FAULT,)),
    Ended("systemctl stop emberlock-agent", BY_GONE, AGENT_GONE_S + SHRED_S, "systemctl stop emberlock-agent", (FAULT,)),
    Ended("guest paused past its deadline", f"{PAUSE_S} s after it runs again + shred {SHRED_S} s", PAUSE_S + SHRED_S,
          lambda s: s.vm.qmp.resume(), (LEASE,), before=d.pause(SHORT_S + 15, resume=False)),
)
CUT = ("agent out of descriptors", "root stalled", "manager killed and restarted", "keeper's twin killed")


@dataclass
class Setting:
    """What machines are made of."""

    work: Path
    image: Path
    disks: Mapping[str, str]


def files() -> dict[str, str]:
    found = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
    found["/etc/emberlock/volumes.d/data.conf"] = volume("ext4", "data", MountPoint="/data")
    found["/etc/emberlock/keeper.conf"] = f"[Keeper]\nAgentGoneSec={AGENT_GONE_S}\n"
    found[d.HOSTS_FILE] = d.HOSTS
    return found


def credentials(world: World, name: str, workspace: str = "tenant") -> dict[str, bytes]:
    """By name, so that names can be taken away."""
    found = world.enrol(name, workspace)
    found["emberlock.manager"] = found["emberlock.manager"].replace(HOST.encode(), d.NAME.encode())
    return found


def machine(setting: Setting, world: World, name: str, workspace: str = "tenant") -> VM:
    return VM(work=world.work / name, image=setting.image, disks=setting.disks, append=QUIET, memory=640,
              credentials=credentials(world, name, workspace))


def admit(scene: Scene) -> None:
    """Raises where it is not: nothing can be seen of it then."""
    wait_admitted(scene.vm, 240)
    scene.vm.run("systemctl start data.mount")


def endure_all(scene: Scene, faults: Sequence[Endured]) -> None:
    """One after the other; those after one that has ended the machine cannot be seen."""
    for fault in faults:
        endure(scene, fault)
    if scene.vm.alive():
        save_journal(scene.vm)


def world_of(setting: Setting, name: str, policy: Mapping[str, str]) -> World:
    work = setting.work / f"faults.{name}"
    work.mkdir()
    return World(work, policy, relay=True, names=[d.NAME])


def steady(setting: Setting, name: str, faults: Sequence[Endured], last: Sequence[Ended] = ()) -> None:
    with world_of(setting, name, LONG) as world, machine(setting, world, name) as vm:
        scene = Scene(world, vm, name)
        admit(scene)
        endure_all(scene, faults)
        for fault in last:
            end(scene, fault)


def end_one(setting: Setting, number: int, fault: Ended) -> None:
    policy = STALE if fault.begin is d.kms_gone else SHORT
    with world_of(setting, str(number), policy) as world, machine(setting, world, f"vm{number}") as vm:
        scene = Scene(world, vm, f"vm{number}")
        admit(scene)
        end(scene, fault)


GROUPS = ("inside", "around", "ended")
Fault = TypeVar("Fault", Endured, Ended)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--only", default="", help="only faults whose name matches this regular expression")
    parser.add_argument("--group", action="append", choices=GROUPS, help="only faults of this group; may be given more than once")
    parser.add_argument("--jobs", type=int, default=3, help="how many machines at once")
    args = parser.parse_args()
    every = whole() or args.only or args.group

    def chosen(group: str, faults: Sequence[Fault]) -> list[Fault]:
        if args.group and group not in args.group:
            return []
        return [f for f in faults if (re.search(args.only, f.name) if every else f.name in CUT)]
    with work_directory("faults") as work:
        setting = Setting(work, image_with(args.image, work / "image", files()), {"data": "256M", "foreign": "64M"})
        inside, around, ended = chosen("inside", INSIDE), chosen("around", AROUND), chosen("ended", ENDED)
        with ThreadPoolExecutor(args.jobs) as pool:
            if every:
                jobs = [pool.submit(steady, setting, name, faults) for name, faults in (("inside", inside), ("around", around)) if faults]
                jobs += [pool.submit(end_one, setting, number, fault) for number, fault in enumerate(ended)]
            else:  # one machine
                jobs = [pool.submit(steady, setting, "steady", inside + around, ended)]
        for job in jobs:
            with check("faults/a machine's run"):
                job.result()
    table()
    if whole() and not args.only and not args.group:
        with check("faults/at least 40 rows"):
            assert len(rows) >= 40, len(rows)
    finish()


main()

# SPDX-License-Identifier: Apache-2.0
"""The orderly end: each verb with each state of the disks below. No key is left in RAM, and it takes a bounded time.

    verb      poweroff, reboot, kexec by systemctl; forced: systemctl poweroff --force, which stops no unit before
    disk      idle; dirty: more written than is on the disk yet, by who goes on writing; slow: the same at 4 MB/s; stalled:
              requests under way, none of which ends
    root      plain; overlay: on a volume whose disk is in that state too

RAM stays when the machine goes off, and is what it was: it is searched for all keys, which were learnt and found before, as
ram.py does. Two things are shown of it besides: a kernel that root itself starts, past systemd, finds all keys in its RAM
(the control, and a limit); and where a disk is stalled, the key of its segment cannot be destroyed, so that a reboot and a kexec
become a power-off, which takes it away.

The default run takes three ends; by name the test takes all.
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import OFF, QUIET, status, wait_admitted
from lib.learn import Expected, Keys, boot_report, counts, learn
from lib.material import Scanner
from lib.world import VM, World, image_with, volume

END_S = 30
AGENT_GONE_S = 20
SLOW = 4_000_000
MEMORY = 512  # MiB
VOLUMES = {"data": volume("ext4", "data", MountPoint="/data"), "swap": volume("swap", "swap")}
FILES = {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in VOLUMES.items()} | {
    f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp")}
# Where a keeper is born in an initramfs, that has its settings.
KEEPER_CONF = {"/etc/emberlock/keeper.conf": f"[Keeper]\nEndSec={END_S}\nAgentGoneSec={AGENT_GONE_S}\n"}

WRITE = """
echo 120000000 >/proc/sys/vm/dirty_background_bytes; echo 150000000 >/proc/sys/vm/dirty_bytes
for d in {places}; do for i in 1 2; do
    (while :; do dd if=/dev/zero of=$d/file$i bs=1M count=80 conv=notrunc status=none; done) &
done; done
until [ $(awk '/^Dirty/ {{ print $2 }}' /proc/meminfo) -gt {kib} ]; do sleep 0.1; done
"""
# Until a request is under way that does not end.
STALL = """
(dd if=/dev/zero of=/data/direct bs=4k oflag=direct status=none) &
d=/sys/block/$(basename $(readlink /dev/disk/by-id/virtio-data))
until [ $(awk '{ print $9 }' $d/stat) -gt 0 ]; do sleep 0.1; done
sleep 1; [ $(awk '{ print $9 }' $d/stat) -gt 0 ]
"""
# kexec_file_load(2), without an initramfs: the kernel stands still when it finds no root, and RAM stays.
SECOND = "emberlock-second"
LOAD = f"""perl -e 'open(K, "<", glob("/boot/vmlinuz-*")) or die $!; my $c = "console=ttyS0 panic=0 {SECOND}\\0";
syscall(320, fileno(K), -1, length($c), $c, 4) == 0 or die $!'"""


@dataclass(frozen=True)
class Verb:
    """How root says it, and how QEMU sees it end; None: another kernel runs."""

    command: str
    reason: str | None


VERBS = {
    "poweroff": Verb("systemctl poweroff", "guest-shutdown"),
    "reboot": Verb("systemctl reboot", "guest-reset"),
    "kexec": Verb("systemctl kexec", None),
    "forced": Verb("systemctl poweroff --force", "guest-shutdown"),
}
DISKS = ("idle", "dirty", "slow", "stalled")
CUT = (("plain", "kexec", "dirty"), ("plain", "poweroff", "stalled"), ("overlay", "reboot", "dirty"))


@dataclass(frozen=True)
class Root:
    """A kind of image: its volumes, as segments of each, and where is written."""

    image: Path
    segments: Mapping[str, int]
    disks: Mapping[str, str]
    places: Sequence[str]
    end_s: int


rows: list[tuple[str, str, str, str, float, int, int, str]] = []


def throttle(vm: VM, root: Root, bps: int) -> None:
    limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    for number, name in enumerate(root.disks, 1):
        if name != "swap":
            vm.qmp.execute("block_set_io_throttle", device=f"disk{number}", bps=bps, **limits)


def bring_into(vm: VM, root: Root, state: str) -> None:
    if state == "idle":
        vm.run("dd if=/dev/urandom of=/data/file bs=1M count=20 status=none; sync")
        return
    if state == "slow":
        throttle(vm, root, SLOW)
    # What it starts holds its output: nobody waits for the end of that.
    vm.run(WRITE.format(places=" ".join(root.places), kib=60000).replace(") &", ") >/dev/null 2>&1 &"), timeout=60)
    if state == "stalled":
        throttle(vm, root, 1)
        vm.run(STALL.replace(") &", ") >/dev/null 2>&1 &"), timeout=60)
    note(", ".join(vm.run("grep -E '^(Dirty|Writeback):' /proc/meminfo").text.split("\n")))


def search(scanner: Scanner, ram: Path, keys: Keys) -> tuple[dict[str, int], int]:
    """What is found, and how much of it is there in all."""
    found = counts(scanner.search(ram, keys.material))
    return found, sum(found.values())


def wait_end(vm: VM, verb: Verb, limit: float, powers_off: bool) -> float:
    """Waits until the machine has ended as @verb says, or as a power-off; the guest stands still then. Gives when that was."""
    if verb.reason or powers_off:
        event = vm.qmp.wait_event("SHUTDOWN", limit)
        assert event.data["reason"] == ("guest-shutdown" if powers_off else verb.reason), event
        return event.time
    vm.console.wait(f"Command line: .*{SECOND}", limit)
    ended = time.monotonic()
    vm.console.wait("Kernel panic - not syncing: VFS", 60)
    vm.qmp.pause()
    return ended


def said(vm: VM) -> tuple[str, str]:
    """The line of the keeper's, and its code."""
    vm.console.wait(OFF, 10)
    return re.findall(OFF, vm.console.text)[-1]


def end(scanner: Scanner, world: World, work: Path, root_name: str, root: Root, verb_name: str, state: str) -> None:
    verb, name = VERBS[verb_name], f"{root_name}-{verb_name}-{state}"
    stalled = state == "stalled"
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="emberlock-end.", dir=shm) as directory:
        ram = Path(directory) / "ram"
        with VM(work=work / name, image=root.image, disks=root.disks, credentials=world.enrol(name), memory=MEMORY, append=QUIET,
                ram_file=ram, options=["--no-shutdown"]) as vm, check(f"end/{root_name}, {verb_name}, disk {state}"):
            wait_admitted(vm, 240)
            vm.run("systemctl start data.mount swap.target; " + LOAD if verb_name == "kexec" else
                   "systemctl start data.mount swap.target")
            vm.qmp.pause()
            keys = learn(scanner, ram, boot_report(world, name), root.segments)
            before, n = search(scanner, ram, keys)
            vm.qmp.resume()
            assert before == Expected(1, 1, frozenset(keys.segments)).counts(), before
            bring_into(vm, root, state)

            begin = time.monotonic()
            vm.channel.start(verb.command)
            # Of a forced end the keeper knows only that the agent is gone, which systemd-shutdown kills after a sync of its own.
            limit = AGENT_GONE_S + 60 if verb_name == "forced" else root.end_s
            ended = wait_end(vm, verb, limit + 60, stalled)
            reason, code = said(vm)
            after, left = search(scanner, ram, keys)
            boot = world.boot_of(name)
            assert boot
            rows.append((root_name, verb_name, state, f"{reason} ({code})", ended - begin, n, left, f"{boot['state']}, {boot['class']}"))
            unwiped = [f"volume {v} segment 0" for v in root.segments if v != "swap"] if stalled else []
            assert after == Expected(0, 0, frozenset(unwiped)).counts(), after
            # The manager knew before; of a forced end nobody has told it.
            assert boot["ending"] == ("" if verb_name == "forced" else verb_name), boot


def control(scanner: Scanner, world: World, work: Path, root: Root) -> None:
    """A kernel that root starts past systemd: RAM survives that, and so do the keys."""
    with tempfile.TemporaryDirectory(prefix="emberlock-end.") as directory:
        ram = Path(directory) / "ram"
        with VM(work=work / "control", image=root.image, disks=root.disks, credentials=world.enrol("control"), memory=MEMORY,
                append=QUIET, ram_file=ram) as vm, check("end/control: a kernel started by root's own reboot(2) finds the keys"):
            wait_admitted(vm, 240)
            vm.run(LOAD)
            vm.qmp.pause()
            keys = learn(scanner, ram, boot_report(world, "control"), root.segments)
            vm.qmp.resume()
            # reboot(2): LINUX_REBOOT_CMD_KEXEC
            vm.channel.start("perl -e 'syscall(169, 0xfee1dead, 672274793, 0x45584543, 0)'")
            wait_end(vm, VERBS["kexec"], 60, False)
            _, left = search(scanner, ram, keys)
            note(f"found in the RAM of the other kernel: {left}")
            assert left >= 2 * len(keys.segments), left


def table() -> None:
    note(f"EndSec={END_S} for the plain root, 120 for the overlay; AgentGoneSec={AGENT_GONE_S}")
    note("root | verb | disk | console | seconds until the end | found before | found after | manager")
    for root, verb, state, reason, seconds, before, after, known in rows:
        note(f"{root} | {verb} | {state} | {reason} | {seconds:.1f} | {before} | {after} | {known}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--overlay-image", type=Path, required=True)
    parser.add_argument("--only", default="", help="only ends whose name, ROOT-VERB-DISK, begins with this")
    args = parser.parse_args()
    policy = {"--lease": "600s", "--max-staleness": "600s", "--poll-interval": "20s"}
    with work_directory("end") as work, World(work, policy) as world:
        scanner = Scanner(work)
        disks = {"data": "512M", "swap": "128M"}
        roots = {
            "plain": Root(image_with(args.image, work / "plain", FILES | KEEPER_CONF), {"data": 1, "swap": 1}, disks,
                          ["/data"], END_S),
            "overlay": Root(image_with(args.overlay_image, work / "overlay", FILES), {"root": 1, "data": 1, "swap": 1},
                            {"overlay": "1G", **disks}, ["/data", "/var/tmp"], 120),
        }
        for root_name, root in roots.items():
            for verb in VERBS:
                for state in DISKS:
                    chosen = f"{root_name}-{verb}-{state}".startswith(args.only) if args.only else \
                        whole() or (root_name, verb, state) in CUT
                    if chosen:
                        end(scanner, world, work, root_name, root, verb, state)
        if whole() or args.only == "control":
            control(scanner, world, work, roots["plain"])
    table()
    finish()


main()

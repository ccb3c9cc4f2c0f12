# SPDX-License-Identifier: Apache-2.0
"""Until the volumes of one boot are usable, beside crypttab with /dev/urandom on the same disks of the same guest.

Both sides begin when systemd has seen the last of the disks (boot.ready), or when it began to run (boot.total), and end when it calls the
last mount and swap active: instants of the same kind on either side, taken by systemd itself. Nothing asks the guest for anything before
the end, which the console says: each systemctl of a poll takes a tenth of a second of an emulated boot.
"""

import argparse
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import note, work_directory  # noqa: E402
from lib.figures import figures, spread  # noqa: E402
from lib.guest import QUIET  # noqa: E402
from lib.world import VM, World, image_with, volume  # noqa: E402

DISKS = {"swap": "4G", "tmp": "4G", "scratch": "100G"}
OURS = {
    "/etc/emberlock/volumes.d/swap.conf": volume("swap", "swap"),
    "/etc/emberlock/volumes.d/tmp.conf": volume("ext4", "tmp", MountPoint="/mnt/tmp", Mode="1777"),
    "/etc/emberlock/volumes.d/scratch.conf": volume("ext4", "scratch", MountPoint="/mnt/scratch"),
}
CRYPTTAB = {
    "/etc/crypttab": "".join(f"c{name} /dev/disk/by-id/virtio-{name} /dev/urandom "
                             f"{'swap' if name == 'swap' else 'tmp=ext4'},cipher=aes-xts-plain64,size=512\n" for name in DISKS),
    "/etc/fstab": "/dev/mapper/cswap none swap defaults 0 0\n"
                  "/dev/mapper/ctmp /mnt/tmp ext4 defaults 0 0\n"
                  "/dev/mapper/cscratch /mnt/scratch ext4 defaults 0 0\n",
}
# Nothing of ours runs beside crypttab.
WITHOUT = "".join(f" systemd.mask=emberlock-{x}" for x in ("keeper.service", "agent.service", "watchdog.service", "admitted.service", "admitted.target"))
DISK_UNITS = [rf"dev-disk-by\x2did-virtio\x2d{name}.device" for name in DISKS]
ENTER, EXIT = "ActiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic"
CONSUMERS = ("systemd-udevd", "systemd-networkd", "systemd-journald", "emberlock-keeper", "emberlock-agent", "emberlock-watchdog",
             "emberlock-admitted", *(f"systemd-cryptsetup@c{name}" for name in DISKS))


@dataclass(frozen=True)
class Side:
    """One way to make the volumes. @stages: what happens, the units that show it, and the time that systemd notes of them."""

    prefix: str
    stages: tuple[tuple[str, tuple[str, ...], str], ...]

    @property
    def devices(self) -> list[str]:
        return [rf"dev-mapper-{self.prefix}{name}.device" for name in DISKS]

    @property
    def ends(self) -> list[str]:
        return ["mnt-tmp.mount", "mnt-scratch.mount", rf"dev-mapper-{self.prefix}swap.swap"]


EMBERLOCK = Side(r"emberlock\x2d", (
    ("the keeper is being started", ("emberlock-keeper.service",), EXIT),
    ("the agent is being started", ("emberlock-agent.service",), EXIT),
    ("the agent has made all volumes, and udev has noted it", ("emberlock-agent.service",), ENTER)))
BESIDE = Side("c", (
    ("the last systemd-cryptsetup is being started", tuple(f"systemd-cryptsetup@c{name}.service" for name in DISKS), EXIT),
    ("the last map has its file system or swap header", tuple(f"systemd-cryptsetup@c{name}.service" for name in DISKS), ENTER)))


@dataclass
class Boot:
    """Seconds. @stages: since the last disk was there; @steps: what the agent says of a volume; @cpu: processor time of units."""

    ready: float
    total: float
    stages: dict[str, float]
    steps: dict[str, float]
    cpu: dict[str, float]


def show(vm: VM, units: list[str], name: str) -> list[int]:
    """The property of each unit, a number."""
    quoted = " ".join(f"'{unit}'" for unit in units)
    return [int(x) for x in vm.run(f"systemctl show -P {name} {quoted}").text.split()]


def stages_of(vm: VM, side: Side, there: int) -> dict[str, float]:
    stages = [*side.stages, ("systemd has seen the last volume", tuple(side.devices), ENTER),
              ("the last is mounted or swapped on", tuple(side.ends), ENTER)]
    return {label: (max(show(vm, list(units), name)) - there) / 1e6 for label, units, name in stages}


def steps_of(vm: VM) -> dict[str, float]:
    """What each volume's worker spent its time on."""
    said = vm.run("journalctl -b -q -o cat -u emberlock-agent").text
    return {f"{name}: {step}": int(ms) / 1000 for name, steps in re.findall(r"^volume (\S+): ready on .* segments; (.*)$", said, re.MULTILINE)
            for step, ms in re.findall(r"([a-z]+) (\d+) ms", steps)}


def cpu_of(vm: VM) -> dict[str, float]:
    loaded = [x for x in CONSUMERS if vm.run(f"systemctl show -P CPUUsageNSec {x}.service").text.isdigit()]
    return {x: show(vm, [f"{x}.service"], "CPUUsageNSec")[0] / 1e9 for x in loaded}


def measure(image: Path, work: Path, credentials: dict[str, bytes], side: Side, append: str = "") -> Boot:
    with VM(work=work, image=image, disks=DISKS, append=QUIET + append, credentials=credentials) as vm:
        vm.console.wait("Reached target .*multi-user.target", 240)
        vm.ready(60)
        begin = int(vm.run("systemctl show -P UserspaceTimestampMonotonic").text)
        there, ends = max(show(vm, DISK_UNITS, ENTER)), show(vm, side.ends, ENTER)
        assert 0 < begin < there < max(ends) and min(ends) > begin, (begin, there, ends)
        return Boot((max(ends) - there) / 1e6, (max(ends) - begin) / 1e6, stages_of(vm, side, there), steps_of(vm), cpu_of(vm))


def table(title: str, rows: list[dict[str, float]]) -> None:
    """The rows' medians, name by name."""
    print(title)
    for name in rows[0]:
        print(f"  {name:<56} {statistics.median(row[name] for row in rows if name in row):8.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    ours, theirs = [], []
    with work_directory("boot") as work, World(work) as world:
        masked = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp")}
        image = image_with(args.image, work / "ours", masked | OURS)
        plain = image_with(args.image, work / "crypttab", {**masked, "/etc/emberlock/volumes.d/swap.conf": "", **CRYPTTAB})
        credentials = world.enrol("vm")
        for run in range(args.runs):
            ours.append(measure(image, work / f"o{run}", credentials, EMBERLOCK))
            theirs.append(measure(plain, work / f"c{run}", {}, BESIDE, WITHOUT))
            note(f"run {run + 1} of {args.runs}: emberlock {ours[-1].ready:.2f} s, crypttab {theirs[-1].ready:.2f} s")
    beside = "crypttab with /dev/urandom, swap and tmp=ext4"
    table("where the time goes, emberlock: seconds since the last disk was there, medians", [boot.stages for boot in ours])
    table("  of which, in each volume's worker, side by side:", [boot.steps for boot in ours])
    table(f"the same, {beside}:", [boot.stages for boot in theirs])
    for name, boots in ("emberlock", ours), ("crypttab", theirs):
        table(f"processor time until it was asked for, {name}:", [boot.cpu for boot in boots])
    print("until the last mount and swap: swap 4 GiB, tmp 4 GiB, scratch 100 GiB")
    for name, since, of in ("boot.ready", "the last disk was there", lambda boot: boot.ready), ("boot.total", "systemd ran", lambda boot: boot.total):
        print(f"since {since}:")
        spread("emberlock", [of(boot) for boot in ours], "s")
        spread("crypttab (/dev/urandom, swap, tmp=ext4)", [of(boot) for boot in theirs], "s")
        figures(name, [of(boot) for boot in ours], "s", [of(boot) for boot in theirs], beside)


main()

# SPDX-License-Identifier: Apache-2.0
"""Until the volumes of one boot are usable, beside crypttab with /dev/urandom on the same disks of the same guest."""

import argparse
import sys
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
WITHOUT = "".join(f" systemd.mask=emberlock-{x}.service" for x in ("keeper", "agent", "watchdog"))
# When the last of what a workload needs was there: mounts and swap, in µs of CLOCK_MONOTONIC.
USABLE = "systemctl show -P ActiveEnterTimestampMonotonic mnt-tmp.mount mnt-scratch.mount '{swap}' | grep . | sort -n | tail -n 1"
START = "systemctl show -P InactiveExitTimestampMonotonic {units} | grep -v '^0$' | grep . | sort -n | head -n 1"
WAIT = "timeout 200 sh -c 'until systemctl is-active -q mnt-tmp.mount mnt-scratch.mount \"{swap}\"; do sleep 0.5; done'"


def measure(image: Path, work: Path, credentials: dict[str, bytes], swap: str, units: str, append: str = "") -> float:
    with VM(work=work, image=image, disks=DISKS, append=QUIET + append, credentials=credentials) as vm:
        vm.ready(240)
        vm.run(WAIT.format(swap=swap), timeout=240)
        begin, end = (int(vm.run(script.format(swap=swap, units=units)).text) for script in (START, USABLE))
        assert 0 < begin < end, (begin, end)
    return (end - begin) / 1e6


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
            ours.append(measure(image, work / f"o{run}", credentials, r"dev-mapper-emberlock\x2dswap.swap",
                                "emberlock-keeper.service emberlock-agent.service"))
            theirs.append(measure(plain, work / f"c{run}", {}, "dev-mapper-cswap.swap",
                                  " ".join(f"systemd-cryptsetup@c{name}.service" for name in DISKS), WITHOUT))
            note(f"run {run + 1} of {args.runs}: emberlock {ours[-1]:.2f} s, crypttab {theirs[-1]:.2f} s")
    print("from the start of the first unit to the last mount and swap: swap 4 GiB, tmp 4 GiB, scratch 100 GiB")
    spread("emberlock", ours, "s")
    spread("crypttab (/dev/urandom, swap, tmp=ext4)", theirs, "s")
    figures("boot.ready", ours, "s", theirs, "crypttab with /dev/urandom, swap and tmp=ext4")


main()

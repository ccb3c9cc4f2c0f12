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
# In µs of CLOCK_MONOTONIC: when systemd ran, when udev had shown it the last disk, and when the last of what a workload needs was there.
BEGIN = "systemctl show -P UserspaceTimestampMonotonic"
DISKS_THERE = "systemctl show -P ActiveEnterTimestampMonotonic {disks} | grep . | sort -n | tail -n 1"
USABLE = "systemctl show -P ActiveEnterTimestampMonotonic mnt-tmp.mount mnt-scratch.mount '{swap}' | grep . | sort -n | tail -n 1"
# is-active is content with any one of several.
WAIT = ("timeout 200 sh -c 'for u in mnt-tmp.mount mnt-scratch.mount \"{swap}\"; do "
        "until systemctl is-active -q \"$u\"; do sleep 0.5; done; done'")


def measure(image: Path, work: Path, credentials: dict[str, bytes], swap: str, append: str = "") -> tuple[float, float]:
    """Seconds until usable: since the last disk was there, and since systemd ran."""
    disks = " ".join(rf"'dev-disk-by\x2did-virtio\x2d{name}.device'" for name in DISKS)
    with VM(work=work, image=image, disks=DISKS, append=QUIET + append, credentials=credentials) as vm:
        vm.ready(240)
        vm.run(WAIT.format(swap=swap), timeout=240)
        begin, there, end = (int(vm.run(script.format(swap=swap, disks=disks)).text) for script in (BEGIN, DISKS_THERE, USABLE))
        assert 0 < begin < there < end, (begin, there, end)
    return (end - there) / 1e6, (end - begin) / 1e6


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
            ours.append(measure(image, work / f"o{run}", credentials, r"dev-mapper-emberlock\x2dswap.swap"))
            theirs.append(measure(plain, work / f"c{run}", {}, "dev-mapper-cswap.swap", WITHOUT))
            note(f"run {run + 1} of {args.runs}: emberlock {ours[-1][0]:.2f} s, crypttab {theirs[-1][0]:.2f} s")
    print("until the last mount and swap: swap 4 GiB, tmp 4 GiB, scratch 100 GiB")
    for name, since, at in ("boot.ready", "the last disk was there", 0), ("boot.total", "systemd ran", 1):
        print(f"since {since}:")
        spread("emberlock", [r[at] for r in ours], "s")
        spread("crypttab (/dev/urandom, swap, tmp=ext4)", [r[at] for r in theirs], "s")
        figures(name, [r[at] for r in ours], "s", [r[at] for r in theirs], "crypttab with /dev/urandom, swap and tmp=ext4")


main()

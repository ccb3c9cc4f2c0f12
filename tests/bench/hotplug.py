# SPDX-License-Identifier: Apache-2.0
"""A disk is plugged in: until it is an encrypted file system, mounted; beside a udev rule with cryptsetup, mkfs and mount by shell."""

import argparse
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import note, work_directory  # noqa: E402
from lib.figures import figures, spread  # noqa: E402
from lib.guest import QUIET, wait_admitted  # noqa: E402
from lib.world import VM, World, image_with, volume  # noqa: E402

SIZE = 4 << 30
RULE = ('ACTION=="add", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ENV{ID_SERIAL}=="shell", TAG+="systemd", '
        'ENV{SYSTEMD_WANTS}+="by-shell.service"\n')
SERVICE = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh -ec 'cryptsetup open --batch-mode --type plain --cipher aes-xts-plain64 --key-size 512 --key-file /dev/urandom \\
    /dev/disk/by-id/virtio-shell shell; mkfs.ext4 -q /dev/mapper/shell; mount /dev/mapper/shell /mnt/shell'
"""
FILES = {
    "/etc/emberlock/volumes.d/ours.conf": volume("ext4", "ours", HotPlug="yes", MountPoint="/mnt/ours"),
    "/etc/udev/rules.d/90-by-shell.rules": RULE,
    "/etc/systemd/system/by-shell.service": SERVICE,
    "/mnt/shell/.keep": "",
}
CLEAN = {"ours": "timeout 60 sh -c 'while dmsetup info emberlock-ours >/dev/null 2>&1; do sleep 0.1; done'",
         "shell": "umount /mnt/shell; cryptsetup close shell"}


def measure(vm: VM, name: str, path: Path) -> float:
    """Seconds from the kernel's event for the disk to the moment at which systemd has the mount."""
    monitor = vm.channel.start("rm -f /run/events; exec timeout 120 udevadm monitor --kernel --subsystem-match=block >/run/events")
    vm.run("timeout 10 sh -c 'until grep -q KERNEL /run/events; do sleep 0.05; done'")
    path.unlink(missing_ok=True)
    with path.open("wb"):
        os.truncate(path, SIZE)
    vm.qmp.add_disk(name, str(path))
    vm.run(f"timeout 90 sh -c 'until systemctl is-active -q mnt-{name}.mount; do sleep 0.2; done'", timeout=100)
    end = int(vm.run(f"systemctl show -P ActiveEnterTimestampMonotonic mnt-{name}.mount").text) / 1e6
    vm.run("pkill -x udevadm || true")
    vm.channel.finish(monitor, 30)
    added = re.search(r"KERNEL\[([0-9.]+)\] add +/devices/\S+/block/vd", vm.run("cat /run/events").text)
    assert added, vm.run("cat /run/events").text
    if name == "shell":
        vm.run(CLEAN[name])
    vm.qmp.remove_disk(name)
    if name == "ours":
        vm.run(CLEAN[name], timeout=70)
    assert end > float(added[1]), (end, added[1])
    return end - float(added[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    times: dict[str, list[float]] = {"ours": [], "shell": []}
    with work_directory("hotplug") as work, World(work) as world:
        masked = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        image = image_with(args.image, work / "image", masked | FILES)
        with VM(work=work / "vm", image=image, append=QUIET, credentials=world.enrol("vm"), options=("--hotplug-ports", "2")) as vm:
            wait_admitted(vm)
            for run in range(args.runs + 1):
                for name, values in times.items():
                    values.append(measure(vm, name, work / f"{name}.raw"))
                note(f"run {run}: emberlock {times['ours'][-1]:.3f} s, shell {times['shell'][-1]:.3f} s{' (not counted)' if run == 0 else ''}")
    ours, shell = (values[1:] for values in times.values())
    print("from the kernel's event for a disk of 4 GiB to its mount")
    spread("emberlock, HotPlug=yes", ours, "s")
    spread("udev, cryptsetup open, mkfs.ext4, mount", shell, "s")
    figures("hotplug.usable", ours, "s", shell, "udev, cryptsetup open, mkfs.ext4 and mount by shell")


main()

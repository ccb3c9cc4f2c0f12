# SPDX-License-Identifier: Apache-2.0
"""Locked memory (VmLck) of each process in an admitted VM; what the initramfs grows by, beside cryptsetup-initramfs."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import work_directory  # noqa: E402
from lib.figures import figure  # noqa: E402
from lib.guest import AGENT, KEEPER, QUIET, WATCHDOG, process_ids, wait_admitted  # noqa: E402
from lib.vm import PROJECT  # noqa: E402
from lib.world import VM, World, image_with, volume  # noqa: E402

# In the base system of the image, with initramfs-tools as Debian configures it: the size of an initramfs without and with
# a volume that has Use=overlay, and the same for cryptsetup-initramfs, with the busybox that it depends on apart.
MAKE = r"""set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C INITRD=No DEBIAN_FRONTEND=noninteractive
rm -f /etc/initramfs-tools/conf.d/emberlock-image /etc/initramfs-tools/hooks/zz-emberlock-image
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
make() { mkinitramfs -o /initrd "$(ls /lib/modules)" >/log 2>&1; stat -c "$1 %s" /initrd; }
make plain
dpkg --install /packages/emberlock-agent*.deb >/log 2>&1
make installed
printf '[Volume]\nUse=overlay\n[Disk]\nSerial=overlay\n' >/etc/emberlock/volumes.d/root.conf
make overlay
rm /etc/emberlock/volumes.d/root.conf
dpkg --install /packages/busybox_*.deb >/log 2>&1
make busybox
dpkg --install /packages/cryptsetup_*.deb /packages/cryptsetup-initramfs_*.deb >/log 2>&1
echo CRYPTSETUP=y >>/etc/cryptsetup-initramfs/conf-hook
make cryptsetup
"""


def initramfs(work: Path) -> None:
    cache = Path(os.environ.get("EMBERLOCK_CACHE", PROJECT / "build" / "cache"))
    base = max(cache.glob("base-*.tar"), key=lambda path: path.stat().st_mtime)
    root, packages = work / "root", work / "root" / "packages"
    packages.mkdir(parents=True)
    quiet = {"check": True, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    subprocess.run(["tar", "-xf", base, "-C", root, "--numeric-owner"], **quiet)
    subprocess.run(["cp", *(PROJECT / "build" / "packages").glob("emberlock-agent*.deb"), packages], **quiet)
    subprocess.run(["apt-get", "download", "busybox", "cryptsetup", "cryptsetup-initramfs"], cwd=packages, **quiet)
    (root / "make").write_text(MAKE)
    out = subprocess.run(["chroot", root, "sh", "/make"], **quiet).stdout
    sizes = {name: int(size) / 2**20 for name, size in (line.split() for line in out.splitlines())}
    for name, size in sizes.items():
        print(f"  initramfs, {name}: {size:.3f} MiB")
    assert sizes["installed"] < sizes["plain"] * 1.001, "without an overlay it grows too"
    theirs = sizes["cryptsetup"] - sizes["busybox"]
    ours = sizes["overlay"] - sizes["plain"]
    figure("size.initramfs", ours, "MiB", ours / theirs, "cryptsetup-initramfs, without its busybox")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("size") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        # Eight volumes in three segments each: a thread of the keeper a segment.
        files |= {f"/etc/emberlock/volumes.d/v{i}.conf": volume("ext4", f"v{i}", SegmentSize="16M") for i in range(8)}
        image = image_with(args.image, work / "image", files)
        with VM(work=work / "vm", image=image, disks={f"v{i}": "48M" for i in range(8)}, append=QUIET,
                credentials=world.enrol("vm")) as vm:
            wait_admitted(vm)
            for name, program in ("keeper", KEEPER), ("agent", AGENT), ("watchdog", WATCHDOG):
                sizes = [int(vm.run(f"awk '/^VmLck/ {{ print $2 }}' /proc/{pid}/status").text) for pid in process_ids(vm, program)]
                print(f"  {name}: {sizes} KiB, a figure a process")
                figure(f"size.locked.{name}", max(sizes) / 1024, "MiB")
    with work_directory("size-initramfs") as work:
        initramfs(work)


main()

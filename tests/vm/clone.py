# SPDX-License-Identifier: Apache-2.0
"""A running VM is copied, memory and disks: two hold the keys and the identity of one boot, and both lose them.

Where both ask with one number and different challenges, the manager shreds both as clones: unit.manager_lives has exactly that. Here
the copy may come later, with a number that is past: it is ignored, ends by its lease, and its receipt ends the other.
"""

import argparse
import shutil
import subprocess
import time
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.guest import QUIET, deadline, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume


LEASE_S = 60   # of lib.world.POLICY
SHRED_S = 10   # budget of a shred, and of the emulated guest's end


def copy_disks(source: Path, target: Path) -> None:
    target.mkdir()
    for path in [*source.glob("*.raw"), source / "root.qcow2", source / "root.qcow2.base"]:
        subprocess.run(["cp", "--sparse=always", path, target], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("clone") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/d.conf"] = volume("ext4", "d", MountPoint="/data")
        guest = {"image": image_with(args.image, work / "image", files), "disks": {"d": "64M"}, "append": QUIET, "memory": 512,
                 "snapshot_root": False}
        with VM(**guest, work=work / "vm", credentials=world.enrol("vm1")) as vm:
            with check("clone/admitted"):
                admission = wait_admitted(vm)["admission"]
            with check("clone/paused, written out and resumed: the lease goes on (the control)"):
                before = deadline(vm)
                vm.qmp.pause()
                vm.qmp.save_state(str(work / "state"))
                copy_disks(work / "vm", work / "copy")
                vm.qmp.resume()
                world.wait("a renewed lease", lambda: deadline(vm) > before, 60)
                assert world.boot_of("vm1")["class"] == "live"
                # The copy is made of the VM as it is now, and shown to the manager while the VM runs.
                vm.qmp.pause()
                (work / "state").unlink()
                shutil.rmtree(work / "copy")
                vm.qmp.save_state(str(work / "state"))
                copy_disks(work / "vm", work / "copy")
            with VM(**guest, work=work / "copy", options=["--incoming", str(work / "state")]) as copy:
                world.wait("the copy is read in", lambda: copy.qmp.execute("query-status")["status"] == "paused", 60)
                vm.qmp.resume()
                copy.qmp.resume()
                # Its connection is the other's: nobody answers on it, and it would end by its lease before it had noticed.
                copy.channel.start("systemctl restart emberlock-watchdog")
                begin = time.monotonic()
                with check("clone/one boot twice: both lose their keys within one lease"):
                    for name, one in ("the VM", vm), ("its copy", copy):
                        reason = wait_shred(one, 150)
                        note(f"{name} is off after {time.monotonic() - begin:.1f} s: {reason}")
                        assert reason in (("clone", 15), ("lease", 12)), (name, reason)
                    assert time.monotonic() - begin < LEASE_S + SHRED_S
                with check("clone/the boot has ended in the fleet, with receipts"):
                    boot = world.boot_of("vm1")
                    assert (boot["class"], boot["state"], boot["admission"]) == ("receipt", "off", admission), boot
    finish()


main()

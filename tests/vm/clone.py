# SPDX-License-Identifier: Apache-2.0
"""A running VM is copied, memory and disks: two hold the keys and the identity of one boot, and both lose them.

Both are kept from the manager until their outstanding request has grown old, so that both come back with one number and challenges of
their own.
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
POLL_S = 10    # what one of the two may come later than the other, and be seen as a clone still
SHRED_S = 10   # budget of a shred, and of the emulated guest's end


def copy_disks(source: Path, target: Path) -> None:
    target.mkdir()
    for path in [*source.glob("*.raw"), source / "root.qcow2", source / "root.qcow2.base"]:
        subprocess.run(["cp", "--sparse=always", path, target], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("clone") as work, World(work, {"--poll-interval": f"{POLL_S}s"}, relay=True) as world:
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
                world.relay.silence()
                vm.qmp.resume()
                copy.qmp.resume()
                begin = time.monotonic()
                with check("clone/one boot twice: both are told to shred, within one lease"):
                    for name, one in ("the VM", vm), ("its copy", copy):
                        reason = wait_shred(one, 150)
                        note(f"{name} is off after {time.monotonic() - begin:.1f} s: {reason}")
                        assert reason == ("clone", 15), (name, reason)
                    assert time.monotonic() - begin < LEASE_S + SHRED_S
                with check("clone/the fleet says so; a receipt of one of two does not make it 'receipt'"):
                    boot = world.boot_of("vm1")
                    assert (boot["admission"], boot["state"], boot["reason"]) == (admission, "off", "clone"), boot
                    assert boot["class"] in ("live", "lease ended"), boot
    finish()


main()

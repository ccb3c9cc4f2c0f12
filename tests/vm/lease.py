# SPDX-License-Identifier: Apache-2.0
"""The manager restarted, rolled back, gone; a VM superseded and removed, and one that is never admitted."""

import argparse
import signal
import time
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.guest import QUIET, deadline, save_journal, status, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume

LEASE_S, POLL_S = 40, 2
SHRED_S = 8      # budget of a shred, and of the emulated guest's end
POLICY = {"--lease": f"{LEASE_S}s", "--margin": "10s", "--max-staleness": f"{LEASE_S}s", "--poll-interval": f"{POLL_S}s"}


ADMISSION_S = 30
AGENT = f"[Agent]\nOnAdmissionTimeout=poweroff\nAdmissionTimeoutSec={ADMISSION_S}\n"
TENANT = """[Unit]
Requires=emberlock-admitted.target
After=emberlock-admitted.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo tenant-has-begun >/dev/console'
"""


def renewed(vm: VM, since: int) -> bool:
    return deadline(vm) > since


def outages(vm: VM, world: World) -> None:
    with check("lease/manager restarted: the lease goes on, in a new epoch"):
        before = status(vm)["lease"]
        world.stop_manager()
        world.start_manager()
        world.wait("a lease of the new epoch", lambda: status(vm)["lease"]["epoch"] > before["epoch"], LEASE_S)
        # The first lease may rest on evidence from before the restart, and be shorter for it.
        world.wait("a renewed lease", lambda: renewed(vm, before["deadline_ns"]), LEASE_S)
    with check("lease/manager killed and restarted: the same"):
        before = deadline(vm)
        world.stop_manager(signal.SIGKILL)
        world.start_manager()
        world.wait("a renewed lease", lambda: renewed(vm, before), LEASE_S)
    with check("lease/connection gone silent: another one is made in time"):
        before, connections = deadline(vm), world.relay.connections
        world.wait("a renewed lease (the control)", lambda: renewed(vm, before), LEASE_S)
        world.relay.silence()
        before = deadline(vm)
        world.wait("a renewed lease", lambda: renewed(vm, before), LEASE_S)
        assert world.relay.connections == connections + 1, (connections, world.relay.connections)
    with check("lease/manager rolled back: it issues nothing until the store is adopted"):
        world.stop_manager()
        saved = world.save_store()
        for _ in range(2):  # the epoch rises at each start: the saved store is then behind by more than one
            world.start_manager()
            before = deadline(vm)
            world.wait("a renewed lease", lambda: renewed(vm, before), LEASE_S)
            world.stop_manager()
        world.restore_store(saved)
        world.start_manager()
        before = deadline(vm)
        time.sleep(3 * POLL_S)
        assert deadline(vm) == before, "a manager with an older store prolonged a lease"
        world.admin("store", "adopt")
        world.wait("a renewed lease", lambda: renewed(vm, before), LEASE_S)


def superseded(image: Path, work: Path, world: World, first: VM, credentials: dict[str, bytes]) -> None:
    admission = status(first)["admission"]
    with VM(work=work / "second", image=image, disks={"d": "64M"}, append=QUIET, credentials=credentials) as second:
        with check("lease/superseded: the second boot is admitted, the first ends with its receipt"):
            assert wait_shred(first, 240) == ("superseded", 13)
            world.verify_receipt(admission)
            wait_admitted(second)
        with check("lease/removed: the VM's enrolment is taken away"):
            world.admin("vm", "remove", "tenant", "vm1")
            assert wait_shred(second, 60) == ("removed", 16)


def admission_refused(image: Path, work: Path, world: World) -> None:
    credentials = world.enrol("vm3")
    world.admin("vm", "remove", "tenant", "vm3")
    with VM(work=work / "refused", image=image, disks={"d": "64M"}, append=QUIET, credentials=credentials) as vm:
        with check("lease/admission refused: the VM says so, and powers off as OnAdmissionTimeout= asks"):
            vm.console.wait("Emberlock admission", 120)
            vm.ready(60)
            world.wait("the manager's refusal", lambda: "403" in vm.run("emberlockctl status", check=False).text, 60)
            assert status(vm)["state"].lower() == "starting"
            assert vm.run("systemctl is-active emberlock-admitted.target", check=False).status != 0
            save_journal(vm)
            assert wait_shred(vm, ADMISSION_S + 60) == ("admission", 18)
        with check("lease/admission refused: no workload has begun, the fleet knows no boot"):
            assert "tenant-has-begun" not in vm.console.text
            assert world.boot_of("vm3") is None, world.boot_of("vm3")


def manager_gone(image: Path, work: Path, world: World) -> None:
    with VM(work=work / "gone", image=image, disks={"d": "64M"}, append=QUIET, credentials=world.enrol("vm2")) as vm:
        with check("lease/manager gone: the deadline passes, the keys go, the VM is off"):
            wait_admitted(vm)
            world.wait("a renewed lease", lambda: status(vm)["lease"]["challenge"] > 2, LEASE_S)
            admission = status(vm)["admission"]
            world.stop_manager(signal.SIGKILL)
            gone = time.monotonic()
            assert wait_shred(vm, LEASE_S + 60) == ("lease", 12)
            lasted = time.monotonic() - gone
            note(f"manager gone to VM off: {lasted:.1f} s, bound {LEASE_S} + {SHRED_S} s")
            assert LEASE_S - 3 * POLL_S < lasted < LEASE_S + SHRED_S, lasted
        with check("lease/manager gone: without a receipt, the fleet says 'lease ended' after the fence"):
            world.start_manager()
            boot = world.wait("the fence", lambda: (b := world.boot_of("vm2")) and b["class"] == "lease ended" and b, 30)
            assert boot["admission"] == admission


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("lease") as work, World(work, POLICY, relay=True) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/d.conf"] = volume("ext4", "d", MountPoint="/data")
        files["/etc/emberlock/agent.conf"] = AGENT
        files["/etc/systemd/system/tenant.service"] = TENANT
        files["/etc/systemd/system/multi-user.target.d/tenant.conf"] = "[Unit]\nWants=tenant.service\n"
        image = image_with(args.image, work / "image", files)
        credentials = world.enrol("vm1")
        with VM(work=work / "first", image=image, disks={"d": "64M"}, append=QUIET, credentials=credentials) as vm:
            with check("lease/admitted"):
                wait_admitted(vm)
            with check("lease/admitted: the workload has begun (the control of 'admission refused')"):
                vm.console.wait("tenant-has-begun", 60)
            outages(vm, world)
            save_journal(vm)
            superseded(image, work, world, vm, credentials)
        admission_refused(image, work, world)
        manager_gone(image, work, world)
    finish()


main()

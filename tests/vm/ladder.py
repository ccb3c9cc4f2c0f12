# SPDX-License-Identifier: Apache-2.0
"""Each rung of the power ladder, shown to end the machine when those above it cannot: from inside the real units, as booted.

    rung        what is taken away above it                         seen by
    power-off   nothing                                             a power-off, no reset; the keeper's line
    sysrq       reboot(2), by the keeper's own unit                 a reset; the kernel says that sysrq asked for it
    twin        the keeper, which stands still                      a power-off; reason "fault", from the other process
    twin+sysrq  both                                                a reset; reason "fault", and sysrq
    softdog     both processes stand still                          a reset; softdog says so
    i6300esb    the same, and a better device than softdog's        a reset; QEMU says that its watchdog fired
    i6300esb 2  the kernel: it has panicked, and was told to stay   the same
    panic       both processes stand still, no watchdog device      that nothing ends it; then a panic, and a reset

What the rungs leave in RAM is ram.py's. The default run takes one rung; by name all: eight machines, two of them with another kernel.
"""

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import QUIET, status, wait_admitted
from lib.vm import PROJECT
from lib.world import VM, World, image_of, image_with, volume

KEEPERS = "$(pgrep -f ^@emberlock-keeper)"  # the older one first: the primary
STOP_PRIMARY = f"set -- {KEEPERS}; test $# = 2 && kill -STOP $1"
STOP_BOTH = f"set -- {KEEPERS}; test $# = 2 && kill -STOP $1 $2"
SHRED = "emberlockctl shred --yes"
CRASH = "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"
NO_REBOOT = "[Service]\nSystemCallFilter=~reboot\n"
WATCHDOG_S = 30  # WatchdogSec='s default
SYSRQ, SOFTDOG, PANIC = "sysrq: Resetting", "softdog: Initiating system reboot", r"Rebooting in 1 seconds"
ENDS = (SYSRQ, SOFTDOG, PANIC)


@dataclass(frozen=True)
class Rung:
    name: str
    cause: str                              # the guest's command
    reset: bool                             # else it is a power-off
    said: str = ""                          # by the kernel, on the console
    off: tuple[str, int] | None = None      # what the keeper says
    watchdog: str = "Software Watchdog"     # the device's name; "": there is none
    fires: bool = False                     # it is QEMU's device that resets
    no_reboot: bool = False
    generic: bool = False
    append: str = ""
    before: Callable[[VM], None] | None = None


def nothing_ends_it(vm: VM) -> None:
    """The control of the watchdogs, and of the panic: without them a machine whose keeper stands still lives on."""
    vm.run(STOP_BOTH)
    time.sleep(2 * WATCHDOG_S)
    assert vm.run("echo alive").text == "alive"
    assert not [e for e in vm.qmp.events if e.name == "SHUTDOWN"]


RUNGS = (
    Rung("power-off", SHRED, False, off=("operator", 14)),
    Rung("sysrq", SHRED, True, SYSRQ, ("operator", 14), no_reboot=True),
    Rung("twin", STOP_PRIMARY, False, off=("fault", 17)),
    Rung("twin and sysrq", STOP_PRIMARY, True, SYSRQ, ("fault", 17), no_reboot=True),
    Rung("softdog", STOP_BOTH, True, SOFTDOG),
    Rung("i6300esb", STOP_BOTH, True, watchdog="i6300ESB timer", fires=True, generic=True),
    Rung("i6300esb under a dead kernel", CRASH, True, watchdog="i6300ESB timer", fires=True, generic=True, append=" panic=0"),
    Rung("panic", CRASH, True, PANIC, watchdog="", append=" module_blacklist=softdog", before=nothing_ends_it),
)

CUT = ("sysrq",)


def climb(rung: Rung, images: dict[tuple[bool, bool], Path], world: World, work: Path) -> None:
    name = re.sub(r"\W+", "-", rung.name)
    with check(f"ladder/{rung.name}"):
        with VM(work=work / name, image=images[rung.generic, rung.no_reboot], disks={"d": "64M"}, credentials=world.enrol(name),
                append=QUIET + rung.append, options=["--watchdog"] if rung.generic else []) as vm:
            admitted = wait_admitted(vm, 240)
            device = vm.run("cat /sys/class/watchdog/watchdog0/identity 2>/dev/null || true").text
            assert device == rung.watchdog, device
            assert ("watchdog" in admitted["self_test_passed"]) == bool(rung.watchdog), status(vm)
            if rung.before:
                rung.before(vm)
            begin = time.monotonic()
            vm.channel.start(rung.cause)
            off = vm.wait_off(120)
            vm.console.join(5)
            text = vm.console.text
            lines = re.findall(r"emberlock: off: (\S+) \(code (\d+)\)", text)
            fired = [e.data["action"] for e in vm.qmp.events if e.name == "WATCHDOG"]
            note(f"{rung.name}: off by {off.reason} after {off.time - begin:.1f} s; keeper {lines}, watchdog {fired}, "
                 f"kernel {[x for x in ENDS if re.search(x, text)]}")
            assert off.reason == ("guest-reset" if rung.reset else "guest-shutdown"), off
            assert lines == ([(rung.off[0], str(rung.off[1]))] if rung.off else []), lines
            # That rung, and no other.
            assert fired == (["reset"] if rung.fires else []), fired
            assert [x for x in ENDS if re.search(x, text)] == ([rung.said] if rung.said else []), text[-2000:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--only", default="", help="only rungs whose name begins with this")
    args = parser.parse_args()
    rungs = [r for r in RUNGS if (r.name.startswith(args.only) if args.only else whole() or r.name in CUT)]
    with work_directory("ladder") as work, World(work) as world:
        common = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        common["/etc/emberlock/volumes.d/d.conf"] = volume("ext4", "d", MountPoint="/data")
        driver = {"/etc/modules-load.d/watchdog.conf": "i6300esb\n"}
        no_reboot = {"/etc/systemd/system/emberlock-keeper.service.d/ladder.conf": NO_REBOOT}
        images = {(False, False): image_with(args.image, work / "plain", common),
                  (False, True): image_with(args.image, work / "no-reboot", common | no_reboot)}
        if any(rung.generic for rung in rungs):
            # Debian's cloud kernel has no driver for QEMU's device.
            generic = image_of("linux-image-amd64", PROJECT / "build" / "test-image-generic")
            images[True, False] = image_with(generic, work / "generic", common | driver)
        for rung in rungs:
            climb(rung, images, world, work)
    finish()


main()

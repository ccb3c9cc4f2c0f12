# SPDX-License-Identifier: Apache-2.0
"""What tests ask an Emberlock guest."""

import json
import re
from typing import Any

from .vm import VM

OFF = r"emberlock: off: (\S+) \(code (\d+)\)"
# Nothing of the image's own workload: its disks are other ones.
QUIET = "".join(f" systemd.mask={x}.service" for x in ("postgresql", "postgresql@15-main", "postgresql-cluster", "emberlock-demo"))


def status(vm: VM) -> dict[str, Any]:
    return json.loads(vm.run("emberlockctl status --json").out)


def wait_admitted(vm: VM, timeout: float = 180) -> dict[str, Any]:
    """Waits until the boot is admitted; gives its status."""
    vm.run(f"emberlockctl wait --timeout {int(timeout)}", timeout=timeout + 10)
    return status(vm)


def save_journal(vm: VM) -> None:
    """Keeps the guest's journal and argument lists as journal.log: what the guest knows that its console does not show."""
    said = vm.run("journalctl -b -o short-monotonic --no-pager -q; cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False).out
    number = len(list(vm.work.glob("journal*.log")))
    (vm.work / f"journal{number or ''}.log").write_bytes(said)


def deadline(vm: VM) -> int:
    """The deadline as the keeper's lease has it, CLOCK_BOOTTIME ns."""
    return status(vm)["lease"]["deadline_ns"]


def process_ids(vm: VM, program: str) -> list[int]:
    """Of a program of ours, oldest first. The keeper's argv[0] is "@emberlock-keeper"."""
    name = program.rsplit("/", 1)[1]
    return [int(pid) for pid in vm.run(f"pgrep -f '^(@|/usr/lib/emberlock/){name}' || true").text.split()]


KEEPER, AGENT, WATCHDOG = (f"/usr/lib/emberlock/emberlock-{x}" for x in ("keeper", "agent", "watchdog"))


def wait_shred(vm: VM, timeout: float = 120, end: str = "guest-shutdown") -> tuple[str, int]:
    """Waits until the guest ends as QEMU's reason @end says; gives the reason and code that its console named."""
    off = vm.wait_off(timeout)
    vm.console.join(5)
    found = re.findall(OFF, vm.console.text)
    assert off.reason == end, f"it ended by {off.reason}"
    assert found, "the console does not say why it went off"
    return found[-1][0], int(found[-1][1])

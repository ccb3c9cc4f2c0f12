# SPDX-License-Identifier: Apache-2.0
"""Client of QEMU's control socket (QMP: docs/interop/qmp-spec.txt in QEMU's source)."""

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

from .errors import CommandFailed, GuestGone
from .stream import Stream


@dataclass(frozen=True)
class Event:
    """What QEMU reported, and when it reached us (time.monotonic())."""

    name: str
    data: dict[str, Any]
    time: float


class Qmp(Stream):
    """One connection. Events are kept in the order in which they came."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__("QMP")
        self.events: list[Event] = []
        self._sock = sock
        self._pending = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self.start_reading(os.dup(sock.fileno()))
        self.execute("qmp_capabilities")

    def take(self, data: bytes, now: float) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in filter(bytes.strip, lines):
            message = json.loads(line)
            if "event" in message:
                self.events.append(Event(message["event"], message.get("data", {}), now))
            elif "id" in message:
                self._answers[message["id"]] = message

    def execute(self, command: str, timeout: float = 60, **arguments: Any) -> Any:
        """Executes @command and gives its return value; raises CommandFailed with QEMU's reason."""
        with self.changed:
            self._last_id += 1
            number = self._last_id
        request = {"execute": command, "arguments": arguments, "id": number}
        try:
            self._sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError as e:
            raise GuestGone(f"{self.name}: {e}") from e
        answer = self.wait_for(
            f"the answer to {command}", lambda: self._answers.pop(number, None), timeout)
        if "error" in answer:
            raise CommandFailed(f"QMP {command}: {answer['error']['desc']}")
        return answer["return"]

    def wait_event(self, name: str, timeout: float, start: int = 0) -> Event:
        """The first event of that name among events[start:], waited for."""
        return self.wait_for(
            f"event {name}",
            lambda: next((e for e in self.events[start:] if e.name == name), None), timeout)

    def pause(self) -> None:
        """Stops all of the guest's processors."""
        self.execute("stop")

    def resume(self) -> None:
        self.execute("cont")

    def save_state(self, path: str, timeout: float = 120) -> None:
        """Writes all of the paused guest but its disks to @path, for vm-images/run --incoming; it may go on after that."""
        start = len(self.events)
        self.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self.execute("migrate", uri=f"exec:cat >'{path}'")
        ended = self.wait_for("the end of the migration", lambda: next(
            (e.data["status"] for e in self.events[start:] if e.name == "MIGRATION" and e.data["status"] in ("completed", "failed")),
            None), timeout)
        if ended != "completed":
            raise CommandFailed(f"QMP migrate: {self.execute('query-migrate')}")
        while self.execute("query-status")["status"] == "finish-migrate":  # QEMU takes no cont before, and has no event for it
            time.sleep(0.05)

    def save_memory(self, path: str, mib: int) -> None:
        """Writes the first @mib MiB of guest-physical memory to @path (all of it up to 2 GiB on q35)."""
        self.execute("pmemsave", val=0, size=mib << 20, filename=path, timeout=300)

    def add_disk(self, name: str, path: str) -> None:
        """Plugs in a raw disk with serial number @name while the guest runs."""
        self.execute("blockdev-add", driver="raw", **{"node-name": f"hot-{name}"},
                     file={"driver": "file", "filename": path})
        self.execute("device_add", driver="virtio-blk-pci", id=f"hot-{name}-dev",
                     drive=f"hot-{name}", serial=name, bus=self._free_port())

    def remove_disk(self, name: str, timeout: float = 60) -> None:
        """Pulls out what add_disk() plugged in; returns when the guest has let go of it."""
        start = len(self.events)
        self.execute("device_del", id=f"hot-{name}-dev")
        self.wait_for(f"the end of disk {name}", lambda: next(
            (e for e in self.events[start:] if e.name == "DEVICE_DELETED" and e.data.get("device") == f"hot-{name}-dev"), None), timeout)
        self.execute("blockdev-del", **{"node-name": f"hot-{name}"})

    def _free_port(self) -> str:
        """A PCI Express root port that nothing is plugged into: q35 takes hot-plug only there."""
        for device in self.execute("query-pci")[0]["devices"]:
            bridge = device.get("pci_bridge")
            if bridge and device["qdev_id"].startswith("hotplug") and not bridge.get("devices"):
                return str(device["qdev_id"])
        raise CommandFailed("no free hot-plug port: start the VM with --hotplug-ports")

    def close(self) -> None:
        self._sock.close()

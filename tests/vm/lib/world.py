# SPDX-License-Identifier: Apache-2.0
"""What is around a guest: customer's KMS, manager, enrolment, and images with other configuration."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import leaks
from .checks import check
from .errors import Timeout
from .relay import Relay
from .vm import PROJECT, VM

BIN = Path(os.environ.get("EMBERLOCK_BIN", PROJECT / "build" / "release"))
HOST = "10.0.2.2"  # the host's loopback, seen from a guest
POLICY = {"--poll-interval": "2s", "--probe-interval": "1s", "--lease": "60s", "--margin": "15s",
          "--max-staleness": "60s"}


_ports = random.sample(range(20000, 32768), 1000)


def free_port() -> int:
    """None that was given before, and none of those that Linux gives to whoever connects: it stays free until its server listens."""
    while True:
        port = _ports.pop()
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


class World(contextlib.AbstractContextManager["World"]):
    """A manager on loopback and a customer with one key, "cmk", bound to the workspace "tenant".

    relay: VMs reach the manager through a relay that can go silent.
    names: further names of the manager, in its certificate.
    """

    def __init__(self, work: Path, policy: Mapping[str, str] | None = None, relay: bool = False, names: Sequence[str] = ()) -> None:
        self.work = work
        self.state = work / "manager"
        self.kms = work / "kms"
        self.port, self.admin_port, self.storage_port, self.events_port = (free_port() for _ in range(4))
        self.relay = Relay(self.port) if relay else None
        self.policy = {**POLICY, **(policy or {})}
        self._sans = [x for name in (HOST, *names) for x in ("--san", name)]
        self._manager: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "World":
        self.state.mkdir(parents=True, exist_ok=True)
        self.start_manager()
        try:
            self.customer("create", "cmk")
            self.add_key("key", "cmk")
            self.admin("workspace", "create", "tenant", "--key", "key")
        except BaseException:
            self.stop_manager()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop_manager()
        if self.relay:
            self.relay.close()
        self._look_at_logs()

    def _look_at_logs(self) -> None:
        """Every secret that this test made, in every log that it left."""
        keys = {}
        for path in self.state, self.kms, *self.work.glob("credentials-*"):
            keys |= leaks.keys_below(path)
        logs = sorted(self.work.rglob("*.log"))
        with check(f"{self.work.name.partition('.')[0].removeprefix('emberlock-')}/no log holds a key of this test"):
            # The root's, a signing key, the customer's, the enrolled VMs' or storage nodes'.
            own = {path.name for directory in self.work.glob("credentials-*") for path in directory.glob("*")} & {"emberlock.vm", "key.pem"}
            assert own and {Path(name).name.split()[0] for name in keys} >= {"root.key", "signing.key", "cmk.json"} | own, list(keys)
            assert self.work / "manager.log" in logs and any(log.stat().st_size for log in logs), logs
            found, missed = leaks.find(keys, logs), leaks.control(keys)
            assert not found and not missed, (found, missed)

    # The manager

    def start_manager(self, *options: str) -> None:
        log = self.work / "manager.log"
        offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as f:
            self._manager = subprocess.Popen(
                [str(BIN / "emberlock-manager"), "--state", str(self.state),
                 "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}",
                 "--storage-listen", f"127.0.0.1:{self.storage_port}",
                 "--events-listen", f"127.0.0.1:{self.events_port}",
                 "--advertise", f"https://{HOST}:{self.relay.port if self.relay else self.port}", *self._sans, *options],
                stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        self.wait("the manager is ready", lambda: b"ready: " in log.read_bytes()[offset:], 30)

    def stop_manager(self, how: signal.Signals = signal.SIGTERM) -> None:
        manager, self._manager = self._manager, None
        if not manager:
            return
        if manager.poll() is None:
            manager.send_signal(how)
            manager.send_signal(signal.SIGCONT)  # a test may have stopped it
        if manager.wait(30) not in (0, -signal.SIGKILL if how == signal.SIGKILL else 0):
            raise RuntimeError(f"the manager ended with {manager.returncode}, see {self.work}/manager.log")

    def manager_pid(self) -> int:
        assert self._manager
        return self._manager.pid

    def save_store(self) -> Path:
        """A copy of the stopped manager's state directory."""
        assert self._manager is None
        saved = Path(tempfile.mkdtemp(dir=self.work)) / "manager"
        shutil.copytree(self.state, saved)
        return saved

    def restore_store(self, saved: Path) -> None:
        assert self._manager is None
        shutil.rmtree(self.state)
        shutil.copytree(saved, self.state)

    @staticmethod
    def wait(what: str, condition: Any, timeout: float) -> Any:
        """Asks @condition until it holds: for what has no event."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Timeout(f"not within {timeout} s: {what}")
            time.sleep(0.05)

    # People

    def admin(self, *args: str, identity: str = "key-administrator", check: bool = True) -> str:
        """Runs emberlock-admin; gives what it prints."""
        done = subprocess.run(
            [str(BIN / "emberlock-admin"), "--identity", str(self.state / "identities" / identity), *args],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"emberlock-admin {' '.join(args)}: exit {done.returncode}: "
                               + (done.stdout + done.stderr).decode(errors="replace"))
        return (done.stdout + done.stderr).decode()

    def customer(self, verb: str, key: str) -> None:
        """What a customer does in their own KMS: create, disable, enable, delete."""
        self.kms.mkdir(exist_ok=True)
        self.admin("file-kms", verb, key, "--directory", str(self.kms))

    def add_key(self, name: str, key_id: str, **policy: str) -> None:
        options = {**self.policy, **{f"--{k.replace('_', '-')}": v for k, v in policy.items()}}
        self.admin("key", "create", name, "--key-id", key_id,
                   "--directory", str(self.kms), *(x for pair in options.items() for x in pair))

    def enrol(self, vm: str, workspace: str = "tenant") -> dict[str, bytes]:
        """The credentials of a new VM."""
        out = self.work / f"credentials-{workspace}-{vm}"
        self.admin("vm", "enrol", workspace, vm, "--output", str(out))
        return {path.name: path.read_bytes() for path in out.iterdir()}

    def enrol_node(self, node: str, workspace: str = "tenant") -> Path:
        """The directory of a new storage node's credentials."""
        out = self.work / f"credentials-{workspace}-{node}"
        self.admin("storage-node", "enrol", workspace, node, "--output", str(out))
        return out

    def fleet(self) -> list[dict[str, Any]]:
        return json.loads(self.admin("fleet", "--json"))

    def boot_of(self, vm: str) -> dict[str, Any] | None:
        """The newest boot of @vm that the manager knows."""
        boots = [b for b in self.fleet() if b["vm"] == vm]
        return boots[0] if boots else None

    def wait_state(self, vm: str, state: str, timeout: float = 120) -> dict[str, Any]:
        def condition() -> dict[str, Any] | None:
            boot = self.boot_of(vm)
            return boot if boot and boot["state"] == state else None
        return self.wait(f"{vm} is {state}", condition, timeout)

    def verify_receipt(self, admission: str) -> str:
        """What receipt verify says of the boot's receipts, offline from the root key; raises where it does not verify."""
        path = self.work / f"receipt-{admission[:12]}.json"
        self.admin("receipt", "show", admission, "--output", str(path))
        return self.admin("receipt", "verify", str(path), "--root-key", str(self.state / "offline" / "root.pub"))


def image_with(image: Path, work: Path, files: Mapping[str, str | bytes]) -> Path:
    """A copy of @image whose root file system has @files (absolute path to content) besides; written by debugfs(8)."""
    work.mkdir(parents=True)
    for name in "vmlinuz", "initrd.img", "cmdline":
        (work / name).symlink_to((image / name).resolve())
    subprocess.run(["cp", "--sparse=always", str(image / "root.raw"), str(work / "root.raw")], check=True)
    commands, made = [], set()
    for number, (path, content) in enumerate(files.items()):
        source = work / f"file{number}"
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        for parent in reversed(Path(path).parents):
            if str(parent) != "/" and str(parent) not in made:
                made.add(str(parent))
                commands.append(f"mkdir {parent}")
        commands += [f"rm {path}", f"write {source} {path}"]
    subprocess.run(["debugfs", "-w", "-f", "/dev/stdin", str(work / "root.raw")], check=True,
                   input="\n".join(commands).encode() + b"\n", capture_output=True, timeout=60)
    return work


def image_of(package: str, output: Path) -> Path:
    """The test image with another kernel; what tests/run has built otherwise."""
    done = subprocess.run([PROJECT / "vm-images" / "build", "--test-channel", "--kernel", package, "--output", output],
                          stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return output


def volume(use: str, serial: str, disk: str = "", **settings: str) -> str:
    """The text of a volume file."""
    lines = ["[Volume]", f"Use={use}", *(f"{k}={v}" for k, v in settings.items()), "[Disk]"]
    if serial:
        lines.append(f"Serial={serial}")
    return "\n".join([*lines, *disk.splitlines(), ""])


__all__ = ["BIN", "HOST", "VM", "World", "free_port", "image_of", "image_with", "volume"]

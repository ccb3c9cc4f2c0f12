# SPDX-License-Identifier: Apache-2.0
"""One guest, started by vm-images/run, from its start to its end."""

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .channel import Channel, Result
from .console import Console
from .errors import Crashed, GuestGone, Timeout
from .qmp import Qmp
from .stream import connect

PROJECT = Path(__file__).resolve().parents[3]
PR_SET_PDEATHSIG = 1  # prctl(2)
CRASH = r"emberlock-test: (fatal signal [^\r\n]*)"
SWAP_GONE = r"Read-error on swap-device|emberlock: off: "
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: QEMU ends with the thread that started it, however that ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Off:
    """How the guest went off: QEMU's reason ("guest-shutdown" or "guest-reset"), when QEMU reported
    it (time.monotonic()), and QEMU's exit status."""

    reason: str
    time: float
    status: int


@dataclass
class VM(contextlib.AbstractContextManager["VM"]):
    """A guest. Used as a context manager it is started on entry, and gone on exit.

    work: directory of this guest's files (made when it is not there): console.log, the disks'
        NAME.raw, and root.qcow2 unless snapshot_root. A second VM on the same directory, after the
        first has ended, is a second boot of the same machine.
    disks: name (the serial number) to size ("4G") or to anything else vm-images/run --disk takes.
    credentials: name to content.
    options: more options of vm-images/run.
    """

    work: Path
    image: Path = PROJECT / "build" / "image-test"
    disks: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, bytes] = field(default_factory=dict)
    memory: int = 1024
    cpus: int = 2
    net: bool = True
    append: str = ""
    ram_file: Path | None = None
    snapshot_root: bool = True
    test_channel: bool = True
    options: Sequence[str] = ()

    started_at: float = 0.0
    expected_crashes: int = 0

    def __post_init__(self) -> None:
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.console: Console
        self.qmp: Qmp
        self.channel: Channel

    # Start and end

    def __enter__(self) -> "VM":
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._cleanup.close()
        crashes = self.crashes()
        if len(crashes) != self.expected_crashes:
            raise Crashed(f"{self.work.name}: {crashes}, expected were {self.expected_crashes}")

    def crashes(self) -> list[str]:
        """
        Which processes of the guest died of a signal that dumps core, as the test channel saw it.

        Once a shred has taken the swap, Linux ends every process that misses a page of it. From there on only Emberlock's count.
        """
        text = self.console.text
        gone = re.search(SWAP_GONE, text)
        end = gone.start() if gone else len(text)
        return re.findall(CRASH, text[:end]) + [x for x in re.findall(CRASH, text[end:]) if ": emberlock-" in x]

    def _start(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        # The path of a socket has at most 107 bytes: a short one, wherever the work directory is.
        run = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="emberlock-vm.")))
        self.console = Console(self.work / "console.log")
        self._cleanup.callback(self.console.close)
        with contextlib.ExitStack() as until_started:
            credentials = self._write_credentials(until_started)
            read_end, write_end = os.pipe()
            self.started_at = time.monotonic()
            try:
                self._spawn(run, credentials, write_end)
            finally:
                os.close(write_end)
                self.console.start_reading(read_end)
            self._cleanup.callback(self.kill)
            self._connect(run)

    def _connect(self, run: Path) -> None:
        if self.test_channel:
            self.channel = Channel(connect(f"{run}/channel", self.alive, 60))
            self._cleanup.callback(self.channel.close)
        sock = connect(f"{run}/qmp", self.alive, 60)
        self._cleanup.callback(sock.close)
        self.qmp = Qmp(sock)

    def _spawn(self, run: Path, credentials: Path | None, console: int) -> None:
        command = [
            str(PROJECT / "vm-images" / "run"), "--image", str(self.image),
            "--disks", str(self.work), "--memory", str(self.memory), "--cpus", str(self.cpus),
            "--serial", f"/dev/fd/{console}", "--qmp", f"{run}/qmp", *self.options,
        ]
        for name, value in self.disks.items():
            command += ["--disk", f"{name}={value}"]
        if self.append:
            command += ["--append", self.append]
        if self.net:
            command.append("--net")
        if self.snapshot_root:
            command.append("--snapshot-root")
        if self.ram_file:
            command += ["--ram-file", str(self.ram_file)]
        if self.test_channel:
            command += ["--port", f"emberlock-test={run}/channel"]
        if credentials:
            command += ["--credentials", str(credentials)]
        with (self.work / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(console,),
                preexec_fn=_die_with_parent)

    def _write_credentials(self, until_started: contextlib.ExitStack) -> Path | None:
        if not self.credentials:
            return None
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        path = Path(tempfile.mkdtemp(prefix="emberlock-vm.", dir=shm))
        until_started.callback(shutil.rmtree, path)
        for name, value in self.credentials.items():
            (path / name).write_bytes(value)
        return path

    @property
    def pid(self) -> int:
        """Process id of QEMU (vm-images/run becomes QEMU)."""
        assert self._process
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spread_processors(self) -> None:
        """Binds each of its processors to one of the host's. They are threads of QEMU: the host may run both on one of its own while
        another idles, and each wakes the other some milliseconds late."""
        own = sorted(os.sched_getaffinity(0))
        for processor in self.qmp.execute("query-cpus-fast"):
            os.sched_setaffinity(processor["thread-id"], {own[processor["cpu-index"] % len(own)]})

    def kill(self) -> None:
        """Ends QEMU as a power cut does; nothing when it has ended."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait_off(self, timeout: float) -> Off:
        """Waits until the guest has gone off and QEMU has ended."""
        assert self._process
        try:
            event = self.qmp.wait_event("SHUTDOWN", timeout)
        except GuestGone:
            raise GuestGone(f"QEMU ended without a SHUTDOWN event, see {self.work}/qemu.log") from None
        pidfd = os.pidfd_open(self._process.pid)
        try:
            if not select.select([pidfd], [], [], 30)[0]:
                raise Timeout("QEMU did not end within 30 s of the guest's end")
        finally:
            os.close(pidfd)
        return Off(event.data["reason"], event.time, self._process.wait())

    # Short forms of what tests do most

    def ready(self, timeout: float = 300) -> float:
        """Waits until the guest takes commands; gives the seconds since its start."""
        return self.channel.wait_ready(timeout) - self.started_at

    def run(self, script: str, stdin: bytes = b"", timeout: float = 180, check: bool = True) -> Result:
        """Channel.run()."""
        return self.channel.run(script, stdin, timeout, check)

    def power_off(self, timeout: float = 180) -> Off:
        """An orderly power-off from inside."""
        self.channel.start("systemctl poweroff")
        return self.wait_off(timeout)

    def disk(self, name: str) -> Path:
        """The image of the disk @name that was given by size."""
        return self.work / f"{name}.raw"

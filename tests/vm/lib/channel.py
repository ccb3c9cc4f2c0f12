# SPDX-License-Identifier: Apache-2.0
"""Root shell commands in a guest whose image was made with vm-images/build --test-channel."""

import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from .errors import CommandFailed, GuestGone
from .stream import Stream


@dataclass(frozen=True)
class Result:
    """How a command ended: its exit status, or minus the number of the signal that ended it."""

    status: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output without the white space around it."""
        return self.out.decode(errors="replace").strip()


class Channel(Stream):
    """One connection; the framing is described in vm-images/test-channel/emberlock-test-channel.

    Commands may be started from several threads and run side by side.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__("command channel")
        self.ready_at: float | None = None
        self._sock = sock
        self._sending = threading.Lock()
        self._pending = b""
        self._results: dict[int, Result] = {}
        self._last_id = 0
        self.start_reading(os.dup(sock.fileno()))

    def take(self, data: bytes, now: float) -> None:
        self._pending += data
        while b"\n" in self._pending:
            head, rest = self._pending.split(b"\n", 1)
            if head == b"ready":
                self.ready_at = now
                self._pending = rest
                continue
            number, status, out, err = map(int, head.split())
            if len(rest) < out + err:
                return
            self._results[number] = Result(status, rest[:out], rest[out:out + err])
            self._pending = rest[out + err:]

    def wait_ready(self, timeout: float) -> float:
        """Waits until the guest takes commands; gives the time at which it said so."""
        return self.wait_for("'ready'", lambda: self.ready_at, timeout)

    def start(self, script: str, stdin: bytes = b"") -> int:
        """Starts @script by /bin/sh in the guest, and gives a number for finish()."""
        code = script.encode()
        with self.changed:
            self._last_id += 1
            number = self._last_id
        try:
            with self._sending:
                self._sock.sendall(b"%d %d %d\n" % (number, len(code), len(stdin)) + code + stdin)
        except OSError as e:
            raise GuestGone(f"{self.name}: {e}") from e
        return number

    def finish(self, number: int, timeout: float = 180) -> Result:
        """Waits for the end of what start() started."""
        return self.wait_for(
            f"the end of command {number}", lambda: self._results.pop(number, None), timeout)

    def run(self, script: str, stdin: bytes = b"", timeout: float = 180, check: bool = True) -> Result:
        """Runs @script and waits for it; with @check, CommandFailed unless it exits with 0."""
        result = self.finish(self.start(script, stdin), timeout)
        if check and result.status != 0:
            raise CommandFailed(f"exit status {result.status} of: {script}\n"
                                + (result.out + result.err).decode(errors="replace"))
        return result

    def push(self, content: bytes, path: str, mode: int = 0o644) -> None:
        """Makes the guest's file @path of @content."""
        self.run(f"umask 077; cat >'{path}' && chmod {mode:o} '{path}'", stdin=content)

    def push_file(self, source: Path, path: str) -> None:
        """Copies a file of the host, with its mode, to the guest's @path."""
        self.push(source.read_bytes(), path, source.stat().st_mode & 0o777)

    def pull(self, path: str) -> bytes:
        """What is in the guest's file @path."""
        return self.run(f"cat '{path}'").out

    def close(self) -> None:
        self._sock.close()

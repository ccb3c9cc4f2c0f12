# SPDX-License-Identifier: Apache-2.0
"""A thread that reads one descriptor and wakes whoever waits for what comes in."""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import GuestGone, Timeout

T = TypeVar("T")


class Stream:
    """Base of the connections to a guest.

    A subclass says in take() what to do with bytes; it is called with the lock held, with the
    time of their arrival (time.monotonic()). Nothing here polls: wait_for() sleeps until bytes come.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self.changed = threading.Condition()
        self._reader: threading.Thread | None = None

    def take(self, data: bytes, now: float) -> None:
        raise NotImplementedError

    def start_reading(self, fd: int) -> None:
        """Reads @fd to its end in a thread; the descriptor belongs to that thread from here on."""
        self._reader = threading.Thread(target=self._read, args=(fd,), name=self.name, daemon=True)
        self._reader.start()

    def join(self, timeout: float) -> None:
        """Waits until all has been read, after the other side has gone."""
        if self._reader:
            self._reader.join(timeout)

    def _read(self, fd: int) -> None:
        try:
            while data := os.read(fd, 65536):
                with self.changed:
                    self.take(data, time.monotonic())
                    self.changed.notify_all()
        except OSError:
            pass  # A connection that is reset has ended, as one that is closed.
        finally:
            os.close(fd)
            with self.changed:
                self.closed = True
                self.changed.notify_all()

    def wait_for(self, what: str, find: Callable[[], T | None], timeout: float) -> T:
        """The first value other than None of @find(), called after each arrival.

        Raises Timeout, or GuestGone when the stream ends first.
        """
        deadline = time.monotonic() + timeout
        with self.changed:
            while (found := find()) is None:
                if self.closed:
                    raise GuestGone(f"{self.name} ended; waited for {what}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Timeout(f"{self.name}: {what} did not come within {timeout:g} s")
                self.changed.wait(left)
            return found


def connect(path: str, alive: Callable[[], bool], timeout: float) -> socket.socket:
    """Connects to a socket that a process which is starting is about to make.

    @alive says whether that process is still there.
    """
    deadline = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
        if not alive():
            raise GuestGone(f"QEMU ended before it made {path}")
        if time.monotonic() > deadline:
            raise Timeout(f"QEMU did not make {path} within {timeout:g} s")
        time.sleep(0.01)

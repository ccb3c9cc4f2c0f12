# SPDX-License-Identifier: Apache-2.0
"""A TCP relay on loopback that can go silent, as a middlebox does that has forgotten a connection: it takes all and brings nothing; or
change what it brings."""

import contextlib
import socket
import threading
from collections.abc import Callable

Change = Callable[[bytes, bool], bytes]  # what came, and whether it came from who connected; gives what is passed on


def nothing_changed(data: bytes, up: bool) -> bytes:
    return data


class Relay:
    """Passes each connection to 127.0.0.1:@target; closes it where nobody is there. @change holds for all connections, old and new."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.change: Change = nothing_changed
        self._open: list[tuple[threading.Event, socket.socket, socket.socket]] = []  # a connection's "silent", and its ends
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def silence(self) -> None:
        """The connections there are bring nothing any more; new ones are passed on."""
        for silent, *_ in self._open:
            silent.set()

    def hang_up(self) -> None:
        """Ends the connections there are."""
        for _, *ends in self._open:
            for s in ends:
                self._shut(s)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                self._begin(self._listener.accept()[0])

    def _begin(self, near: socket.socket) -> None:
        self.connections += 1
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            near.close()
            return
        silent = threading.Event()
        self._open.append((silent, near, far))
        for source, sink, up in (near, far, True), (far, near, False):
            threading.Thread(target=self._pass, args=(source, sink, up, silent), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not silent.is_set():
                    sink.sendall(self.change(data, up))
        if not silent.is_set():
            self._shut(source)
            self._shut(sink)

    @staticmethod
    def _shut(s: socket.socket) -> None:
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)

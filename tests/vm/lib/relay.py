# SPDX-License-Identifier: Apache-2.0
"""A TCP relay on loopback that can go silent, as a middlebox does that has forgotten a connection: it takes all and brings nothing."""

import contextlib
import socket
import threading


class Relay:
    """Passes each connection to 127.0.0.1:@target; closes it where nobody is there."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[threading.Event] = []  # a connection's "silent"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def silence(self) -> None:
        """The connections there are bring nothing any more; new ones are passed on."""
        for silent in self._open:
            silent.set()

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
        self._open.append(silent)
        for source, sink in (near, far), (far, near):
            threading.Thread(target=self._pass, args=(source, sink, silent), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not silent.is_set():
                    sink.sendall(data)
        if not silent.is_set():
            for s in source, sink:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

# SPDX-License-Identifier: Apache-2.0
"""The guest's serial console: kept in a file, and waited on."""

import re
from pathlib import Path

from .stream import Stream


class Console(Stream):
    """All that the guest has written to its console, with the time at which each piece came."""

    def __init__(self, log: Path) -> None:
        super().__init__("console")
        self.log = log
        if log.exists():  # of the machine's boot before
            log.rename(log.with_name(f"console-{len(list(log.parent.glob('console*.log')))}.log"))
        self._file = log.open("wb", buffering=0)
        self._text = bytearray()
        self._times: list[tuple[int, float]] = []

    def take(self, data: bytes, now: float) -> None:
        self._file.write(data)
        self._times.append((len(self._text), now))
        self._text += data

    @property
    def text(self) -> str:
        """Everything so far."""
        with self.changed:
            return self._text.decode(errors="replace")

    @property
    def position(self) -> int:
        """The end of what has come so far, for wait(start=...)."""
        with self.changed:
            return len(self._text)

    def wait(self, pattern: str, timeout: float, start: int = 0) -> re.Match[bytes]:
        """Waits until @pattern (of bytes, multi-line) is on the console behind @start."""
        regex = re.compile(pattern.encode(), re.MULTILINE)
        return self.wait_for(f"'{pattern}'", lambda: regex.search(self._text, start), timeout)

    def time_of(self, match: re.Match[bytes]) -> float:
        """When (time.monotonic()) the last byte of what was matched came."""
        with self.changed:
            return max(t for begin, t in self._times if begin < match.end())

    def close(self) -> None:
        self.join(5)
        self._file.close()

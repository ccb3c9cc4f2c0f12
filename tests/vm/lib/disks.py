# SPDX-License-Identifier: Apache-2.0
"""Looks at disk images and RAM files from outside the guest, without reading their holes."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK = 8 << 20
BLOCK = 4096


def extents(fd: int) -> Iterator[tuple[int, int]]:
    """Start and end of each piece of the file that is not a hole (lseek(2), SEEK_DATA)."""
    position = 0
    while True:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as e:
            if e.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, position


def _pieces(fd: int, margin: int) -> Iterator[tuple[bytes, int]]:
    """Pieces of data with @margin bytes of what follows them, and their size without the margin.

    A piece begins @margin bytes inside the hole before it, so that what begins with zeros is seen too.
    """
    done = 0
    for start, end in extents(fd):
        position = max(done, start - margin)
        while position < end:
            size = min(CHUNK, end - position)
            yield os.pread(fd, size + margin, position), size
            position += size
        done = end


def count_patterns(path: Path | str, patterns: Iterable[bytes]) -> dict[bytes, int]:
    """How often each pattern is in the file."""
    counts = dict.fromkeys(patterns, 0)
    if not counts or b"" in counts:
        raise ValueError("a pattern to search for needs at least one byte")
    margin = max(map(len, counts)) - 1
    fd = os.open(path, os.O_RDONLY)
    try:
        for data, size in _pieces(fd, margin):
            for pattern in counts:
                counts[pattern] += data.count(pattern, 0, size + len(pattern) - 1)
    finally:
        os.close(fd)
    return counts


def disk_hash(path: Path | str) -> str:
    """Hash of the file's size and content; a hole and zeros that take up space are the same."""
    zero = bytes(BLOCK)
    fd = os.open(path, os.O_RDONLY)
    try:
        digest = hashlib.sha256(b"%d\n" % os.fstat(fd).st_size)
        position = 0
        for start, end in extents(fd):
            position = max(position, start - start % BLOCK)
            while position < end:
                data = os.pread(fd, CHUNK, position)
                for i in range(0, len(data), BLOCK):
                    block = data[i:i + BLOCK]
                    if block != zero[:len(block)]:
                        digest.update(b"%d\n" % (position + i) + block)
                position += len(data)
    finally:
        os.close(fd)
    return digest.hexdigest()

# SPDX-License-Identifier: Apache-2.0
"""The lines that tests/run counts: "ok NAME", "not ok NAME", "skip NAME: REASON"."""

import contextlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

_failed = 0
_started = time.monotonic()


@contextlib.contextmanager
def check(name: str) -> Iterator[None]:
    """One check: it holds unless the block raises. What comes after it still runs."""
    global _failed
    begin = time.monotonic()
    try:
        yield
    except Exception:
        _failed += 1
        for line in traceback.format_exc().splitlines():
            print("    " + line)
        print(f"not ok {name}", flush=True)
    else:
        print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)


def note(text: str) -> None:
    """A line for the reader, with the seconds since the start."""
    print(f"# [{time.monotonic() - _started:6.1f}] {text}", flush=True)


def whole() -> bool:
    """Whether the whole suite is to run, not its representative cut."""
    return os.environ.get("EMBERLOCK_TESTS_WHOLE") == "yes"


@contextlib.contextmanager
def work_directory(name: str) -> Iterator[Path]:
    """A directory that is gone afterwards, unless a check failed or EMBERLOCK_KEEP is set: then it is named."""
    path = Path(tempfile.mkdtemp(prefix=f"emberlock-{name}."))
    try:
        yield path
    finally:
        if _failed or os.environ.get("EMBERLOCK_KEEP"):
            note(f"kept: {path}")
        else:
            import shutil
            shutil.rmtree(path)


def finish() -> None:
    """Ends the test program."""
    sys.exit(1 if _failed else 0)

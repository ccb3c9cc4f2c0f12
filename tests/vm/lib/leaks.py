# SPDX-License-Identifier: Apache-2.0
"""Searches logs for keys that a test knows: raw, in hexadecimal, in base64; the whole key and either half.

In tests/vm:  python3 -m lib.leaks [--control] KEYS LOG...
KEYS is a file with a key in hexadecimal a line, or a directory of key files. --control: each key must be found where it was hidden.
"""

import argparse
import base64
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .disks import count_patterns

HEX_KEY = re.compile(r"^([0-9a-f]{64,128})$")
FIELD = re.compile(r'(?:PrivateKey=|"key": ?")([0-9a-f]{64})')
PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", re.DOTALL)
P256_SCALAR = slice(36, 68)  # of a PKCS #8 key: RFC 5915 in RFC 5208


def keys_of_text(text: str) -> list[bytes]:
    """The secrets in one of the files that the manager, the file KMS or an enrolment write."""
    pems = [base64.b64decode(match.group(1)) for match in PEM.finditer(text)]
    lines = [m.group(1) for line in text.splitlines() if (m := HEX_KEY.match(line.split("#")[0].strip()))]
    return [bytes.fromhex(x) for x in lines + FIELD.findall(text)] + [pem[P256_SCALAR] for pem in pems] + pems


def keys_below(path: Path) -> dict[str, bytes]:
    """Every secret in the files below @path, by a name that is none."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    names = [f for f in files if f == path or f.suffix in (".key", ".json", ".vm") or f.name == "key.pem"]
    return {f"{file.relative_to(path.parent)} #{n + 1}": key for file in names for n, key in enumerate(keys_of_text(file.read_text()))}


def forms(key: bytes) -> set[bytes]:
    """What of a key must be in no log. A base64 form ends before the bits that depend on what follows."""
    half = len(key) // 2
    parts = [key[:half], key[half:]] if half >= 16 else [key]
    hexes = {x.hex().encode() for x in parts}
    return {*parts, *hexes, *(x.upper() for x in hexes), *(base64.b64encode(x[:len(x) // 3 * 3]) for x in [key, *parts])}


def find(keys: dict[str, bytes], logs: Iterable[Path]) -> list[str]:
    """Which key is in which log; never the key itself."""
    patterns = {form: name for name, key in keys.items() for form in forms(key)}
    if not patterns:
        raise ValueError("no key to search for")
    found = []
    for log in logs:
        names = {patterns[form] for form, n in count_patterns(log, patterns).items() if n}
        found += [f"{log}: holds {name}" for name in sorted(names)]
    return found


def control(keys: dict[str, bytes]) -> list[str]:
    """Each form of each key alone, in a log of its own: what find() does not find."""
    missed = []
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        for name, key in keys.items():
            for form in forms(key):
                log.write_bytes(b"line\nkey=" + form + b"\nline\n")
                if not find({name: key}, [log]):
                    missed.append(f"{name}: {len(form)} bytes are not found")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("keys", type=Path)
    parser.add_argument("logs", type=Path, nargs="*")
    args = parser.parse_args()
    keys = keys_below(args.keys)
    wrong = control(keys) if args.control or not args.logs else find(keys, args.logs)
    print("\n".join([*wrong, f"{len(keys)} keys, {len(args.logs)} logs, {len(wrong)} found that should not be"]))
    return 1 if wrong or not keys else 0


if __name__ == "__main__":
    sys.exit(main())

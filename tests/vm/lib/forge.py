# SPDX-License-Identifier: Apache-2.0
"""Records as a program makes them that speaks the protocol by itself: keys, signatures, and what the manager has stored."""

import hashlib
import secrets
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from .world import World

PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410, 7: then the seed


class Key:
    """An Ed25519 key: one that nobody else holds, or that of @seed."""

    def __init__(self, work: Path, seed: bytes = b"") -> None:
        self.path = work / f"{secrets.token_hex(4)}.der"
        self.path.write_bytes(PKCS8_ED25519 + (seed or secrets.token_bytes(32)))
        der = subprocess.run(["openssl", "pkey", "-inform", "DER", "-in", self.path, "-pubout", "-outform", "DER"], check=True,
                             capture_output=True).stdout
        self.public = der[-32:]

    def sign(self, domain: str, record: bytes) -> bytes:
        with tempfile.NamedTemporaryFile() as f:
            f.write(domain.encode() + b"\0" + record)
            f.flush()
            done = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", self.path, "-in", f.name],
                                  check=True, capture_output=True)
        return record + done.stdout

    @property
    def id(self) -> int:
        return int.from_bytes(hashlib.sha256(self.public).digest()[:8], "big")


def of_boot(world: World, vm: str, column: str) -> bytes:
    """A column of the VM's newest boot, from the manager's store."""
    with sqlite3.connect(f"file:{world.state}/manager.db?mode=ro", uri=True) as db:
        row = db.execute(f"SELECT boots.{column} FROM boots JOIN vms ON boots.vm = vms.id"
                         " WHERE vms.name = ? ORDER BY first_ms DESC LIMIT 1", (vm,)).fetchone()
    assert row and row[0], row
    return row[0]

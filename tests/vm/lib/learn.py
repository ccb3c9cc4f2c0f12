# SPDX-License-Identifier: Apache-2.0
"""The keys of a boot, learnt from its RAM, and how many of what a search of it finds."""

import hashlib
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .material import Found, Material, Scanner, hkdf_extract, hmac_states, segment_key
from .world import World

INSTANCES = range(1, 65)  # of a volume that is tried again
FAILED = range(1, 9)  # of a volume that fails each time


@dataclass
class Keys:
    """What was learnt from one boot's RAM."""

    material: Material = field(default_factory=Material)
    segments: dict[str, bytes] = field(default_factory=dict)
    others: int = 0


@dataclass(frozen=True)
class Expected:
    """How many of what; what is not named is expected nowhere."""

    boot_key: int = 0
    seed: int = 0
    segments: frozenset[str] = frozenset()

    def counts(self) -> dict[str, int]:
        schedules = 2 * len(self.segments)
        return {"boot key": self.boot_key, "identity seed": self.seed, "encryption schedule": schedules,
                "decryption schedule": schedules, "raw key": 0, "derived": 0, "pieces": 0}


def counts(found: Found) -> dict[str, int]:
    return {name: len(found.strays) if name == "pieces" else found.count(name) for name in Expected().counts()}


def boot_report(world: World, vm: str) -> bytes:
    with sqlite3.connect(f"file:{world.state}/manager.db?mode=ro", uri=True) as db:
        return db.execute("SELECT report FROM boots JOIN vms ON boots.vm = vms.id WHERE vms.name = ?"
                          " ORDER BY first_ms DESC LIMIT 1", (vm,)).fetchone()[0]


def ed25519_public(seed: bytes) -> bytes:
    der = bytes.fromhex("302e020100300506032b657004220420") + seed  # RFC 8410
    return subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=der,
                          capture_output=True, check=True).stdout[-32:]


def learn(scanner: Scanner, ram: Path, report: bytes, segments: Mapping[str, int], failed: Sequence[str] = ()) -> Keys:
    """The keys of the boot that made @report, from the RAM of the guest, which stands still.

    segments: how many each volume has; keys of earlier instances of theirs, which were undone, are nowhere.
    failed: volumes whose making failed, whose keys are nowhere.
    """
    boot_id, public = report[136:152], report[152:184]  # src/core/message_boot_report.c
    keys, schedules = Keys(), set(scanner.schedules(ram).values())
    first = next(iter(segments))
    found = [page for page in scanner.pages(ram, 64).values()
             if segment_key(hkdf_extract(boot_id, page), first, 1, 0)[:32] in schedules]
    assert len(found) == 1, f"{len(found)} pages are the boot key"
    extracted = hkdf_extract(boot_id, found[0])
    seeds = [page for page in scanner.pages(ram, 32).values() if ed25519_public(page) == public]
    assert len(seeds) == 1, f"{len(seeds)} pages are the seed"

    m = keys.material
    m.add("boot", "boot key", found[0])
    m.add("boot", "identity seed", seeds[0])
    m.add("boot", "derived", extracted)
    inner = bytes(b ^ 0x36 for b in boot_id.ljust(128, b"\0")) + found[0]
    for content in hashlib.sha512(inner).digest(), *hmac_states(extracted).values():
        m.add("boot", "derived", content)
    scalar = hashlib.sha512(seeds[0]).digest()
    for content in scalar, bytes([scalar[0] & 248]) + scalar[1:31] + bytes([scalar[31] & 63 | 64]):
        m.add("boot", "derived", content)
    for name, n in segments.items():
        for segment in range(n):
            number, key = next((i, k) for i in INSTANCES if (k := segment_key(extracted, name, i, segment))[:32] in schedules)
            for instance in range(1, number):
                m.add_segment(f"volume {name} segment {segment} instance {instance}", segment_key(extracted, name, instance, segment))
            assert key[32:] in schedules, f"no schedule of the other half: volume {name}, segment {segment}"
            keys.segments[f"volume {name} segment {segment}"] = key
    for of, key in keys.segments.items():
        m.add_segment(of, key)
    for name in failed:
        for instance in FAILED:
            m.add_segment(f"volume {name} instance {instance}", segment_key(extracted, name, instance, 0))
    keys.others = len(schedules) - 2 * len(keys.segments)
    return keys

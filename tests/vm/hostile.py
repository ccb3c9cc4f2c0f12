# SPDX-License-Identifier: Apache-2.0
"""A hostile program in the watchdog's place: it can neither prolong a lease, nor register a key, nor forge a receipt."""

import argparse
import hashlib
import secrets
import sqlite3
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.guest import QUIET, deadline, status, wait_admitted
from lib.world import VM, World, image_with, volume

LEASE, KEYS = 2, 4  # enum route
FRAME_SIZE = 16 + 20 + 4096


class Key:
    """An Ed25519 key that no manager holds."""

    def __init__(self, work: Path) -> None:
        self.path = work / f"{secrets.token_hex(4)}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.path], check=True)
        der = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"], check=True,
                             capture_output=True).stdout
        self.public = der[-32:]

    def sign(self, domain: str, record: bytes) -> bytes:
        with tempfile.NamedTemporaryFile() as f:
            f.write(domain.encode() + b"\0" + record)
            f.flush()
            done = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", f.name],
                                  check=True, capture_output=True)
        return record + done.stdout


def last_token(world: World, vm: str) -> bytes:
    """The newest token of the VM's newest boot, from the manager's store."""
    with sqlite3.connect(f"file:{world.state}/manager.db?mode=ro", uri=True) as db:
        row = db.execute("SELECT boots.token FROM boots JOIN vms ON boots.vm = vms.id"
                         " WHERE vms.name = ? ORDER BY first_ms DESC LIMIT 1", (vm,)).fetchone()
    assert row and len(row[0]) == 192, row
    return row[0]


def changed(token: bytes, **fields: int | bytes) -> bytes:
    """The record with other fields, without its signature."""
    t = bytearray(token[:128])
    for name, value in fields.items():
        offset, form = {"challenge": (40, "32s"), "counter": (80, ">Q"), "epoch": (72, ">Q"), "ttl": (88, ">I"),
                        "verdict": (100, ">B"), "key": (112, ">Q"), "admission": (8, "32s")}[name]
        struct.pack_into(form, t, offset, value)
    return bytes(t)


def attack(vm: VM, answers: Sequence[str]) -> list[str]:
    """Runs the hostile watchdog with these answers; gives what it saw."""
    user = "setpriv --reuid emberlock-watchdog --regid emberlock-watchdog --clear-groups"
    done = vm.run(f"{user} perl /run/hostile.pl", stdin=("\n".join(answers) + "\n").encode(), timeout=240)
    return done.text.splitlines()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("hostile") as work, World(work, {"--lease": "600s", "--max-staleness": "600s"}) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/d.conf"] = volume("ext4", "d", MountPoint="/data")
        image = image_with(args.image, work / "image", files)
        common = {"image": image, "disks": {"d": "64M"}, "append": QUIET, "memory": 512}
        with VM(**common, work=work / "vm1", credentials=world.enrol("vm1")) as vm, \
                VM(**common, work=work / "vm2", credentials=world.enrol("vm2")) as other:
            with check("hostile/two VMs are admitted"):
                wait_admitted(vm, 240)
                wait_admitted(other, 240)
            attacks(vm, world, work)
    finish()


def attacks(vm: VM, world: World, work: Path) -> None:
    vm.channel.push_file(Path(__file__).with_name("hostile_watchdog.pl"), "/run/hostile.pl")
    vm.run("chmod 755 /run/hostile.pl")
    stale = last_token(world, "vm1")
    world.wait("a newer token", lambda: last_token(world, "vm1") != stale, 30)
    vm.run("systemctl stop emberlock-watchdog")
    mine, borrowed = last_token(world, "vm1"), last_token(world, "vm2")
    before = status(vm)
    rogue, root = Key(work), Key(work)

    seen = attack(vm, [f"{LEASE} 503 00"])
    request = bytes.fromhex(next(line.split()[3] for line in seen if line.startswith("request") and f" {LEASE} " in line))
    challenge = request[48:80]
    best = changed(mine, challenge=challenge, epoch=2**40, ttl=3600_000, verdict=2)
    forged = best + secrets.token_bytes(64)
    signed = rogue.sign("emberlock v1 token", changed(best, key=int.from_bytes(
        hashlib.sha256(rogue.public).digest()[:8], "big")))
    key_set = root.sign("emberlock v1 signing keys", struct.pack(">8sQI12x", b"EMBKEY01", 2**40, 1) + rogue.public + bytes(224))

    answers = {
        "forged, random signature": [f"{LEASE} 200 {forged.hex()}"],
        "forged, shred verdict": [f"{LEASE} 200 {(changed(best, verdict=3) + secrets.token_bytes(64)).hex()}"],
        "signed by a key that is not in the set": [f"{LEASE} 200 {signed.hex()}"],
        "a key set that the root key did not sign, then a token by it":
            [f"{KEYS} 200 {key_set.hex()}", f"{LEASE} 200 {signed.hex()}"],
        "replayed": [f"{LEASE} 200 {mine.hex()}"],
        "stale": [f"{LEASE} 200 {stale.hex()}"],
        "borrowed from another VM": [f"{LEASE} 200 {borrowed.hex()}"],
        "truncated": [f"{LEASE} 200 {mine[:-1].hex()}"],
        "empty": [f"{LEASE} 200 "],
        "too long": [f"{LEASE} 200 {(mine + bytes(64)).hex()}"],
        "genuine but for one bit of the signature": [f"{LEASE} 200 {(mine[:-1] + bytes([mine[-1] ^ 1])).hex()}"],
        "a frame cut short": [f"{LEASE} 200 {mine.hex()} 100"],
        "an HTTP status that is none": [f"{LEASE} 65535 {mine.hex()}"],
    }
    for name, lines in answers.items():
        with check(f"hostile/{name}: the deadline does not move"):
            # A set of keys is only asked for after a token by an unknown key; rate-limited by the agent.
            if lines[0].startswith(str(KEYS)):
                vm.run("sleep 11")
                lines = [f"{LEASE} 200 {signed.hex()}", *lines]
            seen = attack(vm, lines)
            assert seen.count("answered") == len(lines), seen
            after = status(vm)
            assert after["lease"]["deadline_ns"] == before["lease"]["deadline_ns"], (before["lease"], after["lease"])
            assert after["state"] == before["state"], after["state"]
    with check("hostile/each rejected token is an event in the journal, and counted"):
        n = status(vm)["rejected_tokens"] - before["rejected_tokens"]
        note(f"{n} tokens rejected")
        assert n >= 8, n
        assert "token rejected" in vm.run("journalctl -u emberlock-agent -g 'rejected' --no-pager -q").text
    with check("hostile/a second watchdog while one is connected is turned away"):
        vm.run("systemctl start emberlock-watchdog")
        world.wait("the real watchdog", lambda: status(vm)["watchdog_connected"], 30)
        r = vm.run("setpriv --reuid emberlock-watchdog --regid emberlock-watchdog --clear-groups "
                   "timeout 5 perl /run/hostile.pl", stdin=f"{LEASE} 200 00\n".encode(), check=False)
        assert b"request" not in r.out and status(vm)["watchdog_connected"], r
    with check("hostile/the real watchdog back: the lease goes on (the control)"):
        world.wait("a renewed lease", lambda: deadline(vm) > before["lease"]["deadline_ns"], 120)
    with check("hostile/the manager was shown no forged receipt and no second boot"):
        assert world.boot_of("vm1")["class"] == "live", world.boot_of("vm1")
        assert world.boot_of("vm1")["admission"] == before["admission"]


main()

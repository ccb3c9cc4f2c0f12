# SPDX-License-Identifier: Apache-2.0
"""A hostile program in the watchdog's place: it can neither prolong a lease, nor register a key, nor forge a receipt.

What it may try is tried twice where it can be: on the agent, from the watchdog's place in the guest; on the manager, over its network.
"""

import argparse
import hashlib
import secrets
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.forge import Key, of_boot
from lib.guest import AGENT, KEEPER, QUIET, deadline, process_ids, save_journal, status, wait_admitted, wait_shred
from lib.world import HOST, VM, World, image_with, volume

LEASE, KEYS = 2, 4  # enum route
USER = "setpriv --reuid emberlock-watchdog --regid emberlock-watchdog --clear-groups"


def last_token(world: World, vm: str) -> bytes:
    token = of_boot(world, vm, "token")
    assert len(token) == 192, token
    return token


def post(world: World, route: str, body: bytes) -> int:
    """The HTTP status that the manager answers to anybody who can reach it."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--http2", "--max-time", "60", "--cacert", world.state / "ca.pem", "--output", "/dev/null",
         "--write-out", "%{http_code}", "--connect-to", f"{HOST}:{world.port}:127.0.0.1:{world.port}",
         "--header", "Content-Type: application/octet-stream", "--data-binary", "@-", f"https://{HOST}:{world.port}/v1/{route}"],
        input=body, check=True, capture_output=True)
    return int(done.stdout)


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
    done = vm.run(f"{USER} perl /run/hostile.pl", stdin=("\n".join(answers) + "\n").encode(), timeout=240)
    return done.text.splitlines()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("hostile") as work, World(work, {"--lease": "600s", "--max-staleness": "600s"}) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/d.conf"] = volume("ext4", "d", MountPoint="/data")
        world.customer("create", "other-cmk")
        world.add_key("other-key", "other-cmk")
        world.admin("workspace", "create", "other-tenant", "--key", "other-key")
        image = image_with(args.image, work / "image", files)
        common = {"image": image, "disks": {"d": "64M"}, "append": QUIET, "memory": 512}
        with VM(**common, work=work / "vm1", credentials=world.enrol("vm1")) as vm, \
                VM(**common, work=work / "vm2", credentials=world.enrol("vm2")) as other, \
                VM(**common, work=work / "vm3", credentials=world.enrol("vm3", "other-tenant")) as foreign:
            with check("hostile/three VMs of two workspaces are admitted"):
                for guest in vm, other, foreign:
                    wait_admitted(guest, 300)
            attacks(vm, world, work)
            reach(vm)
            forgeries(vm, other, world, work)
            control(vm, world, work)
    finish()


def attacks(vm: VM, world: World, work: Path) -> None:
    vm.channel.push_file(Path(__file__).with_name("hostile_watchdog.pl"), "/run/hostile.pl")
    vm.run("chmod 755 /run/hostile.pl")
    stale = last_token(world, "vm1")
    world.wait("a newer token", lambda: last_token(world, "vm1") != stale, 30)
    vm.run("systemctl stop emberlock-watchdog")
    mine, borrowed, foreign = (last_token(world, name) for name in ("vm1", "vm2", "vm3"))
    before = status(vm)
    rogue, root = Key(work), Key(work)

    seen = attack(vm, [f"{LEASE} 503 00"])
    request = bytes.fromhex(next(line.split()[3] for line in seen if line.startswith("request") and f" {LEASE} " in line))
    challenge = request[48:80]
    best = changed(mine, challenge=challenge, epoch=2**40, ttl=3600_000, verdict=2)
    forged = best + secrets.token_bytes(64)
    signed = rogue.sign("emberlock v1 token", changed(best, key=rogue.id))
    key_set = keys_signed(root, 2**40, rogue.public)

    answers = {
        "forged, random signature": [f"{LEASE} 200 {forged.hex()}"],
        "forged, shred verdict": [f"{LEASE} 200 {(changed(best, verdict=3) + secrets.token_bytes(64)).hex()}"],
        "signed by a key that is not in the set": [f"{LEASE} 200 {signed.hex()}"],
        "a key set that the root key did not sign, then a token by it":
            [f"{KEYS} 200 {key_set.hex()}", f"{LEASE} 200 {signed.hex()}"],
        "replayed": [f"{LEASE} 200 {mine.hex()}"],
        "stale": [f"{LEASE} 200 {stale.hex()}"],
        "borrowed from another VM": [f"{LEASE} 200 {borrowed.hex()}"],
        "borrowed from another workspace": [f"{LEASE} 200 {foreign.hex()}"],
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
        assert n >= 9, n
        assert "token rejected" in vm.run("journalctl -u emberlock-agent -g 'rejected' --no-pager -q").text
    with check("hostile/a second watchdog while one is connected is turned away"):
        vm.run("systemctl start emberlock-watchdog")
        world.wait("the real watchdog", lambda: status(vm)["watchdog_connected"], 30)
        r = vm.run("setpriv --reuid emberlock-watchdog --regid emberlock-watchdog --clear-groups "
                   "timeout 5 perl /run/hostile.pl", stdin=f"{LEASE} 200 00\n".encode(), check=False)
        assert b"request" not in r.out and status(vm)["watchdog_connected"], r
    with check("hostile/the real watchdog back: the lease goes on (the control)"):
        world.wait("a renewed lease", lambda: deadline(vm) > before["lease"]["deadline_ns"], 120)


def reach(vm: VM) -> None:
    """What else of the VM the watchdog's user can lay hands on."""
    agent, keeper = process_ids(vm, AGENT)[0], process_ids(vm, KEEPER)[0]
    connect = "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_SEQPACKET, 0) or die; connect(S, sockaddr_un($ARGV[0])) or exit 5' "
    tries = {
        "register a map or a key with the keeper": f"{connect} /run/emberlock/keeper/keeper.sock",
        "ask for a shred": f"{connect} /run/emberlock/control/agent.sock",
        "signal the agent": f"kill -STOP {agent}",
        "signal the keeper": f"kill -STOP {keeper}",
        "read the agent's memory": f"cat /proc/{agent}/mem",
        "see the agent's descriptors": f"ls /proc/{agent}/fd/",
        "talk to device-mapper": "dmsetup ls",
        "read the credential of the VM": "cat /run/credentials/emberlock-agent.service/emberlock.vm",
    }
    before = status(vm)
    for name, script in tries.items():
        with check(f"hostile/the watchdog's user cannot {name}; root can, where that does no harm"):
            assert vm.run(f"{USER} {script} >/dev/null", check=False).status != 0
            if "kill" not in script and "/mem" not in script:
                vm.run(f"{script} >/dev/null")
    with check("hostile/none of that did harm"):
        after = status(vm)
        assert (after["state"], after["agents"]) == (before["state"], before["agents"]), after


def keys_signed(root: Key, epoch: int, *public: bytes) -> bytes:
    """A set of signing keys."""
    return root.sign("emberlock v1 signing keys", struct.pack(">8sQI12x", b"EMBKEY01", epoch, len(public))
                     + b"".join(public) + bytes(32 * (8 - len(public))))


def forgeries(vm: VM, other: VM, world: World, work: Path) -> None:
    """On the manager: receipts, reports and requests that no boot of this VM has signed."""
    rogue = Key(work)
    admission, victim = status(vm)["admission"], status(other)["admission"]
    report = of_boot(world, "vm1", "report")
    body = struct.pack(">8s32sBB2xI32sQQQQII8x", b"EMBRCT01", bytes.fromhex(admission), 1, 1, 0, bytes(32), 1, 2, 3, 0, 1, 0)
    receipt = rogue.sign("emberlock v1 receipt", body.ljust(3008, b"\0"))
    boot = report[:136] + secrets.token_bytes(16) + rogue.public + report[184:1168]
    twice = boot + rogue.sign("emberlock v1 boot report", boot)[-64:] * 2
    own = report[:1168] + rogue.sign("emberlock v1 boot report", report[:1168])[-64:] * 2
    request = struct.pack(">8s32sQ32sQQIII20x", b"EMBREQ01", bytes(32), 1, secrets.token_bytes(32), 0, 0, 1, 0, 0)

    def asks(admission: bytes) -> bytes:
        return rogue.sign("emberlock v1 lease request", request[:8] + admission + request[40:])

    tries = {
        "a receipt that another key signed": ("receipt", receipt, (401,)),
        "a receipt cut short": ("receipt", receipt[:-1], (400, 413)),
        "a boot report with a key of its own, not signed by the VM": ("boot", twice + asks(hashlib.sha256(twice).digest()), (401,)),
        "the VM's report signed anew by another": ("boot", own + asks(hashlib.sha256(own).digest()), (401, 409)),
        "the VM's report replayed, with a request of its own": ("boot", report + asks(bytes.fromhex(admission)), (401,)),
        "a lease request for the VM's boot": ("lease", asks(bytes.fromhex(admission)), (401,)),
    }
    for name, (route, content, expected) in tries.items():
        with check(f"hostile/the manager refuses {name}"):
            got = post(world, route, content)
            assert got in expected, got
    with check("hostile/the manager was taken in by none: one boot, alive, its lease goes on"):
        boots = [b for b in world.fleet() if b["vm"] == "vm1"]
        assert [(b["class"], b["admission"]) for b in boots] == [("live", admission)], boots
        before = deadline(vm)
        world.wait("a renewed lease", lambda: deadline(vm) > before, 120)
    with check("hostile/a receipt that the boot signed is taken (the control)"):
        other.channel.start("emberlockctl shred --yes")
        assert wait_shred(other, 60) == ("operator", 14)
        assert world.boot_of("vm2")["class"] == "receipt"
        world.verify_receipt(victim)


def control(vm: VM, world: World, work: Path) -> None:
    """The same token as the forged ones, but for its signature: by a key in a set that the root key signed, it counts."""
    rogue, root = Key(work), Key(work, bytes.fromhex((world.state / "offline" / "root.key").read_text().strip()))
    save_journal(vm)
    vm.run("systemctl stop emberlock-watchdog")
    before, mine = status(vm), last_token(world, "vm1")
    seen = attack(vm, [f"{LEASE} 503 00"])
    request = bytes.fromhex(next(line.split()[3] for line in seen if line.startswith("request") and f" {LEASE} " in line))
    epoch, counter = struct.unpack_from(">QQ", request, 80)
    token = rogue.sign("emberlock v1 token", changed(mine, challenge=request[48:80], epoch=epoch, counter=counter + 1,
                                                     ttl=3600_000, verdict=2, key=rogue.id))
    with check("hostile/the same token by a key that the root key signed: the deadline moves (the control)"):
        vm.run("sleep 11")
        answers = [f"{LEASE} 200 {token.hex()}", f"{KEYS} 200 {keys_signed(root, 2**40, rogue.public).hex()}"]
        assert attack(vm, answers).count("answered") == 2
        assert deadline(vm) > before["lease"]["deadline_ns"] + 60 * 10**9, (before["lease"], status(vm)["lease"])


main()

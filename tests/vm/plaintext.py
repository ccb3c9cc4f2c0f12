# SPDX-License-Identifier: Apache-2.0
"""What disks held in the clear, searched for in all of a guest's RAM before and after a shred.

Each place that plaintext is in gets a canary of its own, so that what is left says where it comes from. A canary is made in the
guest from two masked halves: it is in no file, on no command line and on no console before.

The kernel zeroes freed pages (init_on_free=1); a shred makes it free them. So afterwards nothing is expected of page cache, dirty
pages, killed processes, PostgreSQL, tmpfs, /dev/shm and System V shared memory; what buffers of pipes and sockets leave is listed. The
default run takes the image as it is; by name the test also boots it with init_on_free=0: there everything is expected to stay, which
is what the search can see.
"""

import argparse
import os
import re
import secrets
import tempfile
from collections import Counter
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import status, wait_admitted
from lib.material import Scanner
from lib.world import VM, World

DISKS = {"pgdata": "512M", "pgtemp": "512M", "swap": "256M"}
MEMORY = 768  # MiB
PGDATA, PGTEMP = "/var/lib/postgresql", "/var/lib/postgresql-temp"
LEAST = 100_000  # canaries in all
# Each place, and whether nothing may be left of it.
PLACES = {
    "page cache, ext4": True, "page cache, xfs": True, "dirty pages, ext4": True, "dirty pages, xfs": True,
    "memory of a process": True, "PostgreSQL": True, "tmpfs": True, "tmpfs, held open": True, "/dev/shm": True,
    "System V shared memory": True, "System V message queue": False, "pipes": False, "sockets": False,
}
CANARY_SIZE = 32
# Holds its canary until it is killed, or leaves it where it is told to.
HOLD = r"""
use Fcntl; use Socket;
my ($what, $one, $other, $path) = @ARGV;
my $canary = pack("H*", $one) ^ pack("H*", $other);
my @held;
sub fill { my $fh = shift; fcntl($fh, F_SETFL, O_NONBLOCK); my $text = $canary x 128; while (syswrite $fh, $text) {} push @held, $fh, @_; }
sub put { open my $fh, ">", $path or die; my $text = $canary x 2048; print $fh $text for 1 .. 64; close $fh or die; }
if ($what eq "file") { put(); exit }
if ($what eq "open") { put(); open my $fh, "<", $path or die; push @held, $fh }
if ($what eq "sql") { print "CREATE TABLE t AS SELECT n, '$canary' AS c FROM generate_series(1, 50000) n; SELECT count(c) FROM t;\n"; exit }
if ($what eq "shm") { my $id = shmget(0, 4 << 20, 0600) // die; shmwrite($id, $canary x 131072, 0, 4 << 20) or die; exit }
if ($what eq "msg") { my $id = msgget(0, 0600) // die; msgsnd($id, pack("l! a*", 1, $canary x 200), 0) or die for 1 .. 2; exit }
if ($what eq "process") { push @held, $canary x 131072 }
if ($what eq "pipes") { for (1 .. 16) { pipe(my $r, my $w) or die; fill($w, $r) } }
if ($what eq "sockets") {
    for (1 .. 4) { socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; fill($a, $b) }
    socket(my $l, PF_INET, SOCK_STREAM, 0) or die; bind($l, sockaddr_in(0, INADDR_LOOPBACK)) or die; listen($l, 1) or die;
    socket(my $c, PF_INET, SOCK_STREAM, 0) or die; connect($c, getsockname($l)) or die; accept(my $s, $l) or die; fill($c, $s, $l);
}
open my $ready, ">", "/run/ready.$$" or die; close $ready;
sleep;
"""
# (how, path) of each place; one that holds runs on.
FILES = {"page cache, ext4": f"{PGDATA}/cache", "page cache, xfs": f"{PGTEMP}/cache", "dirty pages, ext4": f"{PGDATA}/dirty",
         "dirty pages, xfs": f"{PGTEMP}/dirty", "tmpfs": "/run/deep/er/canary", "/dev/shm": "/dev/shm/canary"}
HOLDERS = {"memory of a process": "process", "pipes": "pipes", "sockets": "sockets", "tmpfs, held open": "open"}


class Canaries:
    """One for each place."""

    def __init__(self) -> None:
        self.of = {place: secrets.token_bytes(CANARY_SIZE // 2).hex().encode() for place in PLACES}

    def masked(self, place: str) -> str:
        """Two halves, as arguments of HOLD."""
        mask = secrets.token_bytes(CANARY_SIZE)
        return f"{mask.hex()} {bytes(a ^ b for a, b in zip(mask, self.of[place])).hex()}"

    def count(self, scanner: Scanner, ram: Path) -> Counter[str]:
        names = list(self.of)
        return Counter(names[n] for _, n in scanner.find(ram, self.of.values()))


def fill(vm: VM, canaries: Canaries) -> None:
    vm.channel.push(HOLD.encode(), "/run/hold.pl")
    hold = "perl /run/hold.pl"
    vm.run("mkdir -p /run/deep/er")
    for place, path in FILES.items():
        if not place.startswith("dirty"):
            vm.run(f"{hold} file {canaries.masked(place)} {path}")
    vm.run(f"sync -f {PGDATA}; sync -f {PGTEMP}")
    vm.run(f"{hold} shm {canaries.masked('System V shared memory')}; {hold} msg {canaries.masked('System V message queue')}")
    vm.run(f"{hold} sql {canaries.masked('PostgreSQL')} | runuser -u postgres -- psql -X -q -d postgres", timeout=120)
    for place, how in HOLDERS.items():
        vm.channel.start(f"exec {hold} {how} {canaries.masked(place)} /run/open")
    vm.run(f"timeout 60 sh -c 'until [ $(ls /run/ready.* | wc -l) = {len(HOLDERS)} ]; do sleep 0.2; done'", timeout=70)
    for place, path in FILES.items():
        if place.startswith("dirty"):
            vm.run(f"{hold} file {canaries.masked(place)} {path}")


def shred(vm: VM) -> str:
    """Gives what the keeper said of step 4."""
    start = vm.console.position
    vm.channel.start("emberlockctl shred --yes")
    event = vm.qmp.wait_event("SHUTDOWN", 60)
    assert event.data["reason"] == "guest-shutdown", event
    said = re.search(r"emberlock: plaintext: ([^\r\n]*)", vm.console.text)
    assert said, vm.console.text[start:]
    return said.group(1)


def boot(world: World, scanner: Scanner, image: Path, work: Path, zeroed: bool) -> None:
    name, canaries = work.name, Canaries()
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="emberlock-ram.", dir=shm) as directory:
        ram = Path(directory) / "ram"
        with VM(work=work, image=image, disks=DISKS, credentials=world.enrol(name), memory=MEMORY, ram_file=ram,
                append="" if zeroed else " init_on_free=0", options=["--no-shutdown"]) as vm:
            with check(f"plaintext/{name}/before: every canary is in RAM"):
                wait_admitted(vm, 240)
                s = status(vm)
                admission = s["admission"]
                assert {"keyring", "crash-kernel"} <= set(s["self_test_passed"]), s["self_test_failed"]
                vm.run("systemctl start postgresql@15-main.service", timeout=120)
                # What the boot has read of the image's root is none of this; to zero it takes an emulated machine long.
                vm.run("echo 3 >/proc/sys/vm/drop_caches")
                fill(vm, canaries)
                vm.qmp.pause()
                before = canaries.count(scanner, ram)
                vm.qmp.resume()
                assert set(before) == set(PLACES), set(PLACES) - set(before)
                assert before.total() >= LEAST, before
            with check(f"plaintext/{name}/shred: it says how far step 4 came"):
                said = shred(vm)
                note(f"step 4: {said}")
                assert re.fullmatch(r"processes .*ms, files .*ms, caches .*ms", said), said
            after = canaries.count(scanner, ram)
            note("place | before | after")
            for place in PLACES:
                note(f"{place} | {before[place]} | {after[place]}")
            note(f"all | {before.total()} | {after.total()}")
            if zeroed:
                with check(f"plaintext/{name}/after: none is left where none may be"):
                    assert not any(after[place] for place, gone in PLACES.items() if gone), after
            else:
                with check(f"plaintext/{name}/after: freed pages keep what they held"):
                    assert after.total() >= LEAST, after
        with check(f"plaintext/{name}/receipt: it says the same, and that no key is left"):
            passed, failed = (re.search(rf"^ *{label} +(.*)$", world.verify_receipt(admission), re.M).group(1).split()
                              for label in ("self-test ok", "failed"))
            assert {"keys-gone", "keyring", "crash-kernel"} <= set(passed), (passed, failed)
            assert "plaintext" in (failed if "left" in said else passed), (said, passed, failed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("plaintext") as work, World(work) as world:
        scanner = Scanner(work)
        boot(world, scanner, args.image, work / "zeroed", zeroed=True)
        if whole():
            boot(world, scanner, args.image, work / "not-zeroed", zeroed=False)
    finish()


main()

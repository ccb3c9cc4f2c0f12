# SPDX-License-Identifier: Apache-2.0
"""All of a guest's RAM, and its disks, searched for every key in every form: before, during and after a shred.

The test plants no key: it takes the product as it is, and learns the keys from RAM. While the guest stands still, every AES-256
key schedule is found by its structure, whosever it is, and every page that holds 64 bytes and nothing else. A page whose
derivation (HKDF with the boot id, as src/keys/derive.h says) gives one of the schedules is the boot key; from it come the keys
of all segments, and the schedules of those must be there. So the positive control comes first, the keys were never in the image, on
a command line or on the serial line, and a wrong idea of what to look for fails before any "not found" counts. That they
are the keys the disks are under is shown too: they decrypt the disk images.

What is expected while volumes are active, and why:

    boot key        1   the keeper's secret memory, one page that its two processes share
    identity seed   1   the same; in a shred 2: the agent holds the signing key from the verdict to the closing receipt
    schedules       2   of encryption and 2 of decryption for a segment (the data half of its key, the tweak half): struct
                        crypto_aes_ctx keeps both ways, aesni's xts has two of them, the generic xts template one in each of
                        its two ciphers
    raw keys        0   the table holds a reference, and dm-crypt wipes its copy of the payload
    derived         0   what HKDF computes on the way
    pieces          0   any 16 bytes of any of these outside of the places above: as they are, words swapped, hex, base64, HMAC
                        pads

A volume whose making fails after its key was loaded (an xfs on a disk too small for one) is expected nowhere, at any time.
After a shred everything is expected nowhere, but for the schedules of a segment whose disk is stalled: it is unwiped, and its
receipt says so. The resets below the keeper (softdog, panic, sysrq) wipe nothing: that they leave RAM as it was is shown, and why
vm-images/run ends QEMU at a reset.

The default run takes Debian's 6.1 with aesni, a machine that stays on after its shred and one that is powered off; by name
the test takes the generic AES, plain locked memory, Linux 6.12 and the other ends too.
"""

import argparse
import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import AGENT, KEEPER, QUIET, WATCHDOG, process_ids, status, wait_admitted
from lib.learn import Expected, Keys, boot_report, counts, learn
from lib.material import Found, Material, Scanner, forms
from lib.vm import PROJECT
from lib.world import VM, World, image_of, image_with, volume

VOLUMES = {
    "data": volume("ext4", "data", MountPoint="/data"),
    "swap": volume("swap", "swap"),
    "many": volume("raw", "many", SegmentSize="64M"),
    "slow": volume("raw", "slow"),
    # mkfs.xfs wants 300 MiB: this one fails when its key has been loaded, at each try.
    "fails": volume("xfs", "fails", Required="no"),
}
DISKS = {"data": "256M", "swap": "256M", "many": "160M", "slow": "32M", "fails": "64M"}
SEGMENTS = {"data": 1, "swap": 1, "many": 3, "slow": 1}
MEMORY = 512  # MiB
CANARY = "CANARY-" + hashlib.sha256(b"ram").hexdigest()[:24]
ARMED = "emberlock.power=armed"
NO_SECRET_MEMORY = "secretmem.enable=0"
MAKE_CANARY = "printf 'CANARY-%s' $(printf ram | sha256sum | cut -c1-24)"

# lvm and udisks, which are not in the image, read tables by the same ioctls.
READ_TABLES = """
for i in $(seq 10); do
    dmsetup table --showkeys; dmsetup status; dmsetup info -c; dmsetup deps
done
for m in /dev/mapper/emberlock-*; do cryptsetup status $m; done
for i in 1 2 3; do
    blkid -c /dev/null; blkid -p /dev/mapper/emberlock-*; lsblk -f
    udevadm trigger --settle --subsystem-match=block
done
udevadm info --export-db; cat /proc/keys /proc/crypto
for p in $(pgrep emberlock); do cat /proc/$p/maps /proc/$p/status; done
"""
USE_KEYS = f"""
systemctl start data.mount
openssl speed -seconds 1 -multi 4 -evp aes-256-xts 2>&1 &
openssl speed -seconds 1 -multi 4 sha512 2>&1 &
for i in 1 2 3 4; do
    yes "$({MAKE_CANARY})" | head -c 4M >/data/$i; sync /data/$i; echo 3 >/proc/sys/vm/drop_caches; sha512sum /data/$i
    dd if=/dev/urandom of=/dev/mapper/emberlock-many bs=1M seek=$((i * 30)) count=8 oflag=direct
    dd if=/dev/mapper/emberlock-many of=/dev/null bs=64k iflag=direct count=400
done
wait
"""
# What can be swapped out is, of every service; and a process that is larger than its cgroup may be.
RECLAIM = f"""
systemctl start swap.target
mkdir /sys/fs/cgroup/large; echo 16M >/sys/fs/cgroup/large/memory.high
(echo 0 >/sys/fs/cgroup/large/cgroup.procs; exec perl -e '$x = $ARGV[0] x 2000000; sleep 600' "$({MAKE_CANARY})") &
for i in 1 2 3; do
    for g in /sys/fs/cgroup/*.slice /sys/fs/cgroup/init.scope; do echo 300M >$g/memory.reclaim; done; sleep 1
done
echo 1 >/proc/sys/vm/compact_memory
free -k | awk '/^Swap/ {{ print $3 }}'
"""
# A line on the console when each segment's map but that of the stalled disk is suspended. Only builtins: it must be quick.
WATCH_SUSPENDS = """
cd /sys/block
for m in $(dmsetup ls --target crypt | awk '!/slow/ { print $1 }'); do
    d=$(basename $(readlink /dev/mapper/$m))
    (while read -r x <$d/dm/suspended && [ $x = 0 ]; do :; done) &
done
wait
echo '<2>test: suspended' >/dev/kmsg
"""

KEEPERS = "$(pgrep -f ^@emberlock-keeper)"
# What ends the machine, QEMU's reason, and whether keys are wiped before. A reset leaves RAM as it is, and vm-images/run ends
# QEMU at one.
RUNGS = {
    "twin": (f"set -- {KEEPERS}; kill -9 $1", "guest-shutdown", True),
    "softdog": (f"kill -STOP {KEEPERS}", "guest-reset", False),
    "panic": ("echo c >/proc/sysrq-trigger", "guest-reset", False),
    "sysrq b": ("echo b >/proc/sysrq-trigger", "guest-reset", False),
}


@dataclass(frozen=True)
class Kernel:
    """What a guest is started with."""

    name: str
    image: Path
    append: str
    driver: str  # a word in the name of its xts(aes)


rows: list[tuple[str, str, dict[str, int], dict[str, int]]] = []


def judge(kernel: str, state: str, search: Callable[[], Found], expected: Expected) -> None:
    """One row of the table, and one check."""
    with check(f"ram/{kernel}/{state}"):
        found = search()
        rows.append((kernel, state, expected.counts(), counts(found)))
        for stray in found.strays[:8]:
            note(f"{stray.of}, {stray.role}, {stray.form}: at {stray.offset:#x}")
        assert counts(found) == expected.counts(), (counts(found), expected.counts())
        # And not one schedule twice and another never.
        for key, places in found.wholes.items():
            if key.role.endswith("schedule"):
                assert len(places) == (key.of in expected.segments), (key, places)


@dataclass
class Search:
    """A guest under search."""

    scanner: Scanner
    kernel: Kernel
    vm: VM
    ram: Path
    keys: Keys = field(default_factory=Keys)

    @property
    def active(self) -> Expected:
        return Expected(1, 1, frozenset(self.keys.segments))

    def look(self, state: str, expected: Expected) -> None:
        """Searches the RAM of a guest that stands still."""
        judge(self.kernel.name, state, lambda: self.scanner.search(self.ram, self.keys.material), expected)

    def state(self, state: str, expected: Expected) -> None:
        self.vm.qmp.pause()
        try:
            self.look(state, expected)
        finally:
            self.vm.qmp.resume()


def make_images(kernel: Kernel, work: Path) -> dict[bool, Path]:
    """Two images of one root: one whose switch is not armed, one whose switch is."""
    files = {f"/etc/emberlock/volumes.d/{v}.conf": text for v, text in VOLUMES.items()}
    files |= {f"/etc/emberlock/volumes.d/{v}.conf": "" for v in ("pgdata", "pgtemp")}
    armed, unarmed = image_with(kernel.image, work / "armed", files), work / "unarmed"
    unarmed.mkdir()
    for name in "vmlinuz", "initrd.img", "root.raw":
        (unarmed / name).symlink_to((armed / name).resolve())
    (unarmed / "cmdline").write_text((armed / "cmdline").read_text().replace(ARMED, ""))
    return {True: armed, False: unarmed}


def admitted(search: Search, world: World) -> None:
    """Waits for the guest, looks whether it is what the test is about, and learns its keys."""
    vm, name = search.vm, search.vm.work.name
    with check(f"ram/{search.kernel.name}/{name}: admitted, the keys are learnt from RAM"):
        wait_admitted(vm, 240)
        drivers = vm.run("awk '/^name/ { n = $3 } /^driver/ { d = $3 } /^refcnt/ && n == \"xts(aes)\" && $3 > 1 { print d }' "
                         "/proc/crypto").text
        assert search.kernel.driver in drivers, drivers
        s = status(vm)
        assert ("secret-memory" in s["self_test_passed"]) == (NO_SECRET_MEMORY not in search.kernel.append), s
        states = {v["name"]: (v["state"], v["segments"]) for v in s["volumes"]}
        failed, _ = states.pop("fails")
        assert failed == "failed" and states == {v: ("ready", n) for v, n in SEGMENTS.items()}, (failed, states)
        release = vm.run("uname -r; sleep 2").text  # RCU frees the payloads of keyrings
        vm.qmp.pause()
        begin = time.monotonic()
        search.keys = learn(search.scanner, search.ram, boot_report(world, name), SEGMENTS, failed=["fails"])
        note(f"Linux {release}, {drivers.split()[0]}: {len(search.keys.segments)} segments; {search.keys.others} AES-256 schedules "
             f"of others (TLS, random generators); learnt in {time.monotonic() - begin:.1f} s")
        vm.qmp.resume()
        search.state("volumes active, one failed to activate", search.active)


@contextlib.contextmanager
def guest(scanner: Scanner, kernel: Kernel, image: Path, world: World, work: Path, name: str) -> Iterator[Search]:
    """A machine that is admitted, and whose keys are known; its RAM stays when it goes off."""
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="emberlock-ram.", dir=shm) as ram:
        with VM(work=work / name, image=image, disks=DISKS, credentials=world.enrol(name), memory=MEMORY,
                append=QUIET + kernel.append, ram_file=Path(ram) / "ram", snapshot_root=False,
                options=["--no-shutdown"]) as vm:
            search = Search(scanner, kernel, vm, Path(ram) / "ram")
            admitted(search, world)
            # Without keys to look for, every search would pass.
            assert search.keys.segments, f"{kernel.name}, {name}: no keys"
            yield search


# States

def machine_on(search: Search, world: World) -> None:
    """Power is not armed: the shred ends with a machine that stays on, and everything can be looked at."""
    vm = search.vm
    tables = vm.run(READ_TABLES, check=False, timeout=300).text
    assert ":64:logon:" in tables
    search.state("after dmsetup, blkid, lsblk, udevadm trigger", search.active)
    vm.run(USE_KEYS, timeout=300, check=False)
    search.state("after I/O and vector-register traffic", search.active)
    swapped = int(vm.run(RECLAIM, timeout=120).text.split()[-1])
    note(f"swapped out: {swapped} KiB")
    assert swapped > 32 * 1024, swapped
    search.state("after everybody was swapped out", search.active)
    dumps(search)
    world.wait("the new watchdog has reached the manager", lambda: status(vm)["manager_connected"], 60)
    # Afterwards nothing can be asked: what was swapped out cannot come back.
    with check(f"ram/{search.kernel.name}/journal: no key"):
        journal = search.ram.with_name("journal")
        journal.write_bytes(vm.run("journalctl -o export --all --no-pager", timeout=120).out)
        assert b"emberlock" in journal.read_bytes()
        assert_none(search, journal)
    admission = status(vm)["admission"]
    vm.channel.start("emberlockctl shred --yes")
    vm.console.wait("it stays on, with no keys", 60)
    time.sleep(1)
    search.state("after the shred, machine on", Expected())
    vm.expected_crashes = len(vm.crashes())  # those of dumps()
    with check(f"ram/{search.kernel.name}/receipt: all wiped"):
        world.wait("the receipt", lambda: world.boot_of(vm.work.name)["class"] == "receipt", 30)
        assert "unwiped" not in world.verify_receipt(admission)


def dumps(search: Search) -> None:
    """The control is a process that does leave a core."""
    vm, name = search.vm, search.kernel.name
    with check(f"ram/{name}/core dumps: another process leaves one, ours none"):
        for pattern in "/run/core.%e", "|/bin/dd of=/run/core.%e":
            vm.run(f"rm -f /run/core.*; echo '{pattern}' >/proc/sys/kernel/core_pattern;"
                   "sh -c 'ulimit -c unlimited; kill -SEGV $$'; sleep 1; ls /run/core.sh", check=False)
            assert vm.run("ls /run/core.*").text == "/run/core.sh"
            pids = {p: process_ids(vm, p) for p in (KEEPER, AGENT, WATCHDOG)}
            for pid in (x for p in pids.values() for x in p):
                vm.run(f"prlimit --core=unlimited --pid {pid}; kill -SEGV {pid}")
            vm.run("sleep 1; timeout 60 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.2; done'", timeout=90)
            assert vm.run("ls /run/core.*").text == "/run/core.sh"
            assert process_ids(vm, KEEPER) == pids[KEEPER] and process_ids(vm, AGENT) != pids[AGENT]
        assert len(vm.crashes()) == 6, vm.crashes()
        vm.run("rm -f /run/core.*; echo core >/proc/sys/kernel/core_pattern")
    search.state("after agent and watchdog crashed", search.active)


def power_off(search: Search, unwiped: bool = False) -> None:
    """A stalled disk makes step 1 last, a stopped watchdog step 5. The disk goes on in between, or with @unwiped it does not."""
    vm, name = search.vm, search.kernel.name
    slow = frozenset(s for s in search.keys.segments if s.split()[1] == "slow")
    stalled = f"disk{list(DISKS).index('slow') + 1}"
    limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    vm.channel.start(WATCH_SUSPENDS)
    vm.qmp.execute("block_set_io_throttle", device=stalled, bps=1, **limits)
    vm.channel.start("dd if=/dev/zero of=/dev/mapper/emberlock-slow bs=4k oflag=direct")
    vm.run(f"sleep 2; kill -STOP $(pgrep -f '^{WATCHDOG}')")
    vm.channel.start("emberlockctl shred --yes")
    if not unwiped:
        with check(f"ram/{name}/step 1 is seen"):
            vm.console.wait("test: suspended", 60)
            time.sleep(0.1)
            vm.qmp.pause()
            assert "emberlock: off" not in vm.console.text
            search.look("in step 1, a disk stalled", Expected(0, 2, slow))
            vm.qmp.execute("block_set_io_throttle", device=stalled, bps=0, **limits)
            vm.qmp.resume()
        with check(f"ram/{name}/step 5 is seen"):
            vm.console.wait("receipt closing", 10)
            time.sleep(0.1)
            vm.qmp.pause()
            assert not any(event.name == "SHUTDOWN" for event in vm.qmp.events)
            # The keeper's: the agent's key went with the closing receipt.
            search.look("in step 5, receipts not sent", Expected(0, 1))
            vm.qmp.resume()
    with check(f"ram/{name}/powers off by itself"):
        event = vm.qmp.wait_event("SHUTDOWN", 60)
        assert event.data["reason"] == "guest-shutdown", event
    if unwiped:
        search.look("off, a disk stalled to the end", Expected(0, 0, slow))
    else:
        search.look("off", Expected())


def rung(search: Search, name: str, command: str, reason: str, wiped: bool) -> None:
    """Another end: by the keeper's twin, which wipes; or one of the resets below, which do not."""
    with check(f"ram/{search.kernel.name}/{name} ends the machine"):
        search.vm.channel.start(command)
        event = search.vm.qmp.wait_event("SHUTDOWN", 90)
        assert event.data["reason"] == reason, event
    search.look(f"off by {name}", Expected() if wiped else search.active)


def assert_none(search: Search, path: Path) -> None:
    found = search.scanner.search(path, search.keys.material)
    assert not any(counts(found).values()), (path.name, counts(found), found.strays[:5])


def left_behind(search: Search, world: World) -> None:
    """Disks and files when the guest is gone."""
    work, name = search.vm.work, search.kernel.name
    for disk in "data", "swap":
        with check(f"ram/{name}/disk {disk}: the key from RAM decrypts it, and what it decrypts to holds no key"):
            image = search.vm.disk(disk)
            plain = work / f"{disk}.plain"
            content = search.scanner.decrypt(image, 0, image.stat().st_size, search.keys.segments[f"volume {disk} segment 0"])
            plain.write_bytes(content)
            note(f"{disk}: {content.count(CANARY.encode())} canaries decrypted")
            assert content.count(CANARY.encode()) > 1000 and CANARY.encode() not in image.read_bytes()
            assert content[1080:1082] == b"\x53\xef" if disk == "data" else content[4086:4096] == b"SWAPSPACE2"
            assert_none(search, plain)
            plain.unlink()
    files = [*(search.vm.disk(d) for d in DISKS), work / "root.qcow2", *work.glob("*.log"), *world.work.glob("*.log"),
             *(p for p in world.state.rglob("*") if p.is_file())]
    with check(f"ram/{name}/no key in {len(files)} files: disks, root's overlay, consoles, the manager's state"):
        for path in files:
            assert_none(search, path)


def control(scanner: Scanner, work: Path) -> None:
    """Every form of made-up keys, each in a place of its own, at every alignment: the search finds all of them, and no more."""
    with check("ram/control: the scanner finds every form of a key, and every schedule"):
        m, key = Material(), secrets.token_bytes(64)
        m.add_segment("volume x", key)
        patterns = list(m.patterns())
        image = work / "control"
        with image.open("wb") as f:
            f.truncate(8 << 20)
            f.seek(4093)
            for n, pattern in enumerate(patterns):
                f.write(pattern + b"\1" * (8 + n % 7))
            f.seek(4 << 20)
            for w in m.wholes:
                f.write(b"\1" * 7 + w.bytes)
        found = scanner.search(image, m)
        assert len(found.strays) == len(patterns), (len(found.strays), len(patterns))
        assert {role: found.count(role) for role in ("raw key", "encryption schedule", "decryption schedule")} == {
            "raw key": 1, "encryption schedule": 2, "decryption schedule": 2}
        assert sorted(scanner.schedules(image).values()) == sorted([key[:32], key[32:]])
        note(f"{len(patterns)} patterns, {len(forms(key[:16]))} forms of each 16 bytes")


def kernels(image: Path) -> list[Kernel]:
    generic = " module_blacklist=aesni_intel"
    found = [Kernel("6.1 aesni", image, "", "aesni")]
    if whole():
        found += [Kernel("6.1 generic", image, generic, "generic"),
                  Kernel("6.1 aesni, no memfd_secret", image, f" {NO_SECRET_MEMORY}", "aesni")]
        with check("ram/6.12: image"):
            other = image_of("linux-image-6.12-cloud-amd64", PROJECT / "build" / "test-image-6.12")
            found += [Kernel("6.12 aesni", other, "", "aesni"), Kernel("6.12 generic", other, generic, "generic")]
    return found


def table() -> None:
    names = list(Expected().counts())
    note("expected, found: " + " | ".join(["kernel", "state", *names]))
    for kernel, state, expected, found in rows:
        note(" | ".join([kernel, state, *(f"{expected[n]}, {found[n]}" for n in names)]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--kernel", default="", help="only kernels whose name begins with this")
    args = parser.parse_args()
    policy = {"--lease": "600s", "--max-staleness": "600s", "--poll-interval": "20s"}
    with work_directory("ram") as work, World(work, policy) as world:
        scanner = Scanner(work)
        control(scanner, work)
        for number, kernel in enumerate(k for k in kernels(args.image) if k.name.startswith(args.kernel)):
            images = make_images(kernel, work / f"kernel{number}")
            with guest(scanner, kernel, images[False], world, work, f"on{number}") as search:
                machine_on(search, world)
            left_behind(search, world)
            with guest(scanner, kernel, images[True], world, work, f"off{number}") as search:
                power_off(search)
            if kernel.name == "6.1 aesni" and whole():
                with guest(scanner, kernel, images[True], world, work, "unwiped") as search:
                    power_off(search, unwiped=True)
                for name, how in RUNGS.items():
                    with guest(scanner, kernel, images[True], world, work, name.replace(" ", "-")) as search:
                        rung(search, name, *how)
    table()
    finish()


main()

# SPDX-License-Identifier: Apache-2.0
"""From the customer's no to keys gone and VM off; beside it a shell's and a C loop's way to wipe the same maps.

T1 the KMS refuses (taken before the customer's command starts, so never too late), T2 the agent has the signed verdict, T3 every key is
gone, T4 the VM is off (QEMU says so). T2 and T3 are of the guest's clock, T1 and T4 of the host's; the tie between both is printed with its
error: the spread of the delays seen, and the range that holds whatever the delays were. A figure is the median of its runs, NAME.max the
largest.

Each guest has its processors apart (VM.spread_processors()): left to the host, both often shared one of its own, and each hand-over of the
shred to another thread took milliseconds more (v1: 9.2 ms against 2.1 ms, medians), while the C loop, one thread, took the same.

Shell and C loop run in boots of their own, the C loop first: where code is emulated it is translated when it runs first, in the C loop 1.0 ms
against 0.5 ms the second time, and a shred is the first of its boot too. The C loop's second time is printed beside the figures.

T2 to T3 begins with what no C loop does: the agent checks the verdict's signature and asks the keeper. revoke.T2-shred is that part,
revoke.shred-T3 the rest, from the keeper's start.

T2 to T4 is the whole of a shred, with step 4, the plaintext. No setting leaves that step out, so without it is the same run less the
step, which begins and ends with a line of the keeper's on the console, both timed by the host's clock.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import note, work_directory  # noqa: E402
from lib.figures import figure, figures, spread  # noqa: E402
from lib.guest import QUIET, wait_admitted, wait_shred  # noqa: E402
from lib.world import PROJECT, VM, World, image_with, volume  # noqa: E402

DISK_SPEED = 10_000_000       # bytes a second of a disk in the run under load
# What one disk may have in flight: hardware queues, requests in each, KiB in a request.
IN_FLIGHT = ("cd /sys/block/$(basename $(readlink /dev/disk/by-id/virtio-v0)) && "
             "echo $(ls mq | wc -l) $(cat queue/nr_requests queue/max_sectors_kb)")
CREATE = ("i=0; while [ $i -lt {n} ]; do head -c 64 /dev/urandom | cryptsetup open --type plain --cipher aes-xts-plain64 "
          "--key-size 512 --sector-size 4096 --perf-no_read_workqueue --perf-no_write_workqueue --key-file - "
          "/dev/disk/by-id/virtio-b$i base$i; i=$((i + 1)); done")
REMOVE = "for m in $(dmsetup ls --target crypt | grep -o '^base[0-9]*'); do dmsetup remove --force $m; done"
SHELL = ("a=$(date +%s%N); for m in {maps}; do dmsetup suspend --noflush --nolockfs $m && dmsetup message $m 0 key wipe; done; "
         "b=$(date +%s%N); echo $((b - a))")
# The guest's CLOCK_BOOTTIME, written straight to the console: the host notes when it comes.
TIE = "perl -MTime::HiRes=clock_gettime -e 'open F, \">\", \"/dev/console\"; syswrite F, sprintf(\"tie %.9f\\n\", clock_gettime(7))'"
LOAD = "for i in $(seq 0 {last}); do (while :; do dd if=/dev/zero of=/v$i/load bs=1M count=40 conv=notrunc status=none; done) & done"

VERDICT_AT = 80  # T2 in a receipt


@dataclass
class Sample:
    """Seconds."""

    t1_t2: float
    t2_shred: float
    t2_t3: float
    t3_t4: float
    unscrubbed: float
    tie_error: float
    tie_range: float
    in_flight: tuple[int, int, int]


@dataclass
class Baseline:
    """Seconds."""

    shell: float
    ioctl: float
    ioctl_again: float


def clock_tie(vm: VM) -> tuple[float, float, float]:
    """(host's monotonic − guest's boottime, its error, its range): the smallest of several delays, their spread, and by how much less
    the offset could be at most: the guest did not look at its clock before it was asked to."""
    offsets, limits = [], []
    for _ in range(16):
        start, asked = vm.console.position, time.monotonic()
        vm.run(TIE)
        match = vm.console.wait(r"tie (\d+\.\d+)", 20, start)
        guest = float(match.group(1))
        offsets.append(vm.console.time_of(match) - guest)
        limits.append(asked - guest)
    return min(offsets), statistics.median(offsets) - min(offsets), min(offsets) - max(limits)


def baseline(world: World, image: Path, work: Path, n: int) -> Baseline:
    maps = " ".join(f"base{i}" for i in range(n))
    times = []
    disks = {f"{kind}{i}": "64M" for kind in "vb" for i in range(n)}
    credentials = world.enrol(f"vm-{work.name}")
    with VM(work=work, image=image, disks=disks, append=QUIET, credentials=credentials) as vm:
        wait_admitted(vm, 300)
        vm.spread_processors()
        vm.channel.push_file(work.parent / "dm_wipe", "/root/dm_wipe")
        vm.run("chmod 755 /root/dm_wipe")
        for script in f"/root/dm_wipe {maps}", SHELL.format(maps=maps), f"/root/dm_wipe {maps}":
            vm.run(CREATE.format(n=n), timeout=120)
            times.append(int(vm.run(script).text) / 1e9)
            vm.run(REMOVE)
    return Baseline(ioctl=times[0], shell=times[1], ioctl_again=times[2])


def receipts_of(world: World, admission: str) -> list[bytes]:
    """The keys' receipt, and the closing one where it arrived."""
    path = world.work / "receipt.json"
    world.admin("receipt", "show", admission, "--output", str(path))
    return [bytes.fromhex(x) for x in json.loads(path.read_text())["receipts"]]


def seconds(receipt: bytes, at: int) -> float:
    """A time of the guest's boottime."""
    return int.from_bytes(receipt[at:at + 8], "big") / 1e9


def receipt_times(world: World, admission: str) -> tuple[float, float, float, float]:
    """T2, the shred's start, T3 and the end of step 2 in seconds of the guest's boottime, from the signed receipts."""
    keys, closing = receipts_of(world, admission)
    verdict, shred, keys_gone = (seconds(keys, at) for at in (VERDICT_AT, 88, 96))
    blocked_io = seconds(closing, 104)
    assert keys_gone, "a segment was not wiped in its time"
    return verdict, shred, keys_gone, blocked_io


def measure(world: World, image: Path, work: Path, n: int, load: bool) -> Sample:
    disks = {f"v{i}": "64M" + (f",throttle-bps={DISK_SPEED}" if load else "") for i in range(n)}
    credentials = world.enrol(f"vm-{work.name}")
    with VM(work=work, image=image, disks=disks, append=QUIET, credentials=credentials) as vm:
        admission = wait_admitted(vm, 300)["admission"]
        vm.spread_processors()
        queues, requests, kib = map(int, vm.run(IN_FLIGHT).text.split())
        sample = Sample(0, 0, 0, 0, 0, 0, 0, (queues, requests, kib))
        if load:
            vm.run(f"systemctl start $(for i in $(seq 0 {n - 1}); do echo v$i.mount; done)")
            vm.channel.start(LOAD.format(last=n - 1))
            vm.run("timeout 120 sh -c 'until [ $(awk \"/^Writeback:/ { print \\$2 }\" /proc/meminfo) -gt 1000 ]; do sleep 0.2; done'",
                   timeout=130)
        offset, sample.tie_error, sample.tie_range = clock_tie(vm)
        t1 = time.monotonic()
        world.customer("disable", "cmk")
        assert wait_shred(vm, 120) == ("revoked", 11)
        t4 = next(e.time for e in vm.qmp.events if e.name == "SHUTDOWN")
    scrub, scrubbed = (vm.console.time_of(vm.console.wait(rf"emberlock: {what}: ", 1)) for what in ("off", "plaintext"))
    t2, shred, t3, blocked_io = receipt_times(world, admission)
    sample.t1_t2, sample.t2_shred, sample.t2_t3, sample.t3_t4 = t2 + offset - t1, shred - t2, t3 - t2, t4 - (t3 + offset)
    assert load or blocked_io, "a map did not fail in its time"
    sample.unscrubbed = sample.t2_t3 + sample.t3_t4 - (scrubbed - scrub)
    world.customer("enable", "cmk")
    world.admin("key", "clear", "key")
    return sample


def report(label: str, samples: list[Sample], baselines: list[Baseline]) -> None:
    print(f"{label}: {len(samples)} runs")
    for name in "t1_t2", "t2_shred", "t2_t3", "t3_t4", "unscrubbed", "tie_error", "tie_range":
        spread(name, [getattr(s, name) for s in samples], "s")
    for name in "shell", "ioctl", "ioctl_again":
        if baselines:
            spread(f"baseline, {name}", [getattr(b, name) for b in baselines], "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5, help="of each kind; the figures ask for 5 or more")
    args = parser.parse_args()
    everything: dict[str, list[Sample]] = {}
    baselines: dict[str, list[Baseline]] = {}
    with work_directory("revoke") as work, World(work, {"--probe-interval": "1s", "--poll-interval": "5s"}) as world:
        subprocess.run(["cc", "-O2", "-static", "-o", work / "dm_wipe", PROJECT / "tests/bench/dm_wipe.c"], check=True)
        for label, n, load in ("v1", 1, False), ("v8", 8, False), ("load.v8", 8, True):
            files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
            files |= {f"/etc/emberlock/volumes.d/v{i}.conf": volume("ext4", f"v{i}", MountPoint=f"/v{i}") for i in range(n)}
            image = image_with(args.image, work / f"image-{label}", files)
            everything[label], baselines[label] = [], []
            for run in range(args.runs):
                if not load:
                    baselines[label].append(baseline(world, image, work / f"{label}-{run}-baseline", n))
                    note(f"{label}: baseline {run + 1} of {args.runs}: {baselines[label][-1]}")
                everything[label].append(measure(world, image, work / f"{label}-{run}", n, load))
                note(f"{label}: run {run + 1} of {args.runs}: {everything[label][-1]}")
            report(label, everything[label], baselines[label])

    idle = everything["v1"] + everything["v8"]
    figures("revoke.T1-T2", [s.t1_t2 for s in idle], "s")
    for label in "v1", "v8":
        for name, what in ("shell", "dmsetup suspend and message from a shell"), ("ioctl", "the same bare ioctls in a C loop"):
            base = [getattr(b, name) for b in baselines[label]]
            figures(f"revoke.T2-T3.{name}.{label}", [s.t2_t3 for s in everything[label]], "s", base, what)
        figures(f"revoke.T2-shred.{label}", [s.t2_shred for s in everything[label]], "s")
        figures(f"revoke.shred-T3.ioctl.{label}", [s.t2_t3 - s.t2_shred for s in everything[label]], "s",
                [b.ioctl for b in baselines[label]], "the same bare ioctls in a C loop")
        figures(f"revoke.ioctl.again.{label}", [b.ioctl_again for b in baselines[label]], "s")
    queues, requests, kib = everything["load.v8"][0].in_flight
    bound = queues * requests * kib * 1024 / DISK_SPEED
    figures("revoke.T2-T3.load.v8", [s.t2_t3 for s in everything["load.v8"]], "s", [bound],
            f"the computed bound: {queues} hardware queues of {requests} requests of {kib} KiB at {DISK_SPEED // 10**6} MB/s, {bound:.2f} s")
    figures("revoke.T3-T4", [s.t3_t4 for s in idle], "s")
    figures("revoke.T2-T4.scrub", [s.t2_t3 + s.t3_t4 for s in idle], "s")
    figures("revoke.T2-T4.no-scrub", [s.unscrubbed for s in idle], "s")
    figure("revoke.tie.error", max(s.tie_error for s in idle), "s")
    figure("revoke.tie.range", max(s.tie_range for s in idle), "s")


if __name__ == "__main__":  # tests/conformance/clouds.py measures as we do
    main()

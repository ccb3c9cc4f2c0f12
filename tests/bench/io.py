# SPDX-License-Identifier: Apache-2.0
"""What a volume costs: sequential, random 8 KiB and pgbench, beside the bare disk, a hand-made mapping, and crypttab's.

Four disks of one guest, alike but for what is on them; fio reads and writes the block devices themselves, past the page cache, pgbench an
ext4 of the same options on each. The four take turns, so that what else the machine does meets all of them. "hand" is the best that
cryptsetup(8) makes by hand under the same bounds: aes-xts-plain64, sectors of 4096 bytes, no work queues, and the disk's queue set as
Emberlock sets it. "crypttab" is "NAME DISK /dev/urandom plain", its defaults: aes-cbc-essiv:sha256 of 256 bits, sectors of 512 bytes.

The queue's bounds are a security setting: they bound the time of a shred. What they cost is measured on a disk of 10 MB/s and on one that
answers after two milliseconds, beside the mapping by hand without any bound. All of this is emulated: only the ratios mean anything.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import note, work_directory  # noqa: E402
from lib.figures import figure, spread  # noqa: E402
from lib.guest import QUIET, wait_admitted  # noqa: E402
from lib.world import VM, World, image_with, volume  # noqa: E402

# tests/bench/run reads this line.
IMAGE_PACKAGES = "fio"
SIDES = ("ours", "hand", "crypttab", "raw")
SLOW, LATE = "throttle-bps=10000000", "latency-us=2000"
DISKS = {**dict.fromkeys(SIDES, "1G"), "slow": f"1G,{SLOW}", "slowfree": f"1G,{SLOW}", "late": f"1G,{LATE}", "latefree": f"1G,{LATE}"}
OURS = ("ours", "slow", "late")
FILES = {f"/etc/emberlock/volumes.d/{name}.conf": volume("raw", name) for name in OURS} | {
    "/etc/crypttab": "crypttab /dev/disk/by-id/virtio-crypttab /dev/urandom plain,noauto\n"}
HAND = ("head -c 64 /dev/urandom | cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file - {options} "
        "/dev/disk/by-id/virtio-{name} {name}")
BEST = "--sector-size 4096 --perf-no_read_workqueue --perf-no_write_workqueue"
# What Emberlock has set of the queue of the disk @of, for the disk @name.
SAME_QUEUE = ("a=/sys/block/$(basename $(readlink /dev/disk/by-id/virtio-{of}))/queue; b=/sys/block/$(basename $(readlink /dev/disk/by-id/virtio-{name}))/queue; "
              "for f in scheduler nr_requests max_sectors_kb; do sed 's/.*\\[\\(.*\\)\\].*/\\1/' $a/$f >$b/$f; done; head $b/scheduler $b/nr_requests $b/max_sectors_kb")
SIZE = "128M"
JOBS = {"write": "rw=write\nbs=1M\niodepth=8", "read": "rw=read\nbs=1M\niodepth=8", "random": "rw=randrw\nbs=8k\niodepth=16"}
ALL = f"""[global]
size={SIZE}
direct=1
ioengine=libaio
time_based
stonewall
runtime={{seconds}}
"""
PG = "/usr/lib/postgresql/15/bin"
TEMPLATE = f"install -d -o postgres -m 700 /var/tmp/data && cd / && runuser -u postgres -- {PG}/initdb -D /var/tmp/data -A trust >/dev/null"
CLUSTER = f"""set -e
mkfs.ext4 -q -m 0 -E lazy_itable_init=0 {{path}}
mkdir -p /pg/{{name}} && mount -o noatime {{path}} /pg/{{name}}
cp -a /var/tmp/data /pg/{{name}}/
cd /
runuser -u postgres -- {PG}/pg_ctl -D /pg/{{name}}/data -l /pg/{{name}}/data/log -w \\
    -o "-p {{port}} -k /tmp -c listen_addresses= -c shared_buffers=16MB -c checkpoint_timeout=1h -c autovacuum=off" start >/dev/null
runuser -u postgres -- {PG}/pgbench -p {{port}} -h /tmp -i -s 4 -q postgres 2>&1
"""
PGBENCH = f"cd /; runuser -u postgres -- {PG}/pgbench -p {{port}} -h /tmp -n -c 4 -T {{seconds}} postgres"


def path_of(name: str) -> str:
    return f"/dev/disk/by-id/virtio-{name}" if name == "raw" else f"/dev/mapper/emberlock-{name}" if name in OURS else f"/dev/mapper/{name}"


def set_up(vm: VM) -> None:
    vm.run(HAND.format(name="hand", options=BEST))
    note(vm.run(SAME_QUEUE.format(of="ours", name="hand")).text.replace("\n", " "))
    for name in "slowfree", "latefree":
        vm.run(HAND.format(name=name, options="--sector-size 4096"))
    vm.run("systemctl daemon-reload; systemctl start systemd-cryptsetup@crypttab || { journalctl -u systemd-cryptsetup@crypttab -o cat >&2; false; }")
    for line in vm.run("dmsetup table --target crypt").text.splitlines():
        fields = line.split()
        note(" ".join([*fields[:5], "KEY", *fields[6:]]))
    for name in DISKS:
        vm.run(f"dd if=/dev/zero of={path_of(name)} bs=1M count=128 oflag=direct status=none", timeout=300)


def fio(vm: VM, rows: list[tuple[str, str]], seconds: int) -> list[float]:
    """Bytes a second of each job on each disk, one after the other."""
    jobs = ALL.format(seconds=seconds) + "".join(f"[{name}-{job}]\nfilename={path_of(name)}\n{JOBS[job]}\n" for name, job in rows)
    done = json.loads(vm.run("fio --output-format=json -", jobs.encode(), timeout=60 + 4 * seconds * len(rows)).out)["jobs"]
    assert [job["jobname"] for job in done] == ["-".join(row) for row in rows] and not any(job["error"] for job in done), done
    return [float(job["read"]["bw_bytes"] + job["write"]["bw_bytes"]) for job in done]


def pgbench(vm: VM, name: str, seconds: int) -> float:
    """Transactions a second."""
    said = vm.run(PGBENCH.format(port=6000 + SIDES.index(name), seconds=seconds), timeout=120).text
    return float(next(line.split()[2] for line in said.splitlines() if line.startswith("tps = ")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5, help="of each kind on each disk; the figures ask for 5 or more")
    parser.add_argument("--seconds", type=int, default=3, help="of each")
    args = parser.parse_args()
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    with work_directory("io") as work, World(work) as world:
        masked = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        image = image_with(args.image, work / "image", masked | FILES)
        with VM(work=work / "vm", image=image, disks=DISKS, append=QUIET, credentials=world.enrol("vm")) as vm:
            wait_admitted(vm, 300)
            set_up(vm)
            rows = [(name, job) for job in JOBS for name in SIDES]
            rows += [(name, job) for job in ("write", "random") for name in ("slow", "slowfree", "late", "latefree")]
            # The first round is not counted: what runs first is translated then.
            for run in range(args.runs + 1):
                for row, value in zip(rows, fio(vm, rows, args.seconds)):
                    values[row].extend([value] if run > 0 else [])
                note(f"fio: round {run} of {args.runs}")
            vm.run(TEMPLATE, timeout=300)
            for port, name in enumerate(SIDES, 6000):
                vm.run(CLUSTER.format(path=path_of(name), name=name, port=port), timeout=300)
                note(f"pgbench: {name} is ready")
            for run in range(args.runs + 1):
                for name in SIDES:
                    value = pgbench(vm, name, args.seconds + 2)
                    if run > 0:
                        values[name, "pgbench"].append(value)
                note(f"pgbench: round {run} of {args.runs}")
    report(values)


def report(values: dict[tuple[str, str], list[float]]) -> None:
    print(f"bytes a second (fio), transactions a second (pgbench): {len(values['ours', 'read'])} rounds, the disks in turn")
    for (name, job), numbers in values.items():
        spread(f"{job}, {name}", numbers, "1/s")
    median = {key: statistics.median(numbers) for key, numbers in values.items()}
    for side, beside in (("hand", "the same mapping by cryptsetup"), ("crypttab", "crypttab's defaults"), ("raw", "the bare disk")):
        for job in (*JOBS, "pgbench"):
            figure(f"io.{side}.{job}", median["ours", job], "1/s" if job == "pgbench" else "B/s", median["ours", job] / median[side, job], beside)
    for disk, what in ("slow", "10 MB/s"), ("late", "2 ms"):
        for job in "write", "random":
            figure(f"io.bounds.{disk}.{job}", median[disk, job], "B/s", median[disk, job] / median[f"{disk}free", job],
                   f"a mapping without bounds, disk of {what}")


main()

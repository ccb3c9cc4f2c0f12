# SPDX-License-Identifier: Apache-2.0
"""Locked memory (VmLck) of each process in an admitted VM."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import work_directory  # noqa: E402
from lib.figures import figure  # noqa: E402
from lib.guest import AGENT, KEEPER, QUIET, WATCHDOG, process_ids, wait_admitted  # noqa: E402
from lib.world import VM, World, image_with, volume  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("size") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        # Eight volumes in three segments each: a thread of the keeper a segment.
        files |= {f"/etc/emberlock/volumes.d/v{i}.conf": volume("ext4", f"v{i}", SegmentSize="16M") for i in range(8)}
        image = image_with(args.image, work / "image", files)
        with VM(work=work / "vm", image=image, disks={f"v{i}": "48M" for i in range(8)}, append=QUIET,
                credentials=world.enrol("vm")) as vm:
            wait_admitted(vm)
            for name, program in ("keeper", KEEPER), ("agent", AGENT), ("watchdog", WATCHDOG):
                sizes = [int(vm.run(f"awk '/^VmLck/ {{ print $2 }}' /proc/{pid}/status").text) for pid in process_ids(vm, program)]
                print(f"  {name}: {sizes} KiB, a figure a process")
                figure(f"size.locked.{name}", max(sizes) / 1024, "MiB")


main()

# SPDX-License-Identifier: Apache-2.0
"""Volumes as fleets need them: parts of disks, several disks, more than a key's worth, growth, hot-plug, what is made on them."""

import argparse
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.guest import QUIET, save_journal, status, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume

OPTIONAL = {"Required": "no", "DeviceTimeoutSec": "3"}
VOLUMES = {
    # Three parts of one disk: a share, a place and a length, all that is left.
    "parta": volume("ext4", "shared", "Length=40%", MountPoint="/parta", FileSystemLabel="labelled", ProjectQuota="yes"),
    "partb": volume("raw", "shared", "Offset=40%\nLength=64M"),
    "partc": volume("ext4", "shared", "Offset=240M", MountPoint="/partc", MakeOptions="-O has_journal -i 65536"),
    "joined": volume("ext4", "join*", "Disks=2", MountPoint="/joined", Discard="always"),
    "striped": volume("ext4", "stripe*", "Disks=2", MountPoint="/striped", Layout="striped", StripeSize="128K", SegmentSize="64M"),
    "huge": volume("ext4", "huge", MountPoint="/huge"),
}
REFUSED = {
    "over1": (volume("raw", "over", "Length=32M", **OPTIONAL), ["over2", "Offset=", "overlap"]),
    "over2": (volume("raw", "over", "Offset=31M", **OPTIONAL), ["over1", "Offset=", "overlap"]),
    "few": (volume("raw", "few*", "Disks=3", **OPTIONAL), ["Disks=3", "Serial=few*", "2 disks"]),
    "many": (volume("raw", "few*", **OPTIONAL), ["both match"]),
    "beyond": (volume("raw", "beyond", "Offset=32M\nLength=64M", **OPTIONAL), ["Offset=", "Length=", "beyond"]),
}
DISKS = {"shared": "400M", "join0": "128M", "join1": "96M", "stripe0": "200M", "stripe1": "160M", "huge": "2560G",
         "over": "64M", "few0": "64M", "few1": "64M", "beyond": "64M"}
MIB = 1 << 20


def table(vm: VM, name: str) -> list[str]:
    return vm.run(f"dmsetup table emberlock-{name}").text.splitlines()


def layouts(vm: VM) -> None:
    volumes = {v["name"]: v for v in status(vm)["volumes"]}
    with check("volumes/every layout is ready, with its size and as many keys as it takes"):
        expected = {"parta": (160, 1), "partb": (64, 1), "partc": (160, 1), "joined": (224, 2), "striped": (320, 6),
                    "huge": (2560 * 1024, 3)}
        assert {n: (volumes[n]["state"], volumes[n]["bytes"] // MIB, volumes[n]["segments"]) for n in expected} == {
            n: ("ready", *e) for n, e in expected.items()}, volumes
    with check("volumes/parts of one disk: side by side, none in another, each with its own key"):
        parts = [vm.run(f"dmsetup table emberlock-part{x}-s0").text.split() for x in "abc"]
        assert len({p[6] for p in parts}) == 1, parts
        assert [(int(p[7]) * 512 // MIB, int(p[1]) * 512 // MIB) for p in parts] == [(0, 160), (160, 64), (240, 160)], parts
        vm.run("systemctl start parta.mount partc.mount")
        vm.run("echo kept >/parta/f; echo kept >/partc/f; sync -f /parta; sync -f /partc; echo 3 >/proc/sys/vm/drop_caches; "
               "dd if=/dev/zero of=/dev/mapper/emberlock-partb bs=1M count=64 oflag=direct && "
               "grep -qx kept /parta/f && grep -qx kept /partc/f && e2fsck -fn /dev/mapper/emberlock-partc")
    with check("volumes/joined: one disk after the other; striped: rows over both"):
        joined, striped = table(vm, "joined"), table(vm, "striped")
        assert [line.split()[:3] for line in joined] == [["0", "262144", "linear"], ["262144", "196608", "linear"]], joined
        assert [line.split()[1:5] for line in striped] == [["262144", "striped", "2", "256"]] * 2 + [["131072", "striped", "2", "256"]], striped
        vm.run("systemctl start joined.mount striped.mount")
        # More than the first disk holds.
        vm.run("fallocate -l 120M /joined/first")
        for where in "joined", "striped":
            vm.run(f"head -c 40M /dev/urandom | tee /{where}/f | sha256sum >/run/{where}.sum; sync -f /{where}; "
                   f"echo 3 >/proc/sys/vm/drop_caches; sha256sum </{where}/f | cmp - /run/{where}.sum && rm /{where}/f", timeout=300)
        vm.run("rm /joined/first")
    with check("volumes/more than 1 TiB: no key has more, and data beyond the first is kept"):
        sizes = [int(vm.run(f"dmsetup table emberlock-huge-s{i}").text.split()[1]) for i in range(3)]
        assert sizes == [1 << 31, 1 << 31, 1 << 30], sizes
        vm.run("systemctl start huge.mount; test $(df --output=size -B1G /huge | tail -n 1) -gt 2500")
        vm.run("echo far | dd of=/dev/mapper/emberlock-huge bs=4096 seek=$((2200 << 18)) conv=sync,notrunc oflag=direct; "
               "dd if=/dev/mapper/emberlock-huge bs=4096 skip=$((2200 << 18)) count=1 iflag=direct | head -c 3 | grep -qx far")


def space(vm: VM) -> int:
    """What the joined volume's disks take up on the host."""
    return sum(vm.disk(f"join{i}").stat().st_blocks for i in range(2)) * 512


def made_on_them(vm: VM) -> None:
    with check("volumes/FileSystemLabel=: the label leads to the volume"):
        assert vm.run("readlink -f /dev/disk/by-label/labelled").text == vm.run("readlink -f /dev/mapper/emberlock-parta").text
    with check("volumes/ProjectQuota=: a project's limit holds"):
        assert "prjquota" in vm.run("findmnt -n -o OPTIONS /parta").text
        vm.run("mkdir /parta/p; chattr -p 7 +P /parta/p; setquota -P 7 0 4096 0 0 /parta" if vm.run(
            "command -v setquota", check=False).status == 0 else "mkdir /parta/p; chattr -p 7 +P /parta/p; lsattr -pd /parta/p | grep -q '^ *7 '")
    with check("volumes/MakeOptions=: a word of ours is overruled"):
        assert "has_journal" in vm.run("dumpe2fs -h /dev/mapper/emberlock-partc 2>/dev/null").text
        assert "has_journal" not in vm.run("dumpe2fs -h /dev/mapper/emberlock-parta 2>/dev/null").text
    with check("volumes/Discard=: passed on where it says so, and nowhere else"):
        assert "allow_discards" in vm.run("dmsetup table emberlock-joined-s0").text
        assert "discard" in vm.run("findmnt -n -o OPTIONS /joined").text
        assert "allow_discards" not in vm.run("dmsetup table emberlock-parta-s0").text
        vm.run("head -c 32M /dev/zero >/joined/f; sync -f /joined")
        used = space(vm)
        vm.run("rm /joined/f; sync -f /joined; fstrim /joined")
        note(f"the host has {used / MIB:.0f} MiB of it, after fstrim {space(vm) / MIB:.0f} MiB")
        assert used - space(vm) > 24 * MIB
        assert vm.run("fstrim /parta", check=False).status != 0


def refusals(vm: VM) -> None:
    volumes = {v["name"]: v for v in status(vm)["volumes"]}
    for name, (_, words) in REFUSED.items():
        with check(f"volumes/{name} is refused"):
            note(volumes[name]["reason"])
            assert volumes[name]["state"] == "failed", volumes[name]
            for word in [*words, name]:
                assert word in volumes[name]["reason"], (word, volumes[name]["reason"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("volumes") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in VOLUMES.items()}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": text for name, (text, _) in REFUSED.items()}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        with VM(work=work / "vm", image=image_with(args.image, work / "image", files), disks=DISKS, append=QUIET,
                credentials=world.enrol("vm1"), options=("--hotplug-ports", "3")) as vm:
            with check("volumes/admitted"):
                wait_admitted(vm)
            layouts(vm)
            made_on_them(vm)
            refusals(vm)
            save_journal(vm)
            with check("volumes/shred: every key of every layout is gone, and the receipt verifies"):
                admission = status(vm)["admission"]
                vm.channel.start("emberlockctl shred --yes")
                wait_shred(vm)
                said = world.verify_receipt(admission)
                for name, n in ("huge", 3), ("striped", 6), ("parta", 1), ("joined", 2):
                    assert said.count(f"volume {name}, segment ") == n, said
                assert "Verified: the keys are gone" in said, said
    finish()


main()

# SPDX-License-Identifier: Apache-2.0
"""Volumes as fleets need them: parts of disks, several disks, more than a key's worth, growth, hot-plug, what is made on them."""

import argparse
import os
import random
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import AGENT, QUIET, save_journal, status, wait_admitted, wait_shred
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
    "grown": volume("ext4", "grown", MountPoint="/grown"),
    "grownx": volume("xfs", "grownx", MountPoint="/grownx"),
    "swp": volume("swap", "swp", Priority="5"),
}
HOT = {
    "hot": volume("ext4", "hot", HotPlug="yes", MountPoint="/hot"),
    "hotraw": volume("raw", "hotraw", HotPlug="yes", Owner="postgres", Mode="0600"),
    "hotsigned": volume("raw", "hotsigned", HotPlug="yes"),
    # Its disk never comes; until then every disk is looked at for its label.
    "hotlabel": volume("raw", "", "Label=nowhere", HotPlug="yes"),
}
LATE = volume("ext4", "late", Required="no")
REFUSED = {
    "over1": (volume("raw", "over", "Length=32M", **OPTIONAL), ["over2", "Offset=", "overlap"]),
    "over2": (volume("raw", "over", "Offset=31M", **OPTIONAL), ["over1", "Offset=", "overlap"]),
    "few": (volume("raw", "few*", "Disks=3", **OPTIONAL), ["Disks=3", "Serial=few*", "2 disks"]),
    "many": (volume("raw", "few*", **OPTIONAL), ["both match"]),
    "beyond": (volume("raw", "beyond", "Offset=32M\nLength=64M", **OPTIONAL), ["Offset=", "Length=", "beyond"]),
}
# The others are planned on the running machine: there may be 16 volumes.
AT_BOOT = ("few", "beyond")
DISKS = {"shared": "400M", "join0": "128M", "join1": "96M", "stripe0": "200M", "stripe1": "160M", "huge": "2560G",
         "grown": "128M", "grownx": "320M", "swp": "64M", "late": "64M",
         "over": "64M", "few0": "64M", "few1": "64M", "beyond": "64M"}
# After 54-emberlock.rules: what is left to the rules that start dmsetup.
COOKIES = """SUBSYSTEM=="block", KERNEL=="dm-[0-9]*", ENV{DM_COOKIE}=="?*", RUN+="/bin/sh -c 'echo %k $env{ACTION} $env{DM_COOKIE} >>/run/cookies'"
"""
MIB = 1 << 20
KILLS = 20 if whole() else 3


def table(vm: VM, name: str) -> list[str]:
    return vm.run(f"dmsetup table emberlock-{name}").text.splitlines()


def layouts(vm: VM) -> None:
    volumes = {v["name"]: v for v in status(vm)["volumes"]}
    with check("volumes/every layout is ready, with its size and as many keys as it takes"):
        expected = {"grown": (128, 1), "parta": (160, 1), "partb": (64, 1), "partc": (160, 1), "joined": (224, 2), "striped": (320, 6),
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


# Writes, reads back past the page cache and compares, until it is told to stop.
LOAD = """
cd {where}
i=0
while [ ! -e /run/stop-load ]; do
    head -c 2M /dev/urandom >a && cp a b && sync b && echo 3 >/proc/sys/vm/drop_caches && cmp a b || {{ echo bad; exit 1; }}
    i=$((i + 1))
done
echo "$i rounds"
"""


def resize(vm: VM, name: str, mib: int) -> None:
    """What a hypervisor does that grows a disk; returns when the guest has seen it."""
    vm.qmp.execute("block_resize", device=f"disk{list(DISKS).index(name) + 1}", size=mib * MIB)
    vm.run(f"timeout 20 sh -c 'until [ $(blockdev --getsize64 /dev/disk/by-id/virtio-{name}) = {mib * MIB} ]; do sleep 0.1; done'")


def refused(vm: VM, command: str, *words: str) -> None:
    r = vm.run(f"emberlockctl {command}", check=False)
    note(r.err.decode().strip())
    assert r.status == 1 and all(word in r.err.decode() for word in words), r


def available(vm: VM, where: str) -> int:
    return int(vm.run(f"df --output=size -B1M {where} | tail -n 1").text)


def blocks(vm: VM, name: str) -> int:
    """How many the file system on volume @name has."""
    return int(vm.run(f"dumpe2fs -h /dev/mapper/emberlock-{name} 2>/dev/null | sed -n 's/^Block count: *//p'").text)


def growth(vm: VM) -> None:
    vm.run("systemctl start grown.mount grownx.mount")
    with check("volumes/grow is refused where no disk has grown, and for what there is not"):
        refused(vm, "grow grown", "no 16 MiB are free behind it", "/dev/vd")
        refused(vm, "grow nosuch", "none of this name")
        refused(vm, "grow few", "not ready")
        refused(vm, "grow partb", "Length= is given")
    load = [vm.channel.start(LOAD.format(where=where)) for where in ("/grown", "/grownx")]
    for name, mib in ("grown", 256), ("grownx", 512):
        with check(f"volumes/grow {name}: mounted and under I/O, a segment and a key more, the file system larger"):
            before = available(vm, f"/{name}")
            resize(vm, name, mib)
            note(vm.run(f"emberlockctl grow {name}").text)
            assert vm.run(f"dmsetup table emberlock-{name}-s1").text.split()[4].startswith(":64:logon:emberlock:")
            assert available(vm, f"/{name}") - before > 100, (before, available(vm, f"/{name}"))
            v = next(v for v in status(vm)["volumes"] if v["name"] == name)
            assert (v["segments"], v["bytes"]) == (2, mib * MIB), v
    killed_while_growing(vm)
    with check("volumes/grow: no byte of the load is lost"):
        vm.run("touch /run/stop-load")
        for number in load:
            rounds = vm.channel.finish(number, 120)
            note(rounds.text)
            assert rounds.status == 0 and not rounds.text.startswith("0 "), rounds
        kernel = vm.run("journalctl -k --no-pager -q").text
        assert "Command line:" in kernel and "I/O error" not in kernel, kernel[-2000:]
    with check("volumes/grow: one that is not mounted"):
        vm.run("systemctl stop grown.mount")
        mib = vm.disk("grown").stat().st_size // MIB + 64
        before = blocks(vm, "grown")
        resize(vm, "grown", mib)
        vm.run("emberlockctl grow grown && e2fsck -fn /dev/mapper/emberlock-grown")
        assert blocks(vm, "grown") > before
    with check("volumes/grow: to 32 times the first size, mounted"):
        before = blocks(vm, "grown")
        vm.run("systemctl start grown.mount; find /grown -type f -exec sha256sum {} + >/run/before; test -s /run/before")
        resize(vm, "grown", 32 * 128)
        vm.run("emberlockctl grow grown && sha256sum -c --quiet /run/before && systemctl stop grown.mount && e2fsck -fn /dev/mapper/emberlock-grown")
        assert blocks(vm, "grown") > 5 * before


def killed_while_growing(vm: VM) -> None:
    """Whenever the agent is killed: the growth is whole or was not, and can be asked for again."""
    with check(f"volumes/grow: the agent killed {KILLS} times at it, under I/O"):
        instants = random.Random(int(os.environ.get("EMBERLOCK_SEED", 1)))
        for kill in range(KILLS):
            resize(vm, "grown", 256 + 16 * (kill + 1))
            vm.run(f"emberlockctl grow grown >/dev/null 2>&1 & sleep {instants.uniform(0, 0.4):.3f}; pkill -9 -f '^{AGENT}'; wait; "
                   "timeout 60 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.1; done'", check=False)
            # It may have come to its end before; then no 16 MiB are left.
            r = vm.run("timeout 60 sh -c 'until emberlockctl grow grown 2>&1 | tee /run/said | "
                       "grep -qE \"segments|no 16 MiB\"; do sleep 0.2; done'; cat /run/said")
            v = next(v for v in status(vm)["volumes"] if v["name"] == "grown")
            crypts = vm.run("dmsetup ls --target crypt | grep -c emberlock-grown-s").text
            assert int(crypts) == v["segments"] == kill + 3, (crypts, v, r.text)
        assert available(vm, "/grown") > 256 + 16 * KILLS - 40, available(vm, "/grown")


def state_of(vm: VM, name: str) -> dict:
    return next(v for v in status(vm)["volumes"] if v["name"] == name)


def wait_for(vm: VM, name: str, state: str) -> dict:
    vm.run(f"timeout 60 sh -c 'until emberlockctl volumes | grep -qE \"^{name} +[a-z0-9]+ +{state} \"; do sleep 0.1; done'", timeout=70)
    return state_of(vm, name)


def plug(vm: VM, name: str, content: bytes = b"") -> Path:
    path = vm.work / f"plugged-{name}.raw"
    path.write_bytes(content)
    os.truncate(path, 128 * MIB)
    vm.qmp.add_disk(name, str(path))
    return path


def hot_plug(vm: VM) -> None:
    crypts = "dmsetup ls --target crypt | grep -c 'emberlock-hot-s' || true"
    with check("volumes/hot-plug: the boot waited for none of them"):
        assert {state_of(vm, name)["state"] for name in HOT} == {"planned"}, status(vm)["volumes"]
    for turn in "plugged in", "plugged in again":
        with check(f"volumes/hot-plug: {turn}, it is encrypted, made anew and mounted"):
            plug(vm, "hot")
            wait_for(vm, "hot", "ready")
            vm.run("timeout 30 sh -c 'until findmnt -n -t ext4 /hot; do sleep 0.1; done'; test ! -e /hot/a; "
                   "dmsetup table emberlock-hot-s0 | grep -q :64:logon:")
        with check(f"volumes/hot-plug: pulled out under I/O, it is unmounted, and its key is gone ({turn})"):
            vm.run("rm -f /run/stop-load")
            load = vm.channel.start(LOAD.format(where="/hot"))
            vm.run("timeout 20 sh -c 'until [ -s /hot/b ]; do sleep 0.1; done'; mkdir -p '/run/hot too'; mount --bind /hot '/run/hot too'")
            vm.qmp.remove_disk("hot")
            wait_for(vm, "hot", "planned")
            assert vm.run(crypts).text == "0"
            assert vm.channel.finish(load, 60).status != 0
            vm.run("timeout 30 sh -c 'while findmnt -n /hot || mountpoint -q \"/run/hot too\" || dmsetup info emberlock-hot; do sleep 0.1; done' >/dev/null 2>&1")
            assert status(vm)["state"] == "admitted"
    with check("volumes/hot-plug: pulled out while a process holds a file of it, it is made again when that has ended"):
        plug(vm, "hot")
        wait_for(vm, "hot", "ready")
        vm.run("timeout 30 sh -c 'until findmnt -n -t ext4 /hot; do sleep 0.1; done'")
        holder = vm.channel.start("echo x >/hot/held; exec sleep 612 </hot/held")
        vm.run("timeout 20 sh -c 'until pgrep -f \"^sleep 612\"; do sleep 0.1; done'")
        vm.qmp.remove_disk("hot")
        wait_for(vm, "hot", "planned")
        assert vm.run(crypts).text == "0"
        plug(vm, "hot")
        assert "exists already" in wait_for(vm, "hot", "failed")["reason"]
        vm.run("pkill -f '^sleep 612'")
        vm.channel.finish(holder, 30)
        wait_for(vm, "hot", "ready")
        vm.qmp.remove_disk("hot")
        wait_for(vm, "hot", "planned")
    with check("volumes/hot-plug: raw, with its owner"):
        plug(vm, "hotraw")
        wait_for(vm, "hotraw", "ready")
        assert vm.run("stat -L -c '%U %a' /dev/mapper/emberlock-hotraw").text == "postgres 600"
    with check("volumes/hot-plug: a disk that must not be overwritten is refused, untouched; a blank one in its place is taken"):
        content = b"LUKS\xba\xbe\x00\x01" + bytes(584)
        path = plug(vm, "hotsigned", content)
        assert "crypto_LUKS" in wait_for(vm, "hotsigned", "failed")["reason"]
        vm.qmp.remove_disk("hotsigned")
        assert path.read_bytes() == content + bytes(128 * MIB - len(content))
        wait_for(vm, "hotsigned", "planned")
        plug(vm, "hotsigned")
        wait_for(vm, "hotsigned", "ready")
    with check("volumes/hot-plug: pulled out while the agent is away, it is cleaned up by the next one"):
        vm.run(f"kill -STOP $(pgrep -o -f '^{AGENT}')")
        vm.qmp.remove_disk("hotraw")
        vm.run(f"pkill -9 -f '^{AGENT}'; timeout 60 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.1; done'", timeout=70)
        wait_for(vm, "hotraw", "planned")
        assert vm.run("dmsetup ls | grep -c emberlock-hotraw || true").text == "0"


def added_and_resized(vm: VM) -> None:
    with check("volumes/add: a volume whose file came after the boot"):
        vm.run("mkdir -p /run/emberlock/conf/volumes.d; cat >/run/emberlock/conf/volumes.d/late.conf", stdin=LATE.encode())
        note(vm.run("emberlockctl add late").text)
        v = next(v for v in status(vm)["volumes"] if v["name"] == "late")
        assert (v["state"], v["segments"]) == ("ready", 1), v
        vm.run("systemctl daemon-reload; systemctl is-active 'dev-mapper-emberlock\\x2dlate.device'; "
               "mount /dev/mapper/emberlock-late /mnt && umount /mnt")
    with check("volumes/add is refused for what is there, and what is nowhere; one that failed is tried again"):
        refused(vm, "add late", "it is there")
        refused(vm, "add nowhere", "no such file")
        refused(vm, "add beyond", "beyond")
        vm.run("sed -i s/^Offset=.*/Offset=0M/ /etc/emberlock/volumes.d/beyond.conf; emberlockctl add beyond")
    with check("volumes/swap resize: smaller, and after a growth larger, in use all the time but for a moment"):
        vm.run("systemctl start swap.target; emberlockctl swap resize swp 32M")
        assert vm.run("swapon --show=SIZE,PRIO --noheadings --bytes").text.split() == [str(32 * MIB - 4096), "5"]
        resize(vm, "swp", 128)
        refused(vm, "swap resize swp 128M", "grow it first")
        vm.run("emberlockctl grow swp; emberlockctl swap resize swp")
        assert vm.run("swapon --show=SIZE,PRIO --noheadings --bytes").text.split() == [str(128 * MIB - 4096), "5"]
        refused(vm, "swap resize late", "not Use=swap")
        vm.run("systemctl is-active 'dev-mapper-emberlock\\x2dswp.swap'")
    with check("volumes/add, grow, swap resize are root's of the initial user namespace"):
        for command in "add late", "grow grown", "swap resize swp":
            r = vm.run(f"unshare --user --map-root-user emberlockctl {command}", check=False)
            assert r.status == 1 and b"only root of the initial user namespace" in r.err, r
            assert vm.run(f"setpriv --reuid nobody --regid emberlock --clear-groups emberlockctl {command}", check=False).status == 1


# Until a request is under way on the disk that does not end.
STALL = """
(dd if=/dev/zero of=/grownx/direct bs=4k oflag=direct status=none) >/dev/null 2>&1 &
d=/sys/block/$(basename $(readlink /dev/disk/by-id/virtio-grownx))
until [ $(awk '{ print $9 }' $d/stat) -gt 0 ]; do sleep 0.1; done
sleep 1; [ $(awk '{ print $9 }' $d/stat) -gt 0 ]
"""
# A process of the agent's that waits for a disk.
LOOK = "timeout 60 sh -c 'until ps -o stat= -C emberlock-agent | grep -q ^D; do sleep 0.1; done'"


def renewed(vm: VM, times: int) -> None:
    before = status(vm)["lease"]["challenge"]
    vm.run(f"timeout 60 sh -c 'until [ $(emberlockctl status --json | sed -n \"s/.*.challenge.: //p\" | tr -d ,) -ge {before + times} ]; do sleep 0.5; done'",
           timeout=70)


def stalled(vm: VM) -> None:
    """What keeps the agent from a disk keeps it from nothing else."""
    limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    disk = {"device": f"disk{list(DISKS).index('grownx') + 1}", **limits}
    with check("volumes/a disk stands still while disks are looked at: leases are renewed, and status answers"):
        vm.qmp.execute("block_set_io_throttle", bps=1, **disk)
        vm.run(STALL, timeout=60)
        vm.run("echo 1 >/proc/sys/vm/drop_caches; udevadm trigger --action=change /dev/vda; " + LOOK, timeout=70)
        renewed(vm, 4)
    with check("volumes/the same with an agent that is new"):
        vm.run(f"pkill -9 -f '^{AGENT}'; timeout 55 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.1; done'; " + LOOK, timeout=130)
        renewed(vm, 2)
        assert status(vm)["agents"] > 1, status(vm)
    with check("volumes/the disk goes on: so does the look"):
        vm.qmp.execute("block_set_io_throttle", bps=0, **disk)
        vm.run("timeout 60 sh -c 'while [ $(pgrep -c -f \"^" + AGENT + "\") -gt 1 ]; do sleep 0.1; done'; pkill -f '^dd if=/dev/zero of=/grownx'", timeout=70)
        assert state_of(vm, "hotlabel")["state"] == "planned"


def events(vm: VM) -> None:
    with check("volumes/no map made, grown, failed or removed had udev start dmsetup, nor left a semaphore"):
        vm.run("udevadm settle")
        assert vm.run("cat /run/cookies", check=False).text == "", vm.run("cat /run/cookies").text
        assert len(vm.run("cat /proc/sysvipc/sem").text.splitlines()) == 1, vm.run("cat /proc/sysvipc/sem").text
        # The control: dmsetup's own events have cookies, and a cookie is a semaphore.
        vm.run("dmsetup create control --table '0 8 error'; dmsetup remove control; dmsetup udevcreatecookie")
        said = vm.run("udevadm settle; cat /run/cookies").text
        assert " change " in said and " remove " in said, said
        assert len(vm.run("cat /proc/sysvipc/sem; dmsetup udevcomplete_all -y >/dev/null").text.splitlines()) == 2


def refusals(vm: VM) -> None:
    for name, (text, _) in REFUSED.items():
        vm.run(f"mkdir -p /run/refused/etc/emberlock/volumes.d; cat >/run/refused/etc/emberlock/volumes.d/{name}.conf", stdin=text.encode())
    said = vm.run("emberlockctl plan --root=/run/refused").text
    volumes = {v["name"]: v for v in status(vm)["volumes"]}
    for name, (_, words) in REFUSED.items():
        with check(f"volumes/{name} is refused"):
            line = next(line for line in said.splitlines() if line.startswith(f"volume {name} "))
            note(line)
            for word in [*words, name, "refused"]:
                assert word in line, (word, line)
            if name in AT_BOOT:
                assert volumes[name]["state"] == "failed" and words[0] in volumes[name]["reason"], volumes[name]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("volumes") as work, World(work) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in VOLUMES.items()}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in HOT.items()}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": text for name, (text, _) in REFUSED.items() if name in AT_BOOT}
        files |= {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/udev/rules.d/54-more.rules"] = COOKIES
        with VM(work=work / "vm", image=image_with(args.image, work / "image", files), disks=DISKS, append=QUIET,
                credentials=world.enrol("vm1"), options=("--hotplug-ports", "3")) as vm:
            with check("volumes/admitted"):
                wait_admitted(vm)
            layouts(vm)
            made_on_them(vm)
            refusals(vm)
            growth(vm)
            added_and_resized(vm)
            hot_plug(vm)
            stalled(vm)
            events(vm)
            save_journal(vm)
            with check("volumes/shred: every key of every layout is gone, and the receipt verifies"):
                admission = status(vm)["admission"]
                vm.channel.start("emberlockctl shred --yes")
                wait_shred(vm)
                said = world.verify_receipt(admission)
                for name, n in ("huge", 3), ("striped", 6), ("parta", 1), ("joined", 2), ("grownx", 2), ("late", 1), ("hotsigned", 1):
                    assert said.count(f"volume {name}, segment ") == n, said
                assert "Verified: the keys are gone" in said, said
    finish()


main()

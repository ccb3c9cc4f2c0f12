# SPDX-License-Identifier: Apache-2.0
"""Disks that must be refused, untouched byte for byte, with a message that names disk, signature and setting."""

import argparse
import subprocess
from pathlib import Path

from lib.checks import check, finish, note, work_directory
from lib.disks import disk_hash
from lib.guest import QUIET, save_journal, status, wait_admitted, wait_shred
from lib.world import VM, World, image_with, volume

OPTIONAL = {"Required": "no", "DeviceTimeoutSec": "3"}
LUKS1 = b"LUKS\xba\xbe\x00\x01" + bytes(584)
MBR = bytes(446) + bytes([0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0]) + bytes(48) + b"\x55\xaa"

# Volume: its file, the word of the refusal, and what the message must name.
REFUSED = {
    "missing": (volume("ext4", "nosuch", **OPTIONAL), ["nosuch", "Serial="]),
    "wrong": (volume("ext4", "wrong", "Size=1G", **OPTIONAL), ["Serial=wrong", "Size="]),
    "ambiguous": (volume("ext4", "", "Size=48M", **OPTIONAL), ["ambiguous", "Size="]),
    "taken1": (volume("ext4", "taken", **OPTIONAL), ["taken2"]),
    "taken2": (volume("raw", "taken", **OPTIONAL), ["taken1"]),
    "mounted": (volume("ext4", "root", "Destroy=any", **OPTIONAL), ["mounted", "/"]),
    "inuse": (volume("ext4", "used", "Destroy=any", **OPTIONAL), ["in use", "swap"]),
    "signed": (volume("ext4", "signed", **OPTIONAL), ["ext4", "Destroy="]),
    "othersign": (volume("ext4", "othersign", "Destroy=swap ext4", **OPTIONAL), ["crypto_LUKS", "Destroy="]),
    "table": (volume("swap", "table", "Destroy=ext4", **OPTIONAL), ["dos", "Destroy="]),
    "readonly": (volume("ext4", "readonly", **OPTIONAL), ["read-only"]),
    "small": (volume("ext4", "small", **OPTIONAL), ["small", "16 MiB"]),
}
ACCEPTED = {"good": volume("ext4", "good", **OPTIONAL), "allowed": volume("ext4", "allowed", "Destroy=ext4", **OPTIONAL)}
SWAP_ON = """[Unit]
DefaultDependencies=no
Before=emberlock-agent.service
After=dev-disk-by\\x2did-virtio\\x2dused.device
Requires=dev-disk-by\\x2did-virtio\\x2dused.device
[Service]
Type=oneshot
ExecStart=/sbin/swapon /dev/disk/by-id/virtio-used
"""


def make_disks(work: Path) -> dict[str, str]:
    """Disk images with what is on them; gives the disks of the guest."""
    def image(name: str, size: int, content: bytes = b"") -> Path:
        path = work / f"{name}.img"
        path.write_bytes(content)
        with path.open("ab") as f:
            f.truncate(size << 20)
        return path

    disks = {name: image(name, 48) for name in ("twin1", "twin2")}
    disks |= {name: image(name, 64) for name in ("taken", "used", "signed", "allowed", "good", "readonly", "wrong")}
    disks["small"] = image("small", 8)
    disks["othersign"] = image("othersign", 64, LUKS1)
    disks["table"] = image("table", 64, MBR)
    for name in "signed", "allowed":
        subprocess.run(["mkfs.ext4", "-q", disks[name]], check=True)
    subprocess.run(["mkswap", "-q", disks["used"]], check=True, capture_output=True)
    return {name: f"{path}{',readonly' if name == 'readonly' else ''}" for name, path in disks.items()}


def optional_refusals(image: Path, work: Path, world: World) -> None:
    files = {f"/etc/emberlock/volumes.d/{name}.conf": text for name, (text, _) in REFUSED.items()}
    files |= {f"/etc/emberlock/volumes.d/{name}.conf": text for name, text in ACCEPTED.items()}
    files |= {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
    files["/etc/systemd/system/swap-on.service"] = SWAP_ON
    files["/etc/systemd/system/emberlock-agent.service.d/swap-on.conf"] = "[Unit]\nWants=swap-on.service\n"
    disks = make_disks(work)
    before = {name: disk_hash(spec.split(",")[0]) for name, spec in disks.items()}
    with VM(work=work / "vm", image=image_with(image, work / "image1", files), disks=disks, append=QUIET,
            credentials=world.enrol("vm1")) as vm:
        with check("refuse/optional volumes that are refused do not keep the VM from its lease"):
            world.wait_state("vm1", "admitted")
            wait_admitted(vm)
        volumes = {v["name"]: v for v in status(vm)["volumes"]}
        for name, (_, words) in REFUSED.items():
            with check(f"refuse/{name}"):
                v = volumes[name]
                note(f"{name}: {v['reason']}")
                assert v["state"] == "failed", v
                for word in [*words, name]:
                    assert word in v["reason"], (word, v["reason"])
                assert vm.run(f"test -e /dev/mapper/emberlock-{name}", check=False).status != 0
        for name in ACCEPTED:
            with check(f"refuse/{name} (the control) is accepted"):
                assert volumes[name]["state"] == "ready", volumes[name]
        save_journal(vm)
        with check("refuse/emberlockctl plan says the same, and exits 1 only for a required one"):
            r = vm.run("emberlockctl plan", check=False)
            assert b"ambiguous" in r.out + r.err, r
        vm.channel.start("emberlockctl shred --yes")
        wait_shred(vm)
    after = {name: disk_hash(spec.split(",")[0]) for name, spec in disks.items()}
    for name in disks:
        changed = before[name] != after[name]
        with check(f"refuse/disk {name}: {'written to' if name in ACCEPTED else 'untouched, byte for byte'}"):
            assert changed == (name in ACCEPTED)


def required_refusal(image: Path, work: Path, world: World) -> None:
    files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
    files["/etc/emberlock/volumes.d/vital.conf"] = volume("ext4", "absent", MountPoint="/vital", DeviceTimeoutSec="3")
    files["/etc/emberlock/volumes.d/good.conf"] = volume("ext4", "good", MountPoint="/good")
    with VM(work=work / "vm2", image=image_with(image, work / "image2", files), disks={"good": "64M"}, append=QUIET,
            credentials=world.enrol("vm2")) as vm:
        with check("refuse/required: emberlock-failed.target, with the reason on the console"):
            vm.console.wait(r"vital.*absent|absent.*vital", 180)
            vm.run("timeout 60 sh -c 'until systemctl is-active -q emberlock-failed.target; do sleep 0.5; done'", timeout=70)
        with check("refuse/required: status says failed and why; wait exits 3"):
            s = status(vm)
            assert "vital" in s["failure"] and s["state"].lower() == "starting", s
            assert vm.run("emberlockctl wait", check=False).status == 3
        with check("refuse/required: the fleet shows it, and it is not admitted"):
            boot = world.wait("the failed boot in the fleet", lambda: world.boot_of("vm2"), 60)
            assert "vital" in boot["failure"] and boot["state"] != "admitted", boot
        with check("refuse/required: the bare disk is not used instead, and there is no emergency mode"):
            assert vm.run("findmnt -n /vital", check=False).status != 0
            assert vm.run("systemctl is-active emergency.target", check=False).status != 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("refuse") as work, World(work) as world:
        optional_refusals(args.image, work, world)
        required_refusal(args.image, work, world)
    finish()


main()

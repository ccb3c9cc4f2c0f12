#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests the harness itself, and prints how long a boot takes.

In tests/vm:  python3 -m lib.selftest [--image DIR] [unittest's options]
DIR was made with vm-images/build --test-channel (default: build/image-test).
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from . import VM, CommandFailed, GuestGone, Timeout, count_patterns, disk_hash, leaks
from .guest import QUIET
from .matrix import HOST_S, Broken, Ended, Verdict, judge
from .vm import PROJECT, Off
from .world import image_with

# Without a credential admission is waited for, and without disks the image's volumes: the system would never be up.
NO_VOLUMES = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
ALONE = QUIET + "".join(f" systemd.mask=emberlock-{x}" for x in ("keeper.service", "agent.service", "watchdog.service",
                                                                 "admitted.service", "admitted.target"))
RUN = PROJECT / "vm-images" / "run"
image = PROJECT / "build" / "image-test"


class DiskTest(unittest.TestCase):
    """Searches and hashes, on files made here."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "disk"

    def write(self, size: int, *pieces: tuple[int, bytes]) -> None:
        with self.path.open("wb") as f:
            f.truncate(size)
            for offset, data in pieces:
                f.seek(offset)
                f.write(data)

    def test_finds_across_chunks_and_at_the_ends(self) -> None:
        size = 1 << 40
        self.write(size, (0, b"canary"), (3 << 20, bytes(range(1, 250)) * 70000),
                   ((3 << 20) + (8 << 20) - 3, b"canary"), (size - 6, b"canary"))
        self.assertEqual(count_patterns(self.path, [b"canary", b"absent"]),
                         {b"canary": 3, b"absent": 0})

    def test_finds_what_begins_in_a_hole(self) -> None:
        self.write(1 << 20, (1 << 16, b"end"))
        self.assertEqual(count_patterns(self.path, [b"\0\0end", b"end\0\0"]),
                         {b"\0\0end": 1, b"end\0\0": 1})

    def test_counts_once_where_patterns_differ_in_length(self) -> None:
        self.write(20 << 20, *((i << 12, b"mark") for i in range(5120)))
        self.assertEqual(count_patterns(self.path, [b"mark", b"x" * 5000])[b"mark"], 5120)

    def test_hash_sees_content_and_not_allocation(self) -> None:
        self.write(1 << 24, (1 << 20, b"data"))
        sparse = disk_hash(self.path)
        self.write(1 << 24, (0, bytes(1 << 21)), (1 << 20, b"data"))
        self.assertEqual(disk_hash(self.path), sparse)
        self.write(1 << 24, (1 << 20, b"dat\1"))
        self.assertNotEqual(disk_hash(self.path), sparse)
        self.write((1 << 24) + 1, (1 << 20, b"data"))
        self.assertNotEqual(disk_hash(self.path), sparse)


class LeakTest(unittest.TestCase):
    """The search of logs for keys."""

    def test_finds_a_key_in_each_form_and_no_other(self) -> None:
        key, other = os.urandom(32), os.urandom(32)
        self.assertEqual(leaks.control({"key": key}), [])
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory, "log")
            log.write_text(f"PrivateKey={other.hex()}\n")
            self.assertEqual(leaks.find({"key": key}, [log]), [])
            self.assertEqual(leaks.find({"other": other}, [log]), [f"{log}: holds other"])
            self.assertNotIn(other.hex(), leaks.find({"other": other}, [log])[0])

    def test_reads_what_the_programs_write(self) -> None:
        key = os.urandom(32)
        for text in f"[VM]\nVM=a\nPrivateKey={key.hex()}\n", f'{{"key":"{key.hex()}","state":"enabled"}}', f"{key.hex()}\n":
            self.assertEqual(leaks.keys_of_text(text), [key])
        pem = subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], check=True,
                             capture_output=True, text=True).stdout
        said = subprocess.run(["openssl", "pkey", "-noout", "-text"], input=pem, check=True, capture_output=True, text=True).stdout
        scalar = bytes.fromhex("".join(said.split("priv:")[1].split("pub:")[0].split()).replace(":", ""))
        self.assertIn(scalar, leaks.keys_of_text(pem))


class MatrixTest(unittest.TestCase):
    """How a row of the fault matrix is judged, without a machine."""

    fault = Ended("a fault", "a bound", 5, "", (("lease", 12),))

    def judge(self, text: str, reason: str = "guest-shutdown", after: float = 6, fault: Ended = fault) -> str | Verdict:
        vm = SimpleNamespace(console=SimpleNamespace(text=text, join=lambda timeout: None))
        try:
            return judge(cast(VM, vm), fault, Off(reason, 100 + after, 0), 100)
        except Broken as broken:
            return broken.verdict

    def test_in_time_and_for_its_reason(self) -> None:
        self.assertEqual(self.judge("emberlock: off: lease (code 12)"), "shutdown after 6.0 s (lease)")

    def test_without_cause(self) -> None:
        for text, reason in (("emberlock: off: fault (code 17)", "guest-shutdown"), ("", "guest-shutdown"),
                             ("emberlock: off: lease (code 12)", "guest-reset")):
            self.assertEqual(self.judge(text, reason), Verdict.NO_CAUSE, (text, reason))

    def test_a_reset_past_the_keeper_has_no_reason(self) -> None:
        reset = Ended("a fault", "a bound", 5, "", off="guest-reset")
        self.assertEqual(self.judge("", "guest-reset", fault=reset), "reset after 6.0 s (nothing said)")
        self.assertEqual(self.judge("emberlock: off: lease (code 12)", "guest-reset", fault=reset), Verdict.NO_CAUSE)

    def test_past_its_bound(self) -> None:
        self.assertEqual(self.judge("emberlock: off: lease (code 12)", after=5 + HOST_S + 1), Verdict.PAST_BOUND)


class RunTest(unittest.TestCase):
    """vm-images/run on the values it must refuse and on what it must keep out of argv."""

    def refuse(self, message: str, *options: str) -> None:
        done = subprocess.run([RUN, "--image", image, "--dry-run", *options],
                              capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0, options)
        self.assertIn(message, done.stderr)

    def test_bad_values(self) -> None:
        self.refuse("--memory '1G'", "--memory", "1G")
        self.refuse("--cpus '0'", "--cpus", "0")
        self.refuse("is not NAME=SIZE", "--disk", "data")
        self.refuse("'4 GB' is neither", "--disk", "data=4 GB")
        self.refuse("no file '/none/there'", "--disk", "data=/none/there")
        self.refuse("unknown setting 'fast'", "--disk", "data=4G,fast")
        self.refuse("not a number of bytes", "--disk", "data=4G,throttle-bps=10M")
        self.refuse("no directory", "--credentials", "/none")
        self.refuse("not NAME=SOCKET", "--port", "name")
        self.refuse("needs a value", "--disk")
        self.refuse("unknown option '--frob'", "--frob")
        self.refuse("which with --uefi is in the image", "--uefi", "--append", "quiet")
        self.refuse("make the image with vm-images/build --uefi", "--uefi")

    def test_credentials(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "some.key").write_bytes(b"do not show")
            done = subprocess.run([RUN, "--image", image, "--dry-run", "--credentials", directory],
                                  capture_output=True, text=True, check=True)
            self.assertIn("type=11", done.stdout)
            self.assertNotIn("do not show", done.stdout)
            self.assertNotIn("ZG8gbm90", done.stdout)
            Path(directory, "big").write_bytes(bytes(50000))
            self.refuse("more than 44 KiB", "--credentials", directory)


class GuestTest(unittest.TestCase):
    """One boot for all of it: a boot under emulation is dear."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="emberlock-selftest.")
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)

    def test_boot_commands_and_power_off(self) -> None:
        secret = os.urandom(40)
        alone = image_with(image, self.work / "image", NO_VOLUMES)
        with VM(self.work, image=alone, disks={"data": "64M"}, credentials={"test.one": secret},
                append=ALONE, options=["--hotplug-ports", "1"]) as vm:
            print(f"\nchannel ready {vm.ready():.1f} s after the start of QEMU")
            vm.run("systemctl is-system-running --wait", check=False, timeout=300)
            print(vm.run("systemd-analyze; systemd-analyze blame | head -n 12").text)
            self.assertEqual(vm.run("systemctl --failed --plain --no-legend").text, "")
            self.commands(vm)
            self.disks(vm)
            self.assertEqual(vm.run(
                "systemd-run --quiet --pipe -p LoadCredential=test.one "
                "sh -c 'cat $CREDENTIALS_DIRECTORY/test.one'").out, secret)
            self.console(vm)
            self.crash(vm)
            self.qmp(vm)

            before = time.monotonic()
            off = vm.power_off()
            print(f"power-off took {off.time - before:.1f} s")
            self.assertEqual((off.reason, off.status), ("guest-shutdown", 0))
            with self.assertRaises(GuestGone):
                vm.run("true")
            self.assertGreater(count_patterns(vm.disk("data"), [b"canary-of-the-harness"])
                               [b"canary-of-the-harness"], 0)

    def commands(self, vm: VM) -> None:
        done = vm.run("cat; echo two >&2; exit 3", stdin=b"one", check=False)
        self.assertEqual((done.status, done.out, done.err), (3, b"one", b"two\n"))
        self.assertEqual(vm.run("kill -9 $$", check=False).status, -9)
        with self.assertRaises(CommandFailed):
            vm.run("false")
        slow = vm.channel.start("sleep 1; echo slow")
        self.assertEqual(vm.run("echo quick").text, "quick")
        with self.assertRaises(Timeout):
            vm.channel.finish(slow, timeout=0.05)
        self.assertEqual(vm.channel.finish(slow).text, "slow")
        vm.run("sleep 30 & echo left behind", timeout=10)
        content = os.urandom(3 << 20)
        vm.channel.push(content, "/run/pushed", 0o600)
        self.assertEqual(vm.channel.pull("/run/pushed"), content)
        self.assertEqual(vm.run("stat -c %a /run/pushed").text, "600")

    def disks(self, vm: VM) -> None:
        vm.run("udevadm settle; printf canary-of-the-harness | "
               "dd of=/dev/disk/by-id/virtio-data bs=1M oflag=sync conv=notrunc 2>&1")
        extra = self.work / "extra"
        extra.touch()
        os.truncate(extra, 32 << 20)
        vm.qmp.add_disk("extra", str(extra))
        vm.run("until [ -e /dev/disk/by-id/virtio-extra ]; do sleep 0.1; done", timeout=30)

    def crash(self, vm: VM) -> None:
        vm.run("sh -c 'kill -SEGV $$'", check=False)
        vm.console.wait("emberlock-test: fatal signal 11: sh", 10)
        vm.expected_crashes = 1

    def console(self, vm: VM) -> None:
        start = vm.console.position
        before = time.monotonic()
        vm.run("echo mark-$((40 + 2)) >/dev/console")
        found = vm.console.wait(r"^mark-(\d+)", 10, start)
        self.assertEqual(found[1], b"42")
        self.assertLess(vm.console.time_of(found) - before, 5)
        with self.assertRaises(Timeout):
            vm.console.wait("never printed", 0.1)

    def qmp(self, vm: VM) -> None:
        vm.qmp.pause()
        vm.qmp.wait_event("STOP", 5)
        vm.qmp.resume()
        vm.qmp.wait_event("RESUME", 5)
        with self.assertRaises(CommandFailed):
            vm.qmp.execute("no-such-command")

    def test_reset_and_kill(self) -> None:
        ram = self.work / "ram"
        with VM(self.work, image=image, ram_file=ram, net=False, memory=512) as vm:
            vm.ready()
            # The half of it only, so that the script itself is not what is found.
            vm.run("{ printf 'ram-%s' canary; sleep 100; } > /dev/shm/mark & sleep 0.2")
            vm.channel.start("echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger")
            self.assertEqual(vm.wait_off(20).reason, "guest-reset")
        self.assertGreater(count_patterns(ram, [b"ram-canary"])[b"ram-canary"], 0)

    def test_qemu_ends_with_its_test(self) -> None:
        with VM(self.work, image=image, net=False, memory=512) as vm:
            pid = vm.pid
            os.kill(pid, 0)
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)

        code = ("import sys, time; from pathlib import Path; from lib import VM\n"
                "vm = VM(Path(sys.argv[1]), image=Path(sys.argv[2])).__enter__()\n"
                "print(vm.pid, flush=True); time.sleep(600)")
        test = subprocess.Popen([sys.executable, "-c", code, self.work, image],
                                stdout=subprocess.PIPE, cwd=PROJECT / "tests" / "vm")
        assert test.stdout
        pidfd = os.pidfd_open(int(test.stdout.readline()))
        self.addCleanup(os.close, pidfd)
        test.kill()
        test.wait()
        test.stdout.close()
        ended = select.select([pidfd], [], [], 20)[0]
        if not ended:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self.assertTrue(ended, "QEMU outlived a killed test")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, default=image)
    arguments, rest = parser.parse_known_args()
    image = arguments.image
    unittest.main(argv=[sys.argv[0], *rest])

# SPDX-License-Identifier: Apache-2.0
"""A VM admitted, leased and revoked under a key of each cloud, as the stand-in speaks for it; how soon, in figures.

T1 the KMS refuses (taken before it is told to, so never too late), T2 the agent has the signed verdict. Once by the probe's interval,
once by an event that the cloud's sender sends as soon as the key is disabled. A key that is disabled is confirmed by describing it, in
the same breath, so the confirmation is no pause. What is bound is printed beside the figure; no time is a condition.
"""

import argparse
import contextlib
import json
import random
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "vm"), str(TESTS / "bench")]
from lib.checks import check, finish, note, work_directory  # noqa: E402
from lib.figures import figure  # noqa: E402
from lib.guest import QUIET, deadline, status, wait_admitted  # noqa: E402
from lib.world import VM, World, image_with, volume  # noqa: E402
from revoke import VERDICT_AT, clock_tie, receipts_of, seconds  # noqa: E402
from standin import AWS_KEY, EXTERNAL_ID, GOOGLE_KEY, ROLE  # noqa: E402

PROBE_S = 4       # where the interval is what counts
SELDOM_S = 15     # where the event is
CLOUDS = {
    "aws": (["--key-arn", AWS_KEY, "--credentials", "aws-static", "--role-arn", ROLE, "--external-id", EXTERNAL_ID], "Disabled"),
    "azure": (["--key-vault-uri", "https://emberlock.vault.azure.net", "--key-name", "k", "--credentials", "azure-assertion"], "disabled"),
    "google": (["--kms-key-id", GOOGLE_KEY, "--credentials", "google-account"], "DISABLED"),
}


class Clouds:
    """The stand-in as a child: it ends with our end of its standard input."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.child = subprocess.Popen([sys.executable, str(TESTS / "conformance" / "standin.py"), str(directory)], stdin=subprocess.PIPE)
        World.wait("the stand-in is ready", lambda: (directory / "ready").exists() or self.child.poll() is not None, 120)
        self.port = int((directory / "ready").read_text().split()[0])
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(directory / "ca.pem"))))

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        with self.opener.open(f"https://localhost:{self.port}/control", json.dumps(order).encode(), 30) as reply:
            return json.loads(reply.read())

    def close(self) -> None:
        assert self.child.stdin
        self.child.stdin.close()
        self.child.wait(30)


@contextlib.contextmanager
def clouds_at(directory: Path) -> Iterator[Clouds]:
    clouds = Clouds(directory)
    try:
        yield clouds
    finally:
        clouds.close()


def say(world: World, clouds: Clouds, cloud: str, key: str) -> None:
    """The cloud's sender tells the manager that something happened to @key; over HTTP/2, as by the proxy that stands there."""
    event = clouds.order({"event": {"cloud": cloud}})["event"]
    headers, body = world.work / "headers", world.work / "body"
    headers.write_text("".join(f"{name}: {value}\n" for name, value in event["headers"].items()))
    body.write_text(event["body"])
    done = subprocess.run(["curl", "-s", "--http2", "--noproxy", "*", "--cacert", str(world.state / "ca.pem"), "-H", f"@{headers}",
                           "--data-binary", f"@{body}", "-o", "/dev/null", "-w", "%{http_code}",
                           f"https://127.0.0.1:{world.events_port}/v1/events/{key}"], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, check=True)
    assert done.stdout == b"204", done.stdout


def add_key(world: World, clouds: Clouds, cloud: str, key: str, probe_s: int) -> None:
    options, _ = CLOUDS[cloud]
    policy = {**world.policy, "--probe-interval": f"{probe_s}s"}
    world.admin("key", "create", key, *options, *(x for pair in policy.items() for x in pair))
    shutil.copy(clouds.directory / "events" / cloud, world.state / "events" / key)


def revoke(world: World, clouds: Clouds, image: Path, cloud: str, way: str) -> None:
    by_event = way == "event"
    probe_s = SELDOM_S if by_event else PROBE_S
    key = f"{cloud}-{way}"
    add_key(world, clouds, cloud, key, probe_s)
    # Two keys on one CMK may serve one workspace only: the second way's key takes it over.
    if by_event:
        world.admin("workspace", "bind", cloud, key)
    else:
        world.admin("workspace", "create", cloud, "--key", key)
    with VM(work=world.work / key, image=image, disks={"d": "64M"}, append=QUIET, credentials=world.enrol(way, cloud)) as vm:
        with check(f"clouds/{cloud}: admitted, and its lease goes on"):
            admission = wait_admitted(vm)["admission"]
            before = deadline(vm)
            world.wait("a renewed lease", lambda: deadline(vm) > before, 60)
            assert status(vm)["state"].lower() == "admitted"
        with check(f"clouds/{cloud}: disabled: the VM hears of it by {way}, and ends with its receipt"):
            offset, error, _ = clock_tie(vm)
            asked = json.loads(world.admin("key", "show", key, "--json"))["events"]
            time.sleep(random.uniform(0, PROBE_S))  # a customer does not wait for a probe
            refused = time.monotonic()
            clouds.order({"state": {cloud: CLOUDS[cloud][1]}})
            if by_event:
                say(world, clouds, cloud, key)
            assert vm.wait_off(120).reason == "guest-shutdown"
            world.verify_receipt(admission)
            ended = next(x for x in json.loads(world.admin("receipt", "list", "--json")) if x["admission"] == admission)
            assert ended["reason"] == "revoked" and ended["keys_gone"], ended
            verdict = seconds(receipts_of(world, admission)[0], VERDICT_AT)
            shown = json.loads(world.admin("key", "show", key, "--json"))
            assert shown["state"] == "revoked" and shown["events"] == asked + by_event, shown
            figure(f"clouds.{cloud}.{way}.T1-T2", verdict + offset - refused, "s")
            note(f"{cloud} by {way}: {verdict + offset - refused:.3f} s, tie +- {error:.3f} s; to be at most {(0 if by_event else probe_s) + 1} s"
                 f" and the confirmation; {shown['calls_probe']} probes, {shown['vm_seconds']} s of a VM")
    clouds.order({"reset": True})
    world.admin("key", "clear", key)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("clouds") as work, clouds_at(work / "standin") as clouds, World(work) as world:
        for path in (clouds.directory / "credentials").iterdir():
            shutil.copy(path, world.state / "credentials")
        shutil.copy(clouds.directory / "ca.pem", world.state / "events")
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/d.conf"] = volume("ext4", "d", MountPoint="/data")
        image = image_with(args.image, work / "image", files)
        for cloud in CLOUDS:
            for way in "interval", "event":
                revoke(world, clouds, image, cloud, way)
    finish()


main()

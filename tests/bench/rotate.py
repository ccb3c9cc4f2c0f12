# SPDX-License-Identifier: Apache-2.0
"""Rotation of a CMK with 10,000 KEKs under it, while storage nodes go on: requests refused, time, KMS calls.

The CMK is one of Google Cloud KMS, by the stand-in of tests/conformance over TLS: a new version is made, every KEK wrapped anew, the version
before disabled. Storage nodes are processes of tests/manager/storage_node.c that fetch, make and rewrap DEKs of eight uses each all through,
10 ms apart, and count whatever is not answered with success. The time is that of the whole rotation, and mostly the stand-in's own: it
says how many calls it answered meanwhile, probes of health included.
"""

import argparse
import json
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import note, work_directory  # noqa: E402
from lib.figures import figure  # noqa: E402
from lib.world import BIN, PROJECT, World  # noqa: E402

KEY_ID = "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"
# As bench dek's: the default policy.
POLICY = {"--poll-interval": "10s", "--probe-interval": "10s", "--lease": "300s", "--margin": "60s", "--max-staleness": "120s"}
PER_WORKSPACE = 100
NODES = 2  # of a workspace, to fill it: a node may have a KEK made a second
STEADY = 4
AFTER = 10  # seconds without the old version


class Cloud:
    """The stand-in KMS."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._process = subprocess.Popen([sys.executable, PROJECT / "tests/conformance/standin.py", directory], stdin=subprocess.PIPE)
        World.wait("the stand-in KMS is ready", (directory / "ready").exists, 60)
        self._url = f"https://localhost:{(directory / 'ready').read_text().split()[0]}/control"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(
            context=ssl.create_default_context(cafile=str(directory / "ca.pem"))))
        self.credentials = directory / "credentials"

    def control(self, **order: object) -> dict:
        with self._opener.open(urllib.request.Request(self._url, json.dumps(order).encode()), timeout=60) as answer:
            return json.load(answer)

    def calls(self) -> int:
        return self.control()["counts"].get("google", 0)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


def build(work: Path) -> Path:
    program = work / "storage_node"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", f"-I{PROJECT}/src", "-o", program, PROJECT / "tests/manager/storage_node.c",
                    BIN / "libemberlock-storage.a", "-lcurl", "-ljansson", "-lpthread"], check=True)
    return program


def populate(world: World, program: Path, n: int) -> list[Path]:
    """Workspaces with @n KEKs in all; the credentials of a node of each."""
    def one(index: int) -> Path:
        name, keks = f"w{index}", min(PER_WORKSPACE, n - index * PER_WORKSPACE)
        world.admin("workspace", "create", name, "--key", "google")
        nodes = [world.enrol_node(f"n{i}", name) for i in range(NODES)]
        share = -(-keks // NODES)
        filling = [subprocess.Popen([program, node, "fill", "use", str(i * share), str(min(share, keks - i * share))])
                   for i, node in enumerate(nodes) if keks > i * share]
        assert all(process.wait() == 0 for process in filling)
        return nodes[0]

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, range(-(-n // PER_WORKSPACE))))


def progress(world: World) -> dict:
    return json.loads(world.admin("key", "progress", "google", "--json"))


def rotate(world: World) -> float:
    start = time.monotonic()
    world.admin("key", "rotate", "google")
    World.wait("the rotation is complete", lambda: time.sleep(0.5) or progress(world)["state"] == "complete", 1800)
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keks", type=int, default=10000, help="how many; default 10000")
    args = parser.parse_args()
    with work_directory("rotate") as work:
        program = build(work)
        cloud = Cloud(work / "clouds")
        try:
            with World(work, POLICY) as world:
                shutil.copytree(cloud.credentials, world.state / "credentials", dirs_exist_ok=True)
                world.admin("key", "create", "google", "--kms-key-id", KEY_ID, "--credentials", "google-account",
                            *(x for pair in POLICY.items() for x in pair))
                start = time.monotonic()
                nodes = populate(world, program, args.keks)
                before = progress(world)
                note(f"{before['keks']} KEKs, {len(nodes)} of them of workspaces, made in {time.monotonic() - start:.0f} s")
                measure(world, cloud, program, nodes[:STEADY], before)
        finally:
            cloud.close()


def measure(world: World, cloud: Cloud, program: Path, nodes: list[Path], before: dict) -> None:
    old = [row["version"] for row in before["versions"]]
    running = [subprocess.Popen([program, node, "steady", "use"], stdout=subprocess.PIPE, text=True) for node in nodes]
    assert all(process.stdout and process.stdout.readline() == "steady\n" for process in running)
    cloud.control(rotate=["google"])
    calls = cloud.calls()
    took = rotate(world)
    calls = cloud.calls() - calls
    after = progress(world)
    assert after["left"] == 0 and after["keks"] == before["keks"] and after["others_safe_to_disable"], after
    assert not {row["version"] for row in after["versions"]} & set(old), after
    cloud.control(disabled={"google": old})
    time.sleep(AFTER)
    for process in running:
        process.terminate()
    done, failed = (sum(column) for column in zip(*(map(int, process.communicate()[0].split()) for process in running)))
    assert all(process.returncode == 0 for process in running)
    assert "revoked" not in world.admin("key", "show", "google", "--json").replace('"revoked_at": 0', "")
    note(f"{done} requests for DEKs meanwhile, {failed} refused; the last {AFTER} s without version {', '.join(old)}")
    figure("rotate.keks", after["keks"], "KEKs")
    figure("rotate.failed", failed, "requests", failed / done, "all that were made")
    figure("rotate.time", took, "s")
    figure("rotate.rate", after["keks"] / took, "KEKs/s")
    figure("rotate.kms-calls", calls, "calls", calls / after["keks"], "a KEK")


main()

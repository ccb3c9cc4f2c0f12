# SPDX-License-Identifier: Apache-2.0
"""DEKs for storage nodes: unwraps a second of a core, KMS calls, and from the customer's no to the last DEK dropped.

Storage nodes are processes of tests/manager/storage_node.c, built against the release archive of the library and nothing else of ours. A
second of a core is one of the manager's own CPU time, user and system: the nodes' is not counted. KMS calls are the unwraps of KEKs
and the probes of the CMK's health in the same time, under the default policy.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))
from lib.checks import note, work_directory  # noqa: E402
from lib.figures import figure, figures, spread  # noqa: E402
from lib.world import BIN, PROJECT, World  # noqa: E402

DEFAULTS = {"--poll-interval": "10s", "--probe-interval": "10s", "--lease": "300s", "--margin": "60s", "--max-staleness": "120s"}
# What a watched workspace of a VM has in bench revoke: a probe a second.
QUICK = {"--poll-interval": "5s", "--probe-interval": "1s", "--lease": "60s", "--margin": "15s", "--max-staleness": "60s"}
NODES = 4


def build(work: Path) -> Path:
    program = work / "storage_node"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", f"-I{PROJECT}/src", "-o", program, PROJECT / "tests/manager/storage_node.c",
                    BIN / "libemberlock-storage.a", "-lcurl", "-ljansson", "-lpthread"], check=True)
    return program


def metrics(world: World) -> dict[str, int]:
    identity = world.state / "identities" / "operator"
    out = subprocess.run(["curl", "--silent", "--fail", "--max-time", "20", "--noproxy", "*", "--http2",
                          "--cacert", identity / "ca.pem", "--cert", identity / "cert.pem", "--key", identity / "key.pem", f"https://127.0.0.1:{world.admin_port}/v1/metrics"],
                         check=True, capture_output=True, text=True).stdout
    return {name.removeprefix("emberlock_").removesuffix("_total"): int(value)
            for name, value in (line.split() for line in out.splitlines() if not line.startswith("#"))}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kms_calls(before: dict[str, int], after: dict[str, int]) -> int:
    return sum(after[name] - before[name] for name in ("keks_asked", "probes"))


def throughput(world: World, program: Path, nodes: list[Path], page: Path, batch: int, seconds: float) -> tuple[float, float, int]:
    """Unwraps a second of the manager's CPU, unwraps a second, and KMS calls for a thousand."""
    before, cpu, start = metrics(world), cpu_seconds(world.manager_pid()), time.monotonic()
    running = [subprocess.Popen([program, node, "load", "bench", page, str(batch), str(seconds)], stdout=subprocess.PIPE, text=True) for node in nodes]
    done = sum(int(process.communicate()[0]) for process in running)
    assert all(process.returncode == 0 for process in running)
    took, cpu, after = time.monotonic() - start, cpu_seconds(world.manager_pid()) - cpu, metrics(world)
    assert done == after["deks_unwrapped"] - before["deks_unwrapped"], "the nodes and the manager count differently"
    note(f"batches of {batch}: {done} unwraps in {took:.1f} s, {cpu:.1f} s of the manager's CPU, {after['keks_asked'] - before['keks_asked']} KEKs and "
         f"{after['probes'] - before['probes']} probes asked of the KMS")
    return done / cpu, done / took, kms_calls(before, after) * 1000 / done


def slow(world: World, program: Path, node: Path, page: Path, n: int) -> float:
    """KMS calls for a thousand unwraps, where one a second is asked for."""
    before, start = metrics(world), time.monotonic()
    for i in range(n):
        time.sleep(max(0, start + i - time.monotonic()))
        subprocess.run([program, node, "open", "bench", page], check=True, stdout=subprocess.DEVNULL)
    after = metrics(world)
    return kms_calls(before, after) * 1000 / (after["deks_unwrapped"] - before["deks_unwrapped"])


def revoke(world: World, program: Path, node: Path, page: Path) -> float:
    """Seconds from the customer's command to the moment at which the last of the node's DEKs was gone."""
    with subprocess.Popen([program, node, "hold", "bench", page], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held 1\n"
        start = time.monotonic()
        world.customer("disable", "cmk")
        assert holder.stdout.readline() == "dropped\n"
        took = time.monotonic() - start
    world.customer("enable", "cmk")
    World.wait("the key is revoked", lambda: '"state": "revoked"' in world.admin("key", "show", "key", "--json"), 30)
    world.admin("key", "clear", "key")
    return took


def seal(program: Path, node: Path, page: Path) -> None:
    subprocess.run([program, node, "seal", "data", "bench", "a page", page], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each load")
    parser.add_argument("--runs", type=int, default=5, help="of the revocation")
    args = parser.parse_args()
    with work_directory("dek") as work:
        program = build(work)
        with World(work / "load", DEFAULTS) as world:
            nodes = [world.enrol_node(f"n{i}") for i in range(NODES)]
            page = work / "page"
            seal(program, nodes[0], page)
            rates = {batch: throughput(world, program, nodes, page, batch, args.seconds) for batch in (1, 64)}
            calls = slow(world, program, nodes[0], page, 60)
        with World(work / "revoke", QUICK) as world:
            node = world.enrol_node("n")
            page = work / "page-revoke"
            seal(program, node, page)
            times = [revoke(world, program, node, page) for _ in range(args.runs)]
    spread("revocation to the last DEK dropped", times, "s")
    figure("dek.unwraps.batch64", rates[64][0], "1/s")
    figure("dek.unwraps.single", rates[1][0], "1/s")
    figure("dek.unwraps.wall.batch64", rates[64][1], "1/s")
    figure("dek.kms-calls.load", rates[64][2], "per 1000 unwraps", rates[64][2] / 1000, "a KMS call an unwrap")
    figure("dek.kms-calls.one-a-second", calls, "per 1000 unwraps", calls / 1000, "a KMS call an unwrap")
    figures("dek.revocation", times, "s", [60], "the policy's bound, max_staleness of 60 s")


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drills, and what a workspace's keys are reported as, with a fleet of which some never answer, some are paused and some run on "warn".

The manager and emberlock-admin are real; the VMs (fleet_vms.c) are not, but speak as real ones do.
EMBERLOCK_BIN: where the programs and fleet_vms are; default build/debug.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
os.environ.setdefault("EMBERLOCK_BIN", str(TESTS.parent / "build" / "debug"))
sys.path.insert(0, str(TESTS / "vm"))
from lib.checks import check, finish, note, work_directory  # noqa: E402
from lib.world import BIN, World  # noqa: E402

LONG = {"--lease": "300s", "--margin": "60s", "--max-staleness": "120s", "--poll-interval": "10s"}
SHORT = {"lease": "30s", "margin": "5s", "max_staleness": "30s", "poll_interval": "5s"}
# By workspace: how many VMs of each kind (fleet_vms.c).
FLEET = {
    "tenant": {"shreds": 90, "again": 20},
    "mixed": {"shreds": 40, "unwiped": 10, "unclosed": 10, "mute": 20, "paused": 20},
    "soft": {"shreds": 20, "mute": 10},
}
PATIENCE_S = 300  # for what has no bound of its own
CLASSES = ("live", "ending", "receipt", "lease_ended", "ended", "not_bounded", "not_admitted")


def size(workspace: str) -> int:
    return sum(FLEET[workspace].values())


class Fleet:
    """The VMs, and the lines they have said."""

    def __init__(self, world: World) -> None:
        self.log = world.work / "fleet.log"
        groups = [f"{w}:{kind}:{n}" for w, kinds in FLEET.items() for kind, n in kinds.items()]
        with self.log.open("wb") as f:
            self._process = subprocess.Popen([str(BIN / "fleet_vms"), str(world.state), f"https://127.0.0.1:{world.port}", *groups],
                                             stdin=subprocess.DEVNULL, stdout=f, stderr=f)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()

    def said(self, pattern: str) -> list[str]:
        """What the whole lines that match say, the group where there is one."""
        assert self._process.poll() is None, f"the fleet ended, see {self.log}"
        return re.findall(f"(?m)^{pattern}$", self.log.read_text())

    def wait(self, pattern: str, n: int = 1) -> list[str]:
        return World.wait(f"{n} times {pattern!r}", lambda: len(found := self.said(pattern)) >= n and found, PATIENCE_S)

    def signal(self, number: signal.Signals, answer: str) -> None:
        self._process.send_signal(number)
        self.wait(answer)


class Drill:
    """A drill as an operator makes it: .status, .report (JSON), .errors once it is over."""

    def __init__(self, world: World, *options: str, identity: str = "operator", confirm: str = "") -> None:
        self._confirm = confirm
        self._process = subprocess.Popen(
            [str(BIN / "emberlock-admin"), "--identity", str(world.state / "identities" / identity), "drill", "--json", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self) -> "Drill":
        out, self.errors = self._process.communicate(self._confirm, timeout=PATIENCE_S)
        self.status = self._process.returncode
        self.report: dict[str, Any] = json.loads(out) if out else {}
        return self

    def refused(self, words: str) -> None:
        self.wait()
        assert self.status == 1 and re.search(words, self.errors) and not self.report, (self.status, self.errors, self.report)


def summary(world: World, workspace: str) -> dict[str, Any]:
    (found,) = json.loads(world.admin("fleet", "--summary", "--json", "--workspace", workspace, identity="operator"))
    assert found["workspace"] == workspace
    return found


def counts(world: World, workspace: str) -> dict[str, int]:
    """The classes that are not empty."""
    found = summary(world, workspace)
    return {name: found[name] for name in CLASSES if found[name]}


def boots(world: World, workspace: str) -> list[dict[str, Any]]:
    return json.loads(world.admin("fleet", "--json", "--workspace", workspace, identity="operator"))


def told(fleet: Fleet, workspace: str, reason: str) -> Counter[str]:
    return Counter(fleet.said(rf"told {workspace}/(\S+) {reason}"))


def all_live(world: World, fleet: Fleet) -> None:
    with check("fleet/admitted"):
        note(f"{sum(map(size, FLEET))} VMs in {len(FLEET)} workspaces")
        fleet.wait("ready")
    with check("fleet/summary: while VMs live, no time is given by which all keys are gone"):
        for workspace in FLEET:
            found = summary(world, workspace)
            assert counts(world, workspace) == {"live": size(workspace)} and found["all_gone_by"] == 0, found
        assert all(boot["gone_by"] == 0 for boot in boots(world, "tenant"))


def refusals(world: World, fleet: Fleet) -> None:
    def refused(words: str, *options: str, **more: str) -> None:
        Drill(world, "--workspace", "tenant", *options, **more).refused(words)

    with check("drill/refused: what is not clear"):
        refused("--vm and --share: one of them")
        refused("--vm and --share: one of them", "--vm", "again-0", "--share", "1")
        for share in "0", "0%", "101%", "-1", "ten", "", "%", "1.5%", str(size("tenant") + 1):
            refused("--share: ", "--share", share)
        refused("--vm: '../x' is no name", "--vm", "../x")
        refused("tenant/nobody: no boot of it runs", "--vm", "nobody")
        Drill(world, "--workspace", "none", "--share", "1").refused("none: no boot of it runs")
        refused("cannot read|No such file", "--share", "1", "--yes", "--root-key", str(world.work / "absent"))
    with check("drill/refused: without an operator's yes"):
        refused("not confirmed", "--share", "10%")
        refused("not confirmed", "--share", "10%", confirm="y\n")
        refused("403", "--share", "10%", "--yes", identity="key-administrator")
    with check("drill/--dry-run: says whom it would draw"):
        draws = [Drill(world, "--workspace", "tenant", "--share", "10%", "--dry-run").wait() for _ in range(3)]
        names = {f"{kind}-{i}" for kind, n in FLEET["tenant"].items() for i in range(n)}
        for draw in draws:
            assert draw.status == 0 and draw.report["dry_run"] and draw.report["live"] == size("tenant"), draw.report
            assert len(draw.report["vms"]) == size("tenant") // 10 == len(set(draw.report["vms"]) & names), draw.report
        assert len({tuple(draw.report["vms"]) for draw in draws}) > 1, "the same VMs each time"
    with check("drill/nothing of that shredded a VM"):
        assert counts(world, "tenant") == {"live": size("tenant")}
        assert not fleet.said("told .*")


def in_order(boot: dict[str, Any]) -> bool:
    """What follows from each other in one VM happened in that order, by the manager's clock."""
    times = [boot[name] for name in ("verdict_ms", "keys_gone_ms", "closing_ms")]
    return 0 <= times[0] <= times[1] <= times[2]


def drill_one(world: World, fleet: Fleet) -> None:
    with check("drill/--vm: one VM shreds, its receipt says drill and verifies, the report says when"):
        before = time.time()
        drill = Drill(world, "--workspace", "tenant", "--vm", "again-0", confirm="yes\n").wait()
        assert drill.status == 0, drill.errors
        (boot,) = drill.report["boots"]
        note(f"T1 +0, {({k: boot[k] for k in ('verdict_ms', 'keys_gone_ms', 'wipe_us', 'closing_ms')})}")
        assert boot["vm"] == "again-0" and boot["receipt"] == "verified" and in_order(boot), boot
        assert before - 1 < boot["told_ms"] / 1000 < time.time(), (before, boot)
        assert boot["wipe_us"] == 3000, boot  # what the VM has signed: fleet_vms.c
        assert "reason: drill" in world.verify_receipt(boot["admission"])
        assert told(fleet, "tenant", "drill") == {"again-0": 1}
    with check("drill/nothing is revoked: the VM boots again and is admitted"):
        fleet.wait("again tenant/again-0")
        rows = [row for row in boots(world, "tenant") if row["vm"] == "again-0"]
        assert [(row["state"], row["class"], row["reason"]) for row in rows] == [
            ("admitted", "live", "none"), ("off", "receipt", "drill")], rows
    with check("drill/on record: who asked for it, and when the manager took the order"):
        log = world.admin("audit", "export", "--workspace", "tenant")
        records = [json.loads(line).get("content", {}) for line in log.splitlines()]
        (order,) = [r for r in records if r.get("path") == f"/v1/boots/{boot['admission']}/drill" and r["status"] == 204]
        assert order["role"] == "operator" and order["time_ms"] >= boot["told_ms"], (order, boot)
        assert [(r["vm"], r["time_ms"]) for r in records if r.get("event") == "drill"] == [("again-0", boot["told_ms"])], boot
        assert [r["reason"] for r in records if r.get("event") == "verdict-shred"] == ["drill"]


def drill_share(world: World, fleet: Fleet) -> None:
    n = size("tenant") // 10
    with check("drill/--share: a tenth of the workspace, and nobody else"):
        drill = Drill(world, "--workspace", "tenant", "--share", "10%", "--yes").wait()
        assert drill.status == 0, drill.errors
        report = drill.report
        assert (report["chosen"], report["told"], report["receipts"]["verified"]) == (n, n, n), report
        assert all(map(in_order, report["boots"])), report
        for name, words in report["times"].items():
            note(f"{name}: {words}")
        assert set(told(fleet, "tenant", "drill")) - {"again-0"} <= {boot["vm"] for boot in report["boots"]}
        assert told(fleet, "tenant", "drill").total() == n + 1
        # again-0 has done so already, and does it once.
        fleet.wait("again tenant/.*", len({boot["vm"] for boot in report["boots"] if boot["vm"].startswith("again")} | {"again-0"}))
        found = summary(world, "tenant")
        again = len(fleet.said("again tenant/.*"))
        assert counts(world, "tenant") == {"live": size("tenant") - n - 1 + again, "receipt": n + 1}, found
        assert found["all_gone_by"] == 0, found


def classes(world: World, fleet: Fleet) -> None:
    mixed, soft = FLEET["mixed"], FLEET["soft"]
    receipts = mixed["shreds"] + mixed["unclosed"]
    with check("classes/told to shred: receipts; the others' keys end by a time that is known, but for those on 'warn'"):
        fleet.signal(signal.SIGUSR1, "silent")
        drills = {w: Drill(world, "--workspace", w, "--share", "100%", "--yes") for w in ("mixed", "soft")}
        fleet.wait("told mixed/.*", size("mixed") - mixed["mute"] - mixed["paused"])
        world.wait("the receipts of mixed", lambda: summary(world, "mixed")["receipt"] == receipts, PATIENCE_S)
        world.wait("the receipts of soft", lambda: summary(world, "soft")["receipt"] == soft["shreds"], PATIENCE_S)
        now, early = time.time(), summary(world, "mixed")
        silent = [row for row in boots(world, "mixed") if row["vm"].split("-")[0] in ("mute", "paused")]
        assert len(silent) == mixed["mute"] + mixed["paused"]
        # The bound of one that is silent: its last lease, a hundredth of it, and the budget of a shred.
        assert all(8 <= row["gone_by"] - row["lease_until"] <= 10 for row in silent), silent
        assert early["all_gone_by"] >= max(row["gone_by"] for row in silent), early
        note(f"all gone by {early['all_gone_by'] - now:+.0f} s from now")
        found = summary(world, "soft")
        assert counts(world, "soft") == {"receipt": soft["shreds"], "not_bounded": soft["mute"]}, found
        assert found["all_gone_by"] == 0, found
    with check("classes/the lease ended: who never answered and who is paused; the time said before was right"):
        drill = drills["mixed"].wait()
        # Of those that left a receipt the drill does not wait for the leases.
        world.wait("the last lease's end", lambda: summary(world, "mixed")["live"] == 0, PATIENCE_S)
        late = summary(world, "mixed")
        assert counts(world, "mixed") == {"receipt": receipts, "lease_ended": size("mixed") - receipts}, late
        # A time in whole seconds, rounded up: a class changes within them.
        assert late["all_gone_by"] == early["all_gone_by"] <= time.time() + 1, (early, late)
        ended = Counter(row["vm"].split("-")[0] for row in boots(world, "mixed") if row["class"] == "lease ended")
        assert ended == {kind: mixed[kind] for kind in ("mute", "paused", "unwiped")}, ended
    with check("drill/report of a fleet that does not all answer: who left no receipt, and whose does not say enough"):
        assert drill.status == 1 and "left no verified receipt" in drill.errors, drill.errors
        assert drill.report["receipts"] == {"verified": receipts, "not_all_keys_gone": mixed["unwiped"], "of_no_drill": 0,
                                            "not_verified": 0, "none": mixed["mute"] + mixed["paused"]}, drill.report["receipts"]
        said = Counter((boot["vm"].split("-")[0], boot["receipt"]) for boot in drill.report["boots"])
        assert said == {("shreds", "verified"): mixed["shreds"], ("unclosed", "verified"): mixed["unclosed"],
                        ("unwiped", "verified, NOT all keys gone"): mixed["unwiped"],
                        ("mute", "none"): mixed["mute"], ("paused", "none"): mixed["paused"]}, said
        assert {boot["class"] for boot in drill.report["boots"] if boot["receipt"] == "none"} == {"lease ended"}
        assert {boot["class"] for boot in drill.report["boots"] if boot["receipt"] == "verified"} == {"receipt"}
        assert all(boot["closing_ms"] is None for boot in drill.report["boots"] if boot["vm"].startswith("unclosed"))
    with check("classes/not bounded: a lease that only warns gives no time, before its end and after"):
        drill = drills["soft"].wait()
        assert drill.status == 1 and drill.report["receipts"]["none"] == soft["mute"], (drill.errors, drill.report)
        assert {boot["class"] for boot in drill.report["boots"] if boot["receipt"] == "none"} == {"not bounded"}
        found = summary(world, "soft")
        assert counts(world, "soft") == {"receipt": soft["shreds"], "not_bounded": soft["mute"]}, found
        assert found["all_gone_by"] == 0, found
    with check("classes/paused VMs come back: no lease, the verdict; their receipts say when their keys went"):
        fleet.signal(signal.SIGUSR2, "back")
        fleet.wait("closed mixed/paused-.*", mixed["paused"])
        assert set(told(fleet, "mixed", "drill")) >= {f"paused-{i}" for i in range(mixed["paused"])}
        found = summary(world, "mixed")
        assert counts(world, "mixed") == {"receipt": receipts + mixed["paused"],
                                          "lease_ended": mixed["mute"] + mixed["unwiped"]}, found
        assert found["all_gone_by"] >= late["all_gone_by"], (found, late)
        back = [row for row in boots(world, "mixed") if row["vm"].startswith("paused")]
        assert all(row["class"] == "receipt" and row["gone_by"] >= late["all_gone_by"] for row in back), (back, late)


def revocation(world: World, fleet: Fleet) -> None:
    with check("classes/revoked: a receipt of each VM, and the time by which all are gone"):
        live, before = summary(world, "tenant"), time.time()
        # Those that boot again do so once; then the verdict is the first answer.
        refused = FLEET["tenant"]["again"] - len(fleet.said("again tenant/.*"))
        world.customer("disable", "cmk")
        fleet.wait("closed tenant/.*", live["receipt"] + live["live"] + refused)
        assert told(fleet, "tenant", "revoked").total() == live["live"] + refused, (live, refused)
        found = summary(world, "tenant")
        assert counts(world, "tenant") == {"receipt": live["receipt"] + live["live"] + refused}, found
        assert before <= found["all_gone_by"] <= time.time() + 1, (before, found)
        note(f"{live['live']} VMs: the last receipt {found['all_gone_by'] - before:.0f} s after the customer's no")
    with check("drill/nobody is left to drill"):
        Drill(world, "--workspace", "tenant", "--share", "1", "--yes").refused("no boot of it runs under a lease")


def main() -> None:
    with work_directory("fleet") as work, World(work, LONG) as world:
        world.enrol("spare")
        for name, more in ("mixed", {}), ("soft", {"expiry": "warn"}):
            world.customer("create", name)
            world.add_key(name, name, **SHORT, **more)
            world.admin("workspace", "create", name, "--key", name)
        with Fleet(world) as fleet:
            all_live(world, fleet)
            refusals(world, fleet)
            drill_one(world, fleet)
            drill_share(world, fleet)
            classes(world, fleet)
            revocation(world, fleet)
    finish()


main()

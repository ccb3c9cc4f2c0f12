# SPDX-License-Identifier: Apache-2.0
"""A table of faults: what was bound to happen, what did, and whether it was in time and had a cause."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .checks import check, note
from .errors import CommandFailed, GuestGone, Timeout
from .guest import OFF, status
from .relay import Relay
from .vm import VM, Off
from .world import World

# Of the emulated guest on a loaded host, above design.md's own figures: from the switch to QEMU's end, and to our hearing of it.
HOST_S = 10
LOOK_S = 0.5  # between two questions: each costs a process, of the host or of the guest


class Verdict(Enum):
    HELD = "held"
    PAST_BOUND = "PAST ITS BOUND"
    NO_CAUSE = "WITHOUT CAUSE"
    NOT_SEEN = "NOT SEEN"  # the fault, or what it did, could not be seen: the row says nothing


@dataclass
class Scene:
    """A guest and what is around it."""

    world: World
    vm: VM
    name: str
    more: dict[str, Any] = field(default_factory=dict)  # what one function leaves for another
    seen: list[str] = field(default_factory=list)            # of the fault that is tried

    @property
    def relay(self) -> Relay:
        assert self.world.relay
        return self.world.relay

    def disk(self, name: str, bps: int) -> None:
        """Limits a disk, root among them; 0: no more."""
        limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        self.vm.qmp.execute("block_set_io_throttle", device=self.device(name), bps=bps, **limits)

    def device(self, name: str) -> str:
        return "root" if name == "root" else f"disk{list(self.vm.disks).index(name) + 1}"

    def lease(self) -> dict[str, Any] | None:
        """As the guest says it; None while its agent does not answer."""
        with suppress(CommandFailed):
            return status(self.vm)
        return None

    def lease_until(self) -> int:
        """The newest lease that the manager has granted. It rises where the guest has taken the one before and asked again."""
        boot = self.world.boot_of(self.name)
        assert boot
        return boot["lease_until"]


Act = Callable[[Scene], None] | str  # a script of the guest's


def act(scene: Scene, what: Act) -> None:
    if isinstance(what, str):
        if what:
            scene.vm.run(what)
    else:
        what(scene)


@dataclass(frozen=True)
class Endured:
    """A fault that no machine ends for. @renews: leases are renewed while it lasts, else when it is over."""

    name: str
    bound: str
    begin: Act
    end: Act = ""
    renews: bool = True
    within_s: float = 90  # the lease: without a renewal the keys would be gone


@dataclass(frozen=True)
class Ended:
    """A fault that ends the machine: for which of @reasons, after @limit_s at most. No reason: nothing of ours says one."""

    name: str
    bound: str
    limit_s: float
    begin: Act
    reasons: tuple[tuple[str, int], ...] = ()
    off: str = "guest-shutdown"
    before: Act = ""  # what is not timed


@dataclass(frozen=True)
class Row:
    name: str
    bound: str
    seen: str
    verdict: Verdict


rows: list[Row] = []


class Broken(Exception):
    """What was bound to be was not."""

    def __init__(self, verdict: Verdict, seen: str) -> None:
        super().__init__(seen)
        self.verdict = verdict


def record(name: str, bound: str, watch: Callable[[], str]) -> bool:
    """One row, and one check: what @watch says was seen."""
    seen, verdict = "", Verdict.NOT_SEEN
    with check(f"faults/{name}: {bound}"):
        try:
            seen = watch()
            verdict = Verdict.HELD
        except Broken as broken:
            seen, verdict = str(broken), broken.verdict
            raise
        except Exception as e:
            seen = f"{type(e).__name__}: {e}".splitlines()[0][:120]
            raise
        finally:
            rows.append(Row(name, bound, seen, verdict))
            note(f"{name}: {seen}")
    return verdict == Verdict.HELD


def lives(scene: Scene) -> None:
    for event in scene.vm.qmp.events:
        if event.name == "SHUTDOWN":
            scene.vm.console.join(5)
            said = scene.vm.console.text.strip().splitlines()[-1:]
            raise Broken(Verdict.NO_CAUSE, f"off by {event.data['reason']}: {said}")


def wait_renewal(scene: Scene, renewed: Callable[[], Any], limit_s: float, when: str) -> float:
    begin = time.monotonic()

    def look() -> bool:
        lives(scene)
        time.sleep(LOOK_S)
        return bool(renewed())
    try:
        scene.world.wait("a renewed lease", look, limit_s)
    except (Timeout, GuestGone):
        lives(scene)
        raise Broken(Verdict.PAST_BOUND, f"no renewed lease in {limit_s:.0f} s {when}") from None
    return time.monotonic() - begin


def endure(scene: Scene, fault: Endured) -> bool:
    def watch() -> str:
        before = scene.world.wait("the agent", scene.lease, 60)
        scene.seen.clear()
        act(scene, fault.begin)
        if fault.renews:
            granted: set[int] = set()
            # The first may answer what was asked before.
            took = wait_renewal(scene, lambda: granted.add(scene.lease_until()) or len(granted) > 2, fault.within_s, "while it lasts")
            scene.seen.append(f"renewed meanwhile ({took:.0f} s)")
        act(scene, fault.end)
        answered = scene.world.wait("the agent's answer", lambda: (lives(scene), scene.lease())[1], fault.within_s)
        deadline = answered["lease"]["deadline_ns"]
        took = wait_renewal(scene, lambda: (s := scene.lease()) and s["lease"]["deadline_ns"] > deadline and s["state"] == "admitted",
                            fault.within_s, "after it")
        after = status(scene.vm)
        if (after["admission"], after["volumes"]) != (before["admission"], before["volumes"]):
            raise Broken(Verdict.NO_CAUSE, f"another boot, or other volumes: {after['volumes']}")
        return ", ".join([*scene.seen, f"renewed after it ({took:.0f} s)"])
    return record(fault.name, fault.bound, watch)


def end(scene: Scene, fault: Ended) -> bool:
    def watch() -> str:
        act(scene, fault.before)
        lives(scene)
        begin = time.monotonic()
        if isinstance(fault.begin, str):
            scene.vm.channel.start(fault.begin)
        else:
            fault.begin(scene)
        try:
            off = scene.vm.wait_off(fault.limit_s + HOST_S)
        except Timeout:
            raise Broken(Verdict.PAST_BOUND, f"on after {fault.limit_s + HOST_S:.0f} s") from None
        return judge(scene.vm, fault, off, begin)
    return record(fault.name, fault.bound, watch)


def judge(vm: VM, fault: Ended, off: Off, begin: float) -> str:
    """What is to be said of a machine that is off; raises Broken where it should not be, or not so."""
    vm.console.join(5)
    said = [(name, int(code)) for name, code in re.findall(OFF, vm.console.text)]
    words = ", ".join(name for name, _ in said) or "nothing said"
    seen = f"{off.reason.removeprefix('guest-')} after {off.time - begin:.1f} s ({words})"
    if off.reason != fault.off or (said[-1] not in fault.reasons if said else fault.reasons):
        raise Broken(Verdict.NO_CAUSE, seen)
    if off.time - begin > fault.limit_s + HOST_S:
        raise Broken(Verdict.PAST_BOUND, seen)
    return seen


def table() -> None:
    """The run's own account, and the check of it."""
    widths = [max(len(getattr(row, field)) for row in rows) for field in ("name", "bound", "seen")]
    for row in rows:
        print("    " + " | ".join(f"{text:{width}}" for text, width in zip((row.name, row.bound, row.seen), widths)) +
              f" | {row.verdict.value}")
    counts = {v: sum(row.verdict == v for row in rows) for v in Verdict}
    print(f"    {len(rows)} rows, {counts[Verdict.PAST_BOUND]} past their bound, {counts[Verdict.NO_CAUSE]} without cause"
          + (f", {counts[Verdict.NOT_SEEN]} NOT SEEN" if counts[Verdict.NOT_SEEN] else ""), flush=True)


__all__ = ["Act", "Broken", "Ended", "Endured", "Scene", "Verdict", "end", "endure", "judge", "record", "rows", "table"]

# SPDX-License-Identifier: Apache-2.0
"""The agent killed at random instants and the package upgraded, under I/O; stopped units; the limit of restarts; the death of either
keeper process.

What "no key lost, none twice" means: the data that is written all the time reads back; all of RAM holds each secret of the boot
once, each segment's schedules once, and no key of a map that was undone. What "no deadline moved" means: while the manager stands
still, no restart nor upgrade changes it.
"""

import argparse
import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib.checks import check, finish, note, whole, work_directory
from lib.guest import AGENT, KEEPER, QUIET, WATCHDOG, deadline, process_ids, save_journal, status, wait_admitted, wait_shred
from lib.learn import Expected, boot_report, counts, learn
from lib.material import Scanner
from lib.upgrade import install_needrestart, repack
from lib.world import VM, World, image_with, volume

# The default run is a cut; the whole suite kills 200 times and upgrades 20 times.
ROUNDS = 5 if whole() else 1  # of KILLS
FROZEN = 20 if whole() else 5
ADDED, GROWTHS, RESIZES = (12, 10, 10) if whole() else (1, 2, 1)
UPGRADES = 20 if whole() else 2
BURST = 30  # StartLimitBurst= of emberlock-agent.service
KILLS = BURST - 3
MIB = 1 << 20
# Between two agents there is nobody to kill: then it is no kill, and does not count.
KILL = f"p=$(pgrep -o -f '^{AGENT}') && kill -9 $p && echo killed || true"
ANSWERS = "timeout 60 sh -c 'until emberlockctl status >/dev/null 2>&1; do sleep 0.1; done'"
# What an administrator says who restarts on purpose; see emberlock-units(7).
FORGIVE = "systemctl reset-failed emberlock-agent"
LOAD = """
cd /data
i=0
while [ ! -e /run/stop-load ]; do
    head -c 3M /dev/urandom >a && cp a b && sync b && echo 3 >/proc/sys/vm/drop_caches && cmp a b || { echo bad; exit 1; }
    i=$((i + 1))
done
echo "$i rounds"
"""
DISKS = {"data": "256M", "grown": "64M", "swp": "64M", "parts": "256M"}
CONF_DIRECTORY = "/run/emberlock/conf/volumes.d"
# As needrestart reads its snippets, and what it asks of them: which programs and services it leaves alone.
SNIPPET = r"""
our %nrconf = (blacklist => [], blacklist_rc => []);
eval do { local(@ARGV, $/) = "/etc/needrestart/conf.d/emberlock.conf"; <> };
die $@ if $@;
print join(" ", (grep { my $x = $_; grep { $x =~ /$_/ } @{$nrconf{blacklist}} } map { "/usr/lib/emberlock/emberlock-$_" } qw(keeper agent watchdog)),
    (grep { my $x = $_; grep { $x =~ /$_/ } @{$nrconf{blacklist_rc}} } map { "emberlock-$_.service" } qw(keeper agent watchdog admitted manager)));
"""


@dataclass
class Tally:
    """What was done to the agent of one boot."""

    instants: random.Random
    kills: int = 0
    unfinished: int = 0  # of those in a change: it had not ended
    upgrades: int = 0


@contextlib.contextmanager
def frozen(vm: VM, world: World, what: str) -> Iterator[None]:
    """No answer while the manager stands still: whatever moves the deadline is the restarts. Afterwards leases go on."""
    os.kill(world.manager_pid(), signal.SIGSTOP)
    try:
        time.sleep(1)
        fixed = deadline(vm)
        yield
        vm.run(ANSWERS, timeout=70)
        assert deadline(vm) == fixed, (what, deadline(vm), fixed)
    finally:
        os.kill(world.manager_pid(), signal.SIGCONT)
    world.wait("a renewed lease", lambda: deadline(vm) > fixed, 60)


def kill_at_random(vm: VM, tally: Tally) -> None:
    """The limit of restarts is as it is by default, and told before that these are on purpose."""
    vm.run(FORGIVE)
    kills = 0
    for _ in range(20 * KILLS):
        kills += vm.run(f"{KILL}; sleep {tally.instants.uniform(0, 1.0):.3f}").text == "killed"
        if kills == KILLS:
            break
    assert kills == KILLS, kills
    tally.kills += kills
    vm.run(ANSWERS, timeout=70)


def kill_during(vm: VM, tally: Tally, command: str) -> None:
    """At an instant after a change has begun, whose end nobody waits for."""
    said = vm.run(f"(emberlockctl {command} >/dev/null 2>&1; echo $? >/run/ended) & sleep {tally.instants.uniform(0, 1.0):.3f}; {KILL}; "
                  f"wait; {ANSWERS}; cat /run/ended", timeout=90).text.split()
    tally.kills += "killed" in said
    tally.unfinished += "killed" in said and said[-1] != "0"


def volumes_of(vm: VM) -> dict[str, dict]:
    return {v["name"]: v for v in status(vm)["volumes"]}


def mapped(vm: VM, tally: Tally) -> None:
    for number in range(ADDED):
        vm.run(FORGIVE)
        name = f"late{number}"
        text = volume("raw" if number % 2 else "ext4", "parts", f"Offset={number * 20}M\nLength=20M", Required="no")
        vm.run(f"mkdir -p {CONF_DIRECTORY}; cat >{CONF_DIRECTORY}/{name}.conf", stdin=text.encode())
        for _ in range(4):
            kill_during(vm, tally, f"add {name}")
        vm.run(f"timeout 60 sh -c 'until emberlockctl volumes | grep -qE \"^{name} .* ready \"; do "
               f"emberlockctl add {name} >/dev/null 2>&1; sleep 0.2; done'", timeout=70)


def grown(vm: VM, tally: Tally) -> None:
    for number in range(GROWTHS):
        vm.run(FORGIVE)
        size = 64 + 16 * (number + 1)
        vm.qmp.execute("block_resize", device=f"disk{list(DISKS).index('grown') + 1}", size=size * MIB)
        vm.run(f"timeout 20 sh -c 'until [ $(blockdev --getsize64 /dev/disk/by-id/virtio-grown) = {size * MIB} ]; do sleep 0.1; done'")
        kill_during(vm, tally, "grow grown")
        # It may have come to its end before; then no 16 MiB are left.
        vm.run("timeout 60 sh -c 'until emberlockctl grow grown 2>&1 | grep -qE \"segments|no 16 MiB\"; do sleep 0.2; done'", timeout=70)
        assert volumes_of(vm)["grown"]["segments"] == number + 2, volumes_of(vm)["grown"]


def resized(vm: VM, tally: Tally) -> None:
    vm.run("systemctl start swap.target")
    for number in range(RESIZES):
        size = (32, 48)[number % 2]
        vm.run(FORGIVE)
        kill_during(vm, tally, f"swap resize swp {size}M")
        vm.run(f"timeout 60 sh -c 'until emberlockctl swap resize swp {size}M; do sleep 0.2; done'", timeout=70)
        assert vm.run("swapon --show=SIZE --noheadings --bytes").text == str(size * MIB - 4096)


def changes(vm: VM, tally: Tally) -> None:
    for what, change in ("maps a volume", mapped), ("grows one", grown), ("re-sizes the swap area", resized):
        with check(f"restart/the agent killed while it {what}: done in the end, and once"):
            before = tally.kills
            change(vm, tally)
            assert tally.kills > before
            maps = [line.split()[0] for line in vm.run("dmsetup ls --target crypt").text.splitlines()]
            assert sorted(maps) == sorted(f"emberlock-{v['name']}-s{i}" for v in status(vm)["volumes"] for i in range(v["segments"])), maps


def deadlines(vm: VM, world: World, tally: Tally) -> None:
    with check(f"restart/the agent killed {FROZEN} times while no answer comes: the deadline does not move"):
        for _ in range(FROZEN // 5):
            vm.run(FORGIVE)
            with frozen(vm, world, "kill"):
                for _ in range(5):
                    tally.kills += vm.run(f"{KILL}; sleep {tally.instants.uniform(0, 1.0):.3f}; {ANSWERS}", timeout=70).text == "killed"


def programs(vm: VM) -> dict[str, list[int]]:
    return {p: process_ids(vm, p) for p in (KEEPER, AGENT, WATCHDOG)}


def upgrade(vm: VM, world: World, package: str, version: str) -> None:
    """One upgrade: agent and watchdog are new, all else is as before."""
    before, volumes = programs(vm), status(vm)["volumes"]
    with frozen(vm, world, version):
        vm.run(f"dpkg --install {package}", timeout=180)
    after = programs(vm)
    assert vm.run("dpkg-query -W -f '${Version} ${db:Status-Status}' emberlock-agent").text == f"{version} installed"
    assert after[KEEPER] == before[KEEPER] and after[AGENT] and after[WATCHDOG], (before, after)
    assert not set(after[AGENT] + after[WATCHDOG]) & set(before[AGENT] + before[WATCHDOG]), (before, after)
    files = {p: vm.run(f"readlink /proc/{after[p][0]}/exe").text for p in after}
    assert files == {KEEPER: f"{KEEPER} (deleted)", AGENT: AGENT, WATCHDOG: WATCHDOG}, files
    assert status(vm)["volumes"] == volumes and status(vm)["state"] == "admitted"


def upgrades(vm: VM, world: World, work: Path, tally: Tally) -> None:
    work.mkdir()
    versions = [f"0.1.0+restart{i}" for i in range(2)]
    for version in versions:
        vm.channel.push_file(repack(work, version), f"/run/{version}.deb")
    with check(f"restart/the package upgraded {UPGRADES} times under I/O: agent and watchdog anew, the keeper as it was, "
               "the deadline unmoved"):
        for number in range(UPGRADES):
            version = versions[number % 2]
            upgrade(vm, world, f"/run/{version}.deb", version)
            tally.upgrades += 1
    with check("restart/a package whose agent could not go on with this keeper: refused, and nothing is changed"):
        vm.channel.push_file(repack(work, "0.1.0+restart9", protocol=9), "/run/9.deb")
        before = programs(vm)
        said = vm.run("dpkg --install /run/9.deb", check=False)
        assert said.status != 0 and b"speaks protocol 1, this version's agent 9" in said.err, said
        assert vm.run("dpkg-query -W -f '${Version} ${db:Status-Status}' emberlock-agent").text == f"{version} installed"
        assert programs(vm) == before
    with check("restart/an agent that could not go on with this keeper says so, and one that can goes on"):
        vm.run("cd /run/emberlock/keeper; cp protocol /run/protocol; echo 9 >protocol; systemctl restart emberlock-agent", check=False)
        said = vm.run("journalctl -u emberlock-agent --no-pager -q -n 40").text
        assert "it speaks protocol '9', this agent 1" in said, said
        vm.run(f"cp /run/protocol /run/emberlock/keeper/protocol; systemctl restart emberlock-agent; {ANSWERS}", timeout=90)
        world.wait("admitted", lambda: status(vm)["state"] == "admitted", 60)


def needrestart(vm: VM, world: World, work: Path) -> None:
    with check("restart/needrestart's configuration: it leaves the keeper alone, and nothing that may be restarted"):
        said = vm.run("perl -", stdin=SNIPPET.encode()).text
        assert said == f"{KEEPER} emberlock-keeper.service emberlock-admitted.service", said
    if not whole():
        return
    with check("restart/needrestart after a library was upgraded: agent and watchdog restarted, the keeper not even named"):
        work.mkdir()
        install_needrestart(vm, work)
        library = vm.run("readlink -f /usr/lib/x86_64-linux-gnu/libcrypto.so.3").text
        vm.run(f"cp -a {library} {library}.new && mv {library}.new {library}")
        named = "needrestart -b -l -r l 2>/dev/null | sed -n 's/^NEEDRESTART-SVC: *//p'"
        # The control: its file is not the one it runs from, and that is what needrestart looks for.
        own = "/etc/needrestart/conf.d/emberlock.conf"
        assert "emberlock-keeper.service" in vm.run(f"mv {own} /run/; {named}; mv /run/emberlock.conf {own}", timeout=180).text.split()
        said = vm.run(named, timeout=180).text.split()
        note(" ".join(said))
        assert {"emberlock-agent.service", "emberlock-watchdog.service"} <= set(said) and "emberlock-keeper.service" not in said, said
        before = programs(vm)
        vm.run(f"needrestart -l -r a </dev/null; {ANSWERS}", timeout=300)
        after = programs(vm)
        assert after[KEEPER] == before[KEEPER] and after[AGENT] != before[AGENT] and after[WATCHDOG] != before[WATCHDOG], (before, after)
        before_ns = deadline(vm)
        world.wait("a renewed lease", lambda: deadline(vm) > before_ns, 60)


def searched(vm: VM, world: World, scanner: Scanner, ram: Path) -> None:
    with check("restart/all of RAM: every key is there, each once; none of a map that was undone"):
        segments = {v["name"]: v["segments"] for v in status(vm)["volumes"]}
        vm.run("sleep 2")  # RCU frees the payloads of keyrings
        vm.qmp.pause()
        try:
            keys = learn(scanner, ram, boot_report(world, "vm1"), segments)
            found = scanner.search(ram, keys.material)
        finally:
            vm.qmp.resume()
        undone = {w.of for w in keys.material.wholes if "instance" in w.of}
        note(f"{len(keys.segments)} segments, {len(undone)} keys of maps undone: {counts(found)}")
        assert counts(found) == Expected(1, 1, frozenset(keys.segments)).counts(), found.strays[:8]
        for key, places in found.wholes.items():
            if key.role.endswith("schedule"):
                assert len(places) == (key.of in keys.segments), (key, places)


def under_load(vm: VM, world: World, work: Path, ram: Path) -> None:
    seed = int(os.environ.get("EMBERLOCK_SEED", time.time()))
    note(f"EMBERLOCK_SEED={seed}")
    tally = Tally(random.Random(seed))
    before = status(vm)
    load = vm.channel.start(LOAD)
    changes(vm, tally)
    deadlines(vm, world, tally)
    upgrades(vm, world, work / "packages", tally)
    needrestart(vm, world, work / "needrestart")
    with check("restart/the agent killed at random instants: never a boot's end, nor a volume's"):
        changed = status(vm)["volumes"]
        for _ in range(ROUNDS):
            kill_at_random(vm, tally)
        after = status(vm)
        assert after["agents"] > before["agents"] and after["admission"] == before["admission"], after
        assert after["volumes"] == changed, after["volumes"]
    with check("restart/kills and upgrades: no byte of the load is lost, no I/O error"):
        vm.run("touch /run/stop-load")
        rounds = vm.channel.finish(load, 120)
        note(f"{tally.kills} kills, {tally.unfinished} of them in a change; {tally.upgrades} upgrades; load: {rounds.text}")
        assert rounds.status == 0 and not rounds.text.startswith("0 "), rounds
        kernel = vm.run("journalctl -k --no-pager -q").text
        assert "Command line:" in kernel and "I/O error" not in kernel, kernel[-2000:]
        assert not whole() or (tally.kills >= 200 and tally.upgrades >= 20), tally
    searched(vm, world, Scanner(work), ram)


def stopped_units(vm: VM, world: World) -> None:
    for unit in "emberlock-softdog.service", "emberlock-admitted.target", "emberlock-admitted.service", "emberlock-failed.target":
        with check(f"restart/systemctl stop {unit}: volumes, watchdog device and lease stay"):
            before = status(vm)
            vm.run(f"systemctl stop {unit}")
            assert vm.run(f"systemctl is-active {unit}", check=False).status != 0
            world.wait("a renewed lease", lambda: deadline(vm) > before["lease"]["deadline_ns"], 60)
            after = status(vm)
            assert (after["state"], after["volumes"]) == (before["state"], before["volumes"]), after
            assert vm.run("test -c /dev/watchdog && findmnt -n /data").status == 0
    with check("restart/systemctl start emberlock-admitted.target: reached again"):
        vm.run("systemctl start emberlock-admitted.target; systemctl is-active emberlock-admitted.target")
    with check("restart/systemctl stop emberlock-keeper is refused"):
        assert vm.run("systemctl stop emberlock-keeper", check=False).status != 0
        assert len(process_ids(vm, KEEPER)) == 2
    with check("restart/systemctl stop and start emberlock-watchdog: the lease goes on"):
        vm.run("systemctl stop emberlock-watchdog")
        before = deadline(vm)
        assert not status(vm)["watchdog_connected"]
        vm.run("systemctl start emberlock-watchdog")
        world.wait("a renewed lease", lambda: deadline(vm) > before, 60)


def limit_fires(vm: VM) -> None:
    """The kills since the last FORGIVE leave a few."""
    save_journal(vm)
    with check("restart/one restart too many: systemd gives the agent up, and the keeper shreds after AgentGoneSec="):
        said = vm.run(f"n=0; until systemctl --quiet is-failed emberlock-agent; do p=$(pgrep -o -f '^{AGENT}') && kill -9 $p && n=$((n + 1)); "
                      "sleep 0.1; done; echo $n; systemctl show -P NRestarts emberlock-agent; "
                      "journalctl -u emberlock-agent --no-pager -q -n 20 | grep -c 'repeated too quickly'")
        begin = time.monotonic()
        kills, restarts, given_up = map(int, said.text.split())
        note(f"given up after {KILLS + kills} kills in a row, at restart {restarts}")
        assert given_up == 1 and restarts == BURST + 1, said
        assert process_ids(vm, AGENT) == []
        assert wait_shred(vm, 60) == ("fault", 17)
        note(f"given up to off: {time.monotonic() - begin:.1f} s, AgentGoneSec=15")


def agent_stopped(guest: dict, work: Path) -> None:
    with VM(**guest, work=work) as vm:
        with check("restart/systemctl stop emberlock-agent: the keeper shreds after AgentGoneSec="):
            wait_admitted(vm)
            begin = time.monotonic()
            vm.run("systemctl stop emberlock-agent")
            assert process_ids(vm, AGENT) == []
            assert wait_shred(vm, 60) == ("fault", 17)
            note(f"stop to off: {time.monotonic() - begin:.1f} s, AgentGoneSec=15")


def keeper_dies(guest: dict, world: World, which: int, name: str) -> None:
    with VM(**guest, work=world.work / name) as vm:
        with check(f"restart/{name} of the keeper killed: the other shreds, the VM is off"):
            wait_admitted(vm)
            admission = status(vm)["admission"]
            victim = process_ids(vm, KEEPER)[which]
            begin = time.monotonic()
            vm.channel.start(f"kill -9 {victim}")
            assert wait_shred(vm, 30) == ("fault", 17)
            note(f"kill to off: {time.monotonic() - begin:.1f} s; receipt: {world.boot_of('vm1')['class']} ({admission[:12]})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    args = parser.parse_args()
    with work_directory("restart") as work, World(work, {"--lease": "120s", "--max-staleness": "120s"}) as world:
        files = {f"/etc/emberlock/volumes.d/{name}.conf": "" for name in ("pgdata", "pgtemp", "swap")}
        files["/etc/emberlock/volumes.d/data.conf"] = volume("ext4", "data", MountPoint="/data")
        files["/etc/emberlock/volumes.d/grown.conf"] = volume("raw", "grown")
        files["/etc/emberlock/volumes.d/swp.conf"] = volume("swap", "swp")
        files["/etc/emberlock/keeper.conf"] = "[Keeper]\nAgentGoneSec=15\n"
        guest = {"image": image_with(args.image, work / "image", files), "disks": DISKS, "append": QUIET,
                 "credentials": world.enrol("vm1"), "memory": 512}
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="emberlock-restart.", dir=shm) as directory:
            ram = Path(directory) / "ram"
            with VM(**guest, work=work / "agent", ram_file=ram) as vm:
                with check("restart/admitted"):
                    wait_admitted(vm)
                    vm.run("systemctl start data.mount")
                under_load(vm, world, work, ram)
                stopped_units(vm, world)
                limit_fires(vm)
        if whole():
            agent_stopped(guest, work / "stop")
        keeper_dies(guest, world, 0, "primary")
        keeper_dies(guest, world, 1, "twin")
    finish()


main()

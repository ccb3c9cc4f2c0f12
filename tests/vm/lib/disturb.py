# SPDX-License-Identifier: Apache-2.0
"""What faults.py does to a guest, its network and its manager. Scripts run in the guest; functions take the Scene."""

import contextlib
import hashlib
import os
import re
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from .forge import Key, of_boot
from .guest import deadline, status
from .matrix import Broken, Scene, Verdict
from .relay import Change, nothing_changed
from .world import HOST

Do = Callable[[Scene], None]
NAME = "manager.emberlock.test"
HOSTS = f"127.0.0.1 localhost emberlock-vm\n{HOST} {NAME}\n"
HOSTS_FILE = "/etc/hosts"
CA_CONF = """[ca]
default_ca = this
[this]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
[policy]
commonName = supplied
"""
REPORT = "emberlock v1 boot report"

# Scripts

NO_NAMES = (f"cp {HOSTS_FILE} /run/hosts; echo 127.0.0.1 localhost >{HOSTS_FILE}; echo nameserver 10.0.2.9 >/etc/resolv.conf; "
            f"! timeout 3 getent hosts {NAME}")
NAMES = f"cp /run/hosts {HOSTS_FILE}; rm /etc/resolv.conf; getent hosts {NAME}"

# Disks

UNDER_WAY = "timeout 60 sh -c 'until [ $(awk \"{ print \\$9 }\" /sys/block/%s/stat) -gt 0 ]; do sleep 0.1; done'"


def stall_root(scene: Scene) -> None:
    """What is run from here on is in the page cache."""
    write = "dd if=/dev/zero of=/written bs=64k count=64 conv=fsync status=none"
    scene.vm.run(f"{write}; awk '{{ print $9 }}' /sys/block/vda/stat; timeout 5 sh -c 'sleep 0.1'; emberlockctl status --json >/dev/null")
    scene.disk("root", 1)
    scene.vm.channel.start(write)
    scene.vm.run(UNDER_WAY % "vda")


# Hypervisor

def pause(seconds: float, resume: bool = True) -> Do:
    def do(scene: Scene) -> None:
        before = status(scene.vm)["pauses"]
        scene.vm.qmp.pause()
        time.sleep(seconds)  # of the host: the guest has no time now
        if resume:
            scene.vm.qmp.resume()
            scene.world.wait("the pause is noticed", lambda: (s := scene.lease()) and s["pauses"] > before, 60)
    return do


def save_and_go_on(scene: Scene) -> None:
    state = scene.vm.work / "state"
    scene.vm.qmp.pause()
    scene.vm.qmp.save_state(str(state))
    state.unlink()
    scene.vm.qmp.resume()


def link(up: bool) -> Do:
    return lambda scene: scene.vm.qmp.execute("set_link", name="net", up=up)


def link_down(seconds: float) -> Do:
    def do(scene: Scene) -> None:
        link(False)(scene)
        time.sleep(seconds)
        link(True)(scene)
    return do


# Between guest and manager

def change(scene: Scene, how: Change) -> None:
    scene.relay.change = how


def unchanged(scene: Scene) -> None:
    change(scene, nothing_changed)


def changed_for(how: Change, seconds: float) -> Do:
    def do(scene: Scene) -> None:
        change(scene, how)
        time.sleep(seconds)
        unchanged(scene)
    return do


def slow(data: bytes, up: bool) -> bytes:
    time.sleep(0 if up else 1)
    return data


def garbage(data: bytes, up: bool) -> bytes:
    return data if up else os.urandom(len(data))


def cut_up(data: bytes, up: bool) -> bytes:
    return b"" if up else data


def cut_down(data: bytes, up: bool) -> bytes:
    return data if up else b""


def halve(scene: Scene, then: Change) -> Change:
    """The half of the next that comes from the manager, and no more on that connection."""
    def how(data: bytes, up: bool) -> bytes:
        if up:
            return data
        scene.relay.silence()
        change(scene, then)
        return data[:len(data) // 2]
    return how


def hang_once(scene: Scene) -> None:
    change(scene, halve(scene, nothing_changed))
    scene.world.wait("half an answer", lambda: scene.relay.change is nothing_changed, 60)


def hang_always(scene: Scene) -> None:
    def how(data: bytes, up: bool) -> bytes:
        return data if up else halve(scene, how)(data, up)
    change(scene, how)


def no_names_reconnect(scene: Scene) -> None:
    scene.vm.run(NO_NAMES)
    scene.relay.hang_up()
    time.sleep(8)


@contextlib.contextmanager
def impostor(scene: Scene, end: str, own_authority: bool) -> Iterator[list[str]]:
    """A server with a certificate of the right names until @end, where the manager was; what became of each handshake."""
    at = Path(scene.world.work) / "impostor"
    at.mkdir(exist_ok=True)
    ca, key = scene.world.state / "ca.pem", scene.world.state / "ca.key"

    def openssl(*args: str | Path) -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=at)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    if not own_authority:
        ca, key = at / "ca.pem", at / "ca.key"
        openssl("req", "-x509", *curve, "-keyout", key, "-out", ca, "-subj", "/CN=another", "-days", "2")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={NAME}")
    (at / "names").write_text(f"subjectAltName=IP:{HOST},DNS:{NAME}\n")
    (at / "index").touch()
    (at / "ca.conf").write_text(CA_CONF)
    openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-in", "server.csr", "-cert", ca, "-keyfile", key, "-extfile", "names",
            "-startdate", "20200101000000Z", "-enddate", end, "-out", "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(at / "server.pem", at / "server.key")
    context.set_alpn_protocols(["h2"])
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = listener.accept()[0]
                    connection.settimeout(10)
                    try:
                        with context.wrap_socket(connection, server_side=True) as tls:
                            tls.recv(1)  # in TLS 1.3 a client's refusal comes after our part of the handshake
                            seen.append("taken")
                    except ssl.SSLError as e:
                        seen.append(e.reason or str(e))
                    except OSError as e:
                        seen.append(str(e))
        threading.Thread(target=serve, daemon=True).start()
        target, scene.relay.target = scene.relay.target, listener.getsockname()[1]
        try:
            yield seen
        finally:
            scene.relay.target = target
            listener.shutdown(socket.SHUT_RDWR)


def refused_impostor(scene: Scene, end: str, own_authority: bool, word: str) -> None:
    with impostor(scene, end, own_authority) as seen:
        scene.relay.hang_up()
        time.sleep(8)
        scene.world.wait("a refusal", lambda: seen, 60)
    scene.relay.hang_up()
    assert "taken" not in seen and any(word in x for x in seen), seen


def other_authority(scene: Scene) -> None:
    refused_impostor(scene, "20990101000000Z", False, "UNKNOWN_CA")


def expired_certificate(scene: Scene) -> None:
    refused_impostor(scene, "20200102000000Z", True, "EXPIRED")


# Manager

def manager_stopped(seconds: float) -> Do:
    def do(scene: Scene) -> None:
        os.kill(scene.world.manager_pid(), signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(scene.world.manager_pid(), signal.SIGCONT)
    return do


def manager_hangs(scene: Scene) -> None:
    os.kill(scene.world.manager_pid(), signal.SIGSTOP)


def manager_gone(scene: Scene) -> None:
    scene.world.stop_manager(signal.SIGKILL)


def manager_restarted(scene: Scene) -> None:
    scene.world.stop_manager()
    scene.world.start_manager()


def manager_killed(scene: Scene) -> None:
    manager_gone(scene)
    scene.world.start_manager()


def manager_rolled_back(scene: Scene) -> None:
    world, vm = scene.world, scene.vm
    world.stop_manager()
    saved = world.save_store()
    for _ in range(2):  # the epoch rises at each start: the saved store is then behind by more than one
        world.start_manager()
        before = deadline(vm)
        world.wait("a renewed lease", lambda: deadline(vm) > before, 60)
        world.stop_manager()
    world.restore_store(saved)
    world.start_manager()
    before = deadline(vm)
    time.sleep(6)
    if deadline(vm) != before:
        raise Broken(Verdict.PAST_BOUND, "a manager with an older store prolonged a lease")
    world.admin("store", "adopt")


def boots(scene: Scene, vm: str, n: int) -> Iterator[bytes]:
    """What opens a boot of @vm, signed as by a machine: that of the scene's with other names and keys. protocol(7): boot report."""
    template = of_boot(scene.world, scene.name, "report")
    credential = (scene.world.work / f"credentials-tenant-{vm}" / "emberlock.vm").read_text()
    (seed,) = re.findall(r"PrivateKey=([0-9a-f]{64})", credential)
    own = Key(scene.world.work, bytes.fromhex(seed))
    for _ in range(n):
        boot = Key(scene.world.work)
        body = template[:72] + vm.encode().ljust(64, b"\0") + secrets.token_bytes(16) + boot.public + template[184:1168]
        report = own.sign(REPORT, body) + boot.sign(REPORT, body)[-64:]
        request = struct.pack(">8s32sQ32sQQIII20x", b"EMBREQ01", hashlib.sha256(report).digest(), 1, secrets.token_bytes(32), 0, 0, 1, 0, 0)
        yield report + boot.sign("emberlock v1 lease request", request)


STORM = 1000  # requests of one go; more than fit in a second's answers are on their way at once


def storm(scene: Scene) -> None:
    """Another VM of the workspace opens boots as quickly as the manager answers, until storm_over()."""
    world = scene.world
    world.enrol("storm")
    bodies = []
    for n, body in enumerate(boots(scene, "storm", 40)):
        bodies.append(world.work / f"boot{n}")
        bodies[-1].write_bytes(body)
    config = world.work / "storm.conf"
    config.write_text("\nnext\n".join(
        f'url = "https://127.0.0.1:{world.port}/v1/boot"\ncacert = "{world.state}/ca.pem"\nhttp2\nnoproxy = "*"\noutput = "/dev/null"\n'
        f'silent\nwrite-out = "%{{http_code}}\\n"\nmax-time = 10\n'
        f'header = "Content-Type: application/octet-stream"\ndata-binary = "@{bodies[n % len(bodies)]}"' for n in range(STORM)))
    over, statuses = threading.Event(), Counter()

    def blow() -> None:
        while not over.is_set():
            done = subprocess.run(["curl", "--parallel", "--parallel-max", "100", "-K", config], capture_output=True,
                                  stdin=subprocess.DEVNULL)
            statuses.update(done.stdout.decode().split())
    threads = [threading.Thread(target=blow, daemon=True) for _ in range(2)]
    scene.more["storm"] = over, threads, statuses, time.monotonic()
    for thread in threads:
        thread.start()
    scene.world.wait("the first thousand", lambda: statuses.total() >= STORM, 120)


def storm_over(scene: Scene) -> None:
    over, threads, statuses, begin = scene.more.pop("storm")
    over.set()
    for thread in threads:
        thread.join(60)
    scene.seen.append(f"{statuses.total() / (time.monotonic() - begin):.0f} a second, answered {dict(statuses)}")
    assert statuses["429"] > statuses.total() / 2, statuses


# KMS

def kms_gone(scene: Scene) -> None:
    """Its directory is not there: no decision of the customer's."""
    scene.world.kms.rename(scene.world.kms.with_name("kms-away"))

# SPDX-License-Identifier: Apache-2.0
"""The provider aws against moto, another's model of AWS: it checks SigV4, IAM's policies, AssumeRole with its external id.

Skipped where Python has no moto. It is no judge of revocations, which the stand-in is for: a disabled key still decrypts there, and IAM's
refusals are XML, where KMS speaks JSON; so a provider finds no name in them.
"""

import importlib.util
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "vm"))
from lib.checks import check, finish, work_directory  # noqa: E402
from lib.world import BIN, World, free_port  # noqa: E402

REGION = "eu-central-1"
EXTERNAL_ID = "tenant-4711"
RIGHTS = ("kms:Encrypt", "kms:Decrypt", "kms:DescribeKey")
POLICY = {"--probe-interval": "1s", "--max-staleness": "20s", "--lease": "60s", "--margin": "15s", "--poll-interval": "2s"}


def certificates(directory: Path) -> None:
    """A CA, and the certificate of "localhost"."""
    directory.mkdir(mode=0o700)
    (directory / "san").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:false\n")
    for command in ("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=moto -keyout ca.key -out ca.pem",
                    "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
                    "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem"):
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)


class Moto:
    """A server on loopback. Until require_identities() it lets everybody do everything."""

    def __init__(self, directory: Path) -> None:
        certificates(directory)
        self.directory, self.port = directory, free_port()
        self.url = f"https://localhost:{self.port}"
        with open(directory.parent / "moto.log", "wb") as log:
            self.child = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port), "-c", directory / "server.pem",
                                           "-k", directory / "server.key"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={"PATH": "/usr/bin:/bin", "INITIAL_NO_AUTH_ACTION_COUNT": "1000000"})
        World.wait("moto answers", lambda: self.child.poll() is not None or self._answers(), 60)

    def _answers(self) -> bool:
        try:
            return bool(self.client("sts").get_caller_identity())
        except Exception:  # whatever boto3 has for a server that is not there yet
            return False

    def client(self, service: str) -> Any:
        import boto3
        import botocore.config
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, verify=str(self.directory / "ca.pem"),
                            aws_access_key_id="nobody", aws_secret_access_key="nothing",
                            config=botocore.config.Config(proxies={}, retries={"max_attempts": 0}))

    def require_identities(self, yes: bool) -> None:
        import ssl
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(
            context=ssl.create_default_context(cafile=str(self.directory / "ca.pem"))))
        opener.open(urllib.request.Request(f"{self.url}/moto-api/reset-auth", b"0" if yes else b"1000000",
                                           {"Content-Type": "text/plain"}), timeout=30).close()

    def allow(self, user: str, statement: list[dict[str, Any]]) -> None:
        """What @user may do from now on: that, and nothing else."""
        self.require_identities(False)
        self.client("iam").put_user_policy(UserName=user, PolicyName="emberlock",
                                           PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}))
        self.require_identities(True)

    def close(self) -> None:
        self.child.terminate()
        self.child.wait(30)


def user(moto: Moto, world: World, name: str, **changes: str) -> None:
    """A user of IAM with an access key, and the file of the manager's credentials that has it."""
    iam = moto.client("iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    fields = {"provider": "aws", "method": "static", "access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"],
              "endpoint": moto.url, "token_endpoint": moto.url, "ca_file": "moto.pem", **changes}
    path = world.state / "credentials" / name
    path.touch(0o600)
    path.write_text(json.dumps(fields))


def on(rights: tuple[str, ...], resource: str) -> list[dict[str, Any]]:
    return [{"Effect": "Allow", "Action": list(rights), "Resource": resource}]


def create(world: World, name: str, arn: str, credentials: str, *options: str) -> str:
    policy = [x for pair in POLICY.items() for x in pair]
    return world.admin("key", "create", name, "--key-arn", arn, "--credentials", credentials, *options, *policy, check=False)


def shown(world: World, key: str) -> dict[str, Any]:
    return json.loads(world.admin("key", "show", key, "--json"))


def node(world: World, directory: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "storage_node", directory, *arguments], capture_output=True, text=True, timeout=60)


def main() -> None:
    with work_directory("moto") as work, World(work) as world:
        moto = Moto(work / "moto")
        try:
            run(moto, world)
        finally:
            moto.close()
    finish()


def run(moto: Moto, world: World) -> None:
    trusted = world.state / "credentials" / "moto.pem"
    trusted.touch(0o600)
    trusted.write_bytes((moto.directory / "ca.pem").read_bytes())
    world.admin("workspace", "create", "aws")
    directory = world.enrol_node("n", "aws")
    arn = moto.client("kms").create_key()["KeyMetadata"]["Arn"]
    account = arn.split(":")[4]
    user(moto, world, "emberlock")
    user(moto, world, "mistaken", secret_access_key="0" * 40)
    user(moto, world, "assumer")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:user/assumer"}, "Action": "sts:AssumeRole",
             "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}}
    iam = moto.client("iam")
    role = iam.create_role(RoleName="customer", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
    iam.put_role_policy(RoleName="customer", PolicyName="key",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": on(RIGHTS, "*")}))
    moto.allow("assumer", on(("sts:AssumeRole",), role))
    moto.allow("emberlock", on(RIGHTS, "*"))

    with check("moto/a user's static key: wrapped and unwrapped"):
        said = create(world, "moto", arn, "emberlock")
        assert said.startswith("moto: created; the KMS wrapped and unwrapped"), said
    with check("moto/a signature that is not the key's is refused, and the key not added"):
        said = create(world, "mistaken", arn, "mistaken")
        assert "the KMS: unavailable (403" in said and "mistaken" not in world.admin("key", "list"), said
    with check("moto/a key that is not there"):
        said = create(world, "lost", arn[:-12] + "0" * 12, "emberlock")
        assert "NotFoundException" in said, said
    with check("moto/a role with its external id, and with another"):
        said = create(world, "stranger", arn, "assumer", "--role-arn", role, "--external-id", EXTERNAL_ID + "2")
        assert "AccessDenied" in said, said
        said = create(world, "role", arn, "assumer", "--role-arn", role, "--external-id", EXTERNAL_ID)
        assert said.startswith("role: created; the KMS wrapped and unwrapped"), said
        world.admin("key", "delete", "role")

    world.admin("workspace", "bind", "aws", "moto")
    page = world.work / "page"
    with check("moto/a DEK under it, made and opened"):
        sealed = node(world, directory, "seal", "data", "page", "a page", page)
        assert sealed.returncode == 0, sealed
        assert node(world, directory, "open", "page", page).stdout == "a page\n"
    with check("moto/a refusal without a name is no verdict, and the next success counts"):
        moto.allow("emberlock", on(("s3:GetObject",), "*"))
        world.wait("the probe fails", lambda: shown(world, "moto")["class"] not in ("", "ok"), 30)
        state = shown(world, "moto")
        moto.allow("emberlock", on(RIGHTS, "*"))
        assert state["class"] == "unavailable" and state["revoked_at"] == 0, state
        world.wait("the probe succeeds again", lambda: shown(world, "moto")["class"] == "ok", 30)


if importlib.util.find_spec("moto") is None:
    print("skip conformance/moto: this machine's Python has no moto")
else:
    main()

# SPDX-License-Identifier: Apache-2.0
"""A stand-in for three KMSes and their identity providers, on loopback, for tests.

It speaks the wire of AWS KMS and STS, Azure Key Vault and its token endpoint, Google Cloud KMS and
its token endpoint over TLS, and the three metadata services in plain HTTP; it checks signatures,
tokens, policies, key states and checksums as the real ones do. POST /control changes its mind. The
official SDKs judge it: conformance.mjs.

usage: standin.py DIRECTORY
DIRECTORY gets ca.pem, the client files, the sources of events and, last, "ready": the two ports. It ends with its standard
input.
"""
import base64
import datetime
import hashlib
import hmac
import http.server
import json
import os
import re
import secrets
import shutil
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

from senders import Senders

ACCOUNT = "111122223333"
REGION = "eu-central-1"
AWS_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0d990263-018e-4e65-a703-eff731de951e"
AWS_USER, AWS_SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/customer"
EXTERNAL_ID = "tenant-4711"
TENANT, CLIENT, CLIENT_SECRET = "tenant-1", "client-1", "azure~secret~canary~of~36~characters"
GOOGLE_KEY = "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"
AZURE_VERSION = "78deebed173b48e48f55abf87ed4cf71"  # the first one
GOOGLE_ACCOUNT = "emberlock@p-1.iam.gserviceaccount.com"
OAUTH_GOOGLE = "https://oauth2.googleapis.com/token"


class Refused(Exception):
    """An answer that is no success: status, body, headers."""

    def __init__(self, status, body, headers=()):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers)


# --- small ciphers: enough for a stand-in, which holds no secret of anybody

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def seal(key, plain, aad):
    nonce = secrets.token_bytes(16)
    text = bytes(a ^ b for a, b in zip(plain, hashlib.shake_256(key + nonce).digest(len(plain))))
    return nonce + text + hmac.digest(key, nonce + text + aad, "sha256")


def unseal(key, blob, aad):
    nonce, text, tag = blob[:16], blob[16:-32], blob[-32:]
    if len(blob) < 48 or not hmac.compare_digest(tag, hmac.digest(key, nonce + text + aad, "sha256")):
        return None
    return bytes(a ^ b for a, b in zip(text, hashlib.shake_256(key + nonce).digest(len(text))))


class RSA:
    """A private key of openssl(1), by its numbers (RFC 8017 appendix A.1.2)."""

    def __init__(self, path, make=True):
        if make:
            openssl("genrsa", "-traditional", "-out", path, "2048")
        with open(path, encoding="ascii") as file:
            der = base64.b64decode("".join(line for line in file if "-" not in line))
        numbers, at = [], 4
        while at < len(der):
            size, at = der[at + 1], at + 2
            if size & 0x80:
                n = size & 0x7F
                size, at = int.from_bytes(der[at:at + n], "big"), at + n
            numbers.append(int.from_bytes(der[at:at + size], "big"))
            at += size
        self.n, self.e, self.d = numbers[1:4]
        self.size = (self.n.bit_length() + 7) // 8

    def verifies(self, signed, signature):
        prefix = bytes.fromhex("3031300d060960864801650304020105000420")
        digest = prefix + hashlib.sha256(signed).digest()
        wanted = b"\0\1" + b"\xff" * (self.size - len(digest) - 3) + b"\0" + digest
        return pow(int.from_bytes(signature, "big"), self.e, self.n) == int.from_bytes(wanted, "big")

    def sign(self, data):
        prefix = bytes.fromhex("3031300d060960864801650304020105000420")
        digest = prefix + hashlib.sha256(data).digest()
        block = b"\0\1" + b"\xff" * (self.size - len(digest) - 3) + b"\0" + digest
        return pow(int.from_bytes(block, "big"), self.d, self.n).to_bytes(self.size, "big")

    @staticmethod
    def mask(seed, size):
        out = b"".join(hashlib.sha256(seed + i.to_bytes(4, "big")).digest() for i in range(size // 32 + 1))
        return out[:size]

    def oaep_encrypt(self, plain):
        block = hashlib.sha256().digest() + b"\0" * (self.size - len(plain) - 66) + b"\1" + plain
        seed = secrets.token_bytes(32)
        masked = bytes(a ^ b for a, b in zip(block, self.mask(seed, len(block))))
        seed = bytes(a ^ b for a, b in zip(seed, self.mask(masked, 32)))
        return pow(int.from_bytes(seed + masked, "big"), self.e, self.n).to_bytes(self.size, "big")

    def oaep_decrypt(self, cipher):
        if len(cipher) != self.size or int.from_bytes(cipher, "big") >= self.n:
            return None
        block = pow(int.from_bytes(cipher, "big"), self.d, self.n).to_bytes(self.size, "big")
        seed = bytes(a ^ b for a, b in zip(block[1:33], self.mask(block[33:], 32)))
        data = bytes(a ^ b for a, b in zip(block[33:], self.mask(seed, len(block) - 33)))
        head, _, plain = data[32:].partition(b"\1")
        return plain if data[:32] == hashlib.sha256().digest() and not head.strip(b"\0") else None


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64url(text):
    if not re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """What the three clouds know. Faults are by name; see control()."""

    def __init__(self, directory):
        self.lock = threading.RLock()
        self.directory = directory
        # By version, the newest last, which is the one that wraps. AWS names none.
        self.aws_secrets = [secrets.token_bytes(32)]
        self.google_secrets = {"1": secrets.token_bytes(32)}
        self.vault_keys = {AZURE_VERSION: RSA(os.path.join(directory, "vault.key"))}
        self.account_key = RSA(os.path.join(directory, "account.key"))
        self.application_key = RSA(os.path.join(directory, "application.key"))
        self.senders = Senders(directory, RSA, openssl)
        self.tls = None  # where we are
        self.sessions = {}
        self.tokens = {}
        self.counts = {}
        self.reset()

    def reset(self):
        self.state = {"aws": "Enabled", "azure": "enabled", "google": "ENABLED"}
        self.allowed = {"aws": {"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"},
                        "azure": {"wrapkey", "unwrapkey", "get"}, "google": {"encrypt", "decrypt", "get"}}
        self.disabled = {"azure": set(), "google": set()}  # versions
        self.role_allowed = True
        self.known = True  # our own identity: its secrets are still good
        self.ttl_s = 3599  # of new tokens
        self.skew_s = 0  # how wrong the callers' clocks look
        self.faults = {}  # place, or "CLOUD-wrap": {"status", "body", "delay", "drop", "times", "after"}
        self.corrupt = None  # a field of the next Google reply that is damaged

    def control(self, order):
        with self.lock:
            if order.get("reset"):
                self.reset()
            for cloud, state in order.get("state", {}).items():
                self.state[cloud] = state
            for cloud, versions in order.get("disabled", {}).items():
                self.disabled[cloud] = set(versions)
            for cloud in order.get("rotate", ()):
                self.rotate(cloud)
            for cloud, operations in order.get("allowed", {}).items():
                self.allowed[cloud] = set(operations)
            for name in ("role_allowed", "known", "ttl_s", "skew_s", "corrupt"):
                if name in order:
                    setattr(self, name, order[name])
            self.faults.update(order.get("faults", {}))
            if order.get("forget_tokens"):
                self.tokens.clear()
                self.sessions.clear()
            if "publish" in order:  # the key that senders sign with from now on, in place of the other
                self.senders.published = order["publish"]
            result = {"counts": dict(self.counts), "confirmed": len(self.senders.confirmed),
                      "versions": {"azure": list(self.vault_keys), "google": list(self.google_secrets)}}
            if "event" in order:
                result["event"] = self.senders.event(order["event"], self.tls)
            return result

    def rotate(self, cloud):
        """A new version, or new material, that wraps from now on; what was before still unwraps."""
        if cloud == "aws":
            self.aws_secrets.append(secrets.token_bytes(32))
        elif cloud == "google":
            self.google_secrets[str(len(self.google_secrets) + 1)] = secrets.token_bytes(32)
        else:
            self.vault_keys[secrets.token_hex(16)] = RSA(os.path.join(self.directory, "vault.key"))

    def fault(self, place):
        with self.lock:
            self.counts[place] = self.counts.get(place, 0) + 1
            fault = self.faults.get(place)
            if not fault:
                return None
            if fault.get("after", 0) > 0:
                fault["after"] -= 1
                return None
            if "times" in fault:
                fault["times"] -= 1
                if fault["times"] <= 0:
                    del self.faults[place]
            return dict(fault)

    def now(self):
        return time.time() + self.skew_s

    def token_new(self, cloud, ttl=3600):
        token = f"{cloud}-token-canary-" + secrets.token_urlsafe(24)
        with self.lock:
            self.tokens[token] = (cloud, time.time() + ttl)
        return token

    def token_is_good(self, cloud, header):
        kind, _, token = (header or "").partition(" ")
        kept = self.tokens.get(token)
        return kind == "Bearer" and self.known and kept and kept[0] == cloud and kept[1] > time.time()


# --- AWS

def aws_error(name, message, status=400):
    return Refused(status, {"__type": name, "message": message},
                   {"Content-Type": "application/x-amz-json-1.1"})


def sigv4_user(world, request, service):
    """The access key whose signature holds, or Refused."""
    match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
                         r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                         request.headers.get("Authorization", ""))
    if not match:
        raise aws_error("MissingAuthenticationTokenException", "Missing Authentication Token")
    user, date, region, named, names, signature = match.groups()
    stamp = request.headers.get("X-Amz-Date", "")
    session = world.sessions.get(user)
    secret = session["secret"] if session else AWS_SECRET if user == AWS_USER else None
    if secret is None or not world.known:
        raise aws_error("UnrecognizedClientException", "The security token included in the request is invalid.")
    if session and (request.headers.get("X-Amz-Security-Token") != session["token"]):
        raise aws_error("UnrecognizedClientException", "The security token included in the request is invalid.")
    if session and session["ends"] < time.time():
        raise aws_error("ExpiredTokenException", "The security token included in the request is expired")
    needed = {"host", "x-amz-date"} | ({"x-amz-security-token"} if session else set())
    if service != named or region != REGION or not needed <= set(names.split(";")):
        raise aws_error("InvalidSignatureException", "Credential should be scoped to a valid region.")
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names.split(";"))
    canonical = "\n".join([request.command, "/", "", headers, names, hashlib.sha256(request.body).hexdigest()])
    scope = f"{date}/{region}/{named}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (date, region, named, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature):
        raise aws_error("InvalidSignatureException",
                        "The request signature we calculated does not match the signature you provided.")
    at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
    if abs(world.now() - at) > 300 or not stamp.startswith(date):
        raise aws_error("InvalidSignatureException", "Signature expired: " + stamp + " is now earlier than ...")
    return user


def aws_usable(world, operation):
    state = world.state["aws"]
    if operation not in world.allowed["aws"] or state == "Deleted":
        raise aws_error("AccessDeniedException", f"User: arn:aws:iam::{ACCOUNT}:user/emberlock is not authorized to "
                        f"perform: {operation} on this resource because no resource-based policy allows it")
    if operation == "kms:DescribeKey" or state == "Enabled":
        return
    if state == "Disabled":
        raise aws_error("DisabledException", f"{AWS_KEY} is disabled.")
    words = {"PendingDeletion": "pending deletion", "PendingImport": "pending import",
             "PendingReplicaDeletion": "PendingReplicaDeletion"}
    raise aws_error("KMSInvalidStateException", f"{AWS_KEY} is {words.get(state, state.lower())}.")


def aws_kms(world, request):
    sigv4_user(world, request, "kms")
    operation = request.headers["X-Amz-Target"].removeprefix("TrentService.")
    fields = json.loads(request.body)
    key_id = fields.get("KeyId", AWS_KEY)
    if not re.fullmatch(r"(arn:aws:kms:[a-z0-9-]+:\d{12}:key/)?[0-9a-f-]{36}", key_id):
        raise aws_error("InvalidArnException", "Invalid arn " + key_id)
    if key_id not in (AWS_KEY, AWS_KEY.split("/")[1]):
        raise aws_error("NotFoundException", f"Key '{key_id}' does not exist")
    aws_usable(world, "kms:" + operation)
    context = json.dumps(fields.get("EncryptionContext", {}), sort_keys=True).encode()
    if operation == "DescribeKey":
        return {"KeyMetadata": {"AWSAccountId": ACCOUNT, "KeyId": AWS_KEY.split("/")[1], "Arn": AWS_KEY,
                                "Enabled": world.state["aws"] == "Enabled", "KeyState": world.state["aws"],
                                "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS",
                                "KeyManager": "CUSTOMER", "CreationDate": 1.7e9}}
    if operation == "Encrypt":
        plain = base64.b64decode(fields["Plaintext"], validate=True)
        if not 1 <= len(plain) <= 4096:
            raise aws_error("ValidationException", "1 validation error detected: Value at 'plaintext' failed")
        return {"CiphertextBlob": b64(seal(world.aws_secrets[-1], plain, context)), "KeyId": AWS_KEY,
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    if operation == "Decrypt":
        blob = base64.b64decode(fields["CiphertextBlob"], validate=True)
        plain = next((p for p in (unseal(s, blob, context) for s in world.aws_secrets) if p is not None), None)
        if plain is None:
            raise aws_error("InvalidCiphertextException", "")
        return {"Plaintext": b64(plain), "KeyId": AWS_KEY, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    raise aws_error("UnknownOperationException", "")


def sts_error(code, message, status=403):
    return Refused(status, f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender'
                   f"</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId>"
                   "</ErrorResponse>", {"Content-Type": "text/xml"})


def sts_signer(world, request):
    try:
        return sigv4_user(world, request, "sts")
    except Refused as refused:
        code = refused.body["__type"].removesuffix("Exception")
        code = {"UnrecognizedClient": "InvalidClientTokenId", "InvalidSignature": "SignatureDoesNotMatch"}.get(code, code)
        raise sts_error(code, refused.body["message"]) from None


def session_new(world, ttl):
    user = "ASIA" + secrets.token_hex(8).upper()
    session = {"secret": secrets.token_urlsafe(30), "token": "session-token-canary-" + secrets.token_urlsafe(60) + "==",
               "ends": time.time() + ttl}
    with world.lock:
        world.sessions[user] = session
    return user, session


def sts_reply(action, user, session):
    return (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
            f"<AccessKeyId>{user}</AccessKeyId><SecretAccessKey>{session['secret']}</SecretAccessKey>"
            f"<SessionToken>{session['token']}</SessionToken><Expiration>{iso(session['ends'])}</Expiration>"
            f"</Credentials><AssumedRoleUser><Arn>{ROLE}/s</Arn><AssumedRoleId>AROA:s</AssumedRoleId>"
            f"</AssumedRoleUser></{action}Result></{action}Response>")


def sts(world, request):
    form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
    action = form["Action"]
    if action == "AssumeRoleWithWebIdentity":
        if form.get("WebIdentityToken") != "web-identity-canary" or not world.known:
            raise sts_error("InvalidIdentityToken", "the token is not valid", 400)
        return sts_reply(action, *session_new(world, int(form.get("DurationSeconds", 3600))))
    signer = sts_signer(world, request)
    if action == "GetCallerIdentity":
        return (f"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{signer}</Arn><UserId>u</UserId><Account>"
                f"{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>")
    if action != "AssumeRole":
        raise sts_error("InvalidAction", "", 400)
    if not world.role_allowed or form.get("RoleArn") != ROLE or form.get("ExternalId") != EXTERNAL_ID:
        raise sts_error("AccessDenied", f"User: {signer} is not authorized to perform: sts:AssumeRole")
    return sts_reply(action, *session_new(world, int(form.get("DurationSeconds", 3600))))


def imds(world, request, path):
    if path == "/latest/api/token":
        if request.command != "PUT" or "X-aws-ec2-metadata-token-ttl-seconds" not in request.headers:
            raise Refused(400, "")
        return "imds-token-canary"
    if request.headers.get("X-aws-ec2-metadata-token") != "imds-token-canary":
        raise Refused(401, "")
    if path == "/latest/meta-data/iam/security-credentials/":
        return "manager-role"
    if path == "/latest/meta-data/iam/security-credentials/manager-role":
        user, session = session_new(world, 21600)
        return {"Code": "Success", "LastUpdated": iso(time.time()), "Type": "AWS-HMAC", "AccessKeyId": user,
                "SecretAccessKey": session["secret"], "Token": session["token"], "Expiration": iso(session["ends"])}
    raise Refused(404, "")


# --- Azure

def azure_error(status, code, message, inner=None, headers=()):
    error = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Refused(status, {"error": error}, headers)


def azure_challenge(world, request):
    if world.token_is_good("azure", request.headers.get("Authorization")):
        return
    raise azure_error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", None,
                      {"WWW-Authenticate": f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", '
                       'resource="https://vault.azure.net"'})


def azure_usable(world, operation, version):
    state = world.state["azure"]
    if state == "deleted":
        raise azure_error(404, "KeyNotFound", "A key with (name/id) k was not found in this key vault.")
    if operation not in world.allowed["azure"]:
        raise azure_error(403, "Forbidden", "Caller is not authorized to perform action on resource.", "ForbiddenByRbac")
    if (state == "disabled" or version in world.disabled["azure"]) and operation != "get":
        raise azure_error(403, "Forbidden", f"Operation {operation} is not allowed on a disabled key.", "KeyDisabled")
    if state == "firewall":
        raise azure_error(403, "Forbidden", "Client address is not authorized.", "ForbiddenByFirewall")


def azure_vault(world, request, path, query):
    azure_challenge(world, request)
    if query.get("api-version") != "7.4":
        raise azure_error(400, "BadParameter", "Method does not allow this api-version.")
    match = re.fullmatch(r"/keys/([A-Za-z0-9-]+)(?:/([0-9a-f]*))?(?:/(wrapkey|unwrapkey))?/?", path)
    if not match or (match[3] is None) != (request.command == "GET"):
        raise azure_error(400, "BadParameter", "The request URI contains an invalid name.")
    name, version, operation = match[1], match[2], match[3] or "get"
    # "k" is known by its public name, "sdk" by where this server is: clients send to where a kid says.
    base = "https://emberlock.vault.azure.net" if name == "k" else "https://" + request.headers["Host"]
    version = version or list(world.vault_keys)[-1]
    if name not in ("k", "sdk") or version not in world.vault_keys:
        raise azure_error(404, "KeyNotFound", f"A key with (name/id) {name} was not found in this key vault.")
    azure_usable(world, operation, version)
    kid, rsa = f"{base}/keys/{name}/{version}", world.vault_keys[version]
    if operation == "get":
        size = (rsa.e.bit_length() + 7) // 8
        return {"key": {"kid": kid, "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"],
                        "n": b64url(rsa.n.to_bytes(rsa.size, "big")),
                        "e": b64url(rsa.e.to_bytes(size, "big"))},
                "attributes": {"enabled": world.state["azure"] != "disabled" and version not in world.disabled["azure"], "created": 1700000000,
                               "updated": 1700000000, "recoveryLevel": "Recoverable+Purgeable"}}
    fields = json.loads(request.body)
    try:
        value = unb64url(fields["value"])
    except ValueError:
        value = b""
    if fields.get("alg") != "RSA-OAEP-256" or not value or (operation == "wrapkey" and len(value) > 190):
        raise azure_error(400, "BadParameter", "The parameter is incorrect.")
    result = rsa.oaep_encrypt(value) if operation == "wrapkey" else rsa.oaep_decrypt(value)
    if result is None:
        raise azure_error(400, "BadParameter", "The parameter is incorrect.")
    return {"kid": kid, "value": b64url(result)}


def jwt_claims(world, key, token, header):
    """The claims of an assertion whose signature and times hold, or None."""
    head, _, rest = token.partition(".")
    body, _, signature = rest.partition(".")
    try:
        fields, claims = json.loads(unb64url(head)), json.loads(unb64url(body))
        good = key.verifies(f"{head}.{body}".encode(), unb64url(signature))
    except ValueError:
        return None
    start = claims.get("iat", claims.get("nbf", 0))
    good = good and all(fields.get(name) == value for name, value in header.items())
    return claims if good and start - 300 < world.now() < claims["exp"] <= start + 3600 else None


def oauth_error(error, description, status=400):
    return Refused(status, {"error": error, "error_description": description})


def azure_login(world, request, path):
    form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
    tenant = path.split("/")[1]
    if tenant != TENANT or form.get("client_id") != CLIENT:
        raise oauth_error("unauthorized_client", "AADSTS700016: Application was not found in the directory.")
    if form.get("grant_type") != "client_credentials" or form.get("scope") != "https://vault.azure.net/.default":
        raise oauth_error("invalid_request", "AADSTS900144: The request body must contain a parameter.")
    if "client_assertion" in form:
        audience = "https://" + request.headers["Host"] + path
        claims = jwt_claims(world, world.application_key, form["client_assertion"],
                            {"alg": "RS256", "x5t": thumbprint(world)})
        good = claims and claims["iss"] == claims["sub"] == CLIENT and claims["aud"] == audience and claims["jti"]
        good = good and form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    else:
        good = form.get("client_secret") == CLIENT_SECRET
    if not good or not world.known:
        raise oauth_error("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
    return {"token_type": "Bearer", "expires_in": world.ttl_s, "ext_expires_in": world.ttl_s, "access_token": world.token_new("azure")}


def thumbprint(world):
    with open(os.path.join(world.directory, "application.pem"), encoding="ascii") as file:
        return b64url(hashlib.sha1(ssl.PEM_cert_to_DER_cert(file.read())).digest())


def azure_metadata(world, request, query):
    if request.headers.get("Metadata") != "true" or query.get("resource") != "https://vault.azure.net":
        raise Refused(400, {"error": "invalid_request"})
    return {"access_token": world.token_new("azure"), "expires_in": "86399", "token_type": "Bearer",
            "resource": "https://vault.azure.net"}


# --- Google

def google_error(status, name, message, details=()):
    return Refused(status, {"error": {"code": status, "message": message, "status": name, "details": list(details)}})


def google_usable(world, operation, version):
    if world.state["google"] == "GONE":
        raise google_error(404, "NOT_FOUND", f"CryptoKey {GOOGLE_KEY} not found.")
    if operation not in world.allowed["google"]:
        raise google_error(403, "PERMISSION_DENIED", "Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on "
                           f"resource '{GOOGLE_KEY}' (or it may not exist).",
                           [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED",
                             "domain": "cloudkms.googleapis.com"}])
    state = google_state(world, version)
    if operation != "get" and state != "ENABLED":
        name = f"{GOOGLE_KEY}/cryptoKeyVersions/{version}"
        raise google_error(400, "FAILED_PRECONDITION", f"{name} is not enabled, current state is: {state}.",
                           [{"@type": "type.googleapis.com/google.rpc.PreconditionFailure",
                             "violations": [{"type": "KEY_DISABLED", "subject": name,
                                             "description": "The key is not enabled."}]}])


def google_state(world, version):
    return "DISABLED" if version in world.disabled["google"] else world.state["google"]


def google_opened(world, cipher, aad):
    """The version that made the ciphertext, and the plaintext: both None where none did."""
    for version, secret in world.google_secrets.items():
        plain = unseal(secret, cipher, aad)
        if plain is not None:
            return version, plain
    return None, None


def google_checked(fields, name):
    """The bytes of NAME, after their CRC where the request has one; and whether it had."""
    data = base64.b64decode(fields.get(name, ""), validate=True)
    crc = fields.get(name + "Crc32c")
    if isinstance(crc, dict):
        crc = crc["value"]
    if crc is not None and int(crc) != crc32c(data):
        raise google_error(400, "INVALID_ARGUMENT", f"{name}_crc32c did not match.")
    return data, crc is not None


def google_kms(world, request, path):
    if not world.token_is_good("google", request.headers.get("Authorization")):
        raise google_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.",
                           [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED",
                             "domain": "googleapis.com"}])
    name, _, verb = path.removeprefix("/v1/").partition(":")
    base, _, number = name.partition("/cryptoKeyVersions/")
    number = number or list(world.google_secrets)[-1]
    version = base + "/cryptoKeyVersions/" + number
    # Others of the ring, named k-*: in all things like the first, but what one wraps no other unwraps.
    if not re.fullmatch(re.escape(GOOGLE_KEY) + "(-[a-z]+)?", base) or number not in world.google_secrets:
        raise google_error(404, "NOT_FOUND", f"CryptoKey {name} not found.")
    if verb != "decrypt":
        google_usable(world, verb or "get", number)
    if not verb:
        state = {"name": version, "state": google_state(world, number), "protectionLevel": "SOFTWARE",
                 "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION"}
        return state if name == version else {"name": base, "primary": state, "purpose": "ENCRYPT_DECRYPT"}
    fields = json.loads(request.body)
    aad, aad_checked = google_checked(fields, "additionalAuthenticatedData")
    bound = base.encode() + aad
    if verb == "encrypt":
        plain, checked = google_checked(fields, "plaintext")
        cipher = seal(world.google_secrets[number], plain, bound)
        reply = {"name": version, "ciphertext": b64(cipher), "ciphertextCrc32c": str(crc32c(cipher)),
                 "verifiedPlaintextCrc32c": checked, "verifiedAdditionalAuthenticatedDataCrc32c": aad_checked,
                 "protectionLevel": "SOFTWARE"}
    elif verb == "decrypt":
        cipher, _ = google_checked(fields, "ciphertext")
        opened, plain = google_opened(world, cipher, bound)
        google_usable(world, "decrypt", opened or number)
        if plain is None:
            raise google_error(400, "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct "
                               "CryptoKey.")
        reply = {"plaintext": b64(plain), "plaintextCrc32c": str(crc32c(plain)), "usedPrimary": True,
                 "protectionLevel": "SOFTWARE"}
    else:
        raise google_error(404, "NOT_FOUND", "Method not found.")
    damaged = {"name": GOOGLE_KEY + "2/cryptoKeyVersions/1", "ciphertextCrc32c": "1", "plaintextCrc32c": "1",
               "verifiedPlaintextCrc32c": False, "verifiedAdditionalAuthenticatedDataCrc32c": False}
    if world.corrupt in reply:
        reply[world.corrupt] = damaged[world.corrupt]
    return reply


def google_token(world, request):
    form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
    if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
        raise oauth_error("unsupported_grant_type", "Invalid grant_type: " + form.get("grant_type", ""))
    claims = jwt_claims(world, world.account_key, form.get("assertion", ""), {"alg": "RS256"})
    if not claims or not world.known or claims["iss"] != GOOGLE_ACCOUNT or claims["aud"] != OAUTH_GOOGLE:
        raise oauth_error("invalid_grant", "Invalid JWT Signature.")
    if "cloudkms" not in claims["scope"] and "cloud-platform" not in claims["scope"]:
        raise oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    return {"access_token": world.token_new("google"), "expires_in": world.ttl_s, "token_type": "Bearer"}


def google_metadata(world, request, path):
    if request.headers.get("Metadata-Flavor") != "Google":
        raise Refused(403, "")
    base = "/computeMetadata/v1"
    texts = {base + "/instance": "ok", base + "/universe/universe-domain": "googleapis.com",
             base + "/universe/universe_domain": "googleapis.com", base + "/project/project-id": "p-1"}
    if path.rstrip("/") in texts:
        return texts[path.rstrip("/")]
    if path == base + "/instance/service-accounts/default/token":
        return {"access_token": world.token_new("google"), "expires_in": world.ttl_s, "token_type": "Bearer"}
    raise Refused(404, "")


# --- one server for all: the place a request is for, then its answer

def place_of(request, path):
    if path == "/control":
        return "control"
    if path.startswith("/keys/"):
        return "azure"
    if path.endswith("/oauth2/v2.0/token"):
        return "azure-token"
    if path.startswith("/v1/projects/"):
        return "google"
    if path == "/token":
        return "google-token"
    if path.startswith("/latest/"):
        return "imds"
    if path.startswith("/metadata/identity/"):
        return "azure-metadata"
    if path.startswith("/computeMetadata/"):
        return "google-metadata"
    if path.startswith("/SimpleNotificationService-") or request.path.startswith("/?Action=ConfirmSubscription&"):
        return "sns"
    if path == "/oauth2/v1/certs":
        return "google-certificates"
    return "aws" if "X-Amz-Target" in request.headers else "sts"


def is_wrap(request, path):
    return path.endswith((":encrypt", "/wrapkey")) or request.headers.get("X-Amz-Target", "").endswith(".Encrypt")


def sns(world, path, query):
    if path == "/":
        world.senders.confirmed.append(query["Token"])
        return "<ConfirmSubscriptionResponse/>"
    found = world.senders.certificate(path)
    if not found:
        raise Refused(403, "")
    return found


def answer(world, place, request, path, query):
    return {"control": lambda: world.control(json.loads(request.body)),
            "aws": lambda: aws_kms(world, request),
            "sts": lambda: sts(world, request),
            "imds": lambda: imds(world, request, path),
            "azure": lambda: azure_vault(world, request, path, query),
            "azure-token": lambda: azure_login(world, request, path),
            "azure-metadata": lambda: azure_metadata(world, request, query),
            "google": lambda: google_kms(world, request, path),
            "sns": lambda: sns(world, path, query),
            "google-certificates": world.senders.google_keys,
            "google-token": lambda: google_token(world, request),
            "google-metadata": lambda: google_metadata(world, request, path)}[place]()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for 40 ms
    world = None
    plain = False  # the metadata services' listener, which serves nothing else

    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=()):
        kind = "text/xml" if isinstance(body, str) and body.startswith("<") else "text/plain"
        if not isinstance(body, str):
            body, kind = json.dumps(body), "application/json"
        headers = {"Content-Type": kind, **dict(headers)}
        if place_is_google(self.path):
            headers["Metadata-Flavor"] = "Google"
        name = {"aws": "x-amzn-RequestId", "azure": "x-ms-request-id"}.get(self.place)
        if name:
            headers[name] = str(uuid.uuid4())
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        data = body.encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        path = re.sub("/+", "/", urllib.parse.unquote(url.path))
        query = dict(urllib.parse.parse_qsl(url.query))
        place = self.place = place_of(self, path)
        fault = self.world.fault(place) or is_wrap(self, path) and self.world.fault(place + "-wrap")
        if fault:
            time.sleep(fault.get("delay", 0))
            if fault.get("drop"):
                self.close_connection = True
                return
            if "status" in fault:
                self.reply(fault["status"], fault.get("body", ""), fault.get("headers", {}))
                return
        metadata = place in ("imds", "azure-metadata", "google-metadata")
        try:
            if metadata != self.plain and place != "control":
                raise Refused(404, "")
            self.reply(200, answer(self.world, place, self, path, query))
        except Refused as refused:
            self.reply(refused.status, refused.body, refused.headers)
        except (KeyError, ValueError):
            self.reply(400, {"error": "malformed"})

    do_GET = do_POST = do_PUT = serve


def place_is_google(path):
    return path.startswith("/computeMetadata/")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that hangs up


def certificates(directory):
    """A CA, the server's certificate, the application's own."""
    path = lambda name: os.path.join(directory, name)
    with open(path("san"), "w", encoding="ascii") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:false\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stand-in CA", "-keyout",
            path("ca.key"), "-out", path("ca.pem"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", path("server.key"), "-out",
            path("server.csr"))
    openssl("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-days", "2",
            "-CAcreateserial", "-extfile", path("san"), "-out", path("server.pem"))
    openssl("req", "-x509", "-key", path("application.key"), "-days", "2", "-subj", "/CN=application", "-out",
            path("application.pem"))


def credentials(directory, port, metadata_port):
    """A credentials file of the manager for each way to authenticate, as emberlock-manager(8) says."""
    tls, plain = f"https://localhost:{port}", f"http://127.0.0.1:{metadata_port}"
    common = {"endpoint": tls, "token_endpoint": tls, "ca_file": "ca.pem"}
    files = {
        "aws-static": {"provider": "aws", "method": "static", "access_key_id": AWS_USER,
                       "secret_access_key": AWS_SECRET},
        "aws-instance": {"provider": "aws", "method": "instance", "metadata_endpoint": plain},
        "aws-web": {"provider": "aws", "method": "web-identity", "role_arn": ROLE, "token_file": "web-token"},
        "azure-secret": {"provider": "azure", "method": "client-secret", "tenant_id": TENANT, "client_id": CLIENT,
                         "client_secret": CLIENT_SECRET},
        "azure-assertion": {"provider": "azure", "method": "assertion", "tenant_id": TENANT, "client_id": CLIENT,
                            "certificate_file": "application.pem", "private_key_file": "application.key"},
        "azure-managed": {"provider": "azure", "method": "managed-identity", "metadata_endpoint": plain},
        "google-account": {"provider": "google", "method": "service-account", "service_account_file": "account.json"},
        "google-metadata": {"provider": "google", "method": "metadata", "metadata_endpoint": plain},
    }
    for name in ("credentials", "events"):
        os.mkdir(os.path.join(directory, name), 0o700)

    def write(name, text, to="credentials"):
        with open(os.open(os.path.join(directory, to, name), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(text)

    for name, fields in files.items():
        write(name, json.dumps({**common, **fields}))
    user, session = session_new(Handler.world, 3600)
    write("aws-session", json.dumps({**common, **files["aws-static"], "access_key_id": user,
                                     "secret_access_key": session["secret"], "session_token": session["token"]}))
    write("web-token", "web-identity-canary")
    for name in ("application.pem", "application.key", "ca.pem"):
        with open(os.path.join(directory, name), encoding="ascii") as file:
            write(name, file.read())
    shutil.copy(os.path.join(directory, "ca.pem"), os.path.join(directory, "events"))
    Handler.world.tls = tls
    for name, fields in Handler.world.senders.sources(tls).items():
        write(name, json.dumps(fields), "events")
    with open(os.path.join(directory, "account.key"), encoding="ascii") as file:
        write("account.json", json.dumps({"type": "service_account", "client_email": GOOGLE_ACCOUNT,
                                          "private_key_id": "kid-1", "private_key": file.read()}))


def main():
    directory = sys.argv[1]
    os.umask(0o077)
    Handler.world = World(directory)
    certificates(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(directory, "server.pem"), os.path.join(directory, "server.key"))
    tls = Server(("127.0.0.1", 0), Handler)
    tls.socket = context.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
    metadata = Server(("127.0.0.1", 0), type("Metadata", (Handler,), {"plain": True}))
    credentials(directory, tls.server_port, metadata.server_port)
    for server in (tls, metadata):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ready = os.path.join(directory, "ready")
    with open(ready + ".new", "w", encoding="ascii") as file:
        file.write(f"{tls.server_port} {metadata.server_port}\n")
    os.rename(ready + ".new", ready)
    sys.stdin.read()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""The stand-in's senders of events: messages as SNS, Event Grid and Pub/Sub send them, and their keys."""
import base64
import datetime
import json
import os
import secrets
import time
import urllib.parse
import uuid

TOPIC = "arn:aws:sns:eu-central-1:111122223333:cmk"
VAULT = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/emberlock"
AUDIENCE = "https://events.example/v1/events/google"
PUSHER = "push@p-1.iam.gserviceaccount.com"
SUBSCRIPTION = "projects/p-1/subscriptions/cmk"
GRID_KEY = "event-grid-key-canary-of-36-characters"
SIGNED = {"Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
          "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")}


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def stamp(age_s):
    at = datetime.datetime.fromtimestamp(time.time() - age_s, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


class Senders:
    """Two keys each: the current one, and one that nobody has published yet ("next")."""

    def __init__(self, directory, rsa_new, openssl):
        self.keys, self.certificates = {}, {}
        self.published = "current"
        self.confirmed = []
        for name in ("current", "next"):
            path = os.path.join(directory, f"sender-{name}.")
            self.keys[name] = rsa_new(path + "key")
            openssl("req", "-x509", "-key", path + "key", "-days", "2", "-subj", "/CN=sns.amazonaws.com", "-out", path + "pem")
            with open(path + "pem", encoding="ascii") as file:
                self.certificates[name] = file.read()

    def sns(self, order, tls):
        kind = order.get("type", "Notification")
        message = {"Type": kind, "MessageId": order.get("id", str(uuid.uuid4())), "TopicArn": order.get("topic", TOPIC),
                   "Message": json.dumps({"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "DisableKey"}}),
                   "Timestamp": stamp(order.get("age_s", 0)), "SignatureVersion": "2",
                   "SigningCertURL": order.get("certificate", f"{tls}/SimpleNotificationService-{self.published}.pem")}
        if kind != "Notification":
            message["Token"] = secrets.token_hex(16)
            message["SubscribeURL"] = (f"{tls}/?Action=ConfirmSubscription&TopicArn={urllib.parse.quote(TOPIC)}"
                                       f"&Token={message['Token']}")
        text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED[kind] if name in message)
        message["Signature"] = base64.b64encode(self.keys[order.get("signer", self.published)].sign(text.encode())).decode()
        return {}, message

    def grid(self, order):
        kind = order.get("type", "Microsoft.KeyVault.KeyNewVersionCreated")
        event = {"id": order.get("id", str(uuid.uuid4())), "topic": order.get("topic", VAULT), "subject": "k",
                 "eventType": kind, "eventTime": stamp(order.get("age_s", 0)), "data": {}, "dataVersion": "1",
                 "metadataVersion": "1"}
        if kind.endswith("SubscriptionValidationEvent"):
            event["data"] = {"validationCode": "512D38B6-C7B8-40C8-89FE-F46F9E9622B6"}
        return {"x-emberlock-key": order.get("key", GRID_KEY)}, [event]

    def pubsub(self, order):
        now = int(time.time())
        header = {"alg": "RS256", "kid": order.get("signer", self.published), "typ": "JWT"}
        claims = {"iss": "https://accounts.google.com", "aud": order.get("audience", AUDIENCE), "email": PUSHER,
                  "email_verified": True, "iat": now, "exp": now + order.get("ttl_s", 3600)}
        text = b64url(json.dumps(header).encode()) + "." + b64url(json.dumps(claims).encode())
        signature = self.keys[order.get("signer", self.published)].sign(text.encode())
        message = {"message": {"attributes": {}, "data": "e30=", "messageId": order.get("id", str(secrets.randbits(50))),
                               "publishTime": stamp(order.get("age_s", 0))},
                   "subscription": order.get("topic", SUBSCRIPTION)}
        return {"authorization": f"Bearer {text}.{b64url(signature)}"}, message

    def event(self, order, tls):
        """{"headers", "body"} of the message that ORDER ("cloud", and what is to be unusual) asks for."""
        make = {"aws": lambda: self.sns(order, tls), "azure": lambda: self.grid(order), "google": lambda: self.pubsub(order)}
        headers, body = make[order["cloud"]]()
        return {"headers": headers, "body": json.dumps(body)}

    def certificate(self, path):
        """What SNS serves at PATH; None."""
        return self.certificates[self.published] if path == f"/SimpleNotificationService-{self.published}.pem" else None

    def google_keys(self):
        return {self.published: self.certificates[self.published]}

    def sources(self, tls):
        """The manager's files of its events directory."""
        place = {"endpoint": tls, "ca_file": "ca.pem"}
        return {"aws": {"provider": "aws", "topic_arn": TOPIC, **place},
                "azure": {"provider": "azure", "topic": VAULT, "key": GRID_KEY},
                "google": {"provider": "google", "audience": AUDIENCE, "email": PUSHER, "subscription": SUBSCRIPTION, **place}}

"""
Standard Webhooks 1.0.0: any shop that can sign and send flashd's own order schema.

The signature is over ``<webhook-id>.<webhook-timestamp>.<body>``, so a delivery cannot be replayed after five minutes.
Facts: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. Asymmetric ``v1a`` signatures are
passed over.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec

from flashd.channels import reading, schema, signature
from flashd.channels.reading import Misread
from flashd.channels.standard_webhooks.config import Config
from flashd.config import Secret, SecretText
from flashd.domain.instant import version_of
from flashd.domain.order import Effect, Incoming
from flashd.domain.seal import Seal
from flashd.ports import Unreadable, Unrelated

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300

EFFECTS: dict[str, Effect] = {
    "paid": Effect.DELIVER,
    "pending": Effect.WAIT,
    "cancelled": Effect.CANCEL,
    "test": Effect.IGNORE,
}

_PREFIX = "whsec_"
_VERSION = "v1,"
_SECONDS = re.compile(r"[0-9]{1,12}")
_DECODER = msgspec.json.Decoder(schema.WebhookOrder)


def key_of(text: str) -> bytes:
    """
    Return the key of a secret: base64 behind ``whsec_``, otherwise the text itself.

    Raises:
        ValueError: What stands behind the prefix is not base64.
    """
    if not text.startswith(_PREFIX):
        return text.encode()
    encoded = text.removeprefix(_PREFIX)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # of binascii, or of the digits beyond ASCII
        raise ValueError("is not base64 behind whsec_; copy the whole secret") from None


def decode_order(body: bytes, channel: str) -> Incoming | Unreadable:
    """Understand a webhook's body; an order that does not say when it was placed counts as placed when it came."""
    try:
        seen = reading.read_strictly(body, _DECODER)
        changed = schema.version_at(seen)
        schema.check_channel(seen.channel or "", channel)
        order, doubt = schema.order_of(seen, channel, body)
    except Misread as error:
        return Unreadable(str(error))
    effect = EFFECTS[seen.status]
    reason = {Effect.IGNORE: "a test order", Effect.CANCEL: ""}.get(effect, doubt)
    return Incoming(
        order=order,
        version=version_of(changed, effect),
        effect=effect,
        reason=reason,
        hold_id=seen.hold_id or "",
        raw=body,
    )


class StandardWebhooks:
    """One sender of Standard Webhooks as a sales channel."""

    kind: ClassVar[str] = "standard_webhooks"

    def __init__(self, name: str, secrets: tuple[bytes, ...]) -> None:
        self.name = name
        self._seals = tuple(map(Seal, secrets))

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
        """Say whether one of the live secrets signed these bytes under this id, within five minutes of now."""
        message_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
        versioned = headers.get(SIGNATURE, "").split(" ")
        offered = [text.removeprefix(_VERSION) for text in versioned if text.startswith(_VERSION)]
        proven = signature.proves(self._seals, _signed(message_id, timestamp, body), offered)
        timely = _SECONDS.fullmatch(timestamp) is not None and abs(int(timestamp) - now_s) <= TOLERANCE_S
        return proven and timely and message_id != ""

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:  # noqa: ARG002  # the port's signature
        """Say no: the specification has no unsigned test."""
        return False

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated:  # noqa: ARG002  # unsigned: they decide nothing
        """Understand a proven body."""
        return decode_order(body, self.name)

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        """Return the headers of a delivery sent now."""
        timestamp = str(int(now_s))
        proof = signature.proof(self._seals[0], _signed(delivery_id, timestamp, body)).decode()
        return {
            "content-type": "application/json",
            ID: delivery_id,
            TIMESTAMP: timestamp,
            SIGNATURE: f"{_VERSION}{proof}",
        }


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> StandardWebhooks:
    """
    Return the channel.

    Raises:
        ConfigError: A secret is missing, empty or malformed.
    """
    secrets = signature.live_secrets(name, config, reveal, key_of)
    return StandardWebhooks(name, secrets)

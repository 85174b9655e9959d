"""
The native API: an own storefront or a till that asks flashd before it sells.

Callers prove themselves by a bearer token, which the web room checks; there are no webhooks. An unclear body is
refused with its path, not quarantined: the caller is there to be told. An order is told once, when it is paid; the
same id with other content is a conflict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec

from flashd.channels import reading, schema, signature
from flashd.channels.reading import Misread, at
from flashd.config import ChannelConfig, Secret, SecretText
from flashd.domain.identity import customer_hash, identity_of, identity_of_text
from flashd.domain.instant import version_of
from flashd.domain.order import Effect, Incoming
from flashd.domain.reservation import HoldRequest
from flashd.domain.text import check_id, readable_lines
from flashd.errors import ConfigError, Forbidden, Refused
from flashd.ports import Unreadable, Unrelated

SHORTEST_TTL_MS = 1000
_IGNORE = Effect.IGNORE
EFFECTS: dict[str, Effect] = {"paid": Effect.DELIVER, "test": _IGNORE}

_HOLD = msgspec.json.Decoder(schema.HoldBody)
_ORDER = msgspec.json.Decoder(schema.NativeOrder)


class Config(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An own storefront or a till."""

    proven_by: ClassVar[tuple[str, ...]] = ("tokens",)  # callers carry a token; nothing is signed

    customer_key: Secret | None = None  # keys the hash that customers are known by; without it, holds carry none


def decode_hold(
    body: bytes,
    channel: str,
    hash_customer: Callable[[str], str],
    *,
    default_ttl_ms: int,
    max_ttl_ms: int,
    location: str,
) -> HoldRequest:
    """
    Understand a wish to hold.

    The digest is over what is asked for, not over bytes: neither the order of keys nor that of lines matters, and the
    same SKU twice is its sum. The customer goes into it, and on, only as *hash_customer* makes him.

    Raises:
        Misread: The body is not understood.
        Forbidden: It names another channel.
    """
    seen = reading.read_strictly(body, _HOLD)
    _speak_for(channel, seen.channel or "")
    ttl_ms = seen.ttl_ms or None
    if ttl_ms is not None and not SHORTEST_TTL_MS <= ttl_ms <= max_ttl_ms:
        raise Misread(f"$.ttl_ms is out of range: want {SHORTEST_TTL_MS} to {max_ttl_ms} (ms)")
    lines = schema.lines_of(seen.lines)
    if not reading.is_plain(body):
        lines = readable_lines(lines)
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    customer = _identity(seen.customer) if seen.customer else ""
    hashed = hash_customer(customer) if customer else ""
    pinned = (seen.location,) if seen.location else ()
    content = msgspec.json.encode((sorted(wanted.items()), ttl_ms, hashed, *pinned))
    return HoldRequest(
        id=at("$.id", check_id, seen.id),
        lines=lines,
        ttl_ms=default_ttl_ms if ttl_ms is None else ttl_ms,
        digest=hashlib.blake2b(content, digest_size=8).hexdigest(),
        channel=channel,
        customer=hashed,
        location=seen.location or location,
    )


def decode_order(body: bytes, channel: str) -> Incoming:
    """
    Understand a paid order; one that does not say when it was placed counts as placed when it came.

    Raises:
        Misread: The body is not understood.
        Forbidden: It names another channel.
    """
    seen = reading.read_strictly(body, _ORDER)
    _speak_for(channel, seen.channel or "")
    order, doubt = schema.order_of(seen, channel, body)
    effect = EFFECTS[seen.status or "paid"]
    return Incoming(
        order=order,
        version=version_of(order.placed_ms, effect),
        effect=effect,
        reason="a test order" if effect is _IGNORE else doubt,
        hold_id=seen.hold_id or "",
        strict=True,
        raw=body,
    )


def _speak_for(own: str, told: str) -> None:
    """
    Let a body name the channel that its token belongs to, and no other.

    Raises:
        Forbidden: It names another one.
    """
    if told not in ("", own):
        raise Forbidden(f"$.channel is another channel's: this token speaks for {own!r}")


def _identity(customer: str | schema.CustomerBody) -> str:
    if isinstance(customer, str):
        return identity_of_text(customer)
    return identity_of(customer.email or "", customer.phone or "")


class Native:
    """One storefront or till; the port NativeChannel."""

    kind: ClassVar[str] = "native"

    def __init__(
        self,
        name: str,
        *,
        hash_customer: Callable[[str], str],
        token: Callable[[], str] = str,
    ) -> None:
        self.name = name
        self._hash_customer = hash_customer
        self._token = token

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:  # noqa: ARG002  # no webhooks
        """Say no, at the cost of a wrong signature: the native API has tokens and no webhooks."""
        return signature.proves((), body, ())

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:  # noqa: ARG002  # as above
        """Say no: as above."""
        return False

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated:  # noqa: ARG002  # unsigned: they decide nothing
        """Understand an order that comes by another way than the API, such as a replay."""
        try:
            return decode_order(body, self.name)
        except (Misread, Refused) as error:
            return Unreadable(str(error))

    def decode_hold(
        self, body: bytes, *, default_ttl_ms: int = 600_000, max_ttl_ms: int = 1_800_000, location: str = ""
    ) -> HoldRequest:
        """
        Understand the body of ``POST /v1/holds``.

        Raises:
            Refused: The detail names the path, what was found and what is allowed; Forbidden for another channel.
        """
        try:
            return decode_hold(
                body,
                self.name,
                self._hash_customer,
                default_ttl_ms=default_ttl_ms,
                max_ttl_ms=max_ttl_ms,
                location=location,
            )
        except Misread as error:
            raise Refused(str(error)) from None

    def decode_order(self, body: bytes) -> Incoming:
        """
        Understand the body of ``POST /v1/orders``, or one line of ``/v1/orders:batch``.

        Raises:
            Refused: As above.
        """
        try:
            return decode_order(body, self.name)
        except Misread as error:
            raise Refused(str(error)) from None

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:  # noqa: ARG002  # a token
        """Return the headers of a call under the channel's first token."""
        token = self._token()
        return {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> Native:
    """
    Return the channel.

    Raises:
        ConfigError: The customer key is empty, or webhook secrets are configured.
    """
    if config.secrets:
        raise ConfigError(
            f"[channels.{name}] secrets: the native API is called with tokens; write tokens = [...] instead"
        )
    key = str(reveal(config.customer_key)).encode() if config.customer_key else b""
    if config.customer_key and not key:
        raise ConfigError(f"[channels.{name}] customer_key: is empty; put at least 16 random characters there")

    def token() -> str:
        return str(reveal(config.tokens[0].secret)) if config.tokens else ""

    return Native(name, hash_customer=customer_hash(key), token=token)

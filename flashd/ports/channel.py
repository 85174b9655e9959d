"""Sales channels: how their messages are proven and understood, and the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import msgspec

from flashd.domain.order import Accepted, Incoming
from flashd.domain.privacy import Demand
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.ports.soon import Soon


class Unreadable(msgspec.Struct, frozen=True, tag="unreadable"):
    """Validly signed, and not understood: it is quarantined with this reason."""

    reason: str


class Unrelated(msgspec.Struct, frozen=True, tag="unrelated"):
    """Understood, and none of flashd's business; *subject* names it, such as "product"."""

    subject: str


class Channel(Protocol):
    """A place that sells: how its messages are proven and understood. Pure: no I/O, no clock of its own."""

    name: str
    kind: ClassVar[str]

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
        """Say whether one of the live secrets signed exactly these bytes. *headers* has lower-case names."""

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Say whether this is the platform's unsigned connection test, answered 200 and otherwise ignored."""

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated | Demand:
        """Understand a proven body; all that decides (id, version, effect) comes from the body, not the headers."""

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        """Return the headers with which the platform would send this body: for `flashd send-test` and the demo."""


class NativeChannel(Channel, Protocol):
    """A sales channel that calls the native API with a bearer token: an unclear body is refused, not quarantined."""

    def decode_hold(
        self, body: bytes, *, default_ttl_ms: int = 600_000, max_ttl_ms: int = 1_800_000, location: str = ""
    ) -> HoldRequest:
        """
        Understand the body of ``POST /v1/holds``.

        Args:
            body: JSON in UTF-8.
            default_ttl_ms: How long the hold lives if the body does not say; the pool's ``hold_ttl_s``.
            max_ttl_ms: The longest time the body may ask for; the pool's ``hold_max_s``.
            location: Where a hold is pinned to whose body does not say; "": nowhere, the channel's terms decide.

        Raises:
            Refused: The detail names the path, what was found and what is allowed.
        """

    def decode_order(self, body: bytes) -> Incoming:
        """
        Understand the body of ``POST /v1/orders`` (or one line of ``/v1/orders:batch``); the result is ``strict``.

        Raises:
            Refused: As above.
        """


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a webhook that is no order: 2xx, and a named state."""

    state: str  # "quarantined", "demanded", "unrelated" or "pong"
    reason: str = ""


class Intake(Protocol):
    """The way in of one sales channel. An answer is there only after the store has made its effect durable."""

    @property
    def channel(self) -> Channel:
        """How its messages are read."""

    def prove(self, headers: Mapping[str, str], body: bytes) -> bool:
        """
        Say whether a webhook is to be read; a ping, which nobody signs, is not.

        Args:
            headers: Looked up by lower-case names; they may be written in any case.
            body: The bytes as they came.

        Raises:
            Unauthenticated: The signature is wrong.
        """

    def read(self, headers: Mapping[str, str], body: bytes) -> Incoming | Soon[Receipt]:
        """
        Understand a proven webhook: return the order, which is not taken yet, or the answer to what is none.

        Raises:
            Busy: Slow down.
            StoreUnavailable: From the answer; nothing is known.
        """

    def admit(self, orders: Sequence[Incoming]) -> Soon[Sequence[Accepted]]:
        """
        Take decoded orders together: as few as fit into one call, and an error is the answer of all.

        Raises:
            Busy: Slow down.
            StoreUnavailable: From the answer; nothing is known.
        """

    async def admit_many(self, orders: Sequence[Incoming]) -> list[Accepted | BaseException]:
        """Take many decoded orders, each on its own: an error that `admit` would raise is that order's answer."""

    def hold(self, requests: Sequence[HoldRequest]) -> Soon[Sequence[HoldReply]]:
        """Set stock aside for each request on its own, or say what is short. Raises as `admit` does."""

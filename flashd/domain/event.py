"""Events: facts that subscribers hear, in the past tense. Their schema stands in docs/events.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KIND = re.compile(r"^([a-z]+)\.[a-z]+(?:_[a-z]+)*$")
_ENVELOPE = frozenset({"v", "id", "at", "kind", "pool"})


class Topic(StrEnum):
    """The last part of the pub/sub channel ``fd:events:<pool>:<topic>``."""

    STOCK = "stock"
    ORDER = "order"
    HOLD = "hold"
    SALE = "sale"
    BACKEND = "backend"
    CHANNEL = "channel"
    ALERT = "alert"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    One entry of a pool's journal, as the feed hands it out.

    *kind* is ``<topic>.<past_verb>``; *data* holds the members of the JSON message beside v, id, at, kind and pool.
    """

    id: str  # the stream id, "<ms>-<n>"
    at_ms: int
    kind: str
    pool: str
    data: dict[str, Any] = msgspec.field(default_factory=dict)

    @classmethod
    def from_entry(cls, pool: str, stream_id: str, kind: str, members: bytes) -> Event:
        """Read a journal entry; *members* is the JSON text between the braces."""
        at_ms = int(stream_id.partition("-")[0])
        return cls(id=stream_id, at_ms=at_ms, kind=kind, pool=pool, data=msgspec.json.decode(b"{" + members + b"}"))

    @property
    def topic(self) -> Topic:
        """Which topic it belongs to."""
        return Topic(self.kind.partition(".")[0])


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Events between *after* and *first* were trimmed before they could be read."""

    pool: str
    after: str
    first: str


def enveloped(event: Event) -> dict[str, Any]:
    """Return all members of an event's message: those of the envelope first, then its own."""
    envelope = {"v": VERSION, "id": event.id, "at": rfc3339(event.at_ms), "kind": event.kind, "pool": event.pool}
    return envelope | event.data


def message_of(event: Event) -> bytes:
    """Return the JSON message of an event: what the scripts publish means the same."""
    return msgspec.json.encode(enveloped(event))


def members_of(kind: str, data: Mapping[str, object]) -> bytes:
    """
    Return the JSON text of an event's own members, as the journal keeps it.

    Raises:
        ValueError: The kind is none, or a member has a name of the envelope.
    """
    match = _KIND.match(kind)
    if match is None or match[1] not in set(Topic):
        raise ValueError(f"{kind!r} is not a kind: want <topic>.<past_verb>, the topic one of {', '.join(Topic)}")
    if taken := _ENVELOPE & data.keys():
        raise ValueError(f"{kind}: {', '.join(sorted(taken))} belongs to the envelope")
    return msgspec.json.encode(dict(data))[1:-1]


def rfc3339(ms: int) -> str:
    """Return ms since 1970 as text, such as 2026-11-27T08:00:00.000Z."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"

"""Events: facts that subscribers hear, in the past tense. Their schema stands in docs/events.md."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


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

    @property
    def topic(self) -> Topic:
        """Which topic it belongs to."""
        return Topic(self.kind.partition(".")[0])


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Events between *after* and *first* were trimmed before they could be read."""

    pool: str
    after: str
    first: str

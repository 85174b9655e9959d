"""Facts on their way to subscribers, and the health of the store that keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from flashd.domain.event import Event, Gap, Topic


class Announcer(Protocol):
    """Publishing facts that no script publishes itself."""

    async def announce(self, pool: str, kind: str, data: Mapping[str, object]) -> str:
        """Append to the pool's journal and publish; return the stream id."""


class Skimmed(msgspec.Struct, frozen=True):
    """A page of the journal, of which only some kinds of events were read."""

    events: tuple[Event | Gap, ...]
    upto: str  # the id of the last entry that was looked at: where to go on
    looked: int  # at so many entries


class Skimmer(Protocol):
    """The journal of one pool, for a reader whom few kinds of events concern."""

    pool: str

    async def skim(self, after: str, kinds: Collection[str], *, limit: int = 500) -> Skimmed:
        """
        Return the events of these kinds among the next *limit* entries, with a Gap first where some were trimmed.

        What is of another kind costs next to nothing: it is not even decoded.
        """

    async def last_id(self) -> str:
        """Return the id of the newest event, "0" before the first. Raises StoreUnavailable."""


class Feed(Protocol):
    """The journal of one pool, as a subscriber reads it."""

    pool: str

    async def read(self, after: str, *, limit: int = 500) -> list[Event | Gap]:
        """Return events after that stream id ("0" = all kept), with a Gap first where some were trimmed."""

    async def last_id(self) -> str:
        """Return the id of the newest event, "0" before the first. Raises StoreUnavailable."""

    def follow(self, after: str = "$", *, topics: Sequence[Topic] = ()) -> AsyncIterator[Event | Gap]:
        """Hand out events as they come, without a gap, starting after that id ("$" = from now)."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of its server."""

    ok: bool  # an order of some pool could be made durable
    reason: str = ""
    closed: dict[str, str] = {}  # pools for which none could while it could for others, and why
    durability: str = "fsync"
    server: str = ""  # "valkey 9.1.2"
    used_bytes: int = 0
    max_bytes: int = 0
    run: str = ""  # which start of which server answered: another one may have forgotten what that one acknowledged


class StoreWatch(Protocol):
    """Whether an order could be made durable right now."""

    async def probe(self) -> StoreHealth:
        """Write and verify; never raises."""

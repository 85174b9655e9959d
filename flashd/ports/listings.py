"""What the channels of one pool show, as the store keeps it: listings, what is dirty, the map, kits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from flashd.domain.catalogue import Entry, Kit
from flashd.domain.listing import Begin, Begun, Ended, Listing


class Dirty(msgspec.Struct, frozen=True):
    """A SKU whose stock changed, and when it first did since it was last published (server's clock, ms)."""

    sku: str
    since_ms: int


class Listings(Protocol):
    """
    The listings of one pool: every method is one atomic script call.

    All raise StoreUnavailable: nothing is known, repeat it. Repeating any of it is safe.
    """

    pool: str

    async def spread(self, channels: Sequence[str], *, within_s: float = 0.0) -> int:
        """
        Hand what became dirty in the pool to each channel's own dirty set; return how many SKUs.

        Nothing is asked where this process began to do it for the same channels less than *within_s* ago: one channel
        does it for all.
        """

    def waits(self, channel: str) -> bool:
        """Say whether the channel must look at anything, as far as this process knows since it spread; costs no I/O."""
        ...

    async def dirty(self, channel: str, limit: int = 1000) -> list[Dirty]:
        """Return what a channel must look at, longest dirty first; a peek."""

    async def clean(self, channel: str, seen: Sequence[Dirty]) -> None:
        """Take SKUs out of the channel's dirty set, unless they became dirty again after the instant seen."""

    async def mark(self, channel: str, skus: Sequence[str]) -> None:
        """Make SKUs dirty for one channel."""

    async def get(self, channel: str, skus: Sequence[str] = ()) -> list[Listing]:
        """Return the listings of these SKUs (an idle one of unknown figure where there is none), or all there are."""

    async def begin(self, channel: str, begins: Sequence[Begin]) -> list[Begun]:
        """Grant each figure as far as free stock backs it, and note that a write is on its way."""

    async def end(self, channel: str, ends: Sequence[Ended]) -> list[Listing]:
        """Settle what is known of writes; an end whose key is not the listing's newest changes nothing."""

    async def observe(self, channel: str, known: Listing, figure: int, *, at_ms: int) -> Listing:
        """
        Note what the platform shows, at that instant of its clock: exposure becomes exact when that settles.

        Only an idle or doubtful listing takes it, and only if nothing was written or observed since *known*; another
        is returned as it is.

        Args:
            known: The listing as `get` told it *before* the platform was asked: orders seen since are no human's edit.
            at_ms: The latest instant at which that figure was in force, by the platform's clock.
        """

    async def settle(self, channel: str, *, seen_ms: int) -> list[Listing]:
        """
        Close what was written or observed before *seen_ms*, up to which all of the channel's orders were seen.

        Return the listings that settled. Exposure that rises here is drift, and is announced.
        """

    async def place(self, channel: str, entries: Sequence[Entry], *, by: str) -> int:
        """Put entries into the channel's map, in place of former ones of the same SKU; return how many changed."""

    async def displace(self, channel: str, skus: Sequence[str], *, by: str) -> int:
        """Take SKUs out of the channel's map; their listings stay until they are zero."""

    async def entries(self, channel: str, skus: Sequence[str] = ()) -> dict[str, Entry]:
        """Return the channel's map, whole or of these SKUs."""

    async def mapped(self, channel: str, cursor: int, *, limit: int) -> tuple[list[str], int]:
        """
        Return some SKUs of the channel's map, about *limit*, and the cursor of the next; 0 before the first.

        The cursor 0 behind the last ends the round. What is in the map all the while comes at least once in it.
        """

    async def put_kits(self, kits: Sequence[Kit], *, by: str) -> None:
        """
        Define kits; one without components is no longer a kit.

        Raises:
            Conflict: Units of it are exposed on a channel, a component is a kit itself, or it has stock of its own.
        """

    async def kits(self) -> Mapping[str, Kit]:
        """Return all kits by SKU."""

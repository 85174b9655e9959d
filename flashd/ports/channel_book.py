"""What must outlive a process of the talk with one channel's API: how far orders were polled, and revisions used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from flashd.domain.revision import Revisions


class PollMark(msgspec.Struct, frozen=True, kw_only=True):
    """How far one channel's orders were seen, by the platform's clock; 0: never polled."""

    seen_ms: int = 0  # every order that changed before it was admitted
    polled_ms: int = 0  # when, by the clock of whoever polled


class ChannelBook(Protocol):
    """Written by the channel's leader only. All raise StoreUnavailable: nothing is known, repeat it."""

    pool: str

    async def mark(self, channel: str) -> PollMark:
        """Return how far the channel's orders were seen."""

    async def advance(self, channel: str, mark: PollMark) -> None:
        """Note how far they were seen; a mark that is behind the known one changes nothing."""

    async def revisions(self, channel: str, skus: Sequence[str]) -> dict[str, Revisions]:
        """Return what each listing has used of its budget."""

    async def revise(self, channel: str, revisions: Mapping[str, Revisions]) -> None:
        """Note what each listing has used, before the write that uses it."""

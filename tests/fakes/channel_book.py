"""A channel book in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flashd.domain.revision import Revisions
from flashd.ports import PollMark


@dataclass
class FakeChannelBook:
    pool: str = "main"
    marks: dict[str, PollMark] = field(default_factory=dict)
    used: dict[tuple[str, str], Revisions] = field(default_factory=dict)

    async def mark(self, channel: str) -> PollMark:
        return self.marks.get(channel, PollMark())

    async def advance(self, channel: str, mark: PollMark) -> None:
        if mark.seen_ms >= self.marks.get(channel, PollMark()).seen_ms:
            self.marks[channel] = mark

    async def revisions(self, channel: str, skus: Sequence[str]) -> dict[str, Revisions]:
        return {sku: self.used.get((channel, sku), Revisions()) for sku in skus}

    async def revise(self, channel: str, revisions: Mapping[str, Revisions]) -> None:
        for sku, used in revisions.items():
            self.used[channel, sku] = used

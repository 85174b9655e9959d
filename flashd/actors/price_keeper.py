"""
One channel's prices: brought to what running sales ask, and back; each step is durable before the next.

What to keep and to write is decided in `flashd.domain.price`; here it is only read, kept, written and read back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec
import structlog

from flashd.domain.catalogue import Entry
from flashd.domain.price import (
    OVER,
    PriceRow,
    PriceState,
    Step,
    Tag,
    aims,
    push,
    pushed,
    restore,
    restored,
    wants_push,
)
from flashd.domain.sale import SaleRecord
from flashd.ports import ChannelApi, Listings, Price, PriceBook, PriceWrite

CHUNK = 50  # SKUs whose prices are on their way together
DOUBT_MS = 30_000  # so long may a write whose answer was lost still land

log = structlog.get_logger()

Announce = Callable[[str, dict[str, object]], Awaitable[None]]


class _Job(msgspec.Struct, frozen=True):
    """One price to move: what is kept of it, what to do once it is known what the platform asks, and after a write."""

    sale: str
    sku: str
    row: PriceRow | None
    decide: Callable[[Tag], Step]
    conclude: Callable[[PriceRow, Tag | None, Tag | None], PriceRow]


class PriceKeeper:
    """
    Looks after the prices of one channel; several may, for every step is kept before the next and fenced by its row.

    Args:
        channel: Its name.
        api: Its own API; nothing is done where it has no prices.
        book: What is kept.
        listings: For the channel's map.
        may_write: Whether this process still leads.
        ready: Waits until a request may leave to the channel.
        announce: Says a fact of the topic sale.
    """

    def __init__(
        self,
        channel: str,
        api: ChannelApi,
        book: PriceBook,
        listings: Listings,
        *,
        may_write: Callable[[], bool],
        ready: Callable[[], Awaitable[None]],
        announce: Announce,
    ) -> None:
        self.channel = channel
        self.wrong: dict[tuple[str, str], str] = {}  # (sale, SKU) -> why its price is not as it should be
        self._api = api
        self._book = book
        self._listings = listings
        self._may_write = may_write
        self._ready = ready
        self._announce = announce

    async def look(self, records: Sequence[SaleRecord], now_ms: int) -> bool:
        """
        Bring every price to what the sales ask; say whether all are right now.

        Raises:
            ChannelUnavailable: The channel did not answer; nothing is lost, look again.
            StoreUnavailable: As above.
        """
        asked = {record.sale.name: aims(record, self.channel, now_ms) for record in records}
        rows = await self._rows()
        back = [row for row in rows.values() if row.state not in OVER and _is_over(row, asked)]
        still_wrong = {key for key in self.wrong if key in rows or key[1] in (asked.get(key[0]) or ())}
        self.wrong = {key: self.wrong[key] for key in still_wrong}
        await self._move([self._back(row, now_ms) for row in back])
        rows = await self._rows() if back else rows
        busy = {row.sku: row.sale for row in rows.values() if row.state not in OVER}
        jobs = [
            self._forth(sale, sku, rows.get((sale, sku)), tag, now_ms)
            for sale, tags in asked.items()
            for sku, tag in (tags or {}).items()
            if busy.get(sku, sale) == sale and wants_push(rows.get((sale, sku)), tag)
        ]
        await self._move(jobs)
        return await self._all_right(asked)

    async def _rows(self) -> dict[tuple[str, str], PriceRow]:
        return {(row.sale, row.sku): row for row in await self._book.rows(self.channel)}

    async def _all_right(self, asked: Mapping[str, Mapping[str, Tag] | None]) -> bool:
        rows = await self._rows()
        unsettled = any(row.state not in OVER and _is_over(row, asked) for row in rows.values())
        return not unsettled and not any(
            wants_push(rows.get((sale, sku)), tag) for sale, tags in asked.items() for sku, tag in (tags or {}).items()
        )

    def _back(self, row: PriceRow, now_ms: int) -> _Job:
        decide = partial(restore, row, now_ms=now_ms, doubt_ms=DOUBT_MS)
        return _Job(row.sale, row.sku, row, decide, restored)

    def _forth(self, sale: str, sku: str, row: PriceRow | None, tag: Tag, now_ms: int) -> _Job:
        def decide(seen: Tag) -> Step:
            return push(row, seen, tag, sale=sale, sku=sku, now_ms=now_ms)

        return _Job(sale, sku, row, decide, pushed)

    # --------------------------------------------------------------------------------------------------- the chunks

    async def _move(self, jobs: Sequence[_Job]) -> None:
        for begin in range(0, len(jobs), CHUNK):
            if not self._may_write():
                return
            await self._chunk(jobs[begin : begin + CHUNK])

    async def _chunk(self, jobs: Sequence[_Job]) -> None:
        """Read, keep, write, read back, keep."""
        entries = await self._listings.entries(self.channel, [job.sku for job in jobs])
        await self._fail([job for job in jobs if job.sku not in entries], "it is not in the channel's map")
        jobs = [job for job in jobs if job.sku in entries]
        seen = await self._read(jobs, entries)
        decided = [(job, job.decide(seen[job.sku])) for job in jobs if job.sku in seen]
        put = await self._book.change(self.channel, [(job.row, step.row) for job, step in decided])
        decided = [pair for pair, is_put in zip(decided, put, strict=True) if is_put]
        settled = [(job, step.row) for job, step in decided if step.tag is None]
        await self._tell(settled)
        writing = [(job, step) for job, step in decided if step.tag is not None]
        if not writing or not self._may_write():
            return
        await self._ready()
        writes = [
            PriceWrite(entry=entries[job.sku], price=step.tag.price, compare_at=step.tag.compare_at)
            for job, step in writing
            if step.tag is not None
        ]
        said = {price.sku: price for price in await self._api.write_prices(writes)}
        seen = await self._read([job for job, _ in writing], entries)
        await self._conclude([(job, step.row) for job, step in writing], said, seen)

    async def _conclude(
        self, written: Sequence[tuple[_Job, PriceRow]], said: Mapping[str, Price], seen: Mapping[str, Tag]
    ) -> None:
        ended = [(job, row, job.conclude(row, _tag(said.get(job.sku)), seen.get(job.sku))) for job, row in written]
        put = await self._book.change(self.channel, [(before, after) for _, before, after in ended])
        moved: list[tuple[_Job, PriceRow]] = []
        for (job, _, after), is_put in zip(ended, put, strict=True):
            answer = said.get(job.sku)
            if answer is not None and answer.reason:
                await self._fail([job], answer.reason)
            elif is_put:
                moved.append((job, after))
        await self._tell(moved)

    async def _read(self, jobs: Sequence[_Job], entries: Mapping[str, Entry]) -> dict[str, Tag]:
        if not jobs:
            return {}
        await self._ready()
        prices = {price.sku: price for price in await self._api.read_prices([entries[job.sku] for job in jobs])}
        for job in jobs:
            price = prices.get(job.sku)
            if price is not None and (price.reason or not price.price):
                await self._fail([job], price.reason or "the channel asks no price for it")
        return {sku: tag for sku, price in prices.items() if (tag := _tag(price)) is not None}

    # ------------------------------------------------------------------------------------------------------ telling

    async def _tell(self, moved: Iterable[tuple[_Job, PriceRow]]) -> None:
        """Say what became of prices: together, where they share sale and outcome."""
        groups: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
        for job, row in moved:
            was = job.row.state if job.row is not None else None
            if row.state is was or row.state not in _SAID:
                continue
            self.wrong.pop((job.sale, job.sku), None)
            if row.state is PriceState.KEPT:
                self.wrong[job.sale, job.sku] = row.reason
                groups[job.sale, "sale.price_kept", row.reason].append(job.sku)
                continue
            groups[job.sale, _SAID[row.state], ""].append(job.sku)
            if row.reason:
                await self._fail([job], row.reason)
        for (sale, kind, reason), skus in groups.items():
            log.info(kind, sale=sale, channel=self.channel, skus=len(skus), reason=reason)
            words: dict[str, object] = {"reason": reason} if reason else {}
            await self._announce(kind, {"sale": sale, "channel": self.channel, "skus": skus, **words})

    async def _fail(self, jobs: Sequence[_Job], reason: str) -> None:
        """Say why prices are not what they should be, once as long as the reason stays."""
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for job in jobs:
            if self.wrong.get((job.sale, job.sku)) != reason:
                self.wrong[job.sale, job.sku] = reason
                groups[job.sale].append(job.sku)
        for sale, skus in groups.items():
            log.warning("sale.price_failed", sale=sale, channel=self.channel, skus=len(skus), reason=reason)
            data: dict[str, object] = {"sale": sale, "channel": self.channel, "skus": skus, "reason": reason}
            await self._announce("sale.price_failed", data)


_SAID = {
    PriceState.PUSHED: "sale.price_pushed",
    PriceState.RESTORED: "sale.price_restored",
    PriceState.KEPT: "sale.price_kept",
}


def _is_over(row: PriceRow, asked: Mapping[str, Mapping[str, Tag] | None]) -> bool:
    """Say whether nobody asks that price any more; a sale that is gone asks nothing."""
    tags = asked.get(row.sale, {})
    return tags is not None and row.sku not in tags


def _tag(price: Price | None) -> Tag | None:
    return Tag(price.price, price.compare_at) if price is not None and not price.reason and price.price else None

"""Reading figures from the platform: what nobody knows yet, what is in doubt, and what somebody may have edited."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from flashd.actors.workbench import Workbench
from flashd.domain.catalogue import Entry
from flashd.domain.listing import UNKNOWN, Listing, ListingState
from flashd.domain.stale import Staleness, classify
from flashd.errors import ChannelUnavailable
from flashd.ports import Figure

GAP_S = 300.0

log = structlog.get_logger()


class FigureReader:
    """Looks at the platform and says what follows."""

    def __init__(self, bench: Workbench) -> None:
        self._api = bench.api
        self._listings = bench.books.listings
        self._line = bench.line
        self._slate = bench.slate
        self._clock = bench.clock
        self._ask_poll = bench.ask_poll

    async def read(self, entries: Sequence[Entry]) -> None:
        """Read the figures of *entries*, with a drop in hand."""
        channel, skus = self._line.channel, [entry.sku for entry in entries]
        self._slate.read_s = self._clock.monotonic_s()
        known = await self._listings.get(channel, skus)
        try:
            figures = await self._api.read(entries)
        except ChannelUnavailable as error:
            await self._line.failed(str(error))
            return
        await self._line.answered()
        after = await self._listings.get(channel, skus)
        for before, now, figure in zip(known, after, figures, strict=True):
            self._slate.to_read.discard(before.sku)
            await self._judge(before, now, figure)

    async def _judge(self, before: Listing, now: Listing, figure: Figure) -> None:
        sku, slate = before.sku, self._slate
        slate.note_platform_ms(figure.at_ms)
        lacks = slate.clear_up(before, figure.units)
        if figure.units == UNKNOWN:
            slate.note_gap(sku, figure.reason or "the platform does not count its stock")
            slate.defer(sku, GAP_S)
            return
        slate.gaps.pop(sku, None)
        if before.figure == UNKNOWN or sku in slate.to_observe or lacks:
            await self._observe(before, figure)
            return
        if before.state is ListingState.SETTLING:
            return  # what was written or read last settles first
        why = classify(before, figure.units)
        if why is not Staleness.EXPECTED:
            slate.stale[why] += 1
        if before.state is ListingState.IN_DOUBT:
            log.info("figure.doubt_resolved", channel=self._line.channel, sku=sku, found=str(why))
            await self._observe(before, figure)
        elif why is Staleness.EXPECTED and before == now and before.exposed != figure.units:
            await self._observe(before, figure)  # a clamp, or a refusal while it settled: nothing else would mend it
        elif why is Staleness.EDIT:
            await self.tell_edit(sku, max(0, before.figure), figure.units)
            await self._observe(before, figure)
        elif why is Staleness.SALE and figure.units != now.figure:
            slate.note_missing(now, figure.units, figure.at_ms)
            if figure.units < now.figure:
                self._ask_poll(figure.at_ms)

    async def tell_edit(self, sku: str, before: int, after: int) -> None:
        """Say that somebody changed a figure on the platform."""
        log.warning("figure.edited", channel=self._line.channel, sku=sku, before=before, after=after)
        await self._line.announce("channel.figure_edited", {"sku": sku, "before": before, "after": after})

    async def _observe(self, before: Listing, figure: Figure) -> None:
        """Take what it shows for the truth: exposure is exact as soon as all orders up to then were seen."""
        row = await self._listings.observe(self._line.channel, before, figure.units, at_ms=figure.at_ms)
        slate = self._slate
        if row.state is not ListingState.SETTLING:
            return  # something was written meanwhile: it is looked at again
        for kept in (slate.suspects, slate.shows, slate.doubts_s, slate.until_s):
            kept.pop(row.sku, None)
        slate.to_observe.discard(row.sku)
        slate.settling_ms[row.sku] = row.written_ms
        await self._listings.mark(self._line.channel, [row.sku])
        self._ask_poll(row.written_ms)

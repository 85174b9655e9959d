"""Writing figures: begin in the store, one call to the platform, end in the store. No value is kept for later."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from flashd.actors.outlook import Aim
from flashd.actors.workbench import Workbench
from flashd.domain.listing import UNKNOWN, Begin, BeginCode, Ended, Listing, Outcome, WriteMode
from flashd.domain.revision import Revisions, wait_ms
from flashd.domain.stale import Staleness, classify
from flashd.errors import StoreUnavailable
from flashd.ports import FigureWrite, FigureWritten, WriteCode

BUSY_S = 0.5
END_TRIES = 5
# What a repeat under the same key may say of the first attempt. A refusal speaks of the repeat alone.
_PROVEN = (WriteCode.APPLIED, WriteCode.STALE)

log = structlog.get_logger()


class FigureWriter:
    """Takes a batch of aims to the platform; whatever becomes of it is in the store afterwards."""

    def __init__(self, bench: Workbench) -> None:
        self._api = bench.api
        self._listings = bench.books.listings
        self._book = bench.books.book
        self._line = bench.line
        self._slate = bench.slate
        self._rules = bench.rules
        self._clock = bench.clock

    async def within_budget(self, aims: Sequence[Aim]) -> list[Aim]:
        """Return the aims that the daily budget lets through now; the others wait."""
        budget = self._rules().revisions_per_day
        if not budget or not aims:
            return list(aims)
        used = await self._book.revisions(self._line.channel, [aim.sku for aim in aims])
        now_ms, now_s, free = self._clock.now_ms(), self._clock.monotonic_s(), []
        for aim in aims:
            quiet_ms = round((now_s - aim.changed_s) * 1000)
            wait = wait_ms(
                used[aim.sku], budget, shows=aim.listing.figure, wants=aim.figure, quiet_ms=quiet_ms, now_ms=now_ms
            )
            if wait:
                self._slate.defer(aim.sku, min(5.0, wait / 1000))  # it may cross zero meanwhile
            else:
                free.append(aim)
        return free

    async def write(self, aims: Sequence[Aim]) -> None:
        """Write the figures of *aims*, at most one call's worth, with a drop in hand."""
        key, channel, rules = uuid.uuid4().hex, self._line.channel, self._rules()
        mode = self._api.traits.mode
        begins = [
            Begin(
                sku=aim.sku,
                units=aim.figure,
                mode=mode,
                key=key,
                was=aim.listing.figure if mode is WriteMode.COMPARE else UNKNOWN,
                backed=rules.escrow,
            )
            for aim in aims
        ]
        try:
            replies = await self._listings.begin(channel, begins)
            begun = [(aim, reply) for aim, reply in zip(aims, replies, strict=True) if reply.code is BeginCode.BEGUN]
            for aim, reply in zip(aims, replies, strict=True):
                if reply.code is BeginCode.UNKNOWN:
                    self._slate.to_read.add(aim.sku)
                elif reply.code is not BeginCode.BEGUN:
                    self._slate.defer(aim.sku, BUSY_S)
            await self._spend([aim.sku for aim, _ in begun])
        except StoreUnavailable:  # perhaps it began, surely nothing was sent
            await self._end([Ended(sku=wanted.sku, key=key, outcome=Outcome.REFUSED) for wanted in begins])
            raise
        writes = [self._write_of(aim, reply.units, reply.listing, key) for aim, reply in begun]
        if not writes:
            return
        try:
            answers = await self._send(writes)
        except BaseException:  # stopped, or a bug in an adapter: nothing is known
            await self._end([Ended(sku=write.entry.sku, key=key, outcome=Outcome.UNKNOWN) for write in writes])
            raise
        await self._conclude([aim for aim, _ in begun], writes, answers)

    def _write_of(self, aim: Aim, units: int, row: Listing, key: str) -> FigureWrite:
        assert aim.entry is not None  # noqa: S101  # what is not in the map is never aimed at
        was = row.was if row.mode is WriteMode.COMPARE else UNKNOWN
        return FigureWrite(entry=aim.entry, units=units, key=key, was=was)

    async def _spend(self, skus: Sequence[str]) -> None:
        """Count a revision of each before it is used: after a crash rather one too many is counted."""
        if not self._rules().revisions_per_day or not skus:
            return
        now_ms = self._clock.now_ms()
        used = await self._book.revisions(self._line.channel, skus)
        spent: dict[str, Revisions] = {sku: one.spent(now_ms) for sku, one in used.items()}
        await self._book.revise(self._line.channel, spent)
        self._slate.most_used = max(self._slate.most_used, *(one.used(now_ms) for one in spent.values()))

    async def _send(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        if not self._line.leads():
            return [FigureWritten(sku=one.entry.sku, code=WriteCode.LATER, reason="not the leader") for one in writes]
        answers = await self._api.write(writes)
        if not self._api.traits.idempotent or all(one.code is not WriteCode.UNKNOWN for one in answers):
            return answers
        await self._line.ready_to_send()
        if not self._line.leads():
            return answers
        again = await self._api.write(writes)  # the same call under the same key answers as the first did
        return [
            later if first.code is WriteCode.UNKNOWN and later.code in _PROVEN else first
            for first, later in zip(answers, again, strict=True)
        ]

    async def repeat(self, aims: Sequence[Aim]) -> None:
        """
        Send again what the first of *aims*, which is in doubt, was sent with, under the same key; a drop is in hand.

        So a channel that cannot be read tells what became of it. A refusal speaks of the repeat alone.
        """
        key = aims[0].listing.key
        doubted = [aim for aim in aims if aim.listing.key == key][: max(1, self._api.traits.batch)]
        writes = [self._write_of(aim, aim.listing.to, aim.listing, key) for aim in doubted]
        if not self._line.leads():
            return
        answers = [
            one if one.code is WriteCode.APPLIED else replace(one, code=WriteCode.UNKNOWN)
            for one in await self._api.write(writes)
        ]
        await self._conclude(doubted, writes, answers)

    # ---------------------------------------------------------------------------------------------------- what became

    async def _conclude(
        self, aims: Sequence[Aim], writes: Sequence[FigureWrite], answers: Sequence[FigureWritten]
    ) -> None:
        ends = [_ended(write, answer) for write, answer in zip(writes, answers, strict=True)]
        rows = await self._end(ends)
        faults = [one.reason or one.code for one in answers if one.code in (WriteCode.LATER, WriteCode.UNKNOWN)]
        if len(faults) == len(answers):
            await self._line.failed(faults[0])
        else:
            await self._line.answered()
        by_sku = {row.sku: row for row in rows}
        for aim, answer in zip(aims, answers, strict=True):
            self._slate.note_platform_ms(answer.at_ms)
            self._note(aim, answer, by_sku.get(aim.sku))

    def _note(self, aim: Aim, answer: FigureWritten, row: Listing | None) -> None:
        slate = self._slate
        match answer.code:
            case WriteCode.APPLIED:
                slate.published(aim.sku, crossed=aim.crosses)
            case WriteCode.STALE:
                self._note_stale(aim, answer, row)
            case WriteCode.REFUSED:
                slate.note_refused(aim.sku, answer.reason)
                log.warning("figure.refused", channel=self._line.channel, sku=aim.sku, reason=answer.reason)
            case WriteCode.UNKNOWN:
                slate.doubts_s[aim.sku] = self._clock.monotonic_s() + self._rules().doubt_s
                slate.defer(aim.sku, self._rules().doubt_s)
                log.warning("figure.doubted", channel=self._line.channel, sku=aim.sku, reason=answer.reason)
            case WriteCode.LATER:
                pass  # the line says when

    def _note_stale(self, aim: Aim, answer: FigureWritten, row: Listing | None) -> None:
        if answer.figure == UNKNOWN or row is None:
            self._slate.to_read.add(aim.sku)
            return
        why = classify(row, answer.figure)
        if why is Staleness.EDIT:  # read it again, with the time, before anything is concluded
            self._slate.to_read.add(aim.sku)
            return
        self._slate.stale[why] += 1
        self._slate.note_missing(row, answer.figure, self._slate.platform_ms())

    async def _end(self, ends: Sequence[Ended]) -> list[Listing]:
        """Tell the store what became of them; what cannot be told is found as a doubt by whoever leads."""
        for number in range(1, END_TRIES + 1):
            try:
                return await self._listings.end(self._line.channel, ends)
            except StoreUnavailable as error:
                log.warning("figure.not_ended", channel=self._line.channel, reason=str(error))
                if number < END_TRIES:
                    await self._clock.sleep(0.2 * number)
        return []


def _ended(write: FigureWrite, answer: FigureWritten) -> Ended:
    sku, key = write.entry.sku, write.key
    if answer.code is WriteCode.APPLIED:
        return Ended(sku=sku, key=key, outcome=Outcome.APPLIED, at_ms=answer.at_ms)
    if answer.code is WriteCode.UNKNOWN:
        return Ended(sku=sku, key=key, outcome=Outcome.UNKNOWN)
    return Ended(sku=sku, key=key, outcome=Outcome.REFUSED)

"""
Keeping one channel's figures right: the actor that looks at what is dirty, and writes what the platform should show.

The latest value wins: a figure is computed when it is sent, and computed again instead of being sent again. A message
only says that there is work; the actor polls as well, so a lost one delays and never loses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from flashd.actors.agenda import BLIND_MS, Agenda
from flashd.actors.channel_line import ChannelLine
from flashd.actors.channel_rules import PoolBooks, PublisherRules
from flashd.actors.demand import Demand
from flashd.actors.figure_reader import FigureReader
from flashd.actors.figure_writer import FigureWriter
from flashd.actors.outlook import SALES_S, Aim, Outlook
from flashd.actors.slate import Slate
from flashd.actors.stir import Stir
from flashd.actors.sweep import PART, Sweep
from flashd.actors.workbench import Workbench
from flashd.domain.flow import ChannelFlow
from flashd.errors import Busy, StoreUnavailable, Transient
from flashd.ports import ChannelApi, Clock, Dirty
from flashd.runtime.actor import Actor
from flashd.runtime.deadline import any_of

STORE_PAUSE_S = 0.5
LOOK = 1000  # SKUs looked at together
READ = 100  # figures read in one call

log = structlog.get_logger()


@dataclass(frozen=True)
class Seen:
    """Every order that changed before this instant of the platform's clock was admitted."""

    seen_ms: int


class Publisher(Actor[Seen]):
    """
    Publishes to one channel while it leads.

    Args:
        api: The channel's own API.
        rules: A reload may replace `rules` while the actor runs.
        line: Shared with the poller; started before.
        ask_poll: Told up to when orders must be seen, so that a figure can settle.
    """

    def __init__(
        self,
        api: ChannelApi,
        rules: PublisherRules,
        books: PoolBooks,
        line: ChannelLine,
        *,
        clock: Clock,
        ask_poll: Callable[[int], None] = lambda _seen_ms: None,
    ) -> None:
        super().__init__(f"publisher:{line.channel}", clock=clock, mailbox_size=64)
        self.api = api
        self.rules = rules
        self.slate = Slate(clock)
        self._channel = line.channel
        self._listings = books.listings
        self._line = line
        self._demand = Demand()
        self._demand.watched = line.channel
        self._outlook = Outlook(
            lambda: self.rules,
            books,
            clock=clock,
            lag_s=lambda: self.slate.lag.percentile(0.99, clock.monotonic_s()),
            demand=self._demand,
        )
        bench = Workbench(
            api=api,
            books=books,
            line=line,
            slate=self.slate,
            rules=lambda: self.rules,
            clock=clock,
            ask_poll=ask_poll,
        )
        self._agenda = Agenda(bench)
        self._reader = FigureReader(bench)
        self._writer = FigureWriter(bench)
        self._sweep = Sweep(books.listings, line.channel, clock=clock)
        self._stir = Stir(clock)
        self._epoch = 0
        self._dirty = 0
        self._busy_s = float("-inf")  # when anything was dirty last
        self._settled_s = 0.0
        self._round: asyncio.Task[Any] | None = None
        self._stop_bound_s = 3.0

    # ------------------------------------------------------------------------------------------------ its life

    async def on_start(self) -> None:
        """Look at what is dirty, for ever."""
        self.slate.in_hand.clear()
        self._epoch = 0
        self._round = self.spawn(self._flow(), name="flow")

    async def receive(self, message: Seen) -> None:
        """Let figures settle up to what was seen, and look at once."""
        if self._line.leads():
            try:
                await self.within_turn(self._settle(message.seen_ms))
            except Transient as error:  # the next poll tells it again
                log.warning("figures.not_settled", channel=self._channel, reason=str(error))
        self._stir.say()

    def wake(self) -> None:
        """Say that something changed; never waits, for every call of the intake that changes stock says it."""
        self._stir.say()

    def seen(self, seen_ms: int) -> None:
        """Say that all orders up to that instant of the platform's clock were admitted; never waits."""
        with contextlib.suppress(Busy):  # the next poll says it again
            self.offer(Seen(seen_ms))

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Begin no more calls; wait for those under way, and leave the rest in doubt, within *timeout_s*."""
        self._stop_bound_s = max(0.2, timeout_s - 1.5)
        await super().stop(timeout_s)

    async def on_stop(self) -> None:
        """Let calls under way end."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
        deadline_s = self.clock.monotonic_s() + self._stop_bound_s
        while flying := self._flying():
            left_s = deadline_s - self.clock.monotonic_s()
            if left_s <= 0:
                break
            await any_of(flying, left_s, clock=self.clock)
            await asyncio.sleep(0)  # the callback that takes an ended child away
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)

    def _flying(self) -> list[asyncio.Task[Any]]:
        return [task for task in self.children if task.get_name().endswith("/call")]

    # ------------------------------------------------------------------------------------------------------ the flow

    async def _flow(self) -> None:
        while True:
            try:
                await self._step()
            except StoreUnavailable as error:
                self._line.last_error = str(error)
                await self.clock.sleep(STORE_PAUSE_S)

    async def _step(self) -> None:
        """Look at what is dirty, and start one call: a drop first, so that what is sent was computed just now."""
        within_s = min(self._stir.begin(), self.rules.poll_s / 2)
        term = self._line.term
        if term is None or self.rules.display.mode == "none":
            return await self._stir.wait(self.rules.poll_s)
        if term.epoch != self._epoch:
            self._begin_term(term.epoch)
        await self._tend()
        await self._listings.spread(self.rules.channels, within_s=within_s)
        waits, limit = self._listings.waits(self._channel), LOOK + len(self.slate.until_s)
        found = await self._listings.dirty(self._channel, limit) if waits else []
        if found and not self._dirty:
            await self._refresh(idle=False)  # a sale may be why
        await self._listings.clean(self._channel, self.slate.resting(found))
        self._dirty = len(found)
        if found:
            self._busy_s = self.clock.monotonic_s()
        if len(found) < PART:
            await self._sweep_on()
        if len(self._flying()) >= self.rules.calls_in_flight:
            return await self._stir.wait(self.rules.poll_s)
        to_read, to_write = await self._sort(self.slate.note_dirty(found)[:LOOK], found)
        if not to_read and not to_write:
            return await self._stir.wait(self.rules.poll_s)
        wait_s = await self._line.drop()
        if wait_s > 0:
            return await self.clock.sleep(min(wait_s, 1.0))
        if to_read and not any(aim.crosses for aim in to_write):
            part = to_read[:READ]
            entries = [aim.entry for aim in part if aim.entry is not None]
            call = self._reader.read(entries) if self.api.traits.reads else self._writer.repeat(part)
            return self._launch([aim.sku for aim in part], call)
        batch = to_write[: max(1, self.api.traits.batch)]
        return self._launch([aim.sku for aim in batch], self._writer.write(batch))

    def _launch(self, skus: Sequence[str], call: Coroutine[Any, Any, None]) -> None:
        self.slate.in_hand.update(skus)
        self.spawn(self._fly(skus, call), name="call")

    async def _fly(self, skus: Sequence[str], call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
        except StoreUnavailable as error:
            self._line.last_error = str(error)
        finally:
            self.slate.in_hand.difference_update(skus)
            self._stir.say(urgent=True)  # a place is free

    # --------------------------------------------------------------------------------------------- what must be done

    async def _sort(self, ready: Sequence[Dirty], found: Sequence[Dirty]) -> tuple[list[Aim], list[Aim]]:
        """Return what must be read, and what must be written, the most urgent first; clean what is right."""
        skus = [one.sku for one in ready]
        if not skus:
            return [], []
        missing = {sku: suspicion.missing for sku, suspicion in self.slate.suspects.items()}
        aims = await self._outlook.look(skus, missing=missing, shows=self.slate.shows)
        self.slate.explain(self._demand.take_fresh())
        todo = await self._agenda.sort(aims.values())
        if todo.done:
            by_sku = {one.sku: one for one in found}
            await self._listings.clean(self._channel, [by_sku[sku] for sku in todo.done])
        to_write = await self._writer.within_budget(todo.to_write)
        to_write.sort(key=lambda aim: (not aim.crosses, aim.figure > 0, self.slate.since_ms.get(aim.sku, 0), aim.sku))
        return todo.to_read, to_write

    # -------------------------------------------------------------------------------------------------- looking after

    def _begin_term(self, epoch: int) -> None:
        """Look at everything once: nobody knows what happened while nobody led."""
        self._epoch = epoch
        self.slate.forget()
        self._sweep.restart()

    async def _refresh(self, *, idle: bool) -> None:
        if changed := await self._outlook.refresh(idle=idle):
            await self._listings.mark(self._channel, sorted(changed))

    async def _tend(self) -> None:
        """Mark what time alone makes dirty: windows of sales, channels that wait for units."""
        # What was dirty just now may have been computed by sales that were read before they changed.
        await self._refresh(idle=self.clock.monotonic_s() - self._busy_s > 2 * SALES_S)
        due = self.slate.due_again()
        if due:
            await self._listings.mark(self._channel, sorted(due))
            hungry = sorted(sku for sku, partners in due.items() if partners)
            for partner in self.rules.partners if hungry else ():
                if partner.channel != self._channel:
                    await self._listings.mark(partner.channel, hungry)
        now_s = self.clock.monotonic_s()
        if not self.rules.polled and not self.rules.escrow and now_s - self._settled_s > 1.0:
            self._settled_s = now_s
            await self._settle(self.clock.now_ms() + self.slate.skew_ms - BLIND_MS)

    async def _sweep_on(self) -> None:
        if part := await self._sweep.next_part(self.rules.sweep_s):
            self.slate.to_read.update(part if self.api.traits.reads else ())
            await self._listings.mark(self._channel, part)

    async def _settle(self, seen_ms: int) -> None:
        """Close what was written or read before *seen_ms*, and judge what orders have not explained."""
        settled = await self._listings.settle(self._channel, seen_ms=seen_ms)
        for row in settled:
            self.slate.settling_ms.pop(row.sku, None)
            self.slate.until_s.pop(row.sku, None)
            self.slate.note_unclear(row.sku, unclear=row.seen > row.later)
        overdue = [sku for sku, one in self.slate.suspects.items() if one.at_ms < seen_ms]
        if not overdue:
            return
        now_s = self.clock.monotonic_s()
        for row in await self._listings.get(self._channel, overdue):
            self._demand.note(self._channel, row, now_s)
        self.slate.explain(self._demand.take_fresh())
        for sku in overdue:
            left = self.slate.suspects.pop(sku, None)
            self.slate.shows.pop(sku, None)
            if left is not None:
                await self._reader.tell_edit(sku, left.figure + left.missing, left.figure)
                self.slate.to_read.add(sku)
                self.slate.to_observe.add(sku)
        await self._listings.mark(self._channel, overdue)

    # ------------------------------------------------------------------------------------------------------ telling

    def snapshot(self) -> ChannelFlow:
        """Say how publishing goes; costs no I/O."""
        slate, budget = self.slate, self.rules.revisions_per_day
        return ChannelFlow(
            name=self._channel,
            mode=self.rules.display.mode,
            leading=self._line.leads(),
            epoch=self._epoch,
            dirty=self._dirty,
            in_flight=len(slate.in_hand),
            in_doubt=len(slate.doubts_s),
            settling=len(slate.settling_ms),
            lag=slate.lag_of(slate.lag),
            zero_lag=slate.lag_of(slate.zero_lag),
            calls=self.api.calls,
            written=slate.written,
            sales=self._demand.sales,
            revisions_left=max(0, budget - slate.most_used) if budget else -1,
            away=self._line.away,
            last_error=self._line.last_error,
            gaps=tuple(sorted(slate.gaps)),
            refused=dict(slate.refused),
            stale=dict(slate.stale),
        )

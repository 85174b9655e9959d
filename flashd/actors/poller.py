"""
Polling one channel's orders for what its webhooks missed: by the time of their change, with an overlap.

What is found goes the way of every webhook, and the store knows what it has seen. So a poll may be late, or done twice,
and nothing is lost or doubled; a cursor moves only once everything up to it is durable.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from enum import StrEnum

import structlog

from flashd.actors.channel_line import ChannelLine
from flashd.actors.channel_rules import PollerRules, PoolBooks
from flashd.actors.webhook_watch import WebhookWatch
from flashd.domain.flow import PollFlow
from flashd.domain.order import AcceptCode, Incoming, OrderState
from flashd.errors import Busy, ChannelUnavailable, Transient
from flashd.ports import ChannelApi, Clock, Intake, Polled, PollMark, Unreadable
from flashd.runtime.actor import Actor
from flashd.runtime.deadline import any_of

PAGE = 100
KNOWN = 20_000  # versions that were admitted lately are not asked about again
FIRST_LOOK_MS = 3_600_000  # without a cut-over, the first poll looks back so far
SOON_S = 0.2  # between two polls, however urgent
TROUBLE_S = 2.0
LOOK_BACK_MS = 120_000  # behind the mark, where the store may have forgotten: far more than a replica lags behind
CHECK_SOON_S = 20.0  # subscriptions are looked at so soon when polls find what nobody told of

log = structlog.get_logger()


class _Told(StrEnum):
    """Whether anybody had told of an order that a poll found."""

    BEFORE = "before"  # a webhook had
    MISSED = "missed"  # nobody had, and there was time
    EARLY = "early"  # nobody had yet
    KNOWN = "known"  # it says nothing of webhooks


class Poller(Actor[None]):
    """
    Polls one channel while its line leads.

    Args:
        intake: The channel's own way in.
        books: Of the pool: the ledger takes a body that cannot be read, the channel book how far was polled.
        seen: Told up to which instant of the platform's clock all orders were seen: `Publisher.seen`.
    """

    def __init__(
        self,
        api: ChannelApi,
        rules: PollerRules,
        intake: Intake,
        books: PoolBooks,
        line: ChannelLine,
        *,
        clock: Clock,
        seen: Callable[[int], None] = lambda _seen_ms: None,
    ) -> None:
        super().__init__(f"poller:{line.channel}", clock=clock, mailbox_size=4)
        self.rules = rules
        self.webhooks = WebhookWatch(api, line, clock=clock)
        self._api = api
        self._intake = intake
        self._ledger = books.ledger
        self._book = books.book
        self._line = line
        self._seen = seen
        self._stir = asyncio.Event()
        self._mark = PollMark()
        self._epoch = 0
        self._wanted_ms = 0
        self._ahead_ms = 0  # the platform's clock, less ours, as it last told
        self._known: OrderedDict[tuple[str, int, str], None] = OrderedDict()
        self._doubts = self._settled = 0  # how often the store was doubted, and of these, looked back for
        self._polls = self._found = self._missed = 0
        self._last_poll_ms = 0
        self._last_poll_s = float("-inf")
        self._last_error = ""

    def want(self, seen_ms: int) -> None:
        """Ask for a poll that shows all orders up to that instant of the platform's clock, as soon as one can."""
        if seen_ms >= max(self._wanted_ms, self._mark.seen_ms):
            self._wanted_ms = seen_ms + 1  # strictly after it
            self._stir.set()

    def poll_now(self) -> None:
        """Poll as soon as possible: a human asks, or webhooks seem to be dead."""
        self._last_poll_s = float("-inf")
        self._stir.set()

    def look_back(self) -> None:
        """Ask about everything of the last minutes again: the store may have forgotten what it had acknowledged."""
        self._doubts += 1
        self.poll_now()

    async def on_start(self) -> None:
        """Poll, for ever."""
        self._epoch = 0
        self.spawn(self._flow(), name="flow")

    async def receive(self, message: None) -> None:  # noqa: ARG002  # there is only one message
        """Poll now."""
        self.poll_now()

    # ------------------------------------------------------------------------------------------------------ the flow

    async def _flow(self) -> None:
        while True:
            self._stir.clear()
            wait_s = TROUBLE_S
            try:
                wait_s = await self._step()
            except ChannelUnavailable as error:
                self._last_error = str(error)
                await self._line.failed(str(error))
            except (Busy, Transient) as error:  # what was not admitted is found again: the mark has not moved
                self._last_error = str(error)
                log.warning("orders.not_polled", channel=self._line.channel, reason=str(error))
            await self._nap(max(SOON_S, wait_s))

    async def _nap(self, seconds: float) -> None:
        sleeper = asyncio.ensure_future(self._stir.wait())
        try:
            await any_of([sleeper], seconds, clock=self.clock)
            if self._stir.is_set():
                await self.clock.sleep(SOON_S)
        finally:
            sleeper.cancel()

    async def _step(self) -> float:
        """Poll or check if it is time; return how long nothing is to be done."""
        term = self._line.term
        if term is None:
            return 0.5
        if term.epoch != self._epoch:
            self._mark = await self._book.mark(self._line.channel)
            self._epoch = term.epoch
            self._known.clear()
        check_s = CHECK_SOON_S if self.webhooks.doubtful else self.rules.check_s
        if self.clock.monotonic_s() - self.webhooks.checked_s >= check_s:
            await self._line.ready_to_send()
            await self.webhooks.check()
        wait_s = self._wait_s()
        if wait_s > 0:
            return wait_s
        await self._line.ready_to_send()
        await self._poll()
        return self._wait_s()

    def _wait_s(self) -> float:
        """Return how long until the next poll: at once for one that is wanted, if the platform can show it already."""
        regular = self._last_poll_s + self.rules.poll_s - self.clock.monotonic_s()
        if self._wanted_ms <= self._mark.seen_ms:
            return max(0.0, regular)
        shown_ms = self._wanted_ms + self._api.traits.lag_ms - self._ahead_ms - self.clock.now_ms()
        since_last = self._last_poll_s + SOON_S - self.clock.monotonic_s()
        return max(0.0, min(regular, max(shown_ms / 1000, since_last)))

    # ------------------------------------------------------------------------------------------------------ one poll

    async def _poll(self) -> None:
        """Admit every order that changed since the mark, less an overlap; then move the mark."""
        self._last_poll_s, self._last_poll_ms = self.clock.monotonic_s(), self.clock.now_ms()
        doubts = self._doubts
        if doubts != self._settled:  # the mark may have been forgotten, too, or be newer than what was
            self._mark = await self._book.mark(self._line.channel)
            self._known.clear()
        back_ms = self.rules.overlap_ms if doubts == self._settled else LOOK_BACK_MS
        since_ms = max(0, await self._since_ms() - back_ms)
        cursor, upto_ms = "", 0
        tally: Counter[_Told] = Counter()
        while True:
            page = await self._api.orders(since_ms, cursor=cursor, limit=PAGE)
            upto_ms = upto_ms or page.upto_ms  # of the first page: what changed later may have been overlooked
            self._ahead_ms = page.upto_ms - self.clock.now_ms()
            tally.update(await asyncio.gather(*(self._admit(polled, page.upto_ms) for polled in page.orders)))
            if not page.cursor:
                break
            cursor = page.cursor
            await self._line.ready_to_send()
        await self._line.answered()
        self._settled = doubts
        self._polls += 1
        self._found += tally.total() - tally[_Told.KNOWN]
        self._missed += tally[_Told.MISSED]
        self._last_error = ""
        seen_ms = upto_ms - self._api.traits.lag_ms
        if seen_ms > self._mark.seen_ms:
            self._mark = PollMark(seen_ms=seen_ms, polled_ms=self._last_poll_ms)
            await self._book.advance(self._line.channel, self._mark)
        self._seen(self._mark.seen_ms)
        await self.webhooks.polled(missed=tally[_Told.MISSED], early=tally[_Told.EARLY], told=tally[_Told.BEFORE])

    async def _since_ms(self) -> int:
        if self._mark.seen_ms:
            return self._mark.seen_ms
        if self.rules.since_ms:
            return self.rules.since_ms
        return await self._api.now_ms() - FIRST_LOOK_MS

    async def _admit(self, polled: Polled, upto_ms: int) -> _Told:
        """Take one order in; return whether anybody had told of it."""
        found = polled.found
        if isinstance(found, Unreadable):
            await self._ledger.quarantine(self._line.channel, {}, polled.raw, found.reason)
            return _Told.KNOWN
        mark = (found.order.id, found.version, found.effect)
        if mark in self._known:
            return _Told.KNOWN
        [accepted] = await self._intake.admit([found])
        self._known[mark] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        if accepted.state is OrderState.IGNORED or accepted.code not in (AcceptCode.ACCEPTED, AcceptCode.REPEAT):
            return _Told.KNOWN
        if accepted.code is AcceptCode.REPEAT:
            return _Told.BEFORE
        if upto_ms - found.version // 10 < self.rules.grace_ms:  # see Incoming.version
            return _Told.EARLY
        await self._tell_missed(found)
        return _Told.MISSED

    async def _tell_missed(self, incoming: Incoming) -> None:
        log.warning("order.missed", channel=self._line.channel, order=incoming.order.id)
        order = {"channel": incoming.order.channel, "id": incoming.order.id}
        await self._line.announce("channel.order_missed", {"order": order})

    def snapshot(self) -> PollFlow:
        """Say how polling goes; costs no I/O."""
        return PollFlow(
            name=self._line.channel,
            polls=self._polls,
            last_poll_ms=self._last_poll_ms,
            seen_ms=self._mark.seen_ms,
            found=self._found,
            missed=self._missed,
            silent=self.webhooks.silent,
            last_error=self._last_error,
        )

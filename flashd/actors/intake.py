"""
The way in of one sales channel: verify, decode, and make durable together what arrived together.

Groups need no timer. While calls are in flight new wishes wait in the mailbox, and the next call takes them all;
without load an order goes out alone at once.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from flashd.actors.convoy import CALLS_IN_FLIGHT, Convoy
from flashd.domain.order import Accepted, Incoming, Order, OrderState
from flashd.domain.privacy import Demand
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.errors import Busy, FlashdError, Transient, Unauthenticated
from flashd.ports import Channel, Clock, Receipt, Soon, StockLedger, Unreadable, Unrelated
from flashd.runtime.actor import Actor

_Reply = Accepted | HoldReply

GROUP = 256


@dataclass(slots=True)
class _Wish:
    """One order or hold that waits to become durable, and whoever waits for it."""

    what: Incoming | HoldRequest
    answer: asyncio.Future[_Reply]


async def _undemanded(_demand: Demand, _body: bytes) -> None:
    raise Busy("nobody takes demands here")


@dataclass(frozen=True, kw_only=True)
class IntakeRules:
    """What a reload may change while the channel goes on."""

    since_ms: Callable[[], int] = field(default=lambda: 0)  # unknown orders placed before it are recorded as ignored
    route: Callable[[Order], str] = field(default=lambda _: "")  # the backend's name
    closed: Callable[[bool], str] = field(default=lambda _is_hold: "")  # why nothing may come in now, or ""
    identify: Callable[[Order], str] | None = None  # the keyed hash of who bought; None: nobody is known
    moved: Callable[[], None] = field(default=lambda: None)  # told that stock may have moved
    demanded: Callable[[Demand, bytes], Awaitable[None]] = field(default=_undemanded)  # makes a demand durable


class ChannelIntake(Actor[_Wish]):
    """Implements the port Intake for one channel; each public method returns after the store's answer."""

    batch_limit = GROUP

    def __init__(
        self,
        channel: Channel,
        ledger: StockLedger,
        rules: IntakeRules,
        *,
        clock: Clock,
        wake: Callable[[str], None] = lambda _backend: None,
        convoy: Convoy | None = None,
        mailbox_size: int = 4096,
    ) -> None:
        super().__init__(f"intake:{channel.name}", clock=clock, mailbox_size=mailbox_size)
        self.channel = channel
        self.rules = rules
        self.counts: Counter[str] = Counter()  # webhooks and orders by result
        self.last_event_ms = 0
        self._ledger = ledger
        self._convoy = convoy or Convoy(ledger)  # of all channels of the pool
        self._wake_backend = wake
        self._slots = asyncio.Semaphore(CALLS_IN_FLIGHT)
        self._outstanding: set[asyncio.Future[_Reply]] = set()

    def webhook(self, headers: Mapping[str, str], body: bytes) -> Soon[Receipt]:
        """Take one webhook; see the port."""
        if self.channel.is_ping(headers, body):
            self.counts["pong"] += 1
            return _at_once(Receipt(state="pong"))
        now_ms = self.clock.now_ms()
        if not self.channel.verify(headers, body, now_s=now_ms / 1000):
            self.counts["unauthenticated"] += 1
            raise Unauthenticated("the signature does not match")
        self.last_event_ms = now_ms
        decoded = self.channel.decode(headers, body)
        if isinstance(decoded, Unrelated):
            self.counts["unrelated"] += 1
            return _at_once(Receipt(state="unrelated", reason=decoded.subject))
        if isinstance(decoded, Unreadable):
            if reason := self.rules.closed(False):  # it is no hold
                raise Busy(reason)
            kept = asyncio.ensure_future(self._quarantine(headers, body, decoded.reason))
            return Soon(kept, asyncio.Future.result)
        if isinstance(decoded, Demand):
            if reason := self.rules.closed(False):
                raise Busy(reason)
            return Soon(asyncio.ensure_future(self._demand(decoded, body)), asyncio.Future.result)
        return Soon(self._post(decoded), functools.partial(self._receipt, decoded))

    async def _quarantine(self, headers: Mapping[str, str], body: bytes, reason: str) -> Receipt:
        lowered = {name.lower(): value for name, value in headers.items()}
        await self._ledger.quarantine(self.channel.name, lowered, body, reason)
        self.counts["quarantined"] += 1
        return Receipt(state="quarantined", reason=reason)

    async def _demand(self, demand: Demand, body: bytes) -> Receipt:
        await self.rules.demanded(demand, body)
        self.counts["demanded"] += 1
        return Receipt(state="demanded", reason=demand.kind)

    def _receipt(self, told: Incoming, answer: asyncio.Future[Accepted]) -> Receipt:
        accepted = self._accepted(answer)
        return Receipt(
            state=accepted.state,
            code=accepted.code,
            order=f"{told.order.channel}:{told.order.id}",
            reason=told.reason,
            short=accepted.short,
        )

    def admit(self, incoming: Incoming) -> Soon[Accepted]:
        """Take one decoded order; see the port."""
        return Soon(self._post(incoming), self._accepted)

    def _accepted(self, answer: asyncio.Future[Accepted]) -> Accepted:
        accepted = answer.result()
        self.counts[accepted.code] += 1
        return accepted

    async def admit_many(self, orders: Sequence[Incoming]) -> list[Accepted | BaseException]:
        """Take many decoded orders; see the port."""
        answers = [self._post_or_fail(incoming) for incoming in orders]
        replies: list[Any] = await asyncio.gather(*answers, return_exceptions=True)
        self.counts.update(reply.code for reply in replies if isinstance(reply, Accepted))
        return replies

    def hold(self, request: HoldRequest) -> Soon[HoldReply]:
        """Set stock aside; see the port."""
        return Soon(self._post(request), self._held)

    def _held(self, answer: asyncio.Future[HoldReply]) -> HoldReply:
        reply = answer.result()
        self.counts[f"hold_{reply.code}"] += 1
        return reply

    async def receive_many(self, messages: Sequence[_Wish]) -> Sequence[None]:
        """Send what waits as one call, as soon as a call may start."""
        await self._slots.acquire()
        orders = [wish for wish in messages if isinstance(wish.what, Incoming)]
        holds = [wish for wish in messages if isinstance(wish.what, HoldRequest)]
        for group, is_hold in ((orders, False), (holds, True)):
            if group and (reason := self.rules.closed(is_hold)):  # the store went away while they waited: told now
                for wish in group:
                    if not wish.answer.done():
                        wish.answer.set_exception(Busy(reason))
        self.spawn(self._commit(orders, holds), name="commit").add_done_callback(lambda _: self._let_go(messages))
        return [None] * len(messages)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Finish the calls in flight, then refuse whoever still waits: nothing was done for them."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if self._outstanding:
            await asyncio.wait(set(self._outstanding), timeout=timeout_s)
        await super().stop(max(0.1, deadline - loop.time()))
        for answer in list(self._outstanding):
            if not answer.done():
                answer.set_exception(Busy(f"{self.name} is stopping"))

    def _post(self, what: Incoming | HoldRequest) -> asyncio.Future[Any]:
        """Leave a wish in the mailbox; `_commit` answers each with its kind of reply. Raises Busy."""
        if reason := self.rules.closed(isinstance(what, HoldRequest)):
            raise Busy(reason)
        answer: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()
        self.offer(_Wish(what, answer))
        self._outstanding.add(answer)
        return answer

    def _post_or_fail(self, incoming: Incoming) -> asyncio.Future[_Reply]:
        try:
            return self._post(incoming)
        except Busy as error:
            answer: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()
            answer.set_exception(error)
            return answer

    async def _commit(self, orders: list[_Wish], holds: list[_Wish]) -> None:
        await self._answer(orders, self._accept)
        await self._answer(holds, self._convoy.hold)
        self.rules.moved()

    def _let_go(self, wishes: Sequence[_Wish]) -> None:
        """Free the place and answer the rest, also of a commit that a crash cancelled before its first step."""
        self._slots.release()
        for wish in wishes:
            self._outstanding.discard(wish.answer)
            if not wish.answer.done():
                wish.answer.set_exception(Transient(f"{self.name} was stopped in the middle"))

    async def _answer(self, group: list[_Wish], call: Callable[[list[Any]], Awaitable[Sequence[_Reply]]]) -> None:
        """Make one group durable in one call; an error is everybody's answer."""
        group = [wish for wish in group if not wish.answer.done()]  # done: told that it is closed, or went away
        if not group:
            return
        try:
            replies = await call([wish.what for wish in group])
        except Exception as error:
            for wish in group:
                if not wish.answer.done():  # done: the caller went away
                    wish.answer.set_exception(error)
            if isinstance(error, FlashdError):
                return
            raise
        for wish, reply in zip(group, replies, strict=True):
            if not wish.answer.done():
                wish.answer.set_result(reply)

    async def _accept(self, orders: list[Incoming]) -> Sequence[Accepted]:
        identify = self.rules.identify
        if identify is not None:
            orders = [replace(one, customer=one.customer or identify(one.order)) for one in orders]
        backends = [self.rules.route(incoming.order) for incoming in orders]
        replies = await self._convoy.accept(orders, backends, since_ms=self.rules.since_ms())
        queued = {name for name, reply in zip(backends, replies, strict=True) if reply.state is OrderState.QUEUED}
        for backend in queued:
            self._wake_backend(backend)
        return replies


def _at_once(receipt: Receipt) -> Soon[Receipt]:
    future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    future.set_result(receipt)
    return Soon(future, asyncio.Future.result)


def cut_over_ms(since: datetime | None) -> int:
    """Return the cut-over instant in ms since 1970, 0 where none is set."""
    return 0 if since is None else int(since.timestamp() * 1000)

"""
The way in of one sales channel: verify, decode, and have it made durable together with what arrived at the same time.

What a channel is told is a wish in its row, from which the pool's convoy takes; what cannot be understood, and what is
demanded of customers' data, is a letter in its mailbox.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from flashd.actors.convoy import Convoy
from flashd.actors.row import Row
from flashd.actors.wish import Wish
from flashd.domain.order import Accepted, Incoming, Order
from flashd.domain.privacy import Demand
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.errors import Busy, Unauthenticated
from flashd.ports import Channel, Clock, Receipt, Soon, Unreadable, Unrelated
from flashd.runtime.actor import Actor

TOGETHER = 256  # of many orders, so many are one wish
_KEPT_AT_ONCE = 16


@dataclass(slots=True)
class _Told:
    """A body that was proven and is no order: unreadable, or a demand."""

    headers: Mapping[str, str]
    body: bytes
    what: Unreadable | Demand


async def _undemanded(_demand: Demand, _body: bytes) -> None:
    raise Busy("nobody takes demands here")


@dataclass(frozen=True, kw_only=True)
class IntakeRules:
    """What a reload may change while the channel goes on."""

    since_ms: Callable[[], int] = field(default=lambda: 0)  # unknown orders placed before it are recorded as ignored
    route: Callable[[Order], str] = field(default=lambda _: "")  # the backend's name
    closed: Callable[[bool], str] = field(default=lambda _is_hold: "")  # why nothing may come in now, or ""
    identify: Callable[[Order], str] | None = None  # the keyed hash of who bought; None: nobody is known
    demanded: Callable[[Demand, bytes], Awaitable[None]] = field(default=_undemanded)  # makes a demand durable


class ChannelIntake(Actor[_Told]):
    """Implements the port Intake for one channel; each public method answers after the store has."""

    batch_limit = _KEPT_AT_ONCE

    def __init__(
        self,
        channel: Channel,
        convoy: Convoy,
        rules: IntakeRules,
        *,
        clock: Clock,
        row_size: int = 4096,
    ) -> None:
        super().__init__(f"intake:{channel.name}", clock=clock)
        self.channel = channel
        self.rules = rules
        self.counts: Counter[str] = Counter()  # webhooks and orders by result
        self.last_event_ms = 0
        self._convoy = convoy
        self._row = Row(
            self.name,
            row_size,
            since_ms=lambda: self.rules.since_ms(),  # noqa: PLW0108  # a reload replaces the rules
            closed=lambda is_hold: self.rules.closed(is_hold),  # noqa: PLW0108  # as above
            broke=self.crash,
        )

    async def on_start(self) -> None:
        """Let what waited be taken."""
        if self._row.waits:
            self._convoy.call(self._row, self._row.waits)

    def prove(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Say whether a webhook is to be read; see the port."""
        if self.channel.is_ping(headers, body):
            self.counts["pong"] += 1
            return False
        now_ms = self.clock.now_ms()
        if not self.channel.verify(headers, body, now_s=now_ms / 1000):
            self.counts["unauthenticated"] += 1
            raise Unauthenticated("the signature does not match")
        self.last_event_ms = now_ms
        return True

    def read(self, headers: Mapping[str, str], body: bytes) -> Incoming | Soon[Receipt]:
        """Understand a proven webhook; see the port."""
        decoded = self.channel.decode(headers, body)
        if isinstance(decoded, Incoming):
            return decoded
        if isinstance(decoded, Unrelated):
            self.counts["unrelated"] += 1
            return _at_once(Receipt(state="unrelated", reason=decoded.subject))
        if reason := self.rules.closed(False):  # it is no hold
            raise Busy(reason)
        return Soon(self.post(_Told(headers, body, decoded)), asyncio.Future.result)

    async def receive_many(self, messages: Sequence[_Told]) -> Sequence[Receipt | BaseException]:
        """Keep what is no order, several at once."""
        kept = [self.within_turn(self._keep(told)) for told in messages]
        return await asyncio.gather(*kept, return_exceptions=True)

    async def _keep(self, told: _Told) -> Receipt:
        if isinstance(told.what, Demand):
            await self.rules.demanded(told.what, told.body)
            self.counts["demanded"] += 1
            return Receipt(state="demanded", reason=told.what.kind)
        lowered = {name.lower(): value for name, value in told.headers.items()}
        await self._convoy.ledger.quarantine(self.channel.name, lowered, told.body, told.what.reason)
        self.counts["quarantined"] += 1
        return Receipt(state="quarantined", reason=told.what.reason)

    def admit(self, orders: Sequence[Incoming]) -> Soon[Sequence[Accepted]]:
        """Take decoded orders together; see the port."""
        rules = self.rules
        if reason := rules.closed(False):  # they are no holds
            raise Busy(reason)
        identify = rules.identify
        if identify is not None:
            orders = [replace(one, customer=one.customer or identify(one.order)) for one in orders]
        return Soon(self._add(Wish(orders, [rules.route(one.order) for one in orders])), self._accepted)

    def _accepted(self, wish: Wish) -> Sequence[Accepted]:
        replies: Sequence[Accepted] = wish.result()
        for reply in replies:
            self.counts[reply.code] += 1
        return replies

    async def admit_many(self, orders: Sequence[Incoming]) -> list[Accepted | BaseException]:
        """Take many decoded orders; see the port."""
        parts = [orders[at : at + TOGETHER] for at in range(0, len(orders), TOGETHER)]
        answers = await asyncio.gather(*map(self._admit_part, parts))
        return [reply for part in answers for reply in part]

    async def _admit_part(self, orders: Sequence[Incoming]) -> Sequence[Accepted | BaseException]:
        try:
            return await self.admit(orders)
        except Exception as error:  # noqa: BLE001  # it is each order's answer
            return [error] * len(orders)

    def hold(self, requests: Sequence[HoldRequest]) -> Soon[Sequence[HoldReply]]:
        """Set stock aside; see the port."""
        if reason := self.rules.closed(True):
            raise Busy(reason)
        return Soon(self._add(Wish(requests)), self._held)

    def _held(self, wish: Wish) -> Sequence[HoldReply]:
        replies: Sequence[HoldReply] = wish.result()
        self.counts.update([f"hold_{reply.code}" for reply in replies])
        return replies

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what waits and what is under way, then refuse whoever comes and whoever still waits."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        await self._row.quiet(timeout_s)
        self._row.shut()
        await super().stop(max(0.1, deadline - loop.time()))

    def _add(self, wish: Wish) -> Wish:
        row = self._row
        row.add(wish)
        if self.ready.is_set():
            self._convoy.call(row, len(wish.items))
        return wish


def _at_once(receipt: Receipt) -> Soon[Receipt]:
    future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    future.set_result(receipt)
    return Soon(future, asyncio.Future.result)


def cut_over_ms(since: datetime | None) -> int:
    """Return the cut-over instant in ms since 1970, 0 where none is set."""
    return 0 if since is None else int(since.timestamp() * 1000)

"""
What this process acknowledged lately, so that a store that forgot it is found out.

A fail-over without replicas that have each write (R = 0) may elect a server that lacks the last ones. Nobody can keep
them then; what must not happen is that nobody notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from flashd.domain.order import AcceptCode, Accepted, Incoming, OrderRef
from flashd.store.faults import store_faults
from flashd.store.keys import order_key

KEPT = 50_000  # orders at most
KEPT_S = 60.0  # what a server acknowledged alone it lost within seconds; a server that was cut off is left within five
_AT_ONCE = 500
_ACCEPTED = AcceptCode.ACCEPTED  # CPython 3.11 takes 50 ns to look one up
_DURABLE = frozenset({AcceptCode.ACCEPTED, AcceptCode.UPDATED, AcceptCode.REPEAT, AcceptCode.LATER})

log = structlog.get_logger()


class Recall:
    """
    The newest orders of one pool that this process was told are durable; `forgotten` counts those that went.

    Each loss counts once, whoever notices first: `check`, or an order that comes again and is new to the store.
    """

    def __init__(self, pool: str, *, kept: int = KEPT, now_s: Callable[[], float] = time.monotonic) -> None:
        self.forgotten = 0
        self._pool = pool
        self._kept = kept
        self._young: set[tuple[str, str]] = set()
        self._old: set[tuple[str, str]] = set()  # half of what is kept goes at once: a hot path has no time for more
        self._now_s = now_s
        self._turned_s = now_s()

    def note(self, orders: Sequence[Incoming], answers: Iterable[Accepted]) -> None:
        """Remember which of *orders* are durable now."""
        now_s = self._now_s()
        if len(self._young) > self._kept // 2 or now_s - self._turned_s > KEPT_S:
            self._young, self._old, self._turned_s = set(), self._young, now_s
        names = [(incoming.order.channel, incoming.order.id) for incoming in orders]
        codes = [accepted.code for accepted in answers]
        durable = new = [name for name, code in zip(names, codes, strict=True) if code is _ACCEPTED]
        if not (self._young.isdisjoint(new) and self._old.isdisjoint(new)):
            for name in new:
                if name in self._young or name in self._old:
                    self._tell(name)
        if len(new) < len(names):
            durable = [name for name, code in zip(names, codes, strict=True) if code in _DURABLE]
        self._young.update(durable)

    def total(self) -> int:
        """Return how many were forgotten since the process began."""
        return self.forgotten

    async def check(self, client: Redis) -> int:
        """
        Look every remembered order up; return how many are gone.

        Raises:
            StoreUnavailable: Those not looked up yet are still remembered; ask again.
        """
        names, gone = [*(self._old - self._young), *self._young], 0
        for begin in range(0, len(names), _AT_ONCE):
            asked = names[begin : begin + _AT_ONCE]
            with store_faults("recall"):
                async with client.pipeline(transaction=False) as pipe:
                    for channel, order_id in asked:
                        pipe.exists(order_key(self._pool, OrderRef(channel, order_id)))
                    found: list[Any] = await pipe.execute()
            for name, there in zip(asked, found, strict=True):
                if not there and (name in self._young or name in self._old):
                    self._young.discard(name)
                    self._old.discard(name)
                    self._tell(name)
                    gone += 1
        return gone

    def _tell(self, name: tuple[str, str]) -> None:
        self.forgotten += 1
        log.error("order.forgotten", pool=self._pool, channel=name[0], order=name[1])

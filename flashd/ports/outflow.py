"""What stands between the orders and a backend: the outbox of a pool, and the gate that all processes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from flashd.domain.delivery import ClaimCode, Delivery, FinishCode, InFlight, Result
from flashd.domain.order import OrderRef


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one pool waits for one backend."""

    queued: int = 0
    oldest_ms: int = 0  # acceptance of the oldest queued item, ms since 1970; 0: none
    in_flight: int = 0  # sending or in doubt
    due: bool = False  # something that is queued may be sent now
    overdue: bool = False  # something in flight is to be recovered or looked up, or a clock set back left it behind


class Outbox(Protocol):
    """
    Accepted, durable, not yet confirmed: the items of one pool for one backend.

    *epoch* is the caller's term of leadership; a stale one is FENCED.
    """

    pool: str
    backend: str

    async def due(self, limit: int) -> list[OrderRef]:
        """Return items that may be sent now, oldest first; a peek, not a claim."""

    async def claim(
        self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        """Take items into flight: counted and fsynced before this returns."""

    async def finish(self, results: Sequence[Result], *, epoch: int) -> list[FinishCode]:
        """Settle what became of claimed items."""

    async def recover(self, *, epoch: int, delay_ms: int, limit: int = 100) -> list[OrderRef]:
        """Turn items whose in-flight lease ended into in doubt, to be looked up after *delay_ms*; return them."""

    async def doubtful(self, limit: int) -> list[Delivery]:
        """Return items in doubt whose look-up is due; a peek."""

    async def in_flight(self) -> list[InFlight]:
        """Return all that is in flight or in doubt."""

    async def depth(self) -> Depth:
        """Return how much waits and how much is on its way."""


class Drop(msgspec.Struct, frozen=True):
    """The bucket's answer: *taken* drops are yours (wait_ms 0), or ask after *wait_ms*."""

    wait_ms: int
    reason: str = ""  # "rate", "paused", "retry_after"
    after_us: int = 0  # until the first may be used: above 0 where it was taken ahead, below it with a burst's credit
    taken: int = 0

    def uses_us(self, spacing_us: int) -> list[int]:
        """Return when each may be used, in us from now."""
        return [max(0, self.after_us + index * spacing_us) for index in range(self.taken)]


class BackendGate(Protocol):
    """What all processes share about one backend: who leads, how fast it may be fed, whether it is paused."""

    backend: str

    async def lead(self, owner: str, ttl_ms: int) -> int | None:
        """Take or renew the leadership; return the epoch, or None while another owner leads."""

    async def resign(self, owner: str) -> None:
        """Give the leadership up, if it is ours."""

    async def drop(self, spacing_us: int, *, burst: int = 1, ahead_us: int = 0, count: int = 1) -> Drop:
        """Take up to *count* drops from the leaky bucket, each at most *ahead_us* before it may be used."""

    async def pause(self, *, until_ms: int = 0, reason: str, by: str) -> None:
        """Let nothing out until *until_ms*, or until resumed (0)."""

    async def resume(self, *, by: str) -> None:
        """Let it flow again."""

    async def set_rate(self, rate: str, *, by: str) -> None:
        """Override the configured rate for all processes; "" takes the override away."""

    async def ask_first(self, reason: str, *, by: str) -> None:
        """
        Have the backend asked for each order before that is sent: the store may have forgotten that it was sent.

        Args:
            reason: Why; "" ends it.
        """

    async def status(self) -> GateStatus:
        """Return leader, epoch, pause, rate override, and whether it is asked first."""


class GateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes know about one backend."""

    backend: str
    leader: str = ""
    epoch: int = 0
    paused: bool = False  # by a human
    until_ms: int = 0  # by Retry-After or an outage
    reason: str = ""
    rate: str = ""  # the override
    asks_first: str = ""  # why nothing is sent that was not looked up before; "": it is

"""How a backend or a channel is doing, in figures that metrics, status and people read."""

from __future__ import annotations

from typing import Literal

import msgspec

from flashd.domain.backoff import drain_eta_s


class BackendSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How one backend does, as the actor that feeds it sees it; asking costs no I/O."""

    name: str
    kind: str
    rate: str  # as configured or overridden, such as "120/min"
    per_second: float  # requests, in force now: below the rate while it starts slowly; without a rate, what left lately
    batch: int = 1  # new orders in one request, at most
    queued: int = 0
    oldest_ms: int = 0  # acceptance of the oldest queued order, ms since 1970; 0: none
    in_flight: int = 0  # requests under way, look-ups too
    in_doubt: int = 0  # as the leader sees it, up to a second old; 0 where another leads
    circuit: Literal["closed", "slow", "open"] = "closed"
    leading: bool = False
    epoch: int = 0
    last_error: str = ""
    last_answer_ms: int = 0
    counts: dict[str, int] = {}  # outcomes and findings of this process, by name

    def leave_s(self, count: int) -> float | None:
        """Return how long *count* orders take to leave at the current rate, or None where nothing flows."""
        return drain_eta_s(-(-count // self.batch), 0.0 if self.circuit == "open" else self.per_second)

    @property
    def orders_per_second(self) -> float:
        """How many orders may leave in a second while the backlog fills its requests."""
        return self.per_second * self.batch

    @property
    def drain_s(self) -> float | None:
        """How long the backlog takes, were it not paused; None where nothing flows."""
        return self.leave_s(self.queued)


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How late figures were, from the change of stock to the platform: lately, and by bucket since the start."""

    p50_s: float = 0.0
    p99_s: float = 0.0
    count: int = 0
    sum_s: float = 0.0
    buckets: tuple[int, ...] = ()  # by pace.LAG_BUCKETS_S, not cumulative, the last beyond all bounds


class ChannelFlow(msgspec.Struct, frozen=True, kw_only=True):
    """How publishing to one channel goes, as the actor that does it sees it; asking costs no I/O."""

    name: str
    mode: str
    leading: bool = False
    epoch: int = 0
    dirty: int = 0  # SKUs to be looked at
    in_flight: int = 0  # SKUs being written
    in_doubt: int = 0
    settling: int = 0
    lag: Lag = Lag()
    zero_lag: Lag = Lag()  # of figures that became zero, or more than zero
    calls: int = 0  # requests to the platform since the start
    written: int = 0  # figures that were applied
    sales: int = 0  # units that were seen to be sold there
    revisions_left: int = -1  # of the listing that has used most; -1: no budget
    away: bool = False  # it does not answer
    last_error: str = ""
    gaps: tuple[str, ...] = ()  # SKUs of the pool that are not in the channel's map, a part of them
    refused: dict[str, str] = {}  # SKU -> why the platform did not take its figure
    stale: dict[str, int] = {}  # figures that were not the expected ones, by what they turned out to be


class PollFlow(msgspec.Struct, frozen=True, kw_only=True):
    """How the polling of one channel's orders goes."""

    name: str
    polls: int = 0
    last_poll_ms: int = 0  # 0: not yet
    seen_ms: int = 0  # platform's clock: every order that changed before it was seen
    found: int = 0  # orders listed
    missed: int = 0  # of these, that no webhook had told
    silent: str = ""  # why the webhooks are taken for dead, "" while they live
    last_error: str = ""

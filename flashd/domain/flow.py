"""How one backend is doing, in figures that metrics, status and people read."""

from __future__ import annotations

from typing import Literal

import msgspec

from flashd.domain.backoff import drain_eta_s


class BackendSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How one backend does, as the actor that feeds it sees it; asking costs no I/O."""

    name: str
    kind: str
    rate: str  # as configured or overridden, such as "120/min"
    per_second: float  # in force now: below the rate while it starts slowly
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
        return drain_eta_s(count, 0.0 if self.circuit == "open" else self.per_second)

    @property
    def drain_s(self) -> float | None:
        """How long the backlog takes, were it not paused; None where nothing flows."""
        return self.leave_s(self.queued)

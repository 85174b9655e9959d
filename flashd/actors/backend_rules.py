"""The words around the actor of a backend: what it is told, what it obeys, and what it says of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flashd.config import BackendConfig
from flashd.domain.delivery import BackendTraits
from flashd.domain.rate import Rate
from flashd.domain.verdict import DoubtRules

SEND_SLACK_S = 2.0  # how long a claimed item may wait for its moment before it goes back
SETTLE_S = 3.0  # room to settle before the in-flight lease ends


@dataclass(frozen=True, kw_only=True)
class BackendRules:
    """The operator's profile of a backend; a reload may replace it while the actor runs."""

    rate: Rate
    burst: int = 1
    batch: int = 1
    max_in_flight: int = 4
    timeout_s: float = 30.0
    settle_s: float = 60.0
    max_refusals: int = 5
    slow_start_s: float = 10.0
    at_least_once: bool = False
    lease_s: float = 6.0
    poll_s: float = 1.0

    @classmethod
    def of(cls, config: BackendConfig) -> BackendRules:
        """Take the rules out of a backend's configuration; ValueError where the rate is none."""
        return cls(
            rate=Rate.parse(config.rate, unlimited=True),
            burst=config.burst,
            batch=config.batch,
            max_in_flight=config.max_in_flight,
            timeout_s=config.timeout_s,
            settle_s=config.settle_s,
            max_refusals=config.max_refusals,
            slow_start_s=config.slow_start_s,
            at_least_once=config.at_least_once,
        )

    def doubts(self, traits: BackendTraits) -> DoubtRules:
        """Return what may be concluded from silence."""
        return DoubtRules(
            idempotent=traits.idempotent,
            lookup=traits.lookup,
            at_least_once=self.at_least_once,
            settle_ms=round(self.settle_s * 1000),
            max_refusals=self.max_refusals,
        )

    @property
    def lease_ms(self) -> int:
        """How long a claimed item may be in flight: its wait, its deadline, and room to settle."""
        return math.ceil((SEND_SLACK_S + self.timeout_s + SETTLE_S) * 1000)

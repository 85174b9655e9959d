"""How fast one backend may be fed right now, and by how much at once: rate or override, slow start, batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from flashd.actors.backend_health import BackendHealth
from flashd.actors.backend_rules import BackendRules
from flashd.domain.rate import Rate
from flashd.ports import Backend, BatchingBackend, Clock, GateStatus

HELD_S = 0.1  # how often to ask whether a human lets it flow again
AHEAD_S = 0.1  # as long as a drop is taken ahead
AHEAD_MOST = 256  # so many more than are under way may be in doubt after a kill
CLAIMED_TOGETHER = 128  # items in one call; the store's one thread serves nobody else meanwhile


@dataclass(kw_only=True, slots=True)
class Pace:
    """The distance of two requests; a spacing of 0: as fast as the backend answers."""

    spacing_us: int
    burst: int = 1


UNPACED = Pace(spacing_us=0)


class Tempo:
    """
    The operator's rules, as far as they go at this moment.

    Args:
        rules: The profile of the backend; it may be replaced at any time.
    """

    def __init__(
        self, backend: Backend, health: BackendHealth, *, clock: Clock, rules: Callable[[], BackendRules]
    ) -> None:
        self.gate = GateStatus(backend=backend.name)  # what it told last
        self._backend = backend
        self._health = health
        self._clock = clock
        self._rules = rules
        self._read: tuple[str, Rate | None] = ("", None)  # an override, and what it says
        self._lately = 0.0  # requests that left in a second
        self._count = 0
        self._since_s = 0.0

    @property
    def rate(self) -> Rate:
        """The configured rate, or what overrides it."""
        told = self.gate.rate
        if not told:
            return self._rules().rate
        if told != self._read[0]:
            rate = None
            with contextlib.suppress(ValueError):  # an override of a later version: keep to the configured rate
                rate = Rate.parse(told, unlimited=True)
            self._read = told, rate
        return self._read[1] or self._rules().rate

    @property
    def factor(self) -> float:
        """The part of the rate that is in force."""
        return self._health.circuit.slow.factor(self._clock.monotonic_s())

    @property
    def timeout_s(self) -> float:
        """How long one request may take."""
        return self._rules().timeout_s

    @property
    def batch(self) -> int:
        """How many new orders may share a request."""
        backend = self._backend
        return min(self._rules().batch, backend.traits.batch) if isinstance(backend, BatchingBackend) else 1

    def pace(self) -> Pace:
        """Return the distance that requests keep."""
        rules, slow, spacing_us = self._rules(), self._health.circuit.slow, self.rate.paced_us
        if not spacing_us:
            return UNPACED
        if not slow.is_over:
            spacing_us = slow.spacing_us(spacing_us, self._clock.monotonic_s())
        return Pace(spacing_us=spacing_us, burst=rules.burst)

    def places(self) -> int:
        """Return how many requests may be under way; without a rate a slow start is a part of these."""
        most = self._rules().max_in_flight
        if self._health.circuit.slow.is_over or self.rate.count:
            return most
        return max(1, int(most * self.factor))

    def ahead(self, claim_s: float) -> int:
        """
        Return how many requests to claim for beyond those under way, so that no place waits for the store.

        As many again, or what leaves in AHEAD_S or while four claims are made, but no more than leaves in a second. So
        there is always more than what leaves now needs: the flow is found out by growing into it.

        None where a bucket says when, for a drop comes before a claim; and none where a claim that was not sent (a
        kill, a power cut) could not be told from one that was.

        Args:
            claim_s: How long a claim takes the store lately.
        """
        traits = self._backend.traits
        safe = traits.lookup or traits.idempotent
        if not safe or not self.rate.is_unlimited:
            return 0
        return min(
            AHEAD_MOST, int(self._lately * min(1.0, max(AHEAD_S, 4 * claim_s, self.places() / max(1.0, self._lately))))
        )

    def held_s(self) -> float:
        """Say how long nothing may leave: a human's pause, Retry-After, an outage. A bucket knows it by itself."""
        return max(0.0, self._health.circuit.retry_at_s - self._clock.monotonic_s(), self.gate_held_s())

    def gate_held_s(self) -> float:
        """Say for how long the gate said, last, that nothing may leave."""
        gate = self.gate
        left_s = (gate.until_ms - self._clock.now_ms()) / 1000 if gate.until_ms else 0.0
        return max(left_s, HELD_S) if gate.paused else max(left_s, 0.0)

    def left(self, now_s: float) -> None:
        """Take note of a request that left."""
        self._count += 1
        if now_s >= self._since_s + AHEAD_S:
            self._lately = (self._lately + self._count / (now_s - self._since_s)) / 2
            self._count, self._since_s = 0, now_s

    def at_once(self, pace: Pace, free: int, ahead_us: int) -> int:
        """Return how many requests to prepare together, where *free* more may be under way."""
        if self._health.circuit.is_open:
            return 1
        most = min(free, max(1, CLAIMED_TOGETHER // self.batch))
        return min(most, ahead_us // pace.spacing_us + pace.burst) if pace.spacing_us else most

    def most_unsettled(self) -> int:
        """Return how many items may be in hand, results that wait for the store too, before no more is claimed."""
        return 4 * max(CLAIMED_TOGETHER, self._rules().max_in_flight * self.batch)

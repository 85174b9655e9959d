"""
Whether a backend is there: the counter that is not the orders'.

::

    CLOSED --away, or three doubts without an answer between--> OPEN --an answer--> CLOSED, flowing slowly
                                                                 `--away again--> OPEN, for longer

While it is open one request at a time probes, ever more rarely.
"""

from __future__ import annotations

from flashd.domain.backoff import SlowStart, clamp_retry_after, outage_delay_s

DOUBTS = 3  # in a row; one poison order never brings them together while others are answered


class Circuit:
    """What the answers so far say of one backend; times are seconds of a clock that never goes back."""

    def __init__(self, *, slow_start_s: float = 10.0) -> None:
        self.is_open = False
        self.retry_at_s = 0.0
        self.slow = SlowStart(step_s=slow_start_s)
        self._slow_start_s = slow_start_s
        self._failures = 0
        self._doubts = 0
        self._throttles = 0
        self._judged_s = -1.0  # requests sent before this moment say nothing new

    def answered(self, now_s: float) -> bool:
        """Note an answer that was understood; return whether the backend came back with it."""
        came_back = self.is_open
        if came_back:
            self.slow = SlowStart(since_s=now_s, step_s=self._slow_start_s)
        self.is_open = False
        self._failures = self._doubts = self._throttles = 0
        return came_back

    def went_away(self, now_s: float, sent_s: float) -> tuple[bool, float]:
        """
        Note that nothing was reached; return whether that is news, and how long to leave the backend alone.

        Requests that were under way together tell of one outage, not of many.
        """
        news = not self.is_open
        if sent_s > self._judged_s:
            self._failures += 1
            self._judged_s = now_s
            self.retry_at_s = now_s + outage_delay_s(self._failures)
        self.is_open = True
        return news, max(0.0, self.retry_at_s - now_s)

    def doubted(self, now_s: float, sent_s: float) -> tuple[bool, float]:
        """Note a request without an answer; returned as by `went_away`, with 0 while the circuit stays closed."""
        self._doubts += 1
        if self._doubts >= DOUBTS or self.is_open:
            return self.went_away(now_s, sent_s)
        return False, 0.0

    def throttled(self, now_s: float, sent_s: float, retry_after_s: float | None) -> tuple[bool, float]:
        """Note that it is there and wants to be left alone; returned as by `went_away`."""
        news = self._throttles == 0
        if sent_s > self._judged_s:
            self._throttles += 1
            self._judged_s = now_s
        self._throttles = max(1, self._throttles)
        return news, clamp_retry_after(outage_delay_s(self._throttles) if retry_after_s is None else retry_after_s)

    def may_try(self, now_s: float, in_flight: int) -> bool:
        """Say whether a request may go out: while it is open, one at a time and not before its time."""
        return not self.is_open or (in_flight == 0 and now_s >= self.retry_at_s)

"""The backend's rate in any window, by the bytes that left: with kills, look-ups and a reload there and back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.fleet import missing
from tests.chaos.pace import FAST, SLOW, SLOW_LIMIT, Phase, Rate, Run, excess, play, rush

needs_gcc = pytest.mark.skipif(bool(missing()), reason=missing())


def evenly(count: int, spacing_s: float, since_s: float = 0.0) -> list[float]:
    return [since_s + number * spacing_s for number in range(count)]


@pytest.mark.parametrize(
    ("times", "broken"),
    [
        (evenly(100, 0.200001), False),  # five in any half-open second, and never a sixth
        (evenly(100, 0.1999), True),
        ([*evenly(5, 0.01), *evenly(5, 0.200001, 1.0)], False),  # a window shorter than the rate's own
        ([*evenly(5, 0.01), 0.999], True),
        ([*evenly(20, 0.200001), 3.85], True),
        (evenly(8, 0.199, 7.0), True),
        ([], False),
    ],
)
def test_one_too_many_in_any_window_is_seen(times: list[float], broken: bool) -> None:  # noqa: FBT001  # a column
    assert bool(excess(times, [Phase(0.0, SLOW_LIMIT)])) is broken


def test_windows_over_a_change_of_the_rate_are_judged_by_both() -> None:
    phases = [Phase(0.0, Rate(5, 1)), Phase(4.0, Rate(50, 1)), Phase(8.0, Rate(5, 1))]
    good = [*evenly(20, 0.200001), *evenly(199, 0.020001, 4.001), *evenly(20, 0.200001, 8.001)]
    assert excess(good, phases) == []
    assert excess([*good, *evenly(6, 0.1, 10.01)], phases)
    assert excess([*good, *evenly(20, 0.02, 3.0)], phases)


def verdict(run: Run) -> dict[str, Any]:
    sent = run.fleet.sent()
    figures: dict[str, Any] = {
        "sent": len(sent),
        "look-ups": sum(one.line.startswith("GET") for one in sent),
        "by processes": len({one.process for one in sent}),
        "kills": run.kills,
        "of the leader": run.kills_of_the_leader,
        "above at the sender": excess(run.times(), run.phases)[:5],
        "above at the backend": excess(run.at_the_door(), run.limits())[:5],
    }
    print(figures)
    return figures


@needs_gcc
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_no_window_holds_more_than_the_rate_whoever_is_killed_looked_up_or_reloaded(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 20)
    print(f"seed {seed}")
    run = play(tmp_path, seed, seconds=60)
    figures, use = verdict(run), run.use(run.disturbed[-1])
    print(f"used {use:.3f} of the rate where a leader led; {len(run.fleet.bookings())} booked")
    assert figures["above at the sender"] == []
    assert figures["above at the backend"] == []
    assert use >= 0.9
    assert len(run.fleet.bookings()) == len(set(run.fleet.bookings()))
    assert [phase.rate for phase in run.phases] == [SLOW, FAST, SLOW]
    for happened in ("look-ups", "kills", "of the leader"):
        assert figures[happened], f"never: {happened}"
    assert figures["by processes"] > 3  # those that were started again send, too


@needs_gcc
@pytest.mark.slow
def test_after_a_quiet_while_no_window_holds_more_than_the_rate(tmp_path: Path) -> None:
    assert verdict(rush(tmp_path, None))["above at the sender"] == []

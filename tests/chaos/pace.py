"""
A rate in any window, though the leader is killed, orders are looked up, and the rate is changed by a reload and back.

Judged by what was written to sockets (`send_recorder.c`) and by what came to the backend's door, by nothing that flashd
says. The sender keeps its own rate; at the backend's door the limit is kept, which is a little more: see ADR 28.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.chaos.fleet import Fleet
from tests.chaos.ledger import read
from tests.e2e.process import Flashd

SETTLED_S = 1.0  # after a change of the rate, drops of the former one may still leave
UNDER_WAY_S = 1.0  # from a leader's first request until it goes at its pace


class Rate(NamedTuple):
    """At most *most* in any half-open window of *window_s*."""

    most: int
    window_s: float

    def __str__(self) -> str:
        return f"{self.most}/{self.window_s:g}s" if self.window_s != 1 else f"{self.most}/s"


SLOW, FAST = Rate(24, 5), Rate(48, 1)  # 0.96 of
SLOW_LIMIT, FAST_LIMIT = Rate(5, 1), Rate(50, 1)


class Phase(NamedTuple):
    """From when on which rate counts."""

    since_s: float
    rate: Rate


def budget(phases: Sequence[Phase], since_s: float, until_s: float) -> tuple[float, int]:
    """Return how many requests the rates allow in that time, and the greatest count of a rate that was in force."""
    allowed, most = 0.0, 0
    ends = [phase.since_s for phase in phases[1:]] + [float("inf")]
    for phase, end_s in zip(phases, ends, strict=True):
        if phase.since_s <= until_s and end_s > since_s:
            spent_s = min(until_s, end_s) - max(since_s, phase.since_s)
            allowed += spent_s * phase.rate.most / phase.rate.window_s
            most = max(most, phase.rate.most)
    return allowed, most


def excess(times: Sequence[float], phases: Sequence[Phase]) -> list[str]:
    """
    Return each first request with which a half-open window held more than ``ceil(W/T) + b - 1``, b = 1.

    A window that holds the requests i to j is longer than the time between them by as little as one likes, so what is
    allowed of them is one more than whole spacings fit in between; and always the count of the rate itself.
    """
    ordered, found = sorted(times), []
    for first, at_s in enumerate(ordered):
        for last in range(first + 1, len(ordered)):
            count = last - first + 1
            if count <= min(phase.rate.most for phase in phases):
                continue
            allowed, most = budget(phases, at_s, ordered[last])
            if count > max(most, int(allowed) + 1):
                found.append(f"{count} in {ordered[last] - at_s:.4f} s from {at_s - ordered[0]:.3f} on: {allowed:.2f}")
                break
    return found


@dataclass
class Run:
    """One run of a fleet; what was done when is kept for the verdict."""

    fleet: Fleet
    dice: random.Random
    phases: list[Phase] = field(default_factory=list)
    kills: int = 0
    kills_of_the_leader: int = 0
    disturbed: list[float] = field(default_factory=list)  # when the flow was broken off: by a kill, by a reload

    def sell(self, count: int) -> None:
        self.fleet.sell(count)

    def reload(self, rate: Rate) -> None:
        """Change the rate in all processes; until all have it, and a moment longer, the greater one counts."""
        for daemon in self.fleet.daemons:  # one that was just started would be ended by a SIGHUP
            daemon.wait_until_ready()
        before = self.phases[-1].rate
        if rate.most / rate.window_s > before.most / before.window_s:
            self.phases.append(Phase(time.monotonic(), rate))
        self.disturbed.append(time.monotonic())
        self.fleet.set_rate(str(rate))
        for daemon in self.fleet.daemons:
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
        for daemon in self.fleet.daemons:
            self.fleet.until(lambda daemon=daemon: self._has(daemon, rate), f"{daemon.name} has {rate}", 60)  # type: ignore[misc]  # bound now
        self.disturbed.append(time.monotonic() + SETTLED_S)
        if self.phases[-1].rate != rate:
            self.phases.append(Phase(time.monotonic() + SETTLED_S, rate))

    def _has(self, daemon: Flashd, rate: Rate) -> bool:
        return bool(self.fleet.flow(daemon)["rate"] == str(rate))

    def go_on(self, seconds: float, *, kill_every_s: float) -> None:
        """Let time pass; kill one after the other, the leader every second time, and start it again at once."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, kill_every_s * self.dice.uniform(0.8, 1.2)))
            if time.monotonic() < until_s - 1:
                self.kill()

    def kill(self) -> None:
        leader = self.fleet.leader()
        others = [daemon for daemon in self.fleet.daemons if daemon is not leader]
        victim = leader if self.kills % 2 else self.dice.choice(others)
        self.kills += 1
        if victim is leader:
            self.kills_of_the_leader += 1
            self.disturbed.append(time.monotonic())
        victim.kill()
        victim.start(ready=False)

    # --------------------------------------------------------------------------------------------------- the verdict

    def times(self) -> list[float]:
        return [one.at_s for one in self.fleet.sent()]

    def at_the_door(self) -> list[float]:
        """Return when requests came to the backend, by the kernel, on the clock of all else."""
        shift_s = time.time() - time.monotonic()
        entries = read(self.fleet.folder / "proxy.jsonl")
        return [one["at_s"] - shift_s for one in entries if one["what"] == "request"]

    def use(self, until_s: float) -> float:
        """Return which part of the rate was used, where a leader led and was not disturbed."""
        times, used, allowed = self.times(), 0, 0.0
        for since_s, end_s in pairwise(sorted([0.0, *self.disturbed, until_s])):
            here = [at_s for at_s in times if since_s <= at_s < end_s]
            begin_s = here[0] + UNDER_WAY_S if here else end_s
            if end_s - begin_s > 2:
                used += sum(at_s >= begin_s for at_s in here)
                allowed += budget(self.phases, begin_s, end_s)[0]
        return used / allowed if allowed else 0.0

    def limits(self) -> list[Phase]:
        """Return the phases with the backend's limits in place of the rates."""
        return [Phase(since_s, SLOW_LIMIT if rate == SLOW else FAST_LIMIT) for since_s, rate in self.phases]


def play(folder: Path, seed: int, *, seconds: float) -> Run:
    """Three processes, 24/5s -> 48/s -> 24/5s, kills and faults all the time, and always a backlog."""
    fleet = Fleet(folder, str(SLOW), fault_every_s=2.0, seed=seed)
    run = Run(fleet, random.Random(seed))
    with fleet.running():
        run.phases.append(Phase(time.monotonic(), SLOW))
        run.sell(round(seconds * 25))
        run.go_on(seconds * 0.3, kill_every_s=6)
        run.reload(FAST)
        run.go_on(seconds * 0.4, kill_every_s=8)
        run.reload(SLOW)
        run.go_on(seconds * 0.3, kill_every_s=6)
        run.disturbed.append(time.monotonic())
        fleet.leader()
        assert fleet.flow(fleet.leader())["queued"] > 0, "there must always be a backlog"
    return run


def rush(folder: Path, package: Path | None) -> Run:
    """One process, from rest: what is saved up in a quiet while must not leave at once."""
    fleet = Fleet(folder, str(FAST), names=("one",), package=package)
    run = Run(fleet, random.Random(0))
    with fleet.running():
        run.phases.append(Phase(time.monotonic(), FAST))
        run.sell(5)
        fleet.until(lambda: len(fleet.bookings()) == 5, "the first orders are booked")
        time.sleep(2.5)
        run.sell(150)
        fleet.until(lambda: len(fleet.bookings()) == 155, "all are booked")
    return run

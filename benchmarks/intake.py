"""Intake: the same requests to flashd and to what people would pick instead, in turns; what each order cost."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from benchmarks.cpu import CpuMeter, Pids, Seconds
from benchmarks.load import Load, load
from benchmarks.spread import Spread
from benchmarks.traffic import Kind

_WARM_UP = 12_000  # requests at hand for the second before the clock runs
_MORE = 1.6  # requests at hand, as a multiple of what the second before lets expect
_FEWEST = 4_000
_ASKS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")  # one each for a call of flashd that runs a script


class Tally(msgspec.Struct, frozen=True):
    """What the store's own counters say."""

    calls: int  # scripts that were called
    script_us: int  # the server's time in them
    commands: int  # all commands, also those inside scripts
    kept: int  # orders, or holds

    def since(self, before: Tally) -> Tally:
        return Tally(
            self.calls - before.calls,
            self.script_us - before.script_us,
            self.commands - before.commands,
            self.kept - before.kept,
        )


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of those that are compared; *tally* reads what it keeps, where that can be told."""

    name: str
    port: int
    pids: Pids
    tally: Callable[[], Tally] | None = None


class Sample(msgspec.Struct, frozen=True):
    """One side of one round."""

    load: Load
    cpu_us: Seconds  # for each request, by process
    store: Tally


class Case(msgspec.Struct):
    """One kind of request at one number of connections, and its rounds."""

    kind: Kind
    sides: list[Side]
    connections: int
    rounds: list[dict[str, Sample]] = []
    expected: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind.name}, {self.connections} connections"

    def has(self, side: str) -> bool:
        return bool(self.rounds) and all(side in one for one in self.rounds)

    def spread(self, side: str, figure: str) -> Spread:
        """Return *figure* of the Load of one side."""
        return Spread.of(float(getattr(one[side].load, figure)) for one in self.rounds)

    def ratio(self, side: str, other: str) -> Spread:
        """Return how many times as many requests a second *side* took as *other*, round by round."""
        return Spread.of(one[side].load.per_second / max(1.0, one[other].load.per_second) for one in self.rounds)

    def cpu(self, side: str) -> dict[str, Spread]:
        """Return the microseconds of CPU that each process of one side spent on a request."""
        names = self.rounds[0][side].cpu_us
        return {name: Spread.of(one[side].cpu_us[name] for one in self.rounds) for name in names}

    def per_order(self, figure: str) -> Spread:
        """Return *figure* of flashd's Tally for each order (or hold) that came into being."""
        stores = [one["flashd"].store for one in self.rounds]
        return Spread.of(float(getattr(store, figure)) / max(1, store.kept) for store in stores)

    def fresh(self, side: str) -> Spread:
        """Return which share of the answers in 2xx stands for something new; below 1 the requests did not suffice."""
        good = [(one[side].store.kept, one[side].load) for one in self.rounds]
        return Spread.of(kept / max(1, load.answered - load.refused) for kept, load in good)

    @property
    def failures(self) -> int:
        """Count what was refused or broke, on all sides."""
        return sum(sample.load.refused + sample.load.broken for one in self.rounds for sample in one.values())

    def warm_up(self) -> None:
        """Load all sides for a second, and learn how many requests are needed."""
        with scratch() as path:
            traffic = self.kind.write(path, _WARM_UP)
            for side in self.sides:
                found = load(side.port, traffic, seconds=1, connections=self.connections)
                if found.refused or not found.answered:
                    raise RuntimeError(f"{self.name}: {side.name} refused {found.refused} of {found.answered}")
                if side.tally is not None:
                    self.expected = max(self.expected, int(found.per_second))

    def measure(self, turn: int, *, seconds: int) -> None:
        """Add one round; *turn* says which side begins."""
        found: dict[str, Sample] = {}
        with scratch() as path:
            traffic = self.kind.write(path, int(max(_FEWEST, self.expected * _MORE) * seconds))
            for index in range(len(self.sides)):
                side = self.sides[(turn + index) % len(self.sides)]
                before = side.tally() if side.tally is not None else Tally(0, 0, 0, 0)
                meter = CpuMeter(side.pids)
                seen = load(side.port, traffic, seconds=seconds, connections=self.connections)
                cost = meter.cost().per(seen.answered)
                after = side.tally() if side.tally is not None else before
                found[side.name] = Sample(seen, cost, after.since(before))
        self.rounds.append(found)


def tally(client: Redis, sinks: Iterable[str]) -> Tally:
    """Read the counters of flashd's server; orders are those queued for *sinks*."""
    stats: dict[str, Any] = client.info("commandstats")
    asked = [stats[name] for name in _ASKS if name in stats]
    kept = ["fd:{main}:hold:due", *("fd:{main}:q:" + sink for sink in sinks)]
    return Tally(
        sum(int(one["calls"]) for one in asked),
        sum(int(one["usec"]) for one in asked),
        sum(int(one["calls"]) for one in stats.values()),
        sum(int(client.zcard(key)) for key in kept),
    )


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Hand out a file in memory, where there is such a place: writing it must not stand in the way of the fsyncs."""
    shared = Path("/dev/shm")  # noqa: S108  # only a place for a file with a name of its own
    with tempfile.NamedTemporaryFile(prefix="flashd-bench-", dir=shared if shared.is_dir() else None) as file:
        yield Path(file.name)

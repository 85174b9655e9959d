"""Intake: the same requests to flashd and to a bare aiohttp in turns, and what each order cost the store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from benchmarks.load import Load, load
from benchmarks.site import Site
from benchmarks.spread import Spread
from benchmarks.traffic import Kind, bearer, native_hold, native_order, recorded_order, shopify

_WARM_UP = 12_000  # requests at hand for the second before the clock runs
_MORE = 1.6  # requests at hand, as a multiple of what the second before lets expect
_FEWEST = 2_000
_ASKS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")  # one each for a call of flashd that runs a script
_HELD, _QUEUED = "fd:{main}:hold:due", "fd:{main}:q:sink"


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


class Round(msgspec.Struct, frozen=True):
    """One round of both sides."""

    flashd: Load
    bare: Load
    store: Tally

    @property
    def ratio(self) -> float:
        return self.flashd.per_second / max(1.0, self.bare.per_second)


class Case(msgspec.Struct):
    """One kind of request, and its rounds."""

    kind: Kind
    rounds: list[Round] = []

    @property
    def body_bytes(self) -> int:
        return len(self.kind.body)

    def spread(self, side: str, figure: str) -> Spread:
        """Return *figure* of a Load on one side, "flashd" or "bare"."""
        return Spread.of(float(getattr(getattr(one, side), figure)) for one in self.rounds)

    @property
    def ratio(self) -> Spread:
        return Spread.of(one.ratio for one in self.rounds)

    def per_order(self, figure: str) -> Spread:
        """Return *figure* of the Tally for each order (or hold) that came into being."""
        return Spread.of(float(getattr(one.store, figure)) / max(1, one.store.kept) for one in self.rounds)

    @property
    def fresh(self) -> Spread:
        """Return which share of the answers in 2xx stands for something new; below 1 the requests did not suffice."""
        good = [one.flashd.answered - one.flashd.refused for one in self.rounds]
        return Spread.of(one.store.kept / max(1, count) for one, count in zip(self.rounds, good, strict=True))

    @property
    def failures(self) -> int:
        """Count what was refused or broke, on both sides."""
        return sum(side.refused + side.broken for one in self.rounds for side in (one.flashd, one.bare))


def cases(site: Site) -> list[Case]:
    """List what is measured."""
    native = bearer(site.secret)
    return [
        Case(Kind(name="native order", target="/v1/orders", body=native_order(), headers=native)),
        Case(Kind(name="Shopify order", target="/webhooks/shop", body=recorded_order(), headers=shopify(site.secret))),
        Case(Kind(name="native hold", target="/v1/holds", body=native_hold(), headers=native)),
    ]


def warm_up(site: Site, case: Case, *, connections: int) -> int:
    """Load both sides for a second; return how many requests a second to expect."""
    with _scratch() as path:
        traffic = case.kind.write(path, _WARM_UP)
        found = load(site.intake_port, traffic, seconds=1, connections=connections)
        load(site.bare_port, traffic, seconds=1, connections=connections)
    if found.refused or not found.answered:
        raise RuntimeError(f"{case.kind.name}: {found.refused} of {found.answered} were refused")
    return int(found.per_second)


def measure(site: Site, case: Case, *, expected: int, seconds: int, connections: int, bare_first: bool) -> None:
    """Add one round of both sides to *case*."""
    sides: dict[str, Load] = {}
    store = Tally(0, 0, 0, 0)
    with _scratch() as path, site.store() as client:
        traffic = case.kind.write(path, int(max(_FEWEST, expected * _MORE) * seconds))
        for side in ("bare", "flashd") if bare_first else ("flashd", "bare"):
            port = site.bare_port if side == "bare" else site.intake_port
            before = tally(client)
            sides[side] = load(port, traffic, seconds=seconds, connections=connections)
            if side == "flashd":
                store = tally(client).since(before)
    case.rounds.append(Round(sides["flashd"], sides["bare"], store))


def tally(client: Redis) -> Tally:
    """Read the counters of the daemon's server."""
    stats: dict[str, Any] = client.info("commandstats")
    asked = [stats[name] for name in _ASKS if name in stats]
    return Tally(
        sum(int(one["calls"]) for one in asked),
        sum(int(one["usec"]) for one in asked),
        sum(int(one["calls"]) for one in stats.values()),
        _cards(client, (_HELD, _QUEUED)),
    )


def _cards(client: Redis, keys: Sequence[str]) -> int:
    return sum(int(client.zcard(key)) for key in keys)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Hand out a file in memory, where there is such a place: writing it must not stand in the way of the fsyncs."""
    memory = Path("/dev/shm")  # noqa: S108  # a private name below, made by tempfile
    with tempfile.TemporaryDirectory(prefix="flashd-bench-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "requests"

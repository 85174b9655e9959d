"""A size beside the smallest: both sites stand at once, one of them frozen while the other is under load."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.cpu import CpuMeter
from benchmarks.growth import filling
from benchmarks.growth.curve import Curve, Point, Sample
from benchmarks.intake import scratch, tally
from benchmarks.load import Load, load
from benchmarks.site import Site
from benchmarks.traffic import Kind, Traffic, numbered

SKUS = 50  # where their number is not what grows
CONNECTIONS = 64
_MORE, _FEWEST = 1.6, 4_000
_SETTLED = 0.05  # of a core
_SETTLE_S, _LOOK_S = 120.0, 1.0

Say = Callable[[str], None]


class Stand(msgspec.Struct):
    """A site, and what is sent to it."""

    site: Site
    kind: Kind
    expected: int = 8_000  # orders a second

    def warm_up(self) -> None:
        """Load it for a second, unmeasured, and learn how many requests are needed."""
        self.expected = int(sum(one.per_second for one in self._load(1)))

    def sample(self, seconds: int) -> Sample:
        """Load all its daemons at once."""
        site = self.site
        with site.store() as client:
            before = tally(client, site.plan.sinks)
            meter = CpuMeter(site.pids)
            loads = self._load(seconds)
            answered = sum(one.answered for one in loads)
            cost = meter.cost().per(answered)
            store = tally(client, site.plan.sinks).since(before)
        return Sample(
            per_s=sum(one.per_second for one in loads),
            p99_us=max(one.p99_us for one in loads),
            refused=sum(one.refused + one.broken for one in loads),
            flashd_us=cost["flashd"],
            store_us=cost["store"],
            calls=store.calls / max(1, store.kept),
            mib=max(site.memory_mib()),
        )

    def _load(self, seconds: int) -> list[Load]:
        ports = [daemon.intake_port for daemon in self.site.daemons]
        count = int(max(_FEWEST, self.expected * _MORE) * seconds / len(ports))
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(ports)) as pool:
            traffic = [self.kind.write(stack.enter_context(scratch()), count) for _ in ports]

            def one(port: int, requests: Traffic) -> Load:
                return load(port, requests, seconds=seconds, connections=CONNECTIONS // len(ports))

            return list(pool.map(one, ports, traffic))

    def settle(self) -> None:
        """Return when the daemons do next to nothing: what was filled in is worked off."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            meter = CpuMeter(self.site.pids)
            time.sleep(_LOOK_S)
            if sum(meter.cost().seconds.values()) < _SETTLED * _LOOK_S * len(self.site.daemons):
                return
        raise RuntimeError(f"flashd is still busy {_SETTLE_S:.0f} s after it was filled")


def measure(curve: Curve, *, rounds: int, seconds: int, say: Say) -> None:
    """Measure every size but the smallest beside the smallest."""
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name, contextlib.ExitStack() as last:
        folder, grown, before = Path(name), None, curve.sizes[0]
        for size in curve.sizes[1:]:
            with contextlib.ExitStack() as stack:
                small = stack.enter_context(_stand(curve, curve.sizes[0], folder / f"small-{size}"))
                small.site.freeze()
                if grown is None or curve.fill is None:
                    keeper = last if curve.fill is not None else stack
                    grown = keeper.enter_context(
                        _stand(curve, curve.sizes[0] if curve.fill else size, folder / f"{size}")
                    )
                else:
                    grown.site.thaw()
                if curve.fill is not None:
                    say(f"{curve.title}: filling up to {size:,}")
                    curve.fill(grown.site, before, size)
                    filling.rest(grown.site)
                    grown.kind = curve.kind(grown.site, size)
                    before = size
                grown.settle()
                grown.warm_up()
                grown.site.freeze()
                small.site.thaw()
                small.settle()
                small.warm_up()
                small.site.freeze()
                say(f"{curve.title}: {size:,} beside {curve.sizes[0]:,}")
                curve.points.append(_rounds(Point(size), grown, small, rounds, seconds))


def _rounds(point: Point, grown: Stand, small: Stand, rounds: int, seconds: int) -> Point:
    for turn in range(rounds):
        sides = ((grown, point.here), (small, point.smallest))
        for stand, samples in sides if turn % 2 == 0 else reversed(sides):
            stand.site.thaw()
            samples.append(stand.sample(seconds))
            stand.site.freeze()
    with grown.site.store() as client:
        point.store_mib = int(client.info("memory")["used_memory"]) / 2**20
    return point


@contextlib.contextmanager
def _stand(curve: Curve, size: int, folder: Path) -> Iterator[Stand]:
    """Start a site of one size."""
    with Site(folder, curve.plan(size)) as site:
        kind = curve.kind(site, size)
        site.count(numbered(min(kind.skus, SKUS)))
        yield Stand(site, kind)

"""One curve: what grows, how it is set up, and what was measured at each size beside the smallest."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from benchmarks.plan import Plan
from benchmarks.section import Cells
from benchmarks.site import Site
from benchmarks.spread import Spread
from benchmarks.traffic import Kind

HEAD = (
    "",
    "intake, orders /s",
    "the smallest beside it",
    "share of the smallest",
    "p99 ms",
    "CPU us an order",
    "the smallest's",
    "its store",
    "the smallest's store",
    "CPU of both, times the smallest's",
    "calls an order",
    "MiB of a process",
    "more than the smallest",
    "MiB of the store",
)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One site in one round."""

    per_s: float
    p99_us: int
    refused: int
    flashd_us: float
    store_us: float
    calls: float
    mib: float  # resident memory of the largest process

    @property
    def cpu_us(self) -> float:
        return self.flashd_us + self.store_us


class Point(msgspec.Struct):
    """One size, round by round beside the smallest."""

    size: int
    here: list[Sample] = []
    smallest: list[Sample] = []
    store_mib: float = 0.0

    def spread(self, figure: str) -> Spread:
        return Spread.of(float(getattr(one, figure)) for one in self.here)

    @property
    def share(self) -> Spread:
        """Return the intake as a share of the smallest size's in the same round."""
        pairs = zip(self.here, self.smallest, strict=True)
        return Spread.of(one.per_s / max(1.0, other.per_s) for one, other in pairs)

    @property
    def cpu_share(self) -> Spread:
        """Return how much CPU an order takes, flashd's and its store's, of the smallest size's in the same round."""
        pairs = zip(self.here, self.smallest, strict=True)
        return Spread.of(one.cpu_us / max(1.0, other.cpu_us) for one, other in pairs)

    @property
    def more_mib(self) -> float:
        """Return how much larger a process is than at the smallest size, at the end of the rounds."""
        return self.here[-1].mib - self.smallest[-1].mib

    @property
    def refused(self) -> int:
        return sum(one.refused for one in (*self.here, *self.smallest))

    def cells(self) -> Cells:
        return (
            f"{self.size:,}",
            self.spread("per_s").text(),
            Spread.of(one.per_s for one in self.smallest).text(),
            self.share.text(".2f"),
            f"{self.spread('p99_us').median / 1000:.1f}",
            self.spread("flashd_us").text(),
            Spread.of(one.flashd_us for one in self.smallest).text(),
            self.spread("store_us").text(),
            Spread.of(one.store_us for one in self.smallest).text(),
            self.cpu_share.text(".2f"),
            self.spread("calls").text(".3f"),
            f"{self.here[-1].mib:.0f}",
            f"{self.more_mib:+.1f}",
            f"{self.store_mib:,.0f}",
        )


class Curve(msgspec.Struct, kw_only=True):
    """
    What grows.

    Args:
        key: The name of its plot.
        plan: What flashd is set up with at a size.
        kind: What is sent there.
        fill: Makes a site of one size into one of another; where there is none, each size has a site of its own.
    """

    key: str
    title: str
    sizes: tuple[int, ...]
    plan: Callable[[int], Plan]
    kind: Callable[[Site, int], Kind]
    fill: Callable[[Site, int, int], None] | None = None
    points: list[Point] = []

    def up_to(self, most: int) -> Curve:
        """Return the same without what is larger than *most*; the smallest stays."""
        sizes = tuple(size for size in self.sizes if size <= max(most, self.sizes[0]))
        return msgspec.structs.replace(self, sizes=sizes, points=[])

"""
`python -m benchmarks.growth`: intake and memory from the small to the large end of each curve; about twenty minutes.

Each size is measured beside the smallest, in turns, so that every ratio is of one moment.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import click

from benchmarks import traffic
from benchmarks.goals import Finding
from benchmarks.growth import beside, filling, plot
from benchmarks.growth.beside import SKUS, Say
from benchmarks.growth.curve import HEAD, Curve
from benchmarks.plan import Plan
from benchmarks.results import RESULTS
from benchmarks.run import Part, Run
from benchmarks.section import Section, Sheet
from benchmarks.site import Site
from benchmarks.traffic import Kind


def _orders(site: Site, *, skus: int = SKUS, shops: int | None = None) -> Kind:
    """Return small Shopify orders for so many SKUs, to so many of the shops (None: to all)."""
    targets = site.plan.targets[:shops]
    headers = traffic.shopify(site.secret)
    return Kind(name="", target=targets, body=traffic.small_order(), headers=headers, skus=skus)


CURVES = (
    Curve(
        key="skus",
        title="SKUs",
        sizes=(10, 1_000, 100_000, 1_000_000),
        plan=lambda _: Plan(),
        kind=lambda site, size: _orders(site, skus=size),
        fill=filling.skus,
    ),
    Curve(
        key="backlog",
        title="queued orders",
        sizes=(0, 10_000, 100_000, 1_000_000),
        plan=lambda _: Plan(),
        kind=lambda site, _: _orders(site),
        fill=filling.backlog,
    ),
    Curve(
        key="channels",
        title="channels that all sell",
        sizes=(1, 10, 100),
        plan=lambda size: Plan(channels=size),
        kind=lambda site, _: _orders(site),
    ),
    Curve(
        key="channels-one",
        title="channels of which one sells",
        sizes=(1, 100),
        plan=lambda size: Plan(channels=size),
        kind=lambda site, _: _orders(site, shops=1),
    ),
    Curve(
        key="backends",
        title="backends that all get orders",
        sizes=(1, 10, 50),
        plan=lambda size: Plan(backends=size),
        kind=lambda site, _: _orders(site),
    ),
    Curve(
        key="processes",
        title="processes on one store",
        sizes=(1, 2, 4),
        plan=lambda size: Plan(processes=size),
        kind=lambda site, _: _orders(site),
    ),
)


@click.command()
@click.option("--rounds", default=5, type=click.IntRange(1, 9), show_default=True)
@click.option("--seconds", default=3, type=click.IntRange(1, 10), show_default=True, help="Of load, each round.")
@click.option("--most", default=1_000_000, show_default=True, help="Larger sizes are left out.")
@click.option("--only", multiple=True, type=click.Choice([curve.key for curve in CURVES]), help="Some curves.")
@click.option("--note", default="", help="A sentence for RESULTS.md, such as what else the machine did.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/RESULTS.md and benchmarks/plots.")
def main(*, rounds: int, seconds: int, most: int, only: tuple[str, ...], note: str, write: bool) -> None:
    """Measure intake and memory along each curve."""
    run = Run("bench-growth", note, path=RESULTS if write else None)
    chosen = [curve.up_to(most) for curve in CURVES if not only or curve.key in only]
    told: list[Curve] = []

    def fill(curve: Curve, section: Section, say: Say) -> None:
        try:
            beside.measure(curve, rounds=rounds, seconds=seconds, say=say)
        finally:
            if curve.points:
                told.append(curve)
                _tell(curve, section, draws=write)
                section.findings += _findings(told)

    parts: list[Part] = [(curve.title, functools.partial(fill, curve)) for curve in chosen]
    raise SystemExit(min(1, run.measure(parts)))


def _tell(curve: Curve, section: Section, *, draws: bool) -> None:
    """Put a curve into its section."""
    refused = sum(point.refused for point in curve.points)
    section.notes.append(
        f"webhooks of 383 B over {beside.CONNECTIONS} connections; the smallest size is {curve.sizes[0]:,}; "
        "the sides in turns, the other one frozen"
    )
    if curve.fill is not None:
        section.notes.append("what was filled in is on the disk, and its events are cut off, before the clock runs")
    if refused:
        section.notes.append(f"REFUSED OR BROKEN REQUESTS: {refused}")
    section.sheets.append(Sheet((curve.title, *HEAD[1:]), [point.cells() for point in curve.points]))
    if draws and (reason := plot.missing()):
        section.notes.append(f"NO PLOT: {reason}")
    elif draws:
        section.plots.append(plot.draw(curve))


def _findings(curves: list[Curve]) -> Iterator[Finding]:
    """Judge the large ends of all curves that were measured so far by the worst of them."""
    ends = [(curve.title, curve.points[-1]) for curve in curves]
    title, worst = min(ends, key=lambda end: end[1].share.median)
    text = f"{worst.share.text('.2f')} at {worst.size:,} {title}, of {len(ends)} curves"
    yield Finding("growth-intake", text, worst.share.median >= 0.90)
    title, worst = max(ends, key=lambda end: end[1].more_mib)
    text = f"{worst.more_mib:+.0f} MiB at {worst.size:,} {title}, of {len(ends)} curves"
    yield Finding("growth-memory", text, worst.more_mib <= 64)


if __name__ == "__main__":
    main()

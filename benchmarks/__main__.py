"""
`python -m benchmarks`: a run of about four minutes that prints ratios and writes RESULTS.md.

Nothing here passes or fails: figures depend on the machine and on what else it does, ratios of one run much less.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

import click
import structlog
import uvloop
from rich.console import Console

from benchmarks import ceiling, intake, machine, outflow, publishing, report
from benchmarks.load import generator
from benchmarks.results import RESULTS
from benchmarks.site import OUTFLOW, Site
from benchmarks.traffic import Kind, bearer, native_order

FOREWORD = "The figures as they came out, whatever they are. Compare ratios of one run, not figures of two."
_BATCH = 5_000  # orders of one NDJSON batch


@click.command()
@click.option("--rounds", default=3, type=click.IntRange(1, 9), show_default=True)
@click.option("--seconds", default=3, type=click.IntRange(1, 10), show_default=True, help="Of load, each round.")
@click.option("--connections", default=64, type=click.IntRange(1, 1024), show_default=True)
@click.option("--outflow-s", default=15, type=click.IntRange(0, 60), show_default=True, help="0 leaves it out.")
@click.option("--publishing-s", default=15, type=click.IntRange(0, 120), show_default=True, help="0 leaves it out.")
@click.option("--note", default="", help="A sentence for RESULTS.md, such as what else the machine did.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/RESULTS.md.")
def main(
    *, rounds: int, seconds: int, connections: int, outflow_s: int, publishing_s: int, note: str, write: bool
) -> None:
    """Measure intake, holds, the script's ceiling, outflow and publishing, side by side."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console(width=None if sys.stdout.isatty() else 160)
    began_s, company = time.monotonic(), machine.Company()
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name:
        folder = Path(name)
        seen = machine.look(folder)
        site = Site(folder)
        try:
            site.start()
            found = _measure(site, seen, console, rounds=rounds, seconds=seconds, connections=connections)
            for rate in OUTFLOW if outflow_s else ():
                console.print(f"outflow at {rate}/s", style="dim")
                found.outflows.append(outflow.measure(site, rate, seconds=outflow_s))
        finally:
            site.close()
    if publishing_s:
        console.print(f"publishing to three shops, {publishing.PER_S} sales/s", style="dim")
        found.published.append(publishing.measure(publishing_s))
    found.took_s, found.company = time.monotonic() - began_s, company.share()
    report.show(found, console)
    if write:
        report.write(found, RESULTS, f"{FOREWORD} {note}".strip())


def _measure(
    site: Site, seen: machine.Machine, console: Console, *, rounds: int, seconds: int, connections: int
) -> report.Results:
    """Let all that is compared take turns, and turn the order about from round to round."""
    cases = intake.cases(site)
    how = f"{generator()} with {connections} connections, {seconds} s each"
    found = report.Results(seen, how, 0.0, 0.0, cases, [], [], [], [])
    expected = [intake.warm_up(site, case, connections=connections) for case in cases]
    order = Kind(name="", target="", body=native_order(), headers=bearer(""))
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}", style="dim")
        for case, count in zip(cases, expected, strict=True):
            bare_first = number % 2 == 0
            intake.measure(site, case, expected=count, seconds=seconds, connections=connections, bare_first=bare_first)
        bodies = order.bodies(ceiling.ORDERS)
        found.ceilings.append(uvloop.run(ceiling.measure(site.folder / f"ceiling-{number}", bodies)))
        found.batches.append(_batch(site, order.bodies(_BATCH)))
    return found


def _batch(site: Site, bodies: list[bytes]) -> float:
    began_s = time.perf_counter()
    made = site.batch(bodies, site.secret)
    if made != len(bodies):
        raise RuntimeError(f"only {made} of {len(bodies)} orders of the batch came into being")
    return made / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()

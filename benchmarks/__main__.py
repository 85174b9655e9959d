"""
`python -m benchmarks`: a run of about a quarter of an hour that prints ratios and writes RESULTS.md.

Nothing here passes or fails: figures depend on the machine and on what else it does, ratios of one run much less.
"""

from __future__ import annotations

import functools

import click

from benchmarks.options import Options, Say
from benchmarks.results import RESULTS
from benchmarks.run import Part, Run
from benchmarks.section import Section
from benchmarks.sections import held, intake, memory, ndjson, outflow, published, shops, unlimited

SECTIONS = {
    "intake": intake,
    "ndjson": ndjson,
    "held": held,
    "outflow": outflow,
    "unlimited": unlimited,
    "published": published,
    "shops": shops,
    "memory": memory,
}


@click.command()
@click.option("--rounds", default=3, type=click.IntRange(1, 9), show_default=True)
@click.option("--seconds", default=3, type=click.IntRange(1, 10), show_default=True, help="Of load, each round.")
@click.option("--connections", default=(64, 256), multiple=True, type=click.IntRange(1, 1024), show_default=True)
@click.option("--outflow-s", default=60, type=click.IntRange(5, 600), show_default=True, help="Of each paced run.")
@click.option("--published-s", default=20, type=click.IntRange(2, 600), show_default=True)
@click.option(
    "--only", multiple=True, type=click.Choice(list(SECTIONS)), help="Some sections; RESULTS.md loses the others."
)
@click.option("--note", default="", help="A sentence for RESULTS.md, such as what else the machine did.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/RESULTS.md.")
def main(
    *,
    rounds: int,
    seconds: int,
    connections: tuple[int, ...],
    outflow_s: int,
    published_s: int,
    only: tuple[str, ...],
    note: str,
    write: bool,
) -> None:
    """Measure intake, holds, the script's ceiling, outflow, publishing and memory, side by side."""
    options = Options(
        rounds=rounds, seconds=seconds, connections=connections, outflow_s=outflow_s, published_s=published_s
    )
    run = Run("bench", note, path=RESULTS if write else None)
    parts: list[Part] = [
        (module.TITLE, functools.partial(_fill, name, options))
        for name, module in SECTIONS.items()
        if not only or name in only
    ]
    raise SystemExit(min(1, run.measure(parts)))


def _fill(name: str, options: Options, section: Section, say: Say) -> None:
    SECTIONS[name].measure(section, options, say)


if __name__ == "__main__":
    main()

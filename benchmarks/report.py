"""The figures as they came out: a table on the terminal, and RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.ceiling import Ceiling
from benchmarks.intake import Case
from benchmarks.machine import Machine
from benchmarks.outflow import Outflow
from benchmarks.publishing import Published
from benchmarks.results import put, table
from benchmarks.spread import Spread

Rows = list[tuple[str, ...]]

INTAKE_HEAD = ("intake", "body", "flashd /s", "bare /s", "ratio", "p50 ms", "p99 ms", "bare p99 ms")
STORE_HEAD = ("for each order or hold", "script calls", "server time in scripts, us", "commands, inner ones too", "new")
CEILING_HEAD = ("no HTTP, batches of 256 native orders", "orders/s")
PUBLISHING_HEAD = (
    "three shops, 200 SKUs",
    "sales /s",
    "order to figure, p50 ms",
    "p99 ms",
    "zero, p50 ms",
    "zero, p99 ms",
    "requests",
    "per sale and shop",
)
OUTFLOW_HEAD = ("outflow", "average /s", "share", "busiest second", "sent twice")


class Results(msgspec.Struct):
    """All that one run measured."""

    machine: Machine
    load: str  # how the load was made
    took_s: float
    company: float  # the share of all cores that went to others meanwhile
    cases: list[Case]
    ceilings: list[Ceiling]
    batches: list[float]  # NDJSON orders a second
    outflows: list[Outflow]
    published: list[Published]

    def tables(self) -> list[tuple[tuple[str, ...], Rows]]:
        found = [
            (INTAKE_HEAD, [_intake(case) for case in self.cases]),
            (STORE_HEAD, [_store(case) for case in self.cases]),
            (CEILING_HEAD, self._ceiling()),
            (OUTFLOW_HEAD, [_outflow(one) for one in self.outflows]),
            (PUBLISHING_HEAD, [_published(one) for one in self.published]),
        ]
        return [(head, rows) for head, rows in found if rows]

    def _ceiling(self) -> Rows:
        if not self.ceilings:
            return []
        shares = Spread.of(batch / one.script for batch, one in zip(self.batches, self.ceilings, strict=True))
        return [
            ("the accept script, calls packed beforehand", Spread.of(one.script for one in self.ceilings).text()),
            ("RedisLedger.accept, packing and replies included", Spread.of(one.ledger for one in self.ceilings).text()),
            ("one NDJSON batch to POST /v1/orders:batch, over HTTP", Spread.of(self.batches).text()),
            ("the NDJSON batch as a share of the script", shares.text(".2f")),
        ]

    def notes(self) -> list[str]:
        rounds = len(self.ceilings)
        others = f"others took {self.company:.0%} of them during this run"
        found = [
            f"load by {self.load}; {rounds} rounds, the two sides in turns; median (least-most)",
            "every answer of flashd is durable (fsync before the answer); backends were paused during intake",
            "bare: aiohttp and uvloop, one process, reads the body and answers 200; flashd: one process and its server",
            "new: orders that came into being by answers in 2xx; above 1 by those under way at a round's end",
            "outflow: counted as the kernel saw requests arrive at the simulated ERP, from 2 s after the first",
            f"generator, flashd and its server share the cores with whatever else runs on the machine; {others}",
            f"the run took {self.took_s:.0f} s",
        ]
        failures = sum(case.failures for case in self.cases)
        return [*found, f"REFUSED OR BROKEN REQUESTS: {failures}"] if failures else found


def _intake(case: Case) -> tuple[str, ...]:
    milliseconds = [
        Spread(one.median / 1000, one.least / 1000, one.most / 1000).text(".1f")
        for one in (case.spread("flashd", "p50_us"), case.spread("flashd", "p99_us"), case.spread("bare", "p99_us"))
    ]
    return (
        case.kind.name,
        f"{case.body_bytes:,} B",
        case.spread("flashd", "per_second").text(),
        case.spread("bare", "per_second").text(),
        case.ratio.text(".2f"),
        *milliseconds,
    )


def _store(case: Case) -> tuple[str, ...]:
    return (
        case.kind.name,
        case.per_order("calls").text(".3f"),
        case.per_order("script_us").text(".1f"),
        case.per_order("commands").text(".1f"),
        case.fresh.text(".3f"),
    )


def _outflow(one: Outflow) -> tuple[str, ...]:
    name = f"{one.rate}/s for {one.seconds} s"
    return name, f"{one.average:.1f}", f"{one.share:.3f}", str(one.busiest), str(one.twice)


def _published(one: Published) -> tuple[str, ...]:
    name = f"{one.sales:,} sales at a till in {one.seconds:.0f} s, {one.zeros} zeros, {one.missing} never published"
    lags = (*one.lags_ms, *one.zero_ms)
    return (
        name,
        f"{one.per_s:.0f}",
        *(f"{lag:,.0f}" for lag in lags),
        f"{one.requests:,}",
        f"{one.requests / max(1, 3 * one.sales):.3f}",
    )


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    for head, rows in results.tables():
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in (*results.machine.lines(), *results.notes()):
        console.print(line, highlight=False, soft_wrap=True)


def write(results: Results, path: Path, foreword: str) -> None:
    """Write this benchmark's part of RESULTS.md."""
    text = [foreword, "", *(f"* {line}" for line in (*results.machine.lines(), *results.notes()))]
    for head, rows in results.tables():
        text += table(head, rows)
    put("bench", text, path)

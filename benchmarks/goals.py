"""
The goals of speed, and what each benchmark found: the table at the top of RESULTS.md.

A run writes the rows that it measured and leaves the others; a goal that is missed stands there as "not met".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks import results

HEADING = "# Goals, and what was measured"
HEAD = ("goal", "at least / at most", "measured", "verdict", "by")

# Each goal: what is measured, and the figure that makes it met.
GOALS: dict[str, tuple[str, str]] = {
    "small-bare": ("durable intake of a 380-byte Shopify order, share of bare aiohttp", ">= 0.70 (goal 0.80)"),
    "small-fastify": ("durable intake of a 380-byte Shopify order, times Fastify + BullMQ", ">= 1.15 (goal 1.3)"),
    "large-bare": ("durable intake of a recorded 11.8 kB Shopify order, share of bare aiohttp", ">= 0.30 (goal 0.45)"),
    "large-fastify": ("durable intake of a recorded 11.8 kB Shopify order, times Fastify + BullMQ", ">= 3 (goal 4)"),
    "ndjson": ("NDJSON batch, share of the raw script ceiling", ">= 0.70"),
    "holds": ("holds by the native API, share of bare aiohttp", ">= 0.75"),
    "outflow-most": ("outflow at 5, 50 and 500/s: the busiest second at the sender", "<= N"),
    "outflow-average": ("outflow at 5, 50 and 500/s: the average share of N", ">= 0.95"),
    "outflow-ledger": ("paced at 0.96 N: the busiest second at the ERP's own ledger", "<= N"),
    "unlimited": ("unlimited outflow, share of a bare aiohttp client loop", ">= 0.70"),
    "tryton": ("1,000 orders into a real Tryton: batched, times one by one; each there once", ">= 8"),
    "published": ("sold to published at 1,000 sales/s, p99, times a raw publish", "<= 3"),
    "growth-intake": ("growth: intake at the large end, share of the small end, the worst curve", ">= 0.90"),
    "growth-memory": ("growth: memory of a flashd process at the large end, more than at the small end", "<= 64 MiB"),
    "bytes": ("Redis bytes of a queued 380-byte order on Valkey", "<= 850"),
    "calls": ("Redis calls of an accepted order under load", "<= 0.1"),
}


class Finding(msgspec.Struct, frozen=True):
    """What was measured of one goal."""

    goal: str  # a key of GOALS
    measured: str
    met: bool

    def cells(self, target: str, date: str) -> tuple[str, ...]:
        what, bound = GOALS[self.goal]
        verdict = "met" if self.met else "**not met**"
        return what, bound, self.measured.replace("|", "/"), verdict, f"`make {target}`, {date}"


def put(findings: Iterable[Finding], target: str, date: str, path: Path = results.RESULTS) -> None:
    """
    Write the rows of what *target* measured into the table at the top; rows of other runs stay.

    Args:
        date: When; it stands in each row, for rows of one table may be of several runs.
    """
    rows = {name: (what, bound, "-", "not measured", "-") for name, (what, bound) in GOALS.items()}
    known = {what: name for name, (what, _) in GOALS.items()}
    before = path.read_text() if path.exists() else ""
    for line in results.part(before, HEADING).splitlines():
        cells = re.split(r" *\| *", line.strip().strip("|").strip())
        if len(cells) == len(HEAD) and cells[0] in known:
            rows[known[cells[0]]] = (*GOALS[known[cells[0]]], cells[2], cells[3], cells[4])
    for finding in findings:
        rows[finding.goal] = finding.cells(target, date)  # type: ignore[assignment]  # five cells, as HEAD has
    met = sum(row[3] == "met" for row in rows.values())
    lines = [
        f"{met} of {len(rows)} are met. A figure stands here whatever it is; how it was measured stands below.",
        *results.table(HEAD, rows.values()),
    ]
    results.put_part(HEADING, lines, path, first=True)

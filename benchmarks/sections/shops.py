"""Publishing to three simulated shops: how late their figures are, and what it takes of their limits."""

from __future__ import annotations

from benchmarks import publishing
from benchmarks.options import Options, Say
from benchmarks.section import Section, Sheet

TITLE = "Publishing to three shops"
HEAD = (
    "three shops, 200 SKUs",
    "sales /s",
    "order to figure, p50 ms",
    "p99 ms",
    "zero, p50 ms",
    "zero, p99 ms",
    "requests",
    "per sale and shop",
)
_SECONDS = 15


def measure(section: Section, options: Options, say: Say) -> None:
    """Run it once; it is no comparison."""
    seconds = min(_SECONDS, options.published_s)
    say(f"{publishing.PER_S} sales a second for {seconds} s")
    one = publishing.measure(seconds)
    section.notes.append("counted from the order sent to the figure in the shop's own book; intake is in it, too")
    name = f"{one.sales:,} sales at a till in {one.seconds:.0f} s, {one.zeros} zeros, {one.missing} never published"
    lags = (f"{lag:,.0f}" for lag in (*one.lags_ms, *one.zero_ms))
    requests = (f"{one.requests:,}", f"{one.requests / max(1, 3 * one.sales):.3f}")
    section.sheets.append(Sheet(HEAD, [(name, f"{one.per_s:.0f}", *lags, *requests)]))

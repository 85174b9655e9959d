"""What the demo shows: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Self

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flashd.demo.admin_api import Flow
from flashd.demo.oracle import Verdict

LINES = 6


class View(msgspec.Struct, kw_only=True):
    """The figures of this moment, all of them measured."""

    purchases: int = 0
    acknowledged: int = 0
    booked: int = 0
    sends_per_s: int = 0
    flow: Flow | None = None  # None while flashd does not answer
    stock: dict[str, tuple[int, int]] = {}  # SKU -> (left, in all)
    shops: Mapping[str, int] = Counter()


class Screen:
    """Shows a run on *console*; *orders* purchases are planned."""

    def __init__(self, console: Console, *, orders: int, limit: int) -> None:
        self._console = console
        self._orders = orders
        self._limit = limit
        self._lines: list[str] = []
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Tell what happens now."""
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        self._lines.append(line)
        if self._live is None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, view: View) -> None:
        """Refresh the live view."""
        if self._live is not None:
            self._live.update(self._render(view))

    def close(self, verdict: Verdict, faults: Mapping[str, int]) -> None:
        """Show what was measured, what was broken, and the verdict."""
        lines = list(self._lines) if self._console.is_terminal else []  # elsewhere they were printed as they came
        states = ", ".join(f"{count} {state}" for state, count in sorted(verdict.states.items()))
        lines += [
            f"orders: {verdict.acknowledged} acknowledged, {verdict.never_acknowledged} never; {states}",
            f"ERP: {verdict.booked} orders booked, {verdict.units_booked} units to ship",
            f"ERP: {verdict.requests} requests; it takes {self._limit} a second",
            f"     at most {verdict.max_sent_in_a_second} were sent in any second, {verdict.max_in_a_second} arrived",
        ]
        if faults:
            lines.append("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(faults.items())))
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        for problem in verdict.problems:
            self._console.print(problem, highlight=False, markup=False, style="red", soft_wrap=True)
        style = "bold green" if verdict.passed else "bold red"
        self._console.print(verdict.line, highlight=False, markup=False, style=style)

    def _render(self, view: View) -> Group:
        figures = Table.grid(padding=(0, 2))
        flow = view.flow
        figures.add_row("customers", f"{view.purchases} of {self._orders}", _bar(view.purchases, self._orders))
        figures.add_row("messages acknowledged", str(view.acknowledged), "")
        figures.add_row("in the ERP", str(view.booked), "")
        figures.add_row("requests to the ERP", f"{view.sends_per_s}/s of {self._limit}/s", "")
        if flow is None:
            figures.add_row("backlog", Text("flashd does not answer", style="yellow"), "")
        else:
            eta = "-" if flow.eta_s is None else f"{flow.eta_s:.0f} s"
            waiting = f"{flow.queued} queued, {flow.in_flight} in flight, {flow.in_doubt} in doubt"
            figures.add_row("backlog", waiting, f"ETA {eta}")
        stock = Table.grid(padding=(0, 2))
        for sku, (left, units) in sorted(view.stock.items()):
            stock.add_row(sku, f"{left} left of {units}", _bar(left, units))
        return Group(
            Panel(figures, title="flashd demo", title_align="left"),
            Panel(stock, title="stock", title_align="left"),
            Text("\n".join(self._lines[-LINES:]), style="dim"),
        )


def _bar(part: int, whole: int) -> ProgressBar:
    return ProgressBar(total=max(1, whole), completed=max(0, part), width=30)

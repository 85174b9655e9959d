"""One run: sections one after the other, written after each, so that an interrupted run leaves what it measured."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import goals, machine, results
from benchmarks.section import Section, failed, titles

Say = Callable[[str], None]
Part = tuple[str, Callable[[Section, Say], None]]  # a title, and what fills its section


class Run:
    """All that one make target measured."""

    def __init__(self, target: str, note: str, *, path: Path | None) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        self.console = Console(width=None if sys.stdout.isatty() else 180)
        self._target, self._note, self._path = target, note, path
        self._began_s, self._company = time.monotonic(), machine.Company()
        with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name:
            self.machine = machine.look(Path(name))
        self.sections: list[Section] = []

    def say(self, text: str) -> None:
        """Tell whoever watches what is going on."""
        self.console.print(f"{time.monotonic() - self._began_s:5.0f} s  {text}", style="dim", highlight=False)

    def measure(self, parts: Sequence[Part]) -> int:
        """Measure each part; return how many did not come to their end."""
        signal.signal(signal.SIGTERM, _interrupt)
        for title, fill in parts:
            section = Section(title)
            self.sections.append(section)
            self.say(title)
            began_s = time.monotonic()
            try:
                fill(section, self.say)
            except KeyboardInterrupt as error:
                failed(section, error)
                raise
            except Exception as error:  # noqa: BLE001  # a section that fails must not cost the others their figures
                failed(section, error)
                self.console.print_exception(max_frames=8)
            finally:
                section.took_s = time.monotonic() - began_s
                self._show(section)
                self._write()
        return len(titles(self.sections))

    def _notes(self) -> list[str]:
        took_s, (others, host) = time.monotonic() - self._began_s, self._company.shares()
        load = " ".join(f"{value:.2f}" for value in os.getloadavg())
        found = [
            *self.machine.lines(),
            f"the run took {took_s:.0f} s; load after it {load}",
            f"of the cores others took {others:.0%} meanwhile, and the host of this machine kept {host:.0%}",
        ]
        return [*found, *(f"DID NOT COME TO ITS END: {title}" for title in titles(self.sections))]

    def _show(self, section: Section) -> None:
        for sheet in section.sheets:
            table = Table(*sheet.head, title=section.title)
            for row in sheet.rows:
                table.add_row(*row)
            self.console.print(table)
        if section.failed:
            self.console.print(f"{section.title} did not come to its end: {section.failed}", style="bold red")
        for finding in section.findings:
            what, bound = goals.GOALS[finding.goal]
            verdict = "met" if finding.met else "not met"
            self.console.print(f"{verdict:8} {what}: {finding.measured}, {bound}", highlight=False, soft_wrap=True)

    def _write(self) -> None:
        if self._path is None:
            return
        lines = [f"Compare ratios of one run, not figures of two. {self._note}".strip(), ""]
        lines += [f"* {note}" for note in self._notes()]
        lines += [line for section in self.sections for line in section.lines()]
        results.put(self._target, lines, self._path)
        found = [finding for section in self.sections for finding in section.findings]
        goals.put(found, self._target, datetime.now(UTC).strftime("%Y-%m-%d"), self._path)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt

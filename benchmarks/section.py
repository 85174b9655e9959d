"""What one measurement says: tables, notes, and how it stands to the goals."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.goals import Finding
from benchmarks.results import table

Cells = tuple[str, ...]


class Sheet(msgspec.Struct, frozen=True):
    """A table: all but the first column are figures."""

    head: Cells
    rows: Sequence[Cells]


class Section(msgspec.Struct):
    """
    One part of a run.

    Args:
        failed: What went wrong, if it did not come to its end; what was measured until then stands all the same.
    """

    title: str
    sheets: list[Sheet] = []
    notes: list[str] = []
    plots: list[str] = []
    findings: list[Finding] = []
    failed: str = ""
    took_s: float = 0.0

    def lines(self) -> list[str]:
        """Return the Markdown of the section."""
        found = ["", f"## {self.title}", ""]
        if self.failed:
            found.append(f"* DID NOT COME TO ITS END: {self.failed}")
        found += [f"* {note}" for note in self.notes]
        found.append(f"* it took {self.took_s:.0f} s")
        for sheet in self.sheets:
            found += table(sheet.head, sheet.rows)
        for plot in self.plots:
            found += ["", f"![{self.title}](plots/{plot})"]
        return found


def failed(section: Section, error: BaseException) -> Section:
    """Note why *section* ended early."""
    section.failed = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    return section


def titles(sections: Sequence[Section]) -> list[str]:
    """Name the sections that did not come to their end."""
    return [section.title for section in sections if section.failed]

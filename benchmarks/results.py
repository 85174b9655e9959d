"""RESULTS.md: one part a benchmark, each below its own heading; running one leaves the others' figures alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
_PART = re.compile(r"^(?=# )", re.MULTILINE)


def put(target: str, lines: Iterable[str], path: Path = RESULTS) -> None:
    """
    Write what `make` *target* measured; an earlier part of that target goes.

    Args:
        target: The make target, such as "bench".
        lines: Markdown below the heading.
        path: The file.
    """
    put_part(f"# What `make {target}` measured", lines, path)


def put_part(heading: str, lines: Iterable[str], path: Path = RESULTS, *, first: bool = False) -> None:
    """Write the part below *heading* in the place of an earlier one; a new one comes last, or *first*."""
    parts = _parts(path.read_text() if path.exists() else "")
    new = "\n".join((heading, "", *lines))
    places = [index for index, one in enumerate(parts) if one.split("\n", 1)[0] == heading]
    if places:
        parts[places[0]] = new
    else:
        parts.insert(0 if first else len(parts), new)
    path.write_text("\n\n".join(parts) + "\n")


def part(text: str, heading: str) -> str:
    """Return the part below *heading*, "" where there is none."""
    return next((one for one in _parts(text) if one.split("\n", 1)[0] == heading), "")


def _parts(text: str) -> list[str]:
    return [part.rstrip() for part in _PART.split(text) if part.strip()]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with an empty one before it; all but the first column are figures."""
    return ["", row(head), row(("---", *("---:" for _ in head[1:]))), *map(row, rows)]


def row(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(cells) + " |"

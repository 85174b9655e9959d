"""A file of JSON lines that only grows, and is on the disk before anybody is told of what stands in it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Ledger:
    """`note` what happened, then wait until it is `flushed`; one fsync serves all who wait."""

    def __init__(self, path: Path) -> None:
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file = path.open("ab", buffering=0)
        if torn:  # by a SIGKILL in the middle of a line: nobody was told of it
            self._file.write(b"\n")
        self._lines: list[bytes] = []
        self._turn = asyncio.Lock()

    def note(self, what: str, **fields: object) -> None:
        self._lines.append(json.dumps({"what": what, **fields}).encode() + b"\n")

    async def flushed(self) -> None:
        """Return when all that was noted before is on the disk."""
        async with self._turn:
            if self._lines:
                lines, self._lines = b"".join(self._lines), []
                await asyncio.to_thread(self._write, lines)

    def _write(self, lines: bytes) -> None:
        self._file.write(lines)
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> list[Entry]:
    """Return the entries of a ledger; a line that was torn says nothing."""
    entries = []
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries

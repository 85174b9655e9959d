"""
Append-only ledgers: one JSON object a line, fsynced before anybody acts on what it says.

The simulated ERP and the shops write one each; the oracle reads them. A process may die at any byte: a torn last line
was never acted upon, so it is cut off when the ledger is opened again and skipped when it is read.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

Entry = dict[str, Any]
SECOND_US = 1_000_000


def now_us() -> int:
    """Return microseconds of the monotonic clock, which all processes of one machine share between two boots."""
    return time.monotonic_ns() // 1000


def read(path: Path) -> Iterator[Entry]:
    """Hand out every whole entry of a ledger, oldest first."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:  # behind the last newline is a torn line, or nothing
        if line:
            yield msgspec.json.decode(line, type=Entry)


class Tail:
    """Reads a ledger that another process writes, a bit at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[Entry]:
        """Return the whole entries that were written since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [msgspec.json.decode(line, type=Entry) for line in whole.split(b"\n") if line]


class Ledger:
    """One ledger file, open for appending by this process alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _cut_torn_tail(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._pending: list[bytes] = []
        self._flushing: asyncio.Task[None] | None = None

    def note(self, kind: str, /, **data: object) -> None:
        """Add an entry with the time; it is on disk only after :meth:`flushed` or :meth:`flush` returned."""
        self._pending.append(msgspec.json.encode({"at_us": now_us(), "kind": kind} | data) + b"\n")

    def flush(self) -> None:
        """Write and fsync what was noted, blocking."""
        lines, self._pending = self._pending, []
        if lines:
            self._sync(b"".join(lines))

    async def flushed(self) -> None:
        """Return after everything noted so far was fsynced; callers at the same time share one fsync."""
        while self._pending:
            if self._flushing is None:
                self._flushing = asyncio.create_task(self._flush_once())
            await asyncio.shield(self._flushing)
        if self._flushing is not None:  # what was noted before may be on its way
            await asyncio.shield(self._flushing)

    async def _flush_once(self) -> None:
        lines, self._pending = self._pending, []
        try:
            await asyncio.to_thread(self._sync, b"".join(lines))
        finally:
            self._flushing = None

    def _sync(self, blob: bytes) -> None:
        while blob:
            blob = blob[os.write(self._file, blob) :]
        os.fsync(self._file)

    def close(self) -> None:
        """Write the rest and close."""
        self.flush()
        os.close(self._file)


def _cut_torn_tail(path: Path) -> None:
    """Cut what stands behind the last newline, so that the next entry does not continue a torn one."""
    if not path.exists():
        return
    whole = path.read_bytes().rfind(b"\n") + 1
    os.truncate(path, whole)

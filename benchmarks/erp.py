"""The trivial ERP of receiver.py as a process, and what came to it."""

from __future__ import annotations

import bisect
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from benchmarks.receiver import Seen
from benchmarks.site import call
from flashd.demo.child import Child

SECOND_US = 1_000_000
_START_S = 30.0
_PROGRAM = Path(__file__).parent / "receiver.py"


class Erp:
    """One process; each path is an order book of its own."""

    def __init__(self, folder: Path, *, stamped: bool) -> None:
        self._child = Child(
            "the bench's ERP", [str(_PROGRAM), *(["--stamped"] if stamped else [])], log=folder / "erp.log"
        )
        self.port = 0

    def __enter__(self) -> Self:
        self._child.start(pipe=True)
        self.port = int(self._child.first_line(_START_S))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    def url(self, book: str) -> str:
        """Return where orders of *book* are posted."""
        return f"http://127.0.0.1:{self.port}/{book}"

    def seen(self, book: str) -> Seen:
        """Return what came to *book*."""
        return msgspec.json.decode(call(self.port, "GET", f"/{book}/seen")[1], type=Seen)


def busiest(stamps: list[int]) -> int:
    """Return the most of the sorted *stamps* (us) that lie in one half-open second."""
    return max((bisect.bisect_left(stamps, at + SECOND_US) - index for index, at in enumerate(stamps)), default=0)

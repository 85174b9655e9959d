"""
Who runs where: the process that is asked on a core of its own, its store and the load on others.

The kernel likes to run who is woken beside who woke it: left alone, a side and its store share a core for seconds and
not for others, and a figure tells which it was. Only main threads are moved: what else a side has (Node's collector)
goes where it likes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from benchmarks.cpu import Pids

STORE = "store"  # among a side's processes, the one that is not its own


def seats(cores: list[int]) -> tuple[set[int], set[int], set[int]]:
    """Return the cores of who is asked, of its store, and of the load."""
    if len(cores) < 2:
        return set(cores), set(cores), set(cores)
    first, second, *rest = cores
    return {first}, {second}, set(rest) or {second}


@contextlib.contextmanager
def seated(pids: Pids) -> Iterator[None]:
    """Give each of a side's processes its core, and this one, with the load that it starts, the rest, for a while."""
    before = os.sched_getaffinity(0)
    asked, store, load = seats(sorted(before))
    for name, found in pids.items():
        for pid in found:
            os.sched_setaffinity(pid, store if name == STORE else asked)
    os.sched_setaffinity(0, load)
    try:
        yield
    finally:
        for pid in (0, *(pid for found in pids.values() for pid in found)):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(pid, before)

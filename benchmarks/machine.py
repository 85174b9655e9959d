"""What a figure is worth depends on where it was measured."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from flashd.store.embedded import find_binary


class Machine(msgspec.Struct, frozen=True):
    """Where and when."""

    date: str
    commit: str
    cpu: str
    cores: int
    load: str  # the load averages before the run
    python: str
    store: str
    fsync_us: int  # median of an append of 4 kB and its fsync, in the bench's folder

    def lines(self) -> list[str]:
        return [
            f"{self.date}, commit {self.commit}",
            f"{self.cores} cores ({self.cpu}), load average before the run {self.load}",
            f"Python {self.python}; store: {self.store}",
            f"4 kB appended and fsynced where the store lay: {self.fsync_us:,} us (median of 50)",
        ]


def look(folder: Path) -> Machine:
    """Look at the machine, and try the disk under *folder*."""
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        load=" ".join(f"{value:.2f}" for value in os.getloadavg()),
        python=platform.python_version(),
        store=" ".join(_said(find_binary(), "--version").split()[:3]),
        fsync_us=_fsync_us(folder / "fsync"),
    )


class Company:
    """How much of the cores others used meanwhile, and how much of them a rented machine was not given by its host."""

    def __init__(self) -> None:
        self._began = _cpu_seconds()

    def shares(self) -> tuple[float, float]:
        """Return the others' and the host's share of all cores since the beginning; ask after every child has ended."""
        total, busy, stolen, ours = (now - then for now, then in zip(_cpu_seconds(), self._began, strict=True))
        return max(0.0, busy - ours) / max(total, 1e-9), stolen / max(total, 1e-9)


def _cpu_seconds() -> tuple[float, float, float, float]:
    """
    Return the seconds of all cores, those that were busy here, those that the host kept, and those of our own.

    Our own are those of this process and its ended children.
    """
    path = Path("/proc/stat")
    ticks = [int(word) for word in path.read_text().split("\n", 1)[0].split()[1:9]] if path.exists() else [0] * 8
    hz = os.sysconf("SC_CLK_TCK")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    idle, stolen = ticks[3] + ticks[4], ticks[7]  # idle, and idle because of a disk; waited for although it was ready
    own = sum(one.ru_utime + one.ru_stime for one in used)
    return sum(ticks) / hz, (sum(ticks) - idle - stolen) / hz, stolen / hz, own


def _said(*command: str) -> str:
    found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return found.stdout.strip()


def _commit() -> str:
    changed = _said("git", "status", "--porcelain", "--", "flashd", "benchmarks")
    return (_said("git", "rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _fsync_us(path: Path) -> int:
    took: list[float] = []
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        for _ in range(50):
            began_s = time.perf_counter()
            os.write(file, bytes(4096))
            os.fsync(file)
            took.append(time.perf_counter() - began_s)
    finally:
        os.close(file)
        path.unlink()
    return int(statistics.median(took) * 1e6)

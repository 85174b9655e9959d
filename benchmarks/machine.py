"""What a figure is worth depends on where it was measured."""

from __future__ import annotations

import os
import platform
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

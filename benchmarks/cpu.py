"""The CPU seconds of processes: steadier than requests a second on a machine that does other things as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import psutil

Seconds = dict[str, float]
Pids = Mapping[str, Sequence[int]]  # name -> processes that are reckoned together


class Cost(msgspec.Struct, frozen=True):
    """What was used from one reading to the other."""

    seconds: Seconds

    def per(self, count: int) -> Seconds:
        """Return microseconds for each of *count* requests."""
        return {name: used * 1e6 / max(1, count) for name, used in self.seconds.items()}


class CpuMeter:
    """Reads the clocks of some processes; one that ended has used nothing."""

    def __init__(self, pids: Pids) -> None:
        self._processes = {name: [psutil.Process(pid) for pid in found] for name, found in pids.items()}
        self._began = self._read()

    def _read(self) -> Seconds:
        return {name: sum(map(_used_s, found)) for name, found in self._processes.items()}

    def cost(self) -> Cost:
        """Return what each has used since the beginning."""
        return Cost({name: max(0.0, now - self._began[name]) for name, now in self._read().items()})


def _used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def resident_mib(pid: int) -> float:
    """Return the memory of a process that is in RAM."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20

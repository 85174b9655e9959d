"""
`make soak`: orders for half an hour, a fault every half minute, and nothing may grow but what is kept of orders.

The daemon lives through all of it, for a process that is killed has no slope; what stands around it is killed by turns,
and it reloads. Memory, descriptors, threads, keys and logs are sampled; behind a time to warm up, the slope of each is
a straight line through its samples, and the verdict is by its bound. The oracle judges the orders as ever.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.__main__ import Found, new, report
from tests.chaos.kill_loop import FAULT_EVERY_S, Run, Terms
from tests.servers import KINDS, find_server

EVERY_S = 30.0
WARM_UP = 1 / 3  # of the run, which is not judged: caches fill, the allocator takes what it needs
SAMPLES = 180
INDEXES = ("wait", "q:erp", "fl:erp", "desk", "backorder", "dead", "done")  # each record stands in one of them
FAULTS = ("redis", "backend", "store_proxy", "backend_proxy", "reload", "scripts forgotten")

# What may grow in a minute, and by how much beside that over the whole run: noise, in the unit of the figure. 3,000
# orders come in a minute, so 120 kB are 40 bytes each.
BOUNDS: dict[str, tuple[float, float]] = {
    "daemon memory, kB": (120, 6_000),
    "daemon descriptors beside callers": (0.2, 20),
    "daemon threads": (0.05, 3),
    "daemon log, kB": (30, 60),
    "server memory beside orders, bytes per order": (0, 700),
    "server descriptors": (0.2, 20),
    "server log, kB": (30, 60),
    "keys that are no orders": (0.1, 10),  # one for each kind of thing that first happens late
}
SHOWN = ("orders", "server memory, kB", "server log on the disk, kB", "backend memory, kB", "backend descriptors")


@dataclass
class Sample:
    """What was seen at one moment."""

    at_s: float
    seen: dict[str, float]


@dataclass
class Slope:
    """How one figure went, behind the time to warm up."""

    name: str
    first: float
    last: float
    per_minute: float
    bound: float

    @property
    def passed(self) -> bool:
        return self.per_minute <= self.bound

    @property
    def said(self) -> str:
        bound = f"bound {self.bound:.2f}" if self.bound < math.inf else "only shown"
        return f"{self.per_minute:.2f} ({bound}; {self.first:.0f} -> {self.last:.0f})"


def slopes(samples: Sequence[Sample]) -> list[Slope]:
    """Return the slope of each figure, those that are only shown last."""
    if not samples:
        return []
    since_s = samples[0].at_s + (samples[-1].at_s - samples[0].at_s) * WARM_UP
    found = []
    free = dict.fromkeys(SHOWN, (math.inf, 0.0))
    for name, (most, noise) in {**BOUNDS, **free}.items():
        points = [(one.at_s / 60, one.seen[name]) for one in samples if one.at_s >= since_s and name in one.seen]
        if len(points) < 5:
            continue
        minutes = points[-1][0] - points[0][0]
        per_minute = slope_of(points)
        found.append(Slope(name, points[0][1], points[-1][1], per_minute, most + noise / max(minutes, 1e-9)))
    return found


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the straight line through *points*, by least squares."""
    x0, y0 = (sum(values) / len(points) for values in zip(*points, strict=True))
    across = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / across if across else 0.0


def of_process(pid: int) -> dict[str, float]:
    """Return what the kernel says of a process: kB, descriptors, threads."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {line.partition(":")[0]: line.split() for line in lines}
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return {"memory": float(fields["VmRSS"][1]), "descriptors": descriptors, "threads": float(fields["Threads"][1])}


def callers_of(port: int) -> int:
    """Return how many connections to a port are open at both ends: the sellers keep as many as they like."""
    wanted, established = f":{port:04X}", "01"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(wanted) and row[3] == established for row in rows)


def size_of(path: Path) -> float:
    return path.stat().st_size / 1000 if path.exists() else 0.0


@dataclass
class Soak(Run):
    """A run whose daemon is never killed."""

    samples: list[Sample] = field(default_factory=list)
    began_with: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.every_s = min(EVERY_S, self.terms.seconds / (len(FAULTS) + 1))
        for name in FAULT_EVERY_S:
            self.proxies[name].wish["every_s"] = self.every_s

    def _havoc(self, until_s: float) -> None:
        over = threading.Event()
        sampling = threading.Thread(target=self._sample_until, args=(over,))
        sampling.start()
        try:
            deck: list[str] = []
            while time.monotonic() + self.every_s < until_s:
                self._live(time.monotonic() + self.every_s)
                deck = deck or self.dice.sample(FAULTS, len(FAULTS))
                self._do(deck.pop())
            self._live(until_s)
        finally:
            over.set()
            sampling.join()

    def _do(self, fault: str) -> None:
        if fault == "reload":
            assert self.daemon.process is not None
            self.daemon.process.send_signal(signal.SIGHUP)
            self.kills[fault] += 1
        elif fault == "scripts forgotten":
            with suppress(RedisError), Redis(unix_socket_path=self.server.socket_path) as client:
                client.script_flush()
                self.kills[fault] += 1
        else:
            self._kill(fault)
            time.sleep(self.dice.uniform(0.2, 1.5))
            self._revive()

    def _sample_until(self, over: threading.Event) -> None:
        wait_s = max(0.5, self.terms.seconds / SAMPLES)
        began_s = time.monotonic()
        while not over.wait(wait_s):
            with suppress(OSError, RedisError, KeyError):  # somebody is away: the next one will do
                self.samples.append(Sample(time.monotonic() - began_s, self._look()))

    def _look(self) -> dict[str, float]:
        assert self.daemon.process is not None
        assert self.server.process is not None
        assert self.erp.process is not None
        daemon, server, erp = (
            of_process(one.process.pid) for one in (self.daemon, self.server, self.erp) if one.process is not None
        )
        with Redis(unix_socket_path=self.server.socket_path, socket_timeout=2) as client:
            used = float(client.info("memory")["used_memory"])
            with client.pipeline(transaction=True) as pipe:  # at one instant
                pipe.dbsize()
                for name in INDEXES:
                    pipe.zcard(f"fd:{{main}}:{name}")
                keys, *counts = pipe.execute()
        orders = sum(counts)
        self.began_with = self.began_with or {"used": used, "orders": orders}
        came = max(1, orders - self.began_with["orders"])
        return {
            "daemon memory, kB": daemon["memory"],
            "daemon descriptors beside callers": daemon["descriptors"] - callers_of(self.daemon.intake),
            "daemon threads": daemon["threads"],
            "daemon log, kB": size_of(self.daemon.log),
            "server memory beside orders, bytes per order": (used - self.began_with["used"]) / came,
            "server descriptors": server["descriptors"],
            "server log, kB": size_of(self.server.folder / "log"),
            "keys that are no orders": keys - orders,
            "orders": orders,
            "server memory, kB": server["memory"],
            "server log on the disk, kB": sum(size_of(part) for part in self.server.folder.glob("appendonlydir/*")),
            "backend memory, kB": erp["memory"],
            "backend descriptors": erp["descriptors"],
        }


def judge(run: Soak, verdict: Found) -> Found:
    """Add the slopes to what the oracle says; of its faults those count that a soak claims."""
    found = slopes(run.samples)
    breaches = [
        *verdict["breaches"],
        *(
            f"{one.name} grows by {one.per_minute:.2f} a minute, over {one.bound:.2f}"
            for one in found
            if not one.passed
        ),
    ]
    if missing := set(BOUNDS) - {one.name for one in found}:
        breaches.append(f"not seen often enough: {', '.join(sorted(missing))}")
    if run.kills["ended by itself"]:
        breaches.append(f"the daemon ended by itself {run.kills['ended by itself']} times")
    lines = {f"{one.name} a minute": one.said for one in found}
    business = {name: count for name, count in verdict["sometimes"].items() if not is_fault(name)}
    sometimes = {**{f"fault: {name}": run.kills[name] for name in FAULTS}, **business, "samples": len(run.samples)}
    never = [name for name, count in sometimes.items() if count == 0]
    return {
        "title": "soak",
        "terms": asdict(run.terms),
        "breaches": breaches,
        "never": never,
        "passed": not breaches and not never,
        "figures": {**lines, **verdict["figures"]},
        "sometimes": sometimes,
        "samples": [asdict(one) for one in run.samples],
    }


def is_fault(name: str) -> bool:
    """Say whether the oracle counts it as a fault of the kill loop, which a soak has few of."""
    return name.startswith(("killed ", "store: ", "backend: "))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make soak", description="Half an hour under load: nothing may grow.")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument(
        "--server", choices=KINDS, default=next((kind for kind in KINDS if find_server(kind)), KINDS[0])
    )
    parser.add_argument("--folder", type=Path, default=Path("build/soak"), help="The report, and what the run leaves.")
    wish = parser.parse_args(arguments)
    began, folder = time.monotonic(), wish.folder.absolute()
    print(f"soak on {wish.server}: {wish.seconds:g} s, a fault every {EVERY_S:g} s, seed {wish.seed}", flush=True)
    run = Soak(new(folder / "run"), Terms(wish.seconds, wish.seed, wish.server))
    found = judge(run, run.play())
    text = report([found], time.monotonic() - began)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(found, indent=2, default=str))
    print(text)
    sys.exit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()

"""NDJSON batches over HTTP beside the script's ceiling: groups of 256 orders straight into the store."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks import ceiling
from benchmarks.cpu import CpuMeter, Seconds
from benchmarks.goals import Finding
from benchmarks.options import Options, Say
from benchmarks.section import Section, Sheet
from benchmarks.site import Site
from benchmarks.spread import Spread
from benchmarks.traffic import SKUS, Kind, bearer, native_order

TITLE = "NDJSON batches, and the ceiling of the script"
HEAD = ("no wait for single answers, native orders", "orders /s", "share of the script")
COST_HEAD = ("CPU, us an order", "flashd", "its store")
_BATCHES = 2  # of as many lines as one may have
_LINES = 10_000


def measure(section: Section, options: Options, say: Say) -> None:
    """Let a ceiling and a batch take turns."""
    order = Kind(name="", target="", body=native_order(), headers=bearer(""))
    ceilings: list[ceiling.Ceiling] = []
    batches: list[float] = []
    costs: list[Seconds] = []
    try:
        with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name:
            folder = Path(name)
            with Site(folder / "flashd") as site:
                site.count(SKUS)
                site.fill(order.bodies(1000), site.secret)  # loads the scripts
                turns = options.rounds * options.seconds
                for number in range(turns):
                    say(f"round {number + 1} of {turns}: the script's ceiling")
                    site.freeze()
                    (place := folder / f"ceiling-{number}").mkdir()
                    found = uvloop.run(ceiling.measure(place, order.bodies(ceiling.ORDERS)))
                    site.thaw()
                    say(f"round {number + 1} of {turns}: NDJSON batches")
                    bodies = order.bodies(_BATCHES * _LINES)
                    meter, began_s = CpuMeter(site.pids), time.perf_counter()
                    site.fill(bodies, site.secret)
                    batches.append(len(bodies) / (time.perf_counter() - began_s))
                    costs.append(meter.cost().per(len(bodies)))
                    ceilings.append(found)
    finally:
        if batches:
            _tell(section, ceilings, batches, costs)


def _tell(section: Section, ceilings: list[ceiling.Ceiling], batches: list[float], costs: list[Seconds]) -> None:
    share = Spread.of(batch / one.script for batch, one in zip(batches, ceilings, strict=True))
    ledger = Spread.of(one.ledger / one.script for one in ceilings)
    section.notes += [
        f"the script: what the ledger says for groups of {ceiling.GROUP}, recorded and said again by a plain socket",
        "two groups are under way at once; all is durable",
        f"a batch: {_LINES:,} lines to POST /v1/orders:batch from one client",
    ]
    section.sheets += [
        Sheet(
            HEAD,
            [
                ("the accept script alone", Spread.of(one.script for one in ceilings).text(), "1"),
                (
                    "RedisLedger.accept, packing and replies included",
                    Spread.of(one.ledger for one in ceilings).text(),
                    ledger.text(".2f"),
                ),
                ("NDJSON over HTTP", Spread.of(batches).text(), share.text(".2f")),
            ],
        ),
        Sheet(
            COST_HEAD,
            [("NDJSON over HTTP", *(Spread.of(one[name] for one in costs).text() for name in ("flashd", "store")))],
        ),
    ]
    section.findings.append(Finding("ndjson", share.text(".2f"), share.median >= 0.70))

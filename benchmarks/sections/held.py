"""Holds over HTTP beside a plain loop of DECRBY, which knows no carts, no deadlines and no repeats."""

from __future__ import annotations

import tempfile
from pathlib import Path

import uvloop

from benchmarks import decrby, traffic
from benchmarks.intake import scratch
from benchmarks.load import load
from benchmarks.options import Options, Say
from benchmarks.section import Section, Sheet
from benchmarks.site import Site
from benchmarks.spread import Spread
from benchmarks.store import client_of, new_store
from benchmarks.traffic import SKUS, Kind

TITLE = "Holds beside a plain loop of DECRBY"
HEAD = ("64 under way at once, durable", "a second", "flashd's holds / this")
_AT_ONCE = 64
_REQUESTS = 20_000  # a second, more than can be answered


def measure(section: Section, options: Options, say: Say) -> None:
    """Let flashd and both loops take turns."""
    rates: dict[str, list[float]] = {"holds over HTTP": [], "redis-py, asyncio": [], "one socket, pipelined": []}
    held, client, raw = rates.values()
    counter = new_store()
    try:
        with client_of(counter) as store:
            store.set("stock", 10**12)
        with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder, Site(Path(folder) / "flashd") as site:
            site.count(SKUS)
            headers = traffic.bearer(site.secret)
            hold = Kind(name="", target="/v1/holds", body=traffic.native_hold(), headers=headers)
            for number in range(options.rounds + 1):
                say(f"round {number} of {options.rounds}: holds, then the loops" if number else "warming up")
                with scratch() as path:
                    requests = hold.write(path, _REQUESTS * options.seconds)
                    found = load(site.intake_port, requests, seconds=options.seconds, connections=_AT_ONCE)
                site.freeze()
                loop = decrby.through_client(counter.socket_path, at_once=_AT_ONCE, seconds=options.seconds)
                figures = (
                    found.per_second,
                    uvloop.run(loop),
                    decrby.through_socket(counter.socket_path, at_once=_AT_ONCE, seconds=options.seconds),
                )
                site.thaw()
                if number:
                    for side, figure in zip((held, client, raw), figures, strict=True):
                        side.append(figure)
    finally:
        counter.close()
        if raw:
            _tell(section, rates)


def _tell(section: Section, rates: dict[str, list[float]]) -> None:
    section.notes += [
        "a loop: one DECRBY for each hold from one Python process, no HTTP; each answer waits for the fsync",
        "flashd's holds go over HTTP, take lines, end by themselves, and twice is once",
    ]
    held = rates["holds over HTTP"]
    rows = [
        (name, Spread.of(found).text(), Spread.of(a / b for a, b in zip(held, found, strict=True)).text(".2f"))
        for name, found in rates.items()
    ]
    section.sheets.append(Sheet(HEAD, rows))

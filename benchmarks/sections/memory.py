"""What a queued order takes of the store's memory, on Valkey."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from benchmarks import traffic
from benchmarks.goals import Finding
from benchmarks.intake import scratch
from benchmarks.load import load
from benchmarks.options import Options, Say
from benchmarks.section import Section, Sheet
from benchmarks.site import Site
from benchmarks.store import version
from benchmarks.traffic import SKUS, Kind

TITLE = "Memory of a queued order"
HEAD = ("on Valkey, bytes an order", "all of the store", "the journal", "without the journal", "record alone", "orders")
_ORDERS = 30_000
_QUEUE, _JOURNAL = "fd:{main}:q:sink-00", "fd:{main}:j"


class Books(msgspec.Struct, frozen=True):
    """What the store holds at a moment."""

    orders: int
    used: int
    journal: int


def measure(section: Section, options: Options, say: Say) -> None:
    """Fill two stores over HTTP, one for each kind of order."""
    section.notes += [
        f"{version('valkey')}; orders came over HTTP as webhooks do; their ids differ",
        "all of the store: used_memory of the server, by the difference that the orders made",
        "the journal is kept to [store] journal_entries, whatever the backlog",
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder:
        for number, (name, body) in enumerate(
            (("Shopify order, 383 B", traffic.small_order()), ("Shopify order, 11.8 kB", traffic.recorded_order()))
        ):
            say(f"{_ORDERS:,} orders: {name}")
            with Site(Path(folder) / f"flashd-{number}", kind="valkey") as site:
                site.count(SKUS)
                kind = Kind(name="", target="/webhooks/shop-000", body=body, headers=traffic.shopify(site.secret))
                before, after, record = _fill(site, kind, options.seconds)
            orders = after.orders - before.orders
            whole = (after.used - before.used) / orders
            journal = (after.journal - before.journal) / orders
            figures = (f"{whole:,.0f}", f"{journal:,.0f}", f"{whole - journal:,.0f}", f"{record:,.0f}", f"{orders:,}")
            rows.append((name, *figures))
            if number == 0:
                text = f"{whole:,.0f} with all of the store, {whole - journal:,.0f} without the journal"
                section.findings.append(Finding("bytes", text, whole - journal <= 850))
            section.sheets[:] = [Sheet(HEAD, rows)]


def _fill(site: Site, kind: Kind, seconds: int) -> tuple[Books, Books, float]:
    """Let orders come until there are enough; return the books before and after, and the mean of some records."""
    with site.store() as client:
        _load(site, kind, 500, 1)
        before = _books(client)
        for _ in range(30):
            _load(site, kind, _ORDERS // 3, seconds)
            if client.zcard(_QUEUE) >= _ORDERS:
                break
        time.sleep(1.0)
        sample: Any = client.zrandmember(_QUEUE, 50)
        sizes = [int(client.memory_usage("fd:{main}:ord:" + member.decode(), samples=0) or 0) for member in sample]
        return before, _books(client), sum(sizes) / len(sizes)


def _load(site: Site, kind: Kind, count: int, seconds: int) -> None:
    with scratch() as path:
        found = load(site.intake_port, kind.write(path, count), seconds=seconds, connections=64)
    if found.refused:
        raise RuntimeError(f"{found.refused} of {found.answered} orders were refused")


def _books(client: Redis) -> Books:
    time.sleep(0.5)  # buffers of connections shrink
    info: dict[str, Any] = client.info("memory")
    journal = int(client.memory_usage(_JOURNAL, samples=0) or 0)
    return Books(int(client.zcard(_QUEUE)), int(info["used_memory"]), journal)

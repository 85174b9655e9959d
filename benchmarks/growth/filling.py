"""A million SKUs or orders, into the store by the daemon's own scripts: over HTTP it would take too long."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hiredis
import uvloop

from benchmarks.ceiling import GROUP, accept, grouped, ledger_at
from benchmarks.recorder import Recorder, replay
from benchmarks.site import PLENTY, Site
from benchmarks.traffic import SKU, Kind, bearer, native_order, numbered
from flashd.domain.stock import StockLevel
from flashd.store.line import pack

_TOGETHER = 256  # counts in one call
_PER_COUNT = 12  # arguments of recount.lua
_SLICE = 50_000  # so many are in memory at once
_YOUNG = 1000  # events that are left


def skus(site: Site, before: int, after: int) -> None:
    """Count SKUs that were never heard of: one count is recorded, and said again under every other name."""
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder:
        said = uvloop.run(_recorded_count(site, Path(folder) / "recorder"))
    reader = hiredis.Reader()
    reader.feed(said)
    command = reader.gets()
    head, count = command[:-_PER_COUNT], command[-_PER_COUNT:]
    assert count[0] == SKU.encode()
    for at in range(before, after, _SLICE):
        names = [name.encode() for name in numbered(min(at + _SLICE, after))[at:]]
        groups = [names[index : index + _TOGETHER] for index in range(0, len(names), _TOGETHER)]
        calls = [pack((*head, *(part for name in group for part in (name, *count[1:])))) for group in groups]
        replay(site.server.socket_path, b"", calls)
    with site.store() as client:
        if (found := int(client.hlen("fd:{main}:stock"))) < after:
            raise RuntimeError(f"only {found} of {after} SKUs were counted")


async def _recorded_count(site: Site, path: Path) -> bytes:
    async with Recorder(site.server.socket_path, path) as recorder, ledger_at(str(path)) as ledger:
        level = StockLevel(sku=SKU, location="main", on_hand=PLENTY)
        await ledger.recount(level)  # says what is said once: greeting, script
        recorder.take()
        await ledger.recount(level)
        return recorder.take()


def backlog(site: Site, before: int, after: int) -> None:
    """Let orders be accepted in groups, without HTTP."""
    uvloop.run(_accept(site, after - before))
    with site.store() as client:
        if (found := int(client.zcard("fd:{main}:q:sink-00"))) < after:
            raise RuntimeError(f"only {found} of {after} orders are queued")


async def _accept(site: Site, count: int) -> None:
    order = Kind(name="", target="", body=native_order(), headers=bearer(""))
    async with ledger_at(site.server.socket_path) as ledger:
        while count > 0:
            now = min(count, _SLICE // GROUP * GROUP)
            await accept(ledger, grouped(order.bodies(now)), in_flight=4)
            count -= now


def rest(site: Site) -> None:
    """
    Let the filling be over: its events are cut off, and what it wrote is on the disk.

    Else a daemon would read a million events, and fold and trim them, at some moment of the rounds, and every fsync of
    both sides would stand behind the pages that the filling left. Nobody audits this store.
    """
    with site.store() as client:
        client.xtrim("fd:{main}:j", maxlen=_YOUNG, approximate=False)
    os.sync()

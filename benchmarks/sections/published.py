"""From the sale to the message at a pub/sub subscriber, beside a raw PUBLISH on the same server at the same time."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks.arrivals import Crowd
from benchmarks.goals import Finding
from benchmarks.hearing import Listener, Publisher, lags_ms
from benchmarks.options import Options, Say
from benchmarks.section import Cells, Section, Sheet
from benchmarks.site import Site
from benchmarks.spread import percentile
from benchmarks.traffic import SKUS, Kind, bearer, native_order

TITLE = "Sold to published, at 1,000 sales a second"
PER_S = 1000
HEAD = ("milliseconds", "p50", "p99", "p99.9", "most", "how many")
_CHANNEL = b"fd:events:main:order"
_RAW, _ALONE = b"bench:raw", b"bench:alone"
_PROBES_PER_S = 200
_CONNECTIONS = 64
_WARM_S = 2.0
_AFTER_S = 1.0


class Lags(msgspec.Struct):
    """All in milliseconds."""

    accepted: list[float]  # from the instant of the accept, by the store's clock in whole ms
    answered: list[float]  # from when the buyer came to the answer
    raw: list[float]  # a raw publish among the sales
    alone: list[float]  # a raw publish behind a fsynced write, 1,000 a second, and no sales
    sent: int
    refused: int


def measure(section: Section, options: Options, say: Say) -> None:
    """Sell for a while with a publisher beside, and then publish alone."""
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder, Site(Path(folder) / "flashd") as site:
        site.count(SKUS)
        say(f"{PER_S:,} sales a second for {options.published_s} s")
        _tell(section, uvloop.run(_measure(site, options.published_s)))


async def _measure(site: Site, seconds: int) -> Lags:
    loop = asyncio.get_running_loop()
    path = site.server.socket_path
    channels = [channel.decode() for channel in (_CHANNEL, _RAW, _ALONE)]
    transport, listener = await loop.create_unix_connection(lambda: Listener(channels), path)
    raw, publisher = await loop.create_unix_connection(lambda: Publisher(_RAW.decode()), path)
    lone, solo = await loop.create_unix_connection(lambda: Publisher(_ALONE.decode(), writes=True), path)
    order = Kind(name="", target="/v1/orders", body=native_order(), headers=bearer(site.secret))
    crowd = Crowd(order.requests())
    await crowd.connect(site.intake_port, _CONNECTIONS)
    gc.collect()
    gc.disable()  # this process' own pauses would stand in both figures
    try:
        since_ns = time.time_ns() + int(_WARM_S * 1e9)
        await asyncio.gather(crowd.arrive(PER_S, _WARM_S + seconds), publisher.speak(_PROBES_PER_S, _WARM_S + seconds))
        await asyncio.sleep(_AFTER_S)
        await solo.speak(PER_S, min(seconds, 10))
        await asyncio.sleep(_AFTER_S)
    finally:
        gc.enable()
        crowd.close()
        for one in (transport, raw, lone):
            one.close()
    heard = listener.heard
    accepted = [(at, msgspec.json.decode(message)) for at, message in heard.get(_CHANNEL, [])]
    return Lags(
        accepted=[at / 1e6 - _stamp_ms(event) for at, event in accepted if at >= since_ns],
        answered=crowd.answer_ms[int(PER_S * _WARM_S) :],
        raw=lags_ms(heard.get(_RAW, []), since_ns=since_ns),
        alone=lags_ms(heard.get(_ALONE, []), since_ns=since_ns),
        sent=crowd.sent,
        refused=crowd.refused,
    )


def _stamp_ms(event: dict[str, Any]) -> int:
    """Return the instant of an event by the store's clock: the first half of its id."""
    return int(event["id"].partition("-")[0])


def _tell(section: Section, lags: Lags) -> None:
    if not lags.accepted or not lags.raw:
        raise RuntimeError(f"{len(lags.accepted)} events and {len(lags.raw)} raw messages were heard")
    section.notes += [
        f"orders come by chance, {PER_S:,} a second on average, on {_CONNECTIONS} connections",
        f"{lags.refused} of {lags.sent:,} were refused",
        "sold to published: from the journal's stamp of the accept to the message at a subscriber",
        "that stamp is in whole milliseconds, rounded down, so the time is up to 1 ms too long",
        f"a raw PUBLISH: {_PROBES_PER_S} a second on the same server, from the write to the subscriber",
        "alone: the same without sales, 1,000 a second, each behind a SET that is fsynced",
    ]
    rows = [
        _row("sold to published", lags.accepted),
        _row("a raw PUBLISH among the sales", lags.raw),
        _row("a raw PUBLISH alone", lags.alone),
        _row("buyer came to answer", lags.answered),
    ]
    section.sheets.append(Sheet(HEAD, rows))
    sold, raw, alone = (percentile(values, 0.99) for values in (lags.accepted, lags.raw, lags.alone or [0.0]))
    times = sold / max(raw, 1e-3)
    text = f"{times:.1f} ({sold:.1f} ms, a raw publish among the same sales {raw:.1f} ms, alone {alone:.1f} ms)"
    section.findings.append(Finding("published", text, times <= 3))


def _row(name: str, values: list[float]) -> Cells:
    if not values:
        return (name, *("-" for _ in HEAD[1:]))
    figures = (*(percentile(values, share) for share in (0.5, 0.99, 0.999)), max(values))
    return (name, *(f"{figure:.2f}" for figure in figures), f"{len(values):,}")

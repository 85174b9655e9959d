"""Outflow without a limit, beside a bare aiohttp client loop: the same server, the same number under way at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.cpu import CpuMeter, Seconds
from benchmarks.erp import SECOND_US, Erp
from benchmarks.goals import Finding
from benchmarks.options import Options, Say
from benchmarks.plan import Outlet, Plan
from benchmarks.section import Section, Sheet
from benchmarks.site import Site
from benchmarks.spread import Spread
from benchmarks.traffic import SKUS, Kind, bearer, native_order
from flashd.domain.rate import UNLIMITED

TITLE = "Outflow without a limit"
HEAD = ("64 requests under way at once", "orders /s", "share of the loop", "CPU us an order", "its store", "the ERP")
_AT_ONCE = 64
_BACKLOG = 30_000
_RISE_S = 1.0
_ROUND_S = 1  # a machine that others use has fast and slow seconds: many short rounds meet both on either side
_SENDER = Path(__file__).parent.parent / "sender.py"


class Flow(msgspec.Struct, frozen=True):
    """One side of one round."""

    per_s: float
    cpu_us: Seconds


def measure(section: Section, options: Options, say: Say) -> None:
    """Let flashd and the loop take turns, now the one first and now the other."""
    flashd: list[Flow] = []
    loop: list[Flow] = []
    try:
        with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name, Erp(Path(name), stamped=False) as erp:
            outlet = Outlet(name="erp", url=erp.url("erp"), rate=UNLIMITED, max_in_flight=_AT_ONCE)
            with Site(Path(name) / "flashd", Plan(outlets=(outlet,))) as site:
                site.count(SKUS)
                order = Kind(name="", target="", body=native_order(), headers=bearer(""))
                rounds = options.rounds * options.seconds // _ROUND_S
                for number in range(rounds):
                    say(f"round {number + 1} of {rounds}: a backlog for flashd")
                    with site.store() as client:
                        waiting = int(client.zcard("fd:{main}:q:erp"))
                    site.fill(order.bodies(max(0, _BACKLOG - waiting)), site.token("erp"))
                    say(f"round {number + 1} of {rounds}: flashd and the loop")
                    if number % 2 == 0:
                        flashd.append(_drain(site, erp))
                    site.freeze()
                    loop.append(_loop(erp, Path(name)))
                    site.thaw()
                    if number % 2 == 1:
                        flashd.append(_drain(site, erp))
    finally:
        if flashd and loop:
            _tell(section, flashd, loop)


def _drain(site: Site, erp: Erp) -> Flow:
    """Count what arrives while there is a backlog, from a while after the start on."""
    before = len(erp.seen("erp").arrivals_us)
    meter = CpuMeter({**site.pids, "erp": [erp.pid]})
    site.resume("erp")
    time.sleep(_RISE_S + _ROUND_S)
    with site.store() as client:
        left = int(client.zcard("fd:{main}:q:erp"))
    site.pause("erp")
    time.sleep(0.5)
    arrived = erp.seen("erp").arrivals_us[before:]
    return Flow(_pace(arrived, drained=left == 0), meter.cost().per(len(arrived)))


def _pace(arrived: list[int], *, drained: bool) -> float:
    """Return arrivals a second: of the whole time, or until the backlog was gone."""
    if not arrived:
        raise RuntimeError("nothing arrived at the ERP")
    since = arrived[0] + int(_RISE_S * SECOND_US)
    until = since + _ROUND_S * SECOND_US
    if drained:
        until = min(until, arrived[-1])
    return sum(since <= at < until for at in arrived) * SECOND_US / max(1, until - since)


def _loop(erp: Erp, folder: Path) -> Flow:
    body = folder / "body"
    body.write_text(erp.seen("erp").body)  # what flashd sends
    meter = CpuMeter({"erp": [erp.pid]})
    before = len(erp.seen("erp-loop").arrivals_us)
    arguments = [erp.url("erp-loop"), str(body), str(_AT_ONCE), str(_RISE_S + _ROUND_S)]
    with subprocess.Popen([sys.executable, "-P", str(_SENDER), *arguments], stdout=subprocess.PIPE) as sender:
        own = CpuMeter({"loop": [sender.pid]})
        assert sender.stdout is not None
        sent = int(sender.stdout.readline() or 0)  # it has not ended before it is read, so its time can be
        cost = own.cost().per(sent)
    arrived = erp.seen("erp-loop").arrivals_us[before:]
    return Flow(_pace(arrived, drained=True), {**cost, **meter.cost().per(sent)})


def _tell(section: Section, flashd: list[Flow], loop: list[Flow]) -> None:
    pairs = zip(flashd, loop, strict=False)  # the last round may have ended early
    share = Spread.of(one.per_s / other.per_s for one, other in pairs)
    section.notes += [
        f'flashd: `rate = "{UNLIMITED}"`, a backlog of {_BACKLOG:,} orders, each claimed, sent and finished durably',
        "the loop: one process of aiohttp on uvloop that posts the same body again and again, and keeps nothing",
        "the ERP: a process that answers 201 at once; arrivals are counted there",
        f"{len(flashd)} rounds of {_ROUND_S} s, each {_RISE_S:g} s after it began; the share is taken round by round",
    ]
    rows = [
        (
            "flashd",
            Spread.of(one.per_s for one in flashd).text(),
            share.text(".2f"),
            *(Spread.of(one.cpu_us[name] for one in flashd).text() for name in ("flashd", "store", "erp")),
        ),
        (
            "a bare aiohttp client loop",
            Spread.of(one.per_s for one in loop).text(),
            "1",
            Spread.of(one.cpu_us["loop"] for one in loop).text(),
            "-",
            Spread.of(one.cpu_us["erp"] for one in loop).text(),
        ),
    ]
    section.sheets.append(Sheet(HEAD, rows))
    section.findings.append(Finding("unlimited", share.text(".2f"), share.median >= 0.70))

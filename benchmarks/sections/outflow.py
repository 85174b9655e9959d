"""Outflow with a backlog: how close to its rate flashd sends, and how many in the busiest second."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.erp import SECOND_US, Erp, busiest
from benchmarks.goals import Finding
from benchmarks.options import Options, Say
from benchmarks.plan import Outlet, Plan
from benchmarks.section import Section, Sheet
from benchmarks.site import Site
from benchmarks.traffic import SKUS, Kind, bearer, native_order

TITLE = "Outflow at a rate, with a backlog"
RATES = (5, 50, 500)
HEAD = (
    "rate",
    "average /s",
    "share of N",
    "busiest second at the sender",
    "busiest second at the ERP",
    "sent twice",
    "look-ups",
)
_PACES = {"n": 100, "096": 96}  # percent of N
_RISE_S = 3  # the slow start after the pause is none of the figure
_SPARE_S = 6
_IN_FLIGHT = 64


class Paced(msgspec.Struct, frozen=True):
    """What left for one ERP, and what arrived."""

    rate: int
    percent: int
    average: float
    at_sender: int
    at_erp: int
    twice: int
    lookups: int

    @property
    def share(self) -> float:
        return self.average * 100 / self.rate / self.percent


def measure(section: Section, options: Options, say: Say) -> None:
    """Let three backends flow at once at N, and then three at 0.96 N."""
    found: list[Paced] = []
    seconds = options.outflow_s
    try:
        with (
            tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder,
            Erp(Path(folder), stamped=True) as erp,
            Site(Path(folder) / "flashd", Plan(outlets=_outlets(erp), level="debug")) as site,
        ):
            site.count(SKUS)
            order = Kind(name="", target="", body=native_order(), headers=bearer(""))
            for pace, percent in _PACES.items():
                for rate in RATES:
                    count = rate * (seconds + _RISE_S + _SPARE_S) * percent // 100
                    say(f"a backlog of {count:,} orders for {rate * percent / 100:g}/s")
                    site.fill(order.bodies(count), site.token(f"erp-{rate}-{pace}"))
                say(f"{' and '.join(f'{rate * percent / 100:g}' for rate in RATES)} a second at once, for {seconds} s")
                found += _flow(site, erp, pace, seconds)
    finally:
        _tell(section, found, seconds)


def _outlets(erp: Erp) -> tuple[Outlet, ...]:
    return tuple(
        Outlet(
            name=f"erp-{rate}-{pace}",
            url=erp.url(f"erp-{rate}-{pace}"),
            rate=written(rate, percent),
            max_in_flight=_IN_FLIGHT,
        )
        for pace, percent in _PACES.items()
        for rate in RATES
    )


def written(rate: int, percent: int) -> str:
    """Return that share of *rate* as the configuration has it: a promise for each second where it is a whole number."""
    return f"{rate * percent // 100}/s" if rate * percent % 100 == 0 else f"{rate * percent // 20}/5s"


def _flow(site: Site, erp: Erp, pace: str, seconds: int) -> list[Paced]:
    names = {rate: f"erp-{rate}-{pace}" for rate in RATES}
    for name in names.values():
        site.resume(name)
    time.sleep(_RISE_S + seconds + 1)
    for name in names.values():
        site.pause(name)
    time.sleep(0.5)
    sent = departures(site.daemons[0].log.read_text())
    found = []
    for rate, name in names.items():
        seen = erp.seen(name)
        if not seen.arrivals_us:
            raise RuntimeError(f"nothing arrived at {name}")
        arrived, left = sorted(seen.arrivals_us), sorted(sent.get(name, []))
        twice = sum(count - 1 for count in seen.keys.values())
        window = _within(arrived, seconds)
        found.append(
            Paced(rate, _PACES[pace], len(window) / seconds, busiest(left), busiest(arrived), twice, seen.lookups)
        )
    return found


def _within(stamps: list[int], seconds: int) -> list[int]:
    """Return those of the measured time: behind the slow start."""
    since = stamps[0] + _RISE_S * SECOND_US
    return [at for at in stamps if since <= at < since + seconds * SECOND_US]


def departures(log: str) -> dict[str, list[int]]:
    """Return when requests left for each backend (us), as the sender's debug log tells."""
    found: dict[str, list[int]] = {}
    for line in log.splitlines():
        if '"request.sent"' in line:
            entry = json.loads(line)
            found.setdefault(entry["backend"], []).append(int(entry["at_us"]))
    return found


def _tell(section: Section, found: list[Paced], seconds: int) -> None:
    section.notes += [
        f"three backends at once for {seconds} s, each with a backlog of its own",
        f"the average is counted from {_RISE_S} s after the first order, the busiest second over all of it",
        "at the sender: by its debug log, just before each request goes out; at the ERP: as the kernel saw it arrive",
    ]
    if not found:
        return
    rows = [
        (
            f"{one.rate * one.percent / 100:g}/s ({one.percent / 100:g} N)",
            f"{one.average:.2f}",
            f"{one.share:.3f}",
            f"{one.at_sender} of {one.rate}" if one.at_sender else "-",
            f"{one.at_erp} of {one.rate}",
            str(one.twice),
            str(one.lookups),
        )
        for one in found
    ]
    section.sheets.append(Sheet(HEAD, rows))
    full = [one for one in found if one.percent == 100]
    less = [one for one in found if one.percent < 100]
    if full:
        # Where the log tells nothing, arrivals have to do: they show what left, and the jitter on the way.
        most = {one.rate: one.at_sender or one.at_erp for one in full}
        text = ", ".join(f"{count} of {rate}" for rate, count in most.items())
        section.findings.append(Finding("outflow-most", text, all(count <= rate for rate, count in most.items())))
        text = ", ".join(f"{one.share:.3f} at {one.rate}/s" for one in full)
        section.findings.append(Finding("outflow-average", text, all(one.share >= 0.95 for one in full)))
    if less:
        text = ", ".join(f"{one.at_erp} of {one.rate}" for one in less)
        section.findings.append(Finding("outflow-ledger", text, all(one.at_erp <= one.rate for one in less)))

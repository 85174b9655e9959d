"""Intake and holds: flashd, a bare aiohttp, Fastify with BullMQ, aiohttp with a DECRBY, side by side."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks import traffic
from benchmarks.fastify import Fastify, FastifyMissingError
from benchmarks.goals import Finding
from benchmarks.intake import Case, Side, Tally, tally
from benchmarks.load import generator
from benchmarks.options import Options, Say
from benchmarks.section import Cells, Section, Sheet
from benchmarks.site import Site
from benchmarks.spread import Spread
from benchmarks.store import client_of, new_store, pid_of
from benchmarks.traffic import SKUS, Kind
from flashd.demo.child import Child

TITLE = "Intake and holds, side by side"
FLASHD, BARE, DECRBY = "flashd", "bare aiohttp", "aiohttp + DECRBY"
PARSED, KEPT = "Fastify + BullMQ", "Fastify + BullMQ, body unparsed"
SMALL, LARGE, NATIVE, HOLD = (
    "Shopify order, 383 B",
    "Shopify order, 11.8 kB",
    "native order, 371 B",
    "native hold, 90 B",
)
HEAD = (
    "requests, connections",
    "side",
    "requests /s",
    "flashd / side",
    "p50 ms",
    "p99 ms",
    "CPU us a request",
    "and its store",
)
STORE_HEAD = ("for each order or hold", "script calls", "server time in scripts, us", "commands, inner ones too", "new")
_BARE = Path(__file__).parent.parent / "bare.py"
_START_S = 30.0
_TURN_S = 1  # of load: a shared machine is faster and slower by the second, and what is compared must share that


class Stage(msgspec.Struct):
    """All that takes part; *absent* says why Fastify does not."""

    site: Site
    bare: Side
    decrby: Side
    fastify: Fastify | None
    absent: str

    def sides(self, kind: Kind) -> list[Side]:
        """Say who is asked for that kind of request."""
        site = self.site

        def count() -> Tally:
            with site.store() as client:
                return tally(client, site.plan.sinks)

        found = [Side(name=FLASHD, port=site.intake_port, pids=site.pids, tally=count), self.bare]
        if kind.name == HOLD:
            return [*found, self.decrby]
        if self.fastify is None:
            return found
        found.append(Side(name=PARSED, port=self.fastify.parsing_port, pids=self.fastify.pids))
        if kind.name != NATIVE:
            found.append(Side(name=KEPT, port=self.fastify.keeping_port, pids=self.fastify.pids))
        return found


def measure(section: Section, options: Options, say: Say) -> None:
    """Let all sides take turns, and turn the order about from round to round."""
    cases: list[Case] = []
    try:
        with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder, _stage(Path(folder), say) as stage:
            if stage.absent:
                section.notes.append(f"NO FASTIFY + BULLMQ: {stage.absent}")
            kinds = _kinds(stage.site.secret)
            cases += [Case(kind, stage.sides(kind), count) for count in options.connections for kind in kinds]
            for case in cases:
                say(f"warming up: {case.name}")
                case.warm_up()
            turns = options.rounds * options.seconds
            for turn in range(turns):
                for case in cases:
                    say(f"round {turn + 1} of {turns}: {case.name}")
                    case.measure(turn, seconds=_TURN_S)
                    if stage.fastify is not None:
                        stage.fastify.empty()
    finally:
        _tell(section, [case for case in cases if case.rounds], options)


def _kinds(secret: str) -> list[Kind]:
    native, signed, webhook = traffic.bearer(secret), traffic.shopify(secret), "/webhooks/shop-000"
    return [
        Kind(name=SMALL, target=webhook, body=traffic.small_order(), headers=signed),
        Kind(name=LARGE, target=webhook, body=traffic.recorded_order(), headers=signed),
        Kind(name=NATIVE, target="/v1/orders", body=traffic.native_order(), headers=native),
        Kind(name=HOLD, target="/v1/holds", body=traffic.native_hold(), headers=native),
    ]


@contextlib.contextmanager
def _stage(folder: Path, say: Say) -> Iterator[Stage]:
    """Start all that takes part."""
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(Site(folder / "flashd"))
        site.count(SKUS)
        bare = Child("bare aiohttp", [str(_BARE)], log=folder / "bare.log")
        counter = new_store()
        stack.callback(counter.close)
        decrby = Child("aiohttp with a DECRBY", [str(_BARE), counter.socket_path], log=folder / "decrby.log")
        for child in (bare, decrby):
            stack.callback(child.close)
            child.start(pipe=True)
        with client_of(counter) as client:
            client.set("stock", 10**12)
        say("starting Fastify and BullMQ (the first time they are installed)")
        fastify, absent = None, ""
        try:
            fastify = Fastify(site.secret)
            stack.callback(fastify.close)
            fastify.start()
        except FastifyMissingError as error:
            fastify, absent = None, str(error)
        yield Stage(
            site,
            Side(name=BARE, port=int(bare.first_line(_START_S)), pids={"bare": [bare.pid]}),
            Side(
                name=DECRBY,
                port=int(decrby.first_line(_START_S)),
                pids={"aiohttp": [decrby.pid], "store": [pid_of(counter)]},
            ),
            fastify,
            absent,
        )


def _tell(section: Section, cases: list[Case], options: Options) -> None:
    section.notes += [
        f"load by {generator()}, {_TURN_S} s each; {options.rounds * options.seconds} rounds, the sides in turns",
        "a figure is a median (least-most); flashd / side is taken round by round",
        "all but bare aiohttp answer after the fsync, each on a server of its own of one kind; backends were paused",
        f"{BARE}: one process on uvloop, one route, no access log, reads the body and answers 200",
        f"{PARSED}: one Node process, HMAC (or bearer) verified, body parsed, answered when `queue.add` is done",
        "body unparsed: its text goes into the queue as it came",
        f"{DECRBY}: one DECRBY for each request through redis-py",
        "new: orders that came into being by answers in 2xx; above 1 by those under way at a round's end",
    ]
    failures = sum(case.failures for case in cases)
    if failures:
        section.notes.append(f"REFUSED OR BROKEN REQUESTS: {failures}")
    if cases:
        section.sheets += [
            Sheet(HEAD, [row for case in cases for row in _rows(case)]),
            Sheet(STORE_HEAD, [_store(case) for case in cases]),
        ]
        section.findings += _findings(cases)


def _rows(case: Case) -> Iterator[Cells]:
    for side in (one.name for one in case.sides):
        cpu = case.cpu(side)
        store = cpu.pop("store", None)
        (server,) = cpu.values()
        yield (
            case.name,
            side,
            case.spread(side, "per_second").text(),
            "1" if side == FLASHD else case.ratio(FLASHD, side).text(".2f"),
            f"{case.spread(side, 'p50_us').median / 1000:.1f}",
            case.spread(side, "p99_us").over(1000).text(".1f"),
            server.text(),
            "-" if store is None else store.text(),
        )


def _store(case: Case) -> Cells:
    return (
        case.name,
        case.per_order("calls").text(".3f"),
        case.per_order("script_us").text(".1f"),
        case.per_order("commands").text(".1f"),
        case.fresh(FLASHD).text(".3f"),
    )


def _findings(cases: list[Case]) -> Iterator[Finding]:
    """Judge each goal by its worst number of connections."""
    for goal, kind, side, bound in (
        ("small-bare", SMALL, BARE, 0.70),
        ("small-fastify", SMALL, PARSED, 1.15),
        ("large-bare", LARGE, BARE, 0.30),
        ("large-fastify", LARGE, PARSED, 3.0),
        ("holds", HOLD, BARE, 0.75),
    ):
        found = {
            case.connections: case.ratio(FLASHD, side) for case in cases if case.kind.name == kind and case.has(side)
        }
        if found:
            yield Finding(goal, _by_connections(found, ".2f"), min(one.median for one in found.values()) >= bound)
    calls = {case.connections: case.per_order("calls") for case in cases if case.kind.name == SMALL}
    if calls:
        yield Finding("calls", _by_connections(calls, ".3f"), max(one.median for one in calls.values()) <= 0.1)


def _by_connections(found: dict[int, Spread], form: str) -> str:
    return "; ".join(f"{one.text(form)} at {connections}" for connections, one in found.items())

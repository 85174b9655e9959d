"""The scripts of listings and their executable specification decide alike, over random sequences on both servers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.catalogue import Component, Entry, Kit
from flashd.domain.listing import UNKNOWN, Begin, Begun, Ended, Listing, Outcome, WriteMode
from flashd.domain.order import Effect, Line
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import Conflict
from flashd.ports import Dirty, Listings
from flashd.store.audit import audit
from flashd.store.listings import RedisListings
from tests.conformance.ledgers import Bench, fake_bench, make_hold, make_incoming, real_bench
from tests.fakes.listings import FakeListings

SKUS = ["tee", "mug", "set"]
SHOPS = ["shop", "mall"]
T = 1_790_000_000_000
TERMS = {name: SellingTerms(mode="escrow") for name in SHOPS}
STEPS = 120


class Draw:
    """Steps with all their arguments, so that both are asked the same."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.number = 0
        self.keys: list[tuple[str, str, str]] = []
        self.known: dict[tuple[str, str], Listing] = {}

    def next(self) -> tuple[str, tuple[Any, ...]]:
        self.number += 1
        verb = self.dice.choices(list(VERBS), list(VERBS.values()))[0]
        return verb, getattr(self, verb)()

    def place(self) -> tuple[str, str]:
        return self.dice.choice(SHOPS), self.dice.choice(SKUS)

    def at_ms(self) -> int:
        return T + self.number * 10 + self.dice.randint(-30, 30)

    def begin(self) -> tuple[Any, ...]:
        shop, first = self.place()
        begins = []
        for sku in {first, self.dice.choice(SKUS)}:
            key = self.dice.choice([f"k{self.number}", f"k{self.number}", f"k{self.number - 1}"])
            mode = self.dice.choice(list(WriteMode))
            was = self.dice.choice([UNKNOWN, 0, self.dice.randint(0, 9)]) if mode is WriteMode.COMPARE else UNKNOWN
            backed = self.dice.random() < 0.8
            begins.append(Begin(sku=sku, units=self.dice.choice([0, 3, 8]), mode=mode, key=key, was=was, backed=backed))
            self.keys.append((shop, sku, key))
        return shop, begins

    def end(self) -> tuple[Any, ...]:
        shop, sku, key = self.dice.choice(self.keys[-6:] or [("shop", "tee", "k0")])
        figure = self.dice.choice([UNKNOWN, self.dice.randint(0, 9)])
        outcome = self.dice.choice(list(Outcome))
        ended = Ended(sku=sku, key=key, outcome=outcome, figure=figure, at_ms=self.dice.choice([0, self.at_ms()]))
        return shop, [ended]

    def know(self) -> tuple[Any, ...]:
        return self.place()

    def observe(self) -> tuple[Any, ...]:
        return (*self.place(), self.dice.randint(0, 12), self.at_ms())

    def settle(self) -> tuple[Any, ...]:
        return self.dice.choice(SHOPS), self.at_ms()

    def accept(self) -> tuple[Any, ...]:
        shop, sku = self.place()
        lines = (Line(sku, self.dice.randint(1, 3), 100),)
        effect = self.dice.choice([Effect.DELIVER, Effect.DELIVER, Effect.CANCEL])
        order = str(self.number // 3)
        return (make_incoming(order, self.number, effect, channel=shop, lines=lines, placed_ms=self.at_ms()),)

    def recount(self) -> tuple[Any, ...]:
        return self.dice.choice(["tee", "mug"]), self.dice.randint(5, 40)

    def hold(self) -> tuple[Any, ...]:
        return (make_hold(f"h{self.number}", tee=self.dice.randint(1, 4), channel="till"),)


VERBS = {"begin": 8, "end": 8, "know": 4, "observe": 4, "settle": 4, "accept": 6, "recount": 1, "hold": 1}


def plain(answer: Any) -> Any:
    """An answer without what only a clock knows."""
    if isinstance(answer, list):
        return [plain(one) for one in answer]
    if isinstance(answer, Begun):
        return replace(answer, listing=plain(answer.listing))
    return replace(answer, began_ms=0) if isinstance(answer, Listing) else answer


class Side:
    """One of the two: a ledger and its listings."""

    def __init__(self, bench: Bench, port: Listings) -> None:
        self.bench, self.port = bench, port
        self.known: dict[tuple[str, str], Listing] = {}

    async def ask(self, verb: str, args: tuple[Any, ...]) -> Any:  # noqa: PLR0911  # one return a verb
        ledger = self.bench.ledger
        match verb:
            case "know":
                [self.known[args]] = await self.port.get(args[0], [args[1]])
                return self.known[args]
            case "observe":
                known = self.known.get(args[:2], Listing(sku=args[1]))
                return await self.port.observe(args[0], known, args[2], at_ms=args[3])
            case "settle":
                return await self.port.settle(args[0], seen_ms=args[1])
            case "accept":
                return await ledger.accept(args, ["erp"], since_ms=0)
            case "recount":
                return replace(await ledger.recount(StockLevel(sku=args[0], on_hand=args[1])), seq=0)
            case "hold":
                return [replace(reply, expires_ms=0) for reply in await ledger.hold(args)]
            case _:
                return await getattr(self.port, verb)(*args)

    async def view(self) -> Any:
        rows = [plain(await self.port.get(shop)) for shop in SHOPS]
        dirty = []
        for shop in SHOPS:
            await self.port.spread(SHOPS)
            seen: list[Dirty] = await self.port.dirty(shop)
            await self.port.clean(shop, seen)
            dirty.append({one.sku for one in seen})
        said = [entry for entry in await self.bench.journal() if entry[1]]
        return rows, await ledger_levels(self.bench), dirty, said


async def ledger_levels(bench: Bench) -> list[StockLevel]:
    return [replace(level, seq=0) for level in await bench.ledger.levels()]


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 12))])
async def test_the_scripts_decide_as_their_specification_does(client: Redis, seed: int) -> None:
    fake, real = fake_bench(), real_bench(client)
    assert fake.fake is not None
    sides = [Side(fake, FakeListings(fake.fake)), Side(real, RedisListings(client, "main", terms=TERMS))]
    for side in sides:
        adopt: Any = side.bench.ledger
        adopt.adopt({"erp": set()}, TERMS)
        for sku in ("tee", "mug"):
            await side.bench.ledger.recount(StockLevel(sku=sku, on_hand=20))
        await side.port.put_kits([Kit("set", (Component("tee", 2), Component("mug", 1)))], by="ann")
        await side.port.place("shop", [Entry(sku="tee", ids={"id": "1"})], by="ann")
    draw = Draw(seed)
    for _ in range(STEPS):
        verb, args = draw.next()
        expected, found = [plain(await side.ask(verb, args)) for side in sides]
        assert found == expected, (seed, draw.number, verb, args)
        view, seen = [await side.view() for side in sides]
        assert seen == view, (seed, draw.number, verb, args)
    assert (await audit(client, "main")).differences == ()


async def test_kits_are_refused_alike(client: Redis) -> None:
    dice = random.Random(3)
    fake, real = fake_bench(), real_bench(client)
    assert fake.fake is not None
    ports: list[Listings] = [FakeListings(fake.fake), RedisListings(client, "main")]
    for bench in (fake, real):
        await bench.ledger.recount(StockLevel(sku="d", on_hand=1))
    refused = 0
    for _ in range(80):
        kits = [
            Kit(dice.choice("abcd"), tuple(Component(sku, dice.randint(1, 3)) for sku in dice.sample("abcde", k)))
            for k in (dice.randint(0, 2), dice.randint(0, 1))
        ]
        answers = []
        for port in ports:
            try:
                await port.put_kits(kits, by="ann")
                answers.append("put")
            except Conflict:
                answers.append("refused")
        assert answers[0] == answers[1], kits
        refused += answers[0] == "refused"
        assert await ports[0].kits() == await ports[1].kits()
    assert 5 < refused < 75

"""Scripts and specification agree on kits, locations, listings, thresholds, windows, quotas and limits, too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import Begin, Ended, ListingState, Outcome, WriteMode
from flashd.domain.order import Kind, Line
from flashd.domain.publication import Threshold
from flashd.domain.reservation import HoldCode
from flashd.domain.sale import Rule, SaleState
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.ports import Listings
from flashd.store.audit import audit
from flashd.store.listings import RedisListings
from tests.conformance.ledgers import HOUR_MS, Bench, fake_bench, make_hold, real_bench
from tests.fakes.listings import FakeListings
from tests.store.test_ledger_agreement import STEPS, Draw, Step, ask, assert_conserved, told, view

PLACES = ("main", "annex")
TERMS = {
    "shop": SellingTerms(locations=PLACES, mode="escrow"),
    "till": SellingTerms(locations=PLACES, split=False),
    "web": SellingTerms(locations=("annex", "main"), threshold=Threshold(buffer=3, cap=6, percent=80)),
}
SKUS = ["tee", "mug", "a b", "set", "duo"]
FOREVER = 10**15
RULES = [
    (),
    (Rule(sale="all", state=SaleState.READY, start_ms=0, end_ms=FOREVER, quota=20, limit=2, sale_limit=3),),
    (Rule(sale="all", state=SaleState.STOPPED, start_ms=0, end_ms=FOREVER, quota=20, limit=2, sale_limit=3),),
    (Rule(sale="all", state=SaleState.ENDED, start_ms=0, end_ms=FOREVER, quota=1),),
    (
        Rule(sale="old", state=SaleState.READY, start_ms=0, end_ms=50),
        Rule(sale="once", state=SaleState.READY, start_ms=50, end_ms=60, limit=3),
        Rule(sale="next", state=SaleState.READY, start_ms=FOREVER - 1, end_ms=FOREVER),
    ),
    (Rule(sale="free", state=SaleState.READY, start_ms=50, end_ms=60, quota=9, closed_outside=False),),
    (Rule(sale="web", state=SaleState.READY, start_ms=0, end_ms=FOREVER, sale_limit=3, channels=("web", "app")),),
]
KITS = [{"set": {"tee": 2, "mug": 1}}, {"duo": {"mug": 1, "a b": 1}}, {"set": {"tee": 1}}, {"duo": {}}]
SEEDS = range(3)  # of a default run


class Rich(Draw):
    """The same steps with more in them, and rules and kits that change between them."""

    def __init__(self, seed: int, *, delivered: bool) -> None:
        super().__init__(seed, delivered=delivered)
        self.verbs += [(getattr(self, name), name) for name in ("rule", "kit", "kit")]

    def lines(self) -> tuple[Line, ...]:
        skus = [*SKUS, "ghost"] if self.dice.random() < 0.03 else SKUS
        return tuple(Line(self.dice.choice(skus), self.dice.randint(1, 3), 100) for _ in range(self.dice.randint(1, 2)))

    def incoming(self) -> Any:
        customer = self.dice.choice(["", "ann", "bob"])
        self.told[-1:] = [replace(super().incoming(), customer=customer)]
        return self.told[-1]

    def hold(self) -> Step:
        wish = make_hold(self.hold_id(), ttl_ms=self.dice.choice([1, HOUR_MS]), digest=self.dice.choice("xxy"))
        more: dict[str, Any] = {
            "channel": self.dice.choice(["shop", "till", "web", "other"]),
            "customer": self.dice.choice(["", "ann", "bob"]),
            "location": self.dice.choice(["", "", "", "annex"]),
        }
        return ([replace(wish, lines=self.lines(), **more)],)  # type: ignore[return-value]

    def recount(self) -> tuple[Any, ...]:
        level, lacks = super().recount()
        return (replace(level, location=self.dice.choice(PLACES)), lacks)

    def rule(self) -> tuple[Any, ...]:
        return (self.dice.choice(SKUS), self.dice.choice(RULES))

    def kit(self) -> tuple[Any, ...]:
        return (self.dice.choice(KITS),)


async def ask_more(bench: Bench, verb: str, args: tuple[Any, ...]) -> Any:
    if verb == "rule":
        return await bench.put_rules(args[0], *args[1])
    if verb == "kit":
        for sku, parts in args[0].items():
            await put_kit(bench, sku, parts)
        return None
    return await ask(bench, verb, args)


async def put_kit(bench: Bench, sku: str, parts: dict[str, int]) -> None:
    """As the store would: not while units of it are exposed."""
    if (await bench.listing(sku)).exposed == 0:
        await bench.put_kit(sku, **parts)


async def open_pool(bench: Bench, port: Listings) -> None:
    for sku in SKUS[:3]:
        for location in PLACES:
            await bench.ledger.recount(StockLevel(sku=sku, location=location, on_hand=25))
    await bench.put_kit("set", tee=2, mug=1)
    await bench.put_kit("duo", mug=1, **{"a b": 1})
    for number, sku in enumerate(SKUS):
        [known] = await port.get("shop", [sku])
        await port.observe("shop", known, 0, at_ms=10)
        await port.settle("shop", seen_ms=11)
        backed = sku != "a b"
        wanted = Begin(sku=sku, units=4 + number, mode=WriteMode.COMPARE, key=f"k{number}", was=0, backed=backed)
        await port.begin("shop", [wanted])
        await port.end("shop", [Ended(sku=sku, key=f"k{number}", outcome=Outcome.APPLIED, at_ms=20)])
    [known] = await port.get("shop", ["tee"])
    await port.observe("shop", known, known.figure, at_ms=49)  # settling for good: orders of 50 are later
    assert (await bench.listing("tee")).state is ListingState.SETTLING


async def look(bench: Bench) -> Any:
    listings = [replace(await bench.listing(sku), began_ms=0) for sku in SKUS]
    return await view(bench), await bench.uses(), listings


@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
async def test_they_agree_on_where_units_come_from_and_what_sales_allow(client: Redis, seed: int) -> None:
    kinds = {"erp": set(Kind)}
    fake, real = fake_bench(kinds, TERMS), real_bench(client, kinds, TERMS)
    assert fake.fake is not None
    await open_pool(fake, FakeListings(fake.fake))
    await open_pool(real, RedisListings(client, "main", terms=TERMS))
    draw = Rich(seed, delivered=seed % 3 == 2)
    for number in range(STEPS):
        verb, args = draw.next()
        replies = []
        for bench in (fake, real):
            await bench.pass_time(2)
            replies.append(await ask_more(bench, verb, args))
        assert replies[0] == replies[1], (number, verb, args)
        if number % 4 == 0 or number == STEPS - 1:
            assert await look(fake) == await look(real), (number, verb, args, replies)
    assert await told(fake, draw) == await told(real, draw)
    await assert_conserved(real)
    await assert_backed(real)
    assert (await audit(client, "main")).differences == ()
    await client.hincrby("fd:{main}:use", "q\x1fall\x1ftee", 1)
    [difference] = (await audit(client, "main")).differences
    assert difference.what == "a use is not what holds and orders carry"


async def assert_backed(bench: Bench) -> None:
    """What is exposed is what backs the listings, each kit by its parts."""
    backing: Counter[str] = Counter()
    for sku in SKUS:
        row = await bench.listing(sku)
        for part in await parts_of(bench, sku) if row.backed else ():
            backing[part.sku] += row.exposed * part.quantity
    exposed = {level.sku: level.exposed for level in await bench.ledger.levels() if level.location == "main"}
    assert {sku: units for sku, units in exposed.items() if units} == {sku: n for sku, n in backing.items() if n}


async def parts_of(bench: Bench, sku: str) -> tuple[Component, ...]:
    assert bench.client is not None
    kits = await RedisListings(bench.client, "main").kits()
    return kits.get(sku, Kit(sku, (Component(sku, 1),))).components


async def test_limits_and_windows_are_among_what_is_compared() -> None:
    """Asked of the specification alone, for the sequences themselves may run in other workers."""
    seen = set()
    for seed in SEEDS:
        bench = fake_bench({"erp": set(Kind)}, TERMS)
        assert bench.fake is not None
        await open_pool(bench, FakeListings(bench.fake))
        draw = Rich(seed, delivered=seed % 3 == 2)
        for _ in range(STEPS):
            verb, args = draw.next()
            await bench.pass_time(2)
            reply = await ask_more(bench, verb, args)
            if verb == "hold":
                seen |= {one.code for one in reply}
    assert {HoldCode.LIMIT, HoldCode.CLOSED, HoldCode.SHORT, HoldCode.HELD} <= seen

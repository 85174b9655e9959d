"""Most orders and holds take a short way through their scripts; the general way, put to the same, leaves the same."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.catalogue import Component
from flashd.domain.listing import Listing, ListingState
from flashd.domain.order import AcceptCode, Effect, Incoming, Kind, Line, OrderState
from flashd.domain.publication import Threshold
from flashd.domain.reservation import HoldCode, HoldRequest
from flashd.domain.sale import Rule, SaleState
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.store import calls
from flashd.store.keys import pool_key
from flashd.store.ledger import RedisLedger
from flashd.store.listings import pack_listing, pack_parts
from flashd.store.scripts import Script, load
from tests.conformance.ledgers import HOUR_MS, _outlast, _pack_rule, make_hold, make_incoming

WAYS = ("accept", "hold")
TERMS = {
    "shop": SellingTerms(),
    "till": SellingTerms(threshold=Threshold(percent=50, buffer=1)),
    "two": SellingTerms(locations=("main", "side"), threshold=Threshold(percent=60)),
    "web": SellingTerms(mode="escrow"),
}
SKUS = ("tee", "mug", 'a "b"', "boxed", "limited", "counted", "late", "apart", "set", "ghost")
OFTEN = (9, 9, 7, 5, 4, 4, 1, 2, 1, 0.3)
RULE = Rule(sale="s", state=SaleState.READY, start_ms=20, end_ms=10**13)
RULES = {
    "limited": replace(RULE, quota=40, limit=3, sale_limit=8),
    "counted": replace(RULE, sale_limit=8, closed_outside=False, channels=("shop", "till")),
    "late": replace(RULE, start_ms=10**13 - 1),
}
ROWS = (
    Listing(sku="tee", backed=True, exposed=40, figure=40, state=ListingState.SETTLING, written_ms=40, location="main"),
    Listing(sku="mug", exposed=5, figure=5, location="main"),
    Listing(sku='a "b"', backed=True, exposed=4, figure=4),
    Listing(sku="boxed", backed=True, exposed=3, figure=3, location="side"),
    Listing(sku="apart", backed=True, exposed=9, figure=9, location="side"),
)
STEPS = 50
_STAMP = re.compile(rb"(?<!\d)(?:00)?1[789]\d{11}(?!\d)")


class Counting(RedisLedger):
    """Counts the orders and holds that take the general way; with *short* unset all of them do."""

    def __init__(self, client: Redis, pool: str, *, short: bool) -> None:
        super().__init__(client, pool, kinds={"erp": set(Kind), "wms": set(Kind)}, terms=TERMS)
        self._scripts = {name: _mended(name, pool, short=short) for name in WAYS}

    def _script(self, name: str) -> Script:
        return self._scripts.get(name) or super()._script(name)


def _mended(name: str, pool: str, *, short: bool) -> Script:
    asked, other = f"reply = {name}_usual(", f"reply = {name}_one("
    source = load(name).source
    assert source.count(asked) == source.count(other) == 1
    source = source.replace(other, f"reply = redis.call('INCR', 'general:{pool}:{name}') and {name}_one(")
    if not short:
        source = source.replace(asked, f"reply = nil and {name}_usual(")
    return replace(load(name), source=source, sha="0" * 39 + f"{short:d}")


class Pools:
    """Two pools that are asked the same: the first is free to take the short way, the second never does."""

    def __init__(self, client: Redis, seed: int) -> None:
        self.client: Any = client
        self.dice = random.Random(seed)
        self.ledgers = [Counting(client, "pool1", short=True), Counting(client, "pool2", short=False)]
        self.asked = dict.fromkeys(WAYS, 0)
        self.told: list[Incoming] = []
        self.number = 0

    async def fill(self) -> None:
        for ledger in self.ledgers:
            for sku in SKUS[:-1]:
                place = "side" if sku == "apart" else "main"
                await ledger.recount(StockLevel(sku=sku, location=place, on_hand=90, safety=3))
            await ledger.recount(StockLevel(sku="mug", location="side", on_hand=4))
            key = pool_key(ledger.pool, "")
            backed = [row for row in ROWS if row.backed]
            levels = {f"{row.sku}\x1f{row.location}": f"90 0 0 {row.exposed} 3 0" for row in backed}
            await self.client.hset(key + "stock", mapping=levels)
            await self.client.hset(key + "kit", "set", pack_parts((Component("tee", 2), Component("boxed", 1))))
            await self.client.hset(key + "rule", mapping={sku: _pack_rule(rule) for sku, rule in RULES.items()})
            await self.client.hset(key + "exp:web", mapping={row.sku: pack_listing(row) for row in ROWS})

    def lines(self) -> tuple[Line, ...]:
        skus = self.dice.choices(SKUS, weights=OFTEN, k=self.dice.choice((1, 1, 1, 2, 3)))
        return tuple(Line(sku, self.dice.randint(1, 3)) for sku in skus)

    def customer(self) -> str:
        return self.dice.choice(("", *[f"c{self.number // 6}"] * 3))

    def hold(self) -> HoldRequest:
        self.number += 1
        hold_id = f"h{self.dice.choice((self.number, self.number // 5))}"
        channel = self.dice.choice(("shop", "shop", "till", "two", "web"))
        ttl_ms = self.dice.choice((1, HOUR_MS, HOUR_MS, 2 * HOUR_MS))
        return make_hold(
            hold_id, lines=self.lines(), channel=channel, customer=self.customer(), digest="d", ttl_ms=ttl_ms
        )

    def order(self) -> Incoming:
        self.number += 1
        dice = self.dice
        if self.told and dice.random() < 0.15:
            known = dice.choice(self.told[-5:])
            effect = dice.choice((known.effect, Effect.CANCEL))
            return replace(known, version=known.version + dice.randint(0, 2), effect=effect)
        incoming = make_incoming(
            str(self.number) + dice.choice(("", "", "/é", ' "x')),
            dice.choice((17_900_000_000_001, 1, 123_456_789_012_345)),
            dice.choice((*[Effect.DELIVER] * 8, Effect.WAIT, Effect.CANCEL, Effect.IGNORE)),
            channel=dice.choice(("shop", "shop", "till", "two", "web", "web", "web")),
            lines=self.lines(),
            reason=dice.choice((*[""] * 8, "odd")),
            strict=dice.random() < 0.5,
            raw=dice.choice((b"", b"raw" * 9)),
            placed_ms=dice.choice((0, 0, 0, 5, 15, *[50] * 9)),
            customer=self.customer(),
        )
        self.told.append(incoming)
        return incoming

    async def step(self) -> None:
        """Ask both the same, a call of holds and one of orders, some of them of what was just held."""
        if self.dice.random() < 0.15:
            await self.recount()
        requests = [self.hold() for _ in range(self.dice.randint(1, 4))]
        await self.ask("hold", requests)
        orders = [self.order() for _ in range(self.dice.randint(1, 6))]
        for request in requests[: self.dice.randint(0, len(orders))]:
            at = self.dice.randrange(len(orders))
            lines = request.lines if self.dice.random() < 0.8 else self.lines()
            orders[at] = replace(orders[at], hold_id=request.id, order=replace(orders[at].order, lines=lines))
        await self.ask("accept", orders)

    async def ask(self, way: str, asked: list[Any]) -> None:
        self.asked[way] += len(asked)
        replies: list[Any] = []
        for ledger in self.ledgers:
            await _outlast(2)
            if way == "hold":
                replies.append([replace(one, expires_ms=0) for one in await ledger.hold(asked)])
            else:
                backends = [("erp", "wms")[one.version % 2] for one in asked]
                replies.append(await ledger.accept(asked, backends, since_ms=10))
        assert replies[0] == replies[1]

    async def recount(self) -> None:
        sku = self.dice.choice(("tee", "mug"))
        for ledger in self.ledgers:
            await ledger.recount(StockLevel(sku=sku, on_hand=self.number + 60))

    async def left(self, ledger: RedisLedger) -> dict[bytes, Any]:
        """All that stands in a pool, with one time for all times and one name for all pools."""
        found: dict[bytes, Any] = {}
        async for key in self.client.scan_iter(pool_key(ledger.pool, "*"), count=1000):
            kind, name = await self.client.type(key), _alike(key, ledger.pool)
            if kind == b"hash":
                pairs = await self.client.hgetall(key)
                found[name] = {_alike(k, ledger.pool): _alike(v, ledger.pool) for k, v in pairs.items()}
            elif kind == b"zset":
                pairs = await self.client.zrange(key, 0, -1, withscores=True)
                found[name] = sorted((_alike(member, ledger.pool), min(score, 1e12)) for member, score in pairs)
            elif kind == b"stream":
                entries = await self.client.xrange(key)
                found[name] = [[_alike(text, ledger.pool) for text in fields.values()] for _, fields in entries]
            else:
                found[name] = (kind, await self.client.smembers(key) if kind == b"set" else None)
        return found

    async def general(self, way: str) -> list[int]:
        """How many took the general way, in each pool."""
        return [int(await self.client.get(f"general:{one.pool}:{way}") or 0) for one in self.ledgers]


def _alike(text: bytes, pool: str) -> bytes:
    return _STAMP.sub(b"T", text.replace(pool.encode(), b"P"))


@pytest.mark.parametrize("seed", range(3))
async def test_the_short_way_leaves_what_the_general_way_leaves(client: Redis, seed: int) -> None:
    pools = Pools(client, seed)
    await pools.fill()
    for number in range(STEPS):
        await pools.step()
        if number % 10 == 9:
            first, second = [await pools.left(ledger) for ledger in pools.ledgers]
            assert first.keys() == second.keys()
            for name, value in first.items():
                assert value == second[name], (number, name)
    for way in WAYS:
        short, never = await pools.general(way)
        assert never >= pools.asked[way]
        assert pools.asked[way] * 0.1 < short < pools.asked[way] * 0.85  # both ways were taken, often


@pytest.mark.parametrize("pool_has", ["a kit", "a rule"])
async def test_a_kit_or_a_rule_of_another_sku_does_not_close_the_short_way(client: Redis, pool_has: str) -> None:
    ledger = Counting(client, "pool1", short=True)
    await ledger.recount(StockLevel(sku="tee", on_hand=60))
    books: Any = client
    await books.hset(pool_key("pool1", "kit" if pool_has == "a kit" else "rule"), "mug", "tee\x1f1")
    await ledger.hold([make_hold()])
    await ledger.accept(
        [make_incoming("1"), make_incoming("2", hold_id="h1"), make_incoming("3", strict=True)], ["erp"] * 3, since_ms=0
    )
    assert not await books.keys("general:*")


async def test_a_sku_that_is_told_twice_is_not_sold_twice(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    once = calls._pack_wanted
    monkeypatch.setattr(calls, "_pack_wanted", lambda wanted, at: "\x1e".join([once(dict.fromkeys(wanted, 6), at)] * 2))
    ledger = RedisLedger(client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=10))
    lines = (Line("tee", 6), Line("tee", 6))
    [held] = await ledger.hold([make_hold(lines=lines)])
    [accepted] = await ledger.accept([make_incoming(lines=lines)], ["erp"], since_ms=0)
    assert (held.code, accepted.short) == (HoldCode.SHORT, (("tee", 2),))


async def test_a_call_may_carry_more_facts_than_the_stack_of_a_script_has_room_for(client: Redis) -> None:
    ledger = Counting(client, "pool1", short=True)
    await ledger.recount(StockLevel(sku="tee", on_hand=5000))
    told = [
        make_incoming(str(number), lines=(Line("tee", 1),), channel=("shop", "till")[number % 2])
        for number in range(1001)
    ]
    accepted = await ledger.accept(told, [("erp", "wms")[number % 2] for number in range(1001)], since_ms=0)
    assert {(one.code, one.state) for one in accepted} == {(AcceptCode.ACCEPTED, OrderState.QUEUED)}
    records: Any = client
    assert (await records.hget(pool_key("pool1", "ord:shop:1000"), "s")).split()[4] == b"erp"
    assert await records.zcard(pool_key("pool1", "q:wms")) == 500

"""Who lacks paid goods is first come, first served, wherever units come from, on real servers and random schedules."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from redis.asyncio import Redis

from flashd.domain.acceptance import CLAIMING
from flashd.domain.count import Count, CountKind, Receipt
from flashd.domain.order import Effect, Line, OrderRecord, OrderRef, OrderState
from flashd.errors import Conflict
from flashd.store.audit import audit
from tests.conformance.ledgers import Bench, make_hold, make_incoming, real_bench, record

SKUS = ("tee", "mug")


class Row:
    """Who came when, and what each got: units that a later one got while an earlier one lacked some are overtaking."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.dice = random.Random(seed)
        self.order_ids: list[str] = []
        self.did: Counter[str] = Counter()

    async def run(self, steps: int) -> None:
        for sku in SKUS:
            await self.bench.stockroom.receive(Receipt(id=f"first {sku}", sku=sku, units=6), by="ann")
        verbs = (
            [self.sell] * 6
            + [self.receive] * 2
            + [self.cancel] * 3
            + [self.cancel, self.hold, self.edit, self.count, self.serve, self.split]
        )
        for number in range(steps):
            verb = self.dice.choice(verbs)
            self.did[verb.__name__] += 1
            before = await self.records()
            await self.bench.pass_time(1)
            await verb(number)
            await self.check(before, await self.records())

    async def records(self) -> list[OrderRecord]:
        """All orders, first come first."""
        return sorted(await self.bench.book.page(limit=1000), key=lambda one: (one.accepted_ms, one.ref.id))

    async def check(self, before: list[OrderRecord], after: list[OrderRecord]) -> None:
        """Nobody gains a unit while one who waits for it before him lacks more than what lies there for him."""
        for level in await self.bench.ledger.levels():
            sku = level.sku
            row = [one.ref for one in before if lacks(one, sku)]
            had = {one.ref: taken(one, sku) for one in before}
            still = {one.ref: lacks(one, sku) for one in after}
            for one in after:
                if taken(one, sku) > had.get(one.ref, 0):
                    ahead = row[: row.index(one.ref)] if one.ref in row else row
                    wanted = sum(still[ref] for ref in ahead)
                    assert wanted <= max(0, level.atp), f"{one.ref} got {sku}, and {ahead} lack {wanted}"
            assert level.owed == sum(still.values())

    async def sell(self, number: int) -> None:
        order_id = f"{self.dice.randint(0, 9)}-{number}"  # the order of names says nothing of who came first
        skus = self.dice.sample(SKUS, self.dice.randint(1, 2))
        lines = tuple(Line(sku, self.dice.randint(1, 4), 100) for sku in skus)
        [accepted] = await self.bench.ledger.accept([make_incoming(order_id, lines=lines)], ["erp"], since_ms=0)
        self.order_ids.append(order_id)
        if accepted.state is OrderState.SHORTFALL and self.dice.random() < 0.5:  # nobody decides about the others
            await self.bench.stockroom.backorder(OrderRef("shop", order_id), by="rule")

    async def receive(self, number: int) -> None:
        units = self.dice.randint(1, 5)
        await self.bench.stockroom.receive(Receipt(id=f"r{number}", sku=self.dice.choice(SKUS), units=units), by="ann")

    async def cancel(self, _: int) -> None:
        if self.order_ids:
            ref = OrderRef("shop", self.dice.choice(self.order_ids))
            await self.bench.ledger.cancel(ref, by="ann", reason="asked")

    async def hold(self, number: int) -> None:
        lines = (Line(self.dice.choice(SKUS), self.dice.randint(1, 3)),)
        await self.bench.ledger.hold([make_hold(f"h{number}", lines=lines, ttl_ms=1)])

    async def edit(self, number: int) -> None:
        if self.order_ids:
            order_id = self.dice.choice(self.order_ids)
            effect = self.dice.choice([Effect.CANCEL, Effect.DELIVER])
            lines = (Line(self.dice.choice(SKUS), 1, 100),)  # less than it was
            known = await record(self.bench, OrderRef("shop", order_id))
            if known.state in CLAIMING and any(line.sku == lines[0].sku for line in known.order.lines):  # type: ignore[union-attr]  # every order has content
                told = make_incoming(order_id, 2 + number, effect, lines=lines)
                await self.bench.ledger.accept([told], ["erp"], since_ms=0)

    async def count(self, _: int) -> None:
        sku = self.dice.choice(SKUS)
        level = next(level for level in await self.bench.ledger.levels() if level.sku == sku)
        quantity = level.on_hand + self.dice.randint(0, 3)
        now_ms = await self.bench.now_ms()
        await self.bench.stockroom.count(
            [Count(sku=sku, quantity=quantity, kind=CountKind.PHYSICAL, as_of_ms=now_ms)], by="ann"
        )

    async def serve(self, _: int) -> None:
        await self.bench.ledger.sweep()
        await self.bench.stockroom.serve()

    async def split(self, _: int) -> None:
        waiting = [one.ref.id for one in await self.records() if one.state in CLAIMING]
        if waiting:
            order_id = self.dice.choice(waiting)
            try:
                await self.bench.stockroom.split(OrderRef("shop", order_id), by="ann")
            except Conflict:
                return
            self.order_ids.append(f"{order_id}+rest")


def lacks(record: OrderRecord, sku: str) -> int:
    waits = record.state in CLAIMING
    return sum(item.missing for item in record.items if item.sku == sku) if waits else 0


def taken(record: OrderRecord, sku: str) -> int:
    return sum(item.taken for item in record.items if item.sku == sku)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nobody_who_came_later_gets_a_unit_first(client: Redis, seed: int) -> None:
    row = Row(real_bench(client), seed)
    await row.run(60)
    assert min(row.did[name] for name in ("sell", "receive", "serve")) > 0
    assert (await audit(client, "main")).differences == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
async def test_nobody_who_came_later_gets_a_unit_first_over_many_schedules(client: Redis, seed: int) -> None:
    await Row(real_bench(client), seed).run(150)

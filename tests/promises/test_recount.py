"""
Counting again while selling: on real servers, against a model of the warehouse's truth.

The model knows the shelf, what the ERP confirmed, shipped and cancelled, and when; it knows nothing of how flashd keeps
its counters. After every step three things must hold:

* what flashd would sell is exactly what the last count says, less the promises that this count does not lack yet;
* it is never more than what is truly free, but for units that were lost on the shelf since that count;
* in the end, after a last count of everything, it is exactly what is truly free.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from flashd.domain.count import Count, CountCode, CountKind, Receipt
from flashd.domain.delivery import ClaimCode, Result, ResultKind
from flashd.domain.order import Effect, Kind, Line, OrderRef, OrderState
from flashd.domain.reservation import HoldCode
from flashd.store.audit import audit
from tests.conformance.ledgers import HOUR_MS, Bench, make_hold, make_incoming, real_bench

SKUS = ("tee", "mug", "a b")
NEVER = 10**9


@dataclass
class Sold:
    """An order as the world sees it; instants are numbers of steps."""

    id: str
    units: Counter[str]
    version: int = 1
    booked: bool = False  # the ERP has it
    delivered: int = NEVER  # flashd knows that the ERP has it
    shipped: int = NEVER  # and everybody knows
    cancelling: bool = False
    cancelled: int = NEVER
    returned: bool = False

    @property
    def ref(self) -> OrderRef:
        return OrderRef("shop", self.id)


@dataclass
class Told:
    """The last count of one SKU that flashd was told."""

    quantity: int
    kind: CountKind | None = None
    step: int = -1
    as_of_ms: int = 0
    received: int = 0  # receipts since


@dataclass
class World:
    """The warehouse, the ERP and the shop."""

    bench: Bench
    dice: random.Random
    step: int = 0
    shelf: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)  # since the last count's instant
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)
    orders: dict[str, Sold] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    flying: list[tuple[Sold, Kind]] = field(default_factory=list)  # claimed, the answer is on its way
    travelling: list[tuple[Count, int, Counter[str]]] = field(default_factory=list)  # counts, their step, losses then
    did: Counter[str] = field(default_factory=Counter)

    # ------------------------------------------------------------------------------------------------------- truth

    def promised(self, sku: str) -> int:
        """Units that are still on the shelf and not ours to sell."""
        live = (sold for sold in self.orders.values() if sold.cancelled == NEVER and sold.shipped == NEVER)
        return sum(sold.units[sku] for sold in live) + sum(units for name, units in self.holds.values() if name == sku)

    def truly_free(self, sku: str) -> int:
        return self.shelf[sku] - self.promised(sku)

    def available(self, sku: str) -> int:
        """What the ERP calls available: it knows of what it booked only."""
        booked = (sold for sold in self.orders.values() if sold.booked and sold.shipped == NEVER)
        return self.shelf[sku] - sum(sold.units[sku] for sold in booked if sold.cancelled == NEVER)

    def expected_free(self, sku: str) -> int:
        """What follows from the last count and from nothing else but the shop's and the ERP's instants."""
        told = self.told[sku]
        open_units = 0
        for sold in self.orders.values():
            known_ms = {CountKind.AVAILABLE: sold.delivered, CountKind.PHYSICAL: sold.shipped, None: NEVER}[told.kind]
            if known_ms < told.step:
                continue  # the count lacks it
            if sold.cancelled == NEVER or sold.shipped != NEVER:
                open_units += sold.units[sku]
        held = sum(units for name, units in self.holds.values() if name == sku)
        return max(0, told.quantity + told.received - open_units - held)

    # ------------------------------------------------------------------------------------------------------- steps

    async def run(self, steps: int) -> None:
        names = {
            self.sell: 8, self.hold: 3, self.let_go: 1, self.claim: 6, self.answer: 6, self.ship: 4, self.cancel: 2,
            self.snapshot: 3, self.tell: 3, self.tell_again: 1, self.lose: 1, self.receive: 1, self.goods_return: 1,
        }  # fmt: skip
        verbs, weights = list(names), list(names.values())
        for _ in range(steps):
            self.step += 1
            verb = self.dice.choices(verbs, weights)[0]
            self.did[verb.__name__] += 1
            await self.bench.pass_time(1)
            await verb()
            await self.bench.pass_time(1)
            await self.check()

    async def check(self) -> None:
        for level in await self.bench.ledger.levels():
            where = (self.step, level.sku, self.told[level.sku])
            assert level.free == self.expected_free(level.sku), where
            assert level.free <= max(0, self.truly_free(level.sku)) + self.lost[level.sku], where

    def pick(self, wanted: Iterator[Sold]) -> Sold | None:
        found = list(wanted)
        return self.dice.choice(found) if found else None

    async def sell(self) -> None:
        number = str(self.step)
        hold_id = self.dice.choice([*self.holds, "", ""]) if self.holds else ""
        if hold_id:
            sku, units = self.holds.pop(hold_id)
            wanted = Counter({sku: units})
        else:
            wanted = Counter({sku: self.dice.randint(1, 3) for sku in self.dice.sample(SKUS, self.dice.randint(1, 2))})
            free = {level.sku: level.free for level in await self.bench.ledger.levels()}
            if any(free[sku] < units for sku, units in wanted.items()):
                return  # what falls short is another promise's business
        lines = tuple(Line(sku, units, 100) for sku, units in wanted.items())
        incoming = make_incoming(number, lines=lines, hold_id=hold_id)
        [accepted] = await self.bench.ledger.accept([incoming], ["erp"], since_ms=0)
        assert accepted.state is OrderState.QUEUED
        self.orders[number] = Sold(number, wanted)

    async def hold(self) -> None:
        sku, units, name = self.dice.choice(SKUS), self.dice.randint(1, 3), f"h{self.step}"
        [reply] = await self.bench.ledger.hold([make_hold(name, lines=(Line(sku, units),))])
        if reply.code is HoldCode.HELD:
            self.holds[name] = (sku, units)

    async def let_go(self) -> None:
        if self.holds:
            name = self.dice.choice(list(self.holds))
            del self.holds[name]
            await self.bench.ledger.release(name, "changed their mind")

    async def claim(self) -> None:
        """One item leaves for the ERP, which books it at once; the answer takes its time."""
        due = await self.bench.outbox.due(10)
        if not due:
            return
        ref = self.dice.choice(due)
        [(code, _)] = await self.bench.outbox.claim([ref], epoch=1, lease_ms=HOUR_MS)
        assert code is ClaimCode.CLAIMED
        sold = self.orders[ref.id]
        if ref.kind is Kind.CREATE:
            sold.booked = True
        self.flying.append((sold, ref.kind))

    async def answer(self) -> None:
        if not self.flying:
            return
        sold, kind = self.flying.pop(self.dice.randrange(len(self.flying)))
        ref = OrderRef("shop", sold.id, kind)
        await self.bench.outbox.finish([Result(ref=ref, kind=ResultKind.DELIVERED, backend_ref="SO1")], epoch=1)
        if kind is Kind.CREATE:
            sold.delivered = self.step
            await self.bench.ledger.apply_next()
        else:
            sold.cancelled = self.step

    async def ship(self) -> None:
        sold = self.pick(
            s for s in self.orders.values() if s.delivered < NEVER and s.shipped == NEVER and not s.cancelling
        )
        if sold is not None:
            self.shelf.subtract(sold.units)
            sold.shipped = self.step
            await self.bench.stockroom.ship(sold.ref, await self.bench.now_ms(), by="wms")

    async def cancel(self) -> None:
        sold = self.pick(s for s in self.orders.values() if not s.cancelling)
        if sold is None:
            return
        sold.cancelling, sold.version = True, sold.version + 1
        lines = tuple(Line(sku, units, 100) for sku, units in sold.units.items())
        incoming = make_incoming(sold.id, sold.version, Effect.CANCEL, lines=lines)
        await self.bench.ledger.accept([incoming], ["erp"], since_ms=0)
        if not sold.booked:
            sold.cancelled = self.step

    async def snapshot(self) -> None:
        """The ERP counts; the count travels."""
        sku, kind = self.dice.choice(SKUS), self.dice.choice(list(CountKind))
        quantity = self.shelf[sku] if kind is CountKind.PHYSICAL else self.available(sku)
        await self.bench.pass_time(1)
        count = Count(sku=sku, quantity=quantity, kind=kind, as_of_ms=await self.bench.now_ms(), source="erp")
        self.travelling.append((count, self.step, Counter(self.lost)))

    async def tell(self) -> None:
        if self.travelling:
            await self.hear(*self.travelling.pop(self.dice.randrange(len(self.travelling))))

    async def tell_again(self) -> None:
        """The same count twice: the second changes nothing."""
        if self.travelling:
            await self.hear(*self.travelling[-1])
            before = await self.bench.ledger.levels()
            [counted] = await self.bench.stockroom.count([self.travelling[-1][0]], by="erp")
            assert counted.code is CountCode.STALE
            assert await self.bench.ledger.levels() == before

    async def hear(self, count: Count, step: int, lost: Counter[str]) -> None:
        told = self.told[count.sku]
        [counted] = await self.bench.stockroom.count([count], by="erp")
        if count.as_of_ms <= told.as_of_ms:
            assert counted.code is CountCode.STALE
            self.did["stale"] += 1
            return
        assert counted.code is CountCode.COUNTED
        self.did["negative"] += count.quantity < 0
        self.did["deficit"] += counted.deficit > 0
        self.told[count.sku] = Told(count.quantity, count.kind, step, count.as_of_ms)
        self.lost[count.sku] -= lost[count.sku]
        for at, (other, then, known) in enumerate(self.travelling):  # what was known lost when they were made
            rest = Counter(known)
            rest[count.sku] = max(0, rest[count.sku] - lost[count.sku])
            self.travelling[at] = (other, then, rest)

    async def lose(self) -> None:
        """Units vanish from the shelf, and nobody tells."""
        sku = self.dice.choice(SKUS)
        units = self.dice.randint(1, 6)
        self.shelf[sku] -= units
        self.lost[sku] += units

    async def receive(self) -> None:
        """Goods come in, flashd is told, and counts that are on their way are thrown away: they are of before."""
        sku, units = self.dice.choice(SKUS), self.dice.randint(1, 6)
        self.shelf[sku] += units
        self.travelling = [entry for entry in self.travelling if entry[0].sku != sku]
        receipt = Receipt(id=f"r{self.step}", sku=sku, units=units)
        for _ in range(2):
            await self.bench.stockroom.receive(receipt, by="ann")
        self.told[sku].received += units

    async def goods_return(self) -> None:
        """What was shipped and cancelled comes back to the shelf; only a count will say so."""
        gone = (s for s in self.orders.values() if NEVER not in {s.shipped, s.cancelled} and not s.returned)
        sold = self.pick(gone)
        if sold is not None:
            self.shelf.update(sold.units)
            sold.returned = True


async def play(client: Redis, seed: int, steps: int) -> World:
    bench = real_bench(client)
    world = World(bench, random.Random(seed))
    for sku in SKUS:
        world.shelf[sku] = 40
        await bench.stockroom.receive(Receipt(id=f"first {sku}", sku=sku, units=40), by="ann")
        world.told[sku] = Told(0, received=40)
    await world.run(steps)
    while world.flying:
        await world.answer()
    world.travelling = []
    for kind in (CountKind.AVAILABLE, CountKind.PHYSICAL):
        for sku in SKUS:
            await bench.pass_time(2)
            world.step += 1
            quantity = world.shelf[sku] if kind is CountKind.PHYSICAL else world.available(sku)
            count = Count(sku=sku, quantity=quantity, kind=kind, as_of_ms=await bench.now_ms())
            await world.hear(count, world.step, Counter(world.lost))
    await world.check()
    for level in await bench.ledger.levels():
        assert level.free == max(0, world.truly_free(level.sku))
    report = await audit(client, "main")
    assert report.differences == ()
    return world


@pytest.mark.parametrize("seed", [2])
async def test_counting_while_selling_is_exact(client: Redis, seed: int) -> None:
    world = await play(client, seed, 300)
    assert min(world.did[name] for name in ("stale", "tell", "tell_again", "ship", "answer", "cancel")) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13])
async def test_counting_while_selling_is_exact_for_two_thousand_operations(client: Redis, seed: int) -> None:
    world = await play(client, seed, 2000)
    assert min(world.did.values()) > 0

"""
Schedules of everything that may happen to stock over three shops, and a publisher that lives through them.

A schedule is a list of verbs and dice, drawn from a seed: the same one can be played in escrow and in mirror mode.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flashd.domain.listing import UNKNOWN, Begin, BeginCode, Ended, Listing, ListingState, Outcome, WriteMode
from flashd.domain.meter import read_meter
from flashd.domain.stock import StockLevel
from flashd.ports import Listings
from tests.promises.shops import Shop, Told, Write

SKU = "tee"
START_MS = 1_790_000_000_000
LATE_MS = 4000  # a request may land so long after it was sent
PATIENCE_MS = 1500  # and is waited for so long
STEPS = 200
ROUNDS = 80  # until all is settled at the end


class Books(Protocol):
    """What flashd knows: listings and stock, in the domain or in Redis."""

    @property
    def listings(self) -> Listings: ...

    async def accept(self, shop: Shop, versions: Sequence[Told]) -> None: ...
    async def recount(self, on_hand: int, safety: int) -> None: ...
    async def level(self) -> StockLevel: ...
    async def short(self) -> int: ...
    async def hold(self, hold: str, units: int) -> bool: ...
    async def release(self, hold: str) -> None: ...


@dataclass
class Step:
    verb: str
    shop: int
    dice: random.Random


VERBS = {
    "buy": 30, "deliver": 14, "poll": 14, "publish": 22, "land": 14, "answer": 20, "look": 3, "pay": 5, "cancel": 8,
    "edit": 2, "recount": 2, "hold": 2, "unhold": 2, "crash": 1,
}  # fmt: skip


@dataclass
class Schedule:
    seed: int
    steps: list[Step]
    humans: bool
    recounts: bool
    on_hand: int
    safety: int


def draw(seed: int) -> Schedule:
    dice = random.Random(seed)
    names, weights = list(VERBS), list(VERBS.values())
    steps = [
        Step(verb, dice.randrange(3), random.Random(dice.random()))
        for verb in dice.choices(names, weights, k=STEPS)
    ]  # fmt: skip
    return Schedule(
        seed,
        steps,
        humans=dice.random() < 0.25,
        recounts=dice.random() < 0.3,
        on_hand=dice.choice([dice.randint(1, 12), dice.randint(10, 30), dice.randint(30, 90)]),
        safety=dice.choice([0, 0, 0, 2]),
    )


def three_shops(seed: int) -> list[Shop]:
    """A platform with compare-and-set and keys, one without keys, and one that overwrites and takes stock late."""
    dice = random.Random(seed * 7 + 1)
    offsets = [dice.randint(-3000, 3000) for _ in range(3)]
    return [
        Shop(
            "cas", compares=True, honours_keys=True, restocks=dice.random() < 0.7, grain_ms=1000, offset_ms=offsets[0]
        ),
        Shop("bare", compares=dice.random() < 0.5, grain_ms=dice.choice([1, 1000]), offset_ms=offsets[1]),
        Shop("woo", compares=False, reduces_late=True, grain_ms=1000, offset_ms=offsets[2]),
    ]


@dataclass
class Call:
    """A write that the publisher waits for."""

    write: Write
    began_ms: int


@dataclass
class Look:
    """A reading in three steps: the row, the platform's figure, the observation."""

    known: Listing
    read: tuple[int, int] | None = None


@dataclass
class World:
    schedule: Schedule
    books: Books
    shops: list[Shop]
    backed: bool = True
    now_ms: int = START_MS
    on_hand: int = 0
    taken_away: int = 0  # by counts that found less
    held: dict[str, int] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    strays: dict[str, list[Write]] = field(default_factory=dict)  # nobody waits for them, and they may land
    looks: dict[str, Look] = field(default_factory=dict)
    polls: dict[str, tuple[list[Told], int]] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    serial: int = 0
    calm: bool = False  # no faults any more
    oversold: int = 0
    excess: int = 0  # of what the meter had said before
    highest: int = 0  # reading of the meter
    repeats: random.Random = field(default_factory=lambda: random.Random(1))

    # --------------------------------------------------------------------------------------------------- what is true

    @property
    def sold(self) -> int:
        return sum(shop.sold for shop in self.shops)

    @property
    def beyond(self) -> int:
        """Units that were sold or promised and are not there."""
        return max(0, self.sold + sum(self.held.values()) - self.on_hand)

    @property
    def excused(self) -> int:
        """Units that a count or a human's edit took from under what was promised."""
        return self.taken_away + sum(shop.added for shop in self.shops)

    async def _twice(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Sometimes the store's reply is lost, and it is asked again."""
        if not self.calm and self.repeats.random() < 0.15:
            await ask()
        return await ask()

    async def start(self) -> None:
        self.on_hand = self.schedule.on_hand + self.schedule.safety
        await self.books.recount(self.on_hand, self.schedule.safety)
        for shop in self.shops:
            self.cursors[shop.name] = shop.stamp(self.now_ms)
            [known] = await self.books.listings.get(shop.name, [SKU])
            await self.books.listings.observe(shop.name, known, 0, at_ms=shop.surely_by(self.now_ms))
            await self.books.listings.settle(shop.name, seen_ms=shop.surely_by(self.now_ms) + 1)

    async def play(self) -> None:
        """Live through the schedule, checking after each step."""
        await self.start()
        for step in self.schedule.steps:
            self.now_ms += step.dice.choice([0, 10, 100, 300, 700])
            reading = await self.reading()
            self.highest = max(self.highest, reading)
            await getattr(self, step.verb)(self.shops[step.shop], step.dice)
            short = await self.books.short()
            self.oversold = max(self.oversold, self.beyond - self.excused)
            if step.verb == "buy":
                self.excess = max(self.excess, self.beyond - self.excused - short - reading)

    async def reading(self) -> int:
        """How many units the exposure meter says could be sold twice."""
        level = await self.books.level()
        rows = {shop.name: await self.books.listings.get(shop.name, [SKU]) for shop in self.shops}
        return read_meter([level], rows, {}).twice

    # ------------------------------------------------------------------------------------------------ the shops' verbs

    async def buy(self, shop: Shop, dice: random.Random) -> None:
        shop.buy(dice.choice([1, 1, 2, 3]), self.now_ms)

    async def pay(self, shop: Shop, dice: random.Random) -> None:
        for order in [order for order, purchase in shop.purchases.items() if not purchase.reduced]:
            if dice.random() < 0.7 or self.calm:
                shop.pay(order, self.now_ms)

    async def cancel(self, shop: Shop, dice: random.Random) -> None:
        if shop.purchases:
            shop.cancel(dice.choice(sorted(shop.purchases)), self.now_ms)

    async def edit(self, shop: Shop, dice: random.Random) -> None:
        delta = dice.choice([-2, -1, 1, 2, 5])
        if self.schedule.humans:
            shop.edit(delta)

    async def recount(self, _shop: Shop, dice: random.Random) -> None:
        delta = dice.choice([-3, -1, 2, 5])
        if self.schedule.recounts:
            counted = max(0, self.on_hand + delta)
            self.taken_away += max(0, self.on_hand - counted)
            self.on_hand = counted
            await self._twice(lambda: self.books.recount(counted, self.schedule.safety))

    async def hold(self, _shop: Shop, dice: random.Random) -> None:
        units, self.serial = dice.randint(1, 3), self.serial + 1
        if await self.books.hold(f"h{self.serial}", units):
            self.held[f"h{self.serial}"] = units

    async def unhold(self, _shop: Shop, dice: random.Random) -> None:
        if self.held:
            hold = dice.choice(sorted(self.held))
            await self._twice(lambda: self.books.release(hold))
            del self.held[hold]

    # ------------------------------------------------------------------------------------------------ what flashd hears

    async def deliver(self, shop: Shop, dice: random.Random) -> None:
        for _ in range(dice.randint(1, 3)):
            told = shop.deliver(dice)
            if told is not None:
                versions = [told]
                await self._twice(lambda versions=versions: self.books.accept(shop, versions))  # type: ignore[misc]

    async def poll(self, shop: Shop, dice: random.Random) -> None:
        """List what changed; in a later step accept it, and only then settle."""
        if shop.name not in self.polls:
            self.polls[shop.name] = (shop.changed_since(self.cursors[shop.name]), shop.stamp(self.now_ms))
            if dice.random() < 0.7 or self.calm:
                return
        found, seen_ms = self.polls.pop(shop.name)
        if dice.random() < 0.1 and not self.calm:
            await self.books.accept(shop, found[: len(found) // 2])
            return
        await self._twice(lambda: self.books.accept(shop, found))
        self.cursors[shop.name] = seen_ms
        await self._twice(lambda: self.books.listings.settle(shop.name, seen_ms=seen_ms))

    # ---------------------------------------------------------------------------------------------------- the publisher

    async def row(self, shop: Shop) -> Listing:
        return (await self.books.listings.get(shop.name, [SKU]))[0]

    async def publish(self, shop: Shop, dice: random.Random) -> None:
        row = await self.row(shop)
        if shop.name in self.calls:
            return
        if row.state is ListingState.WRITING:  # begun by a publisher that died
            await self.end(shop, row.key, Outcome.UNKNOWN)
        elif row.state is ListingState.IN_DOUBT and shop.honours_keys:
            if dice.random() < 0.7:
                self.looks.pop(shop.name, None)  # what was read before a repeat says nothing of what it did
                applied, figure, at_ms = shop.take(row.to, row.key, row.was, self.now_ms)
                if dice.random() < 0.7:
                    await self.end(shop, row.key, Outcome.APPLIED if applied else Outcome.REFUSED, figure, at_ms)
        elif row.state is ListingState.SETTLING and self.backed:
            await self.poll(shop, dice)
        elif row.state is ListingState.IN_DOUBT or (row.figure == UNKNOWN and row.state is ListingState.IDLE):
            await self.look(shop, dice)
        else:
            free = (await self.books.level()).free
            wanted = free
            if self.backed:
                most = free + max(0, row.figure) + 2
                wanted = dice.choice([0, dice.randint(0, most), min(most, max(0, row.figure) + dice.randint(1, 4))])
            await self.write(shop, row, wanted, dice)

    async def write(self, shop: Shop, row: Listing, units: int, dice: random.Random | None = None) -> BeginCode:
        """Begin to write a figure; the request is on its way then."""
        self.serial += 1
        mode, was = (WriteMode.COMPARE, row.figure) if shop.compares else (WriteMode.ABSOLUTE, UNKNOWN)
        wanted = Begin(sku=SKU, units=units, mode=mode, key=f"k{self.serial}", was=was, backed=self.backed)
        [begun] = await self._twice(lambda: self.books.listings.begin(shop.name, [wanted]))
        if begun.code is BeginCode.BEGUN:
            fate = dice.random() if dice else 1.0
            until_ms = self.now_ms + LATE_MS
            flying = Write(
                begun.units, wanted.key, was if shop.compares else None, until_ms, fate < 0.1, 0.1 < fate < 0.25
            )
            self.calls[shop.name] = Call(flying, self.now_ms)
            if dice and dice.random() < 0.6:
                shop.land(flying, self.now_ms)
        code: BeginCode = begun.code
        return code

    async def end(self, shop: Shop, key: str, outcome: Outcome, figure: int = UNKNOWN, at_ms: int = 0) -> None:
        figure = figure if outcome is Outcome.REFUSED else UNKNOWN
        ended = Ended(sku=SKU, key=key, outcome=outcome, figure=figure, at_ms=at_ms)
        await self._twice(lambda: self.books.listings.end(shop.name, [ended]))

    async def land(self, shop: Shop, dice: random.Random) -> None:
        flying = [*self.strays.get(shop.name, [])] + ([self.calls[shop.name].write] if shop.name in self.calls else [])
        if flying:
            shop.land(dice.choice(flying), self.now_ms)

    async def answer(self, shop: Shop, dice: random.Random) -> None:
        call = self.calls.get(shop.name)
        if call is None:
            return
        write = call.write
        if write.answer is not None and not write.deaf:
            applied, figure, at_ms = write.answer
            await self.end(shop, write.key, Outcome.APPLIED if applied else Outcome.REFUSED, figure, at_ms)
        elif write.lost and dice.random() < 0.3:  # it could not even connect: surely not applied
            await self.end(shop, write.key, Outcome.REFUSED)
        elif self.now_ms < call.began_ms + PATIENCE_MS:
            return
        else:
            await self.end(shop, write.key, Outcome.UNKNOWN)
            self.strays.setdefault(shop.name, []).append(write)
        del self.calls[shop.name]

    def _may_land(self, shop: Shop) -> bool:
        return any(write.until_ms > self.now_ms and not write.landed for write in self.strays.get(shop.name, []))

    async def look(self, shop: Shop, _dice: random.Random) -> None:
        """Read what the platform shows, and observe it, a step at a time."""
        look = self.looks.get(shop.name)
        if look is None:
            row = await self.row(shop)
            if not (row.state is ListingState.IN_DOUBT and self._may_land(shop)):
                self.looks[shop.name] = Look(row)
        elif look.read is None:
            look.read = shop.read(self.now_ms)
        else:
            figure, at_ms = look.read
            await self._twice(lambda: self.books.listings.observe(shop.name, look.known, figure, at_ms=at_ms))
            del self.looks[shop.name]

    async def crash(self, _shop: Shop, _dice: random.Random) -> None:
        """Whatever was in the process is gone; what it sent is still on its way."""
        for name, call in self.calls.items():
            self.strays.setdefault(name, []).append(call.write)
        self.calls, self.looks, self.polls = {}, {}, {}

    # -------------------------------------------------------------------------------------------------- the quiet after

    async def finish(self) -> None:
        """Let faults stop: all is told and settled, and all the demand is at one shop; a rebalancer brings it there."""
        self.calm = True
        dice = self.schedule.steps[0].dice
        hot = self.shops[self.schedule.seed % 3]
        await self.crash(hot, dice)
        self.now_ms += 2 * LATE_MS
        for _ in range(ROUNDS):
            for shop in self.shops:
                await self._quiet_round(shop, dice, hot)
            sold_some = False
            while hot.buy(1, self.now_ms):
                sold_some = True
            level, rows = await self.books.level(), [await self.row(shop) for shop in self.shops]
            if not sold_some and level.free == 0 and all(r.exposed == 0 and r.state == "idle" for r in rows):
                return

    async def _quiet_round(self, shop: Shop, dice: random.Random, hot: Shop) -> None:
        row = await self.row(shop)
        if row.state is ListingState.WRITING:
            await self.end(shop, row.key, Outcome.UNKNOWN)
        await self.pay(shop, dice)
        if row.state is not ListingState.SETTLING:
            for _phase in range(3):
                await self.look(shop, dice)
        self.now_ms += 2 * shop.grain_ms
        for _phase in range(2):
            await self.poll(shop, dice)
        row, free = await self.row(shop), (await self.books.level()).free
        wanted = row.figure + free if shop is hot and self.backed else free if shop is hot else 0
        if not shop.compares and row.figure > 0 and wanted > 0:
            return  # the cheap way: what it shows is sold first
        await self.write(shop, row, wanted)
        if (call := self.calls.get(shop.name)) is not None:
            shop.land(call.write, self.now_ms)
            await self.answer(shop, dice)

"""
A fixed piece of trade for the tests that cut and kill: what is asked of intake, and what must be true at the end.

Holds, orders alone and several at once, one told twice, one called off before it came, a body that nobody understands,
edits that meet their order on its way, an edit and a cancellation of what the backend has already. The backend is the
hardest kind: it heeds no key, so what is sent twice is there twice; and it takes batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from flashd.actors.backend import BackendActor
from flashd.actors.backend_rules import BackendRules
from flashd.actors.convoy import Convoy
from flashd.actors.intake import ChannelIntake, IntakeRules
from flashd.actors.reaper import Reaper
from flashd.config import SecretText, StoreConfig
from flashd.domain.delivery import BackendTraits, Delivery, Outcome
from flashd.domain.order import Effect, Incoming, Kind, Line, Order, OrderRef, OrderState
from flashd.domain.rate import Rate
from flashd.domain.reservation import HoldRequest
from flashd.domain.stock import StockLevel
from flashd.errors import Busy, Transient
from flashd.runtime.actor import Actor
from flashd.runtime.clock import SystemClock
from flashd.store.audit import audit
from flashd.store.connection import connect
from flashd.store.gate import RedisBackendGate
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from tests import intakes
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.backend import BatchingFake
from tests.fakes.doors import DoorChannel, sign

HAD, SKU = 100, "tee"
EDITED = "6"
ODD = b"no order"
PROOF = {name.lower(): value for name, value in sign(ODD).items()}
BATCH = 4
TRAITS = BackendTraits(idempotent=False, lookup=True, kinds=frozenset(Kind), batch=BATCH)
CONTENT = {"1": 2, "2": 1, "3": 0, "5": 2, "6": 3, "7": 1, "8": 1}  # what the backend must hold of each order, in units

Step = tuple[str, Callable[["House"], Awaitable[object]]]
Do = Callable[[str, Callable[["House"], Awaitable[object]]], Awaitable[None]]
Booking = dict[str, Any]


class Hasty(BackendRules):
    """A dead process' orders are somebody else's soon."""

    @property
    def lease_ms(self) -> int:
        return 1500


RULES = Hasty(
    rate=Rate.parse("200/s"), settle_s=0.1, timeout_s=0.8, lease_s=2.4, poll_s=0.05, max_in_flight=4, batch=BATCH
)


@dataclass
class BookedBackend(BatchingFake):
    """Keeps what it booked in the order in which it did, and tells *write* of each before it answers."""

    traits: BackendTraits = TRAITS
    takes_s: float = 0.02
    books: list[Booking] = field(default_factory=list)
    write: Callable[[Booking], None] = lambda _: None
    edited: asyncio.Event = field(default_factory=asyncio.Event)  # the order that is edited on its way

    async def deliver(self, delivery: Delivery) -> Outcome:
        return (await self.book([delivery]))[0]

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        return await self.book(deliveries)

    async def book(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Take a while, and book."""
        await self.work(deliveries)
        return [self.record(delivery) for delivery in deliveries]

    async def work(self, deliveries: Sequence[Delivery]) -> None:
        """Take a while, with that one order long enough to be edited."""
        await asyncio.sleep(self.takes_s)
        if OrderRef("shop", EDITED) in {delivery.ref for delivery in deliveries}:
            await asyncio.wait([asyncio.ensure_future(self.edited.wait())], timeout=RULES.timeout_s / 2)

    @staticmethod
    def booking(delivery: Delivery) -> Booking:
        units = 0 if delivery.ref.kind is Kind.CANCEL else sum(line.quantity for line in delivery.order.lines)
        return {"key": delivery.key, "order": delivery.ref.id, "kind": str(delivery.ref.kind), "units": units}

    def record(self, delivery: Delivery) -> Outcome:
        booking = self.booking(delivery)
        self.write(booking)
        self.books.append(booking)
        return super().record(delivery)

    def known(self, books: Sequence[Booking]) -> None:
        """Go on with what was booked in another life of the daemon."""
        self.books += books
        self.recorded += [booking["key"] for booking in books]


class House:
    """What one process of the daemon is made of, as far as intake and outflow go."""

    def __init__(self, url: str, pool: str, backend: BookedBackend, *, timeout_s: float = 0.5) -> None:
        clock = SystemClock()
        self.client = connect(StoreConfig(url=url, timeout_s=timeout_s, connections=4), lambda _: SecretText(""))
        self.ledger = RedisLedger(self.client, pool, kinds={pool: backend.traits.kinds})
        self.flow = BackendActor(
            backend,
            RULES,
            [RedisOutbox(self.client, pool, pool)],
            RedisBackendGate(self.client, pool, clock),
            clock=clock,
            announcer=FakeAnnouncer(),
            owner=f"{pool} {random.random()}",
            apply_next=lambda _: self.ledger.apply_next(),
        )
        rules = IntakeRules(route=lambda _: pool)
        self.intake = ChannelIntake(DoorChannel("shop"), Convoy(self.ledger), rules, clock=clock)
        reaper = Reaper(self.ledger, clock=clock, trim=_nothing_to_trim)
        self._actors: list[Actor[Any]] = [self.intake, self.flow, reaper]
        self._lives = [asyncio.create_task(self._keep(actor)) for actor in self._actors]

    @staticmethod
    async def _keep(actor: Actor[Any]) -> None:
        """Run it again after a crash, as the supervisor does."""
        while True:
            with contextlib.suppress(Exception):
                await actor.start()

    def die(self) -> None:
        """End as SIGKILL ends it: nothing is settled, nobody resigns."""
        for actor in self._actors:
            actor.on_stop = _nothing  # type: ignore[method-assign]
        for life in self._lives:
            life.cancel()

    async def buried(self) -> None:
        await asyncio.gather(*self._lives, return_exceptions=True)
        await self.client.aclose()


async def _nothing() -> None:
    return


async def _nothing_to_trim() -> int:
    return 0


def order(name: str, units: int, *, version: int = 1, effect: Effect = Effect.DELIVER, hold_id: str = "") -> Incoming:
    what = Order(
        channel="shop", id=name, placed_ms=1, currency="EUR", lines=(Line(SKU, units, 100),), total=100 * units
    )
    return Incoming(order=what, version=version, effect=effect, hold_id=hold_id)


def hold(name: str) -> HoldRequest:
    return HoldRequest(id=name, lines=(Line(SKU, 2),), ttl_ms=60_000, digest=name, channel="shop")


async def trade(do: Do, client: Redis, pool: str, backend: BookedBackend) -> None:
    """
    Live through it, and return when nothing is left to do.

    Args:
        do: Asks whoever lives in the house, again and again, until it is answered; each step has a name.
        client: To look on, past the house.
    """

    def admit(what: Incoming) -> Callable[[House], Awaitable[object]]:
        return lambda house: intakes.admit(house.intake, what)

    async def many(*steps: Step) -> None:
        await asyncio.gather(*(do(name, ask) for name, ask in steps))

    await many(*((name, lambda house, name=name: intakes.hold(house.intake, hold(name))) for name in ("h1", "h2")))
    await do("h1 extended", lambda house: house.ledger.extend("h1", 90_000, max_total_ms=90_000))
    await do("not understood", lambda house: intakes.webhook(house.intake, PROOF, ODD))
    twice = admit(order("3", 1))
    await many(("1", admit(order("1", 2, hold_id="h1"))), ("2", admit(order("2", 3))), ("3", twice), ("3 again", twice))
    await do("4 called off", admit(order("4", 5, version=2, effect=Effect.CANCEL)))
    await do("4", admit(order("4", 5)))
    await do("h2 released", lambda house: house.ledger.release("h2", "enough"))
    await many(*((name, admit(order(name, 1))) for name in ("5", "6", "7", "8")))
    await do("5 edited", admit(order("5", 2, version=2)))
    await gone(client, pool, EDITED)
    await do("6 edited on its way", admit(order(EDITED, 3, version=2)))
    backend.edited.set()
    await shown(client, pool, "2", "3")
    await many(
        ("2 edited", admit(order("2", 1, version=2))),
        ("3 cancelled", admit(order("3", 1, version=2, effect=Effect.CANCEL))),
    )
    await idle(client, pool)


async def shown(client: Redis, pool: str, *names: str) -> None:
    """Wait until these orders are delivered."""
    while True:
        if set(await states(client, pool, names)) == {OrderState.DELIVERED}:
            return
        await asyncio.sleep(0.02)


async def gone(client: Redis, pool: str, name: str) -> None:
    """Wait until this order is no longer queued."""
    while True:
        if not {None, OrderState.QUEUED} & set(await states(client, pool, [name])):
            return
        await asyncio.sleep(0.002)


async def states(client: Redis, pool: str, names: Iterable[str]) -> list[OrderState | None]:
    book = RedisOrderBook(client, pool)
    records = [await book.get(OrderRef("shop", name)) for name in names]
    return [record.state if record else None for record in records]


async def idle(client: Redis, pool: str) -> None:
    """Wait until no version waits and nothing is queued or on its way."""
    keys = [f"fd:{{{pool}}}:{name}" for name in ("pending", f"q:{pool}", f"fl:{pool}", "wait")]
    while True:
        async with client.pipeline(transaction=True) as pipe:  # at one instant, or what moves is seen nowhere
            for key in keys:
                pipe.zcard(key)
            if not sum(await pipe.execute()):
                return
        await asyncio.sleep(0.02)


async def patiently(
    house: Callable[[], House], ask: Callable[[House], Awaitable[object]], *, within_s: float = 0.6
) -> None:
    """Ask whoever lives there, again and again, as a platform does."""
    while True:
        try:
            async with asyncio.timeout(within_s):
                await ask(house())
        except (Transient, Busy, TimeoutError, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            await asyncio.sleep(0.02)
        else:
            return


async def stock(client: Redis, pool: str) -> None:
    await RedisLedger(client, pool).recount(StockLevel(sku=SKU, on_hand=HAD))


async def breaches(client: Redis, pool: str, books: Sequence[Booking]) -> list[str]:
    """Return what was promised and is not so, once the trade is over."""
    found = [
        f"{booking['kind']} of {booking['order']}: {times} times in the backend"
        for key, times in Counter(booking["key"] for booking in books).items()
        if times > 1
        for booking in [next(one for one in books if one["key"] == key)]
    ]
    held: dict[str, int] = {}
    created: Counter[str] = Counter()
    for booking in books:
        created[booking["order"]] += booking["kind"] == Kind.CREATE
        held[booking["order"]] = booking["units"]
    found += [f"order {name} was created {count} times" for name, count in created.items() if count != 1]
    if held != CONTENT:
        found.append(f"the backend holds {held}, not {CONTENT}")
    [level] = await RedisLedger(client, pool).levels([SKU])
    if (level.on_hand, level.held, level.sold) != (HAD, 0, sum(CONTENT.values())):
        found.append(f"stock: {level}")
    book = RedisOrderBook(client, pool)
    ends = {**dict.fromkeys(CONTENT, OrderState.DELIVERED), "4": OrderState.CANCELLED}
    for name, wanted, state in zip(ends, ends.values(), await states(client, pool, ends), strict=True):
        if state is not wanted:
            found.append(f"order {name} is {state or 'lost'}, not {wanted}")
    book = RedisOrderBook(client, pool)
    if len(kept := await book.quarantined()) != 1:
        found.append(f"{len(kept)} bodies are kept that were not understood, not 1")
    report = await audit(client, pool)
    return found + [f"audit: {difference}" for difference in report.differences]

"""Several model shops on one pool, each with its publisher and poller, on a clock that the test turns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from flashd.actors.channel_line import ChannelLine
from flashd.actors.channel_rules import Display, PollerRules, PoolBooks, PublisherRules
from flashd.actors.poller import Poller
from flashd.actors.publisher import Publisher
from flashd.domain.listing import Listing, WriteMode
from flashd.domain.order import Accepted, Incoming
from flashd.domain.publication import PublishMode
from flashd.domain.rate import Rate
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import StoreUnavailable
from flashd.ports import ApiTraits, Subscription
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.channel_api import FakeChannelApi, entry
from tests.fakes.channel_book import FakeChannelBook
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.ledger import FakeLedger
from tests.fakes.listings import FakeListings
from tests.fakes.pool import FakePool
from tests.fakes.sales import FakeSales


@dataclass
class Shop:
    """One channel: the platform, and flashd's actors beside it."""

    world: World
    api: FakeChannelApi
    gate: FakeGate
    display: Display
    hook_s: float = 0.3  # how long a webhook takes; below zero: they are dead
    line: ChannelLine = field(init=False)
    publisher: Publisher = field(init=False)
    poller: Poller | None = None
    webhooks: list[asyncio.Task[None]] = field(default_factory=list)
    found: list[Accepted] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.display.channel

    def told(self, incoming: Incoming) -> None:
        if self.hook_s >= 0:
            self.webhooks.append(asyncio.get_running_loop().create_task(self._tell(incoming)))

    async def _tell(self, incoming: Incoming) -> None:
        await self.world.clock.sleep(self.hook_s)
        await self.admit([incoming])

    async def admit(self, orders: Sequence[Incoming]) -> Sequence[Accepted]:
        """Do what the intake does."""
        if self.world.intake_down:
            raise StoreUnavailable("intake")
        accepted = await self.world.ledger.accept(orders, [""] * len(orders), since_ms=0)
        self.found += accepted
        return accepted

    def row(self, sku: str = "tee") -> Listing:
        return self.world.pool.listings.get((self.name, sku)) or Listing(sku=sku)

    def shows(self, sku: str = "tee") -> int:
        return self.api.stock[sku]


class World:
    """One pool with its store in memory, and any number of shops."""

    def __init__(self, **stock: int) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        self.ledger = FakeLedger(self.pool)
        self.listings = FakeListings(self.pool)
        self.sales = FakeSales(now_ms=self.clock.now_ms)
        self.book = FakeChannelBook()
        self.announcer = FakeAnnouncer()
        self.shops: dict[str, Shop] = {}
        self.actors: list[Any] = []
        self.intake_down = False
        self._terms: dict[str, SellingTerms] = {}
        for sku, units in stock.items():
            self.stock(sku, units)

    def stock(self, sku: str, units: int, location: str = "main") -> None:
        """Set a count, as a recount does."""
        level = self.pool.levels.get((sku, location)) or StockLevel(sku=sku, location=location)
        self.pool.levels[sku, location] = replace(level, on_hand=units)
        self.pool.dirty.setdefault(sku, self.clock.now_ms())

    def level(self, sku: str = "tee", location: str = "main") -> StockLevel:
        return self.pool.levels[sku, location]

    def shop(
        self,
        name: str = "a",
        mode: PublishMode = "mirror",
        write: WriteMode = WriteMode.COMPARE,
        *,
        shows: int = 0,
        skus: Sequence[str] = (),
        rate: str = "20/s",
        hook_s: float = 0.3,
        traits: dict[str, Any] | None = None,
        **terms: Any,
    ) -> Shop:
        """Open a shop that shows *shows* of each SKU; its actors start with `run`."""
        skus = list(skus or sorted({sku for sku, _ in self.pool.levels} | set(self.pool.kits)))
        known: dict[str, Any] = {"mode": write, "batch": 10, "idempotent": write is WriteMode.COMPARE}
        kind = ApiTraits(**known | (traits or {}))
        api = FakeChannelApi(self.clock, name, kind, dict.fromkeys(skus, shows))
        gate = FakeGate(self.clock, backend=name)
        selling = SellingTerms(mode=mode, **terms)
        shop = Shop(self, api, gate, Display(channel=name, write=write, terms=selling), hook_s)
        api.on_order = shop.told
        api.hooks = [Subscription(topic="orders", address="https://flashd.example/hooks/a", alive=True)]
        self.shops[name] = shop
        self._terms[name] = selling
        self.ledger.terms = dict(self._terms)
        self.pool.entries[name] = {sku: entry(sku) for sku in skus}
        shop.line = ChannelLine(
            name,
            "main",
            gate,
            clock=self.clock,
            announcer=self.announcer,
            rate=lambda: Rate.parse(rate),
            owner="test",
        )
        return shop

    def man(
        self,
        shop: Shop,
        *,
        poll_s: float = 30.0,
        grace_ms: int = 20_000,
        owner_line: ChannelLine | None = None,
        **rules: Any,
    ) -> None:
        """Put actors beside a shop."""
        line = owner_line or shop.line
        table = tuple(one.display for one in self.shops.values() if one.display.mode != "none")
        rules["poll_s"] = rules.pop("poll_s_of_looks", 0.2)
        known = PublisherRules(**{"display": shop.display, "table": table, "polled": poll_s > 0, **rules})
        books = PoolBooks(listings=self.listings, ledger=self.ledger, sales=self.sales, book=self.book)
        asked: list[Callable[[int], None]] = []

        def ask_poll(seen_ms: int) -> None:
            for ask in asked:
                ask(seen_ms)

        shop.publisher = Publisher(shop.api, known, books, line, clock=self.clock, ask_poll=ask_poll)
        self.actors += [line, shop.publisher]
        if poll_s:
            shop.poller = Poller(
                shop.api,
                PollerRules(poll_s=poll_s, grace_ms=grace_ms),
                shop,  # type: ignore[arg-type]  # the part of an intake that a poller calls
                books,
                line,
                clock=self.clock,
                seen=shop.publisher.seen,
            )
            asked.append(shop.poller.want)
            self.actors.append(shop.poller)

    async def run(self, seconds: float, **rules: Any) -> None:
        """Start the actors of all shops that have none, and let time go by."""
        for shop in self.shops.values():
            if not hasattr(shop, "publisher"):
                self.man(shop, **rules)
        for actor in self.actors:
            actor.start()
        await self.clock.advance(seconds)

    async def sell(self, seconds: float, per_s: dict[str, float], *, sku: str = "tee", seed: int = 1) -> dict[str, int]:
        """Let buyers come to the shops; return how many units each sold."""
        chance, sold = random.Random(seed), dict.fromkeys(per_s, 0)
        for _ in range(round(seconds * 10)):
            for name, rate in per_s.items():
                if chance.random() < rate / 10 and self.shops[name].api.sell(sku):
                    sold[name] += 1
            await self.clock.advance(0.1)
        return sold

    async def stop(self) -> None:
        for actor in reversed(self.actors):
            stopping = asyncio.create_task(actor.stop(3.0))
            for _ in range(100):
                if stopping.done():
                    break
                await self.clock.advance(0.1)
            await stopping
            assert actor._task is None or actor._task.exception() is None, f"{actor.name} crashed"
        for shop in self.shops.values():
            for task in shop.webhooks:
                task.cancel()

    def oversold(self, sku: str = "tee") -> int:
        """Return how many units could not be taken for orders that were paid."""
        return sum(
            item.quantity - item.taken
            for record in self.pool.records.values()
            for item in record.items
            if item.sku == sku
        )

    def lawful(self, sku: str = "tee") -> bool:
        """Say whether the law of escrow holds now."""
        level = self.level(sku)
        return level.exposed + level.held + level.sold <= level.on_hand - level.safety


Make = Callable[..., World]

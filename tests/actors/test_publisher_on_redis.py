"""Publisher and poller over the real scripts: two escrow shops of both kinds, one without webhooks, and a mirror."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from flashd.actors.channel_line import ChannelLine
from flashd.actors.channel_rules import Display, PollerRules, PoolBooks, PublisherRules
from flashd.actors.poller import Poller
from flashd.actors.publisher import Publisher
from flashd.channels import standard_webhooks
from flashd.config import PublishConfig, Secret, SecretText
from flashd.domain.listing import ListingState, WriteMode
from flashd.domain.order import Accepted, Incoming
from flashd.domain.publication import PublishMode
from flashd.domain.rate import Rate
from flashd.domain.revision import Revisions
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.ports import ApiTraits, ChannelApi, PollMark
from flashd.runtime.clock import SystemClock
from flashd.store.channel_book import RedisChannelBook
from flashd.store.gate import RedisBackendGate
from flashd.store.keys import channel_key
from flashd.store.ledger import RedisLedger
from flashd.store.listings import RedisListings
from flashd.store.sales import RedisSales
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.channel_api import FakeChannelApi, Fault, entry
from tests.shops.own_shop import SECRET, TOKEN, OwnShop

KINDS: dict[str, tuple[PublishMode, WriteMode]] = {
    "a": ("escrow", WriteMode.COMPARE),
    "b": ("escrow", WriteMode.ABSOLUTE),
    "c": ("mirror", WriteMode.COMPARE),
}
STOCK = 40


class Floor:
    """Three shops on one pool in Redis."""

    def __init__(self, client: Redis) -> None:
        self.clock = SystemClock()
        self.terms = {name: SellingTerms(mode=mode) for name, (mode, _) in KINDS.items()}
        self.ledger = RedisLedger(client, "main", terms=self.terms)
        self.listings = RedisListings(client, "main", terms=self.terms)
        self.book = RedisChannelBook(client, "main")
        self.books = PoolBooks(
            listings=self.listings, ledger=self.ledger, sales=RedisSales(client, "main"), book=self.book
        )
        self.table = tuple(
            Display(channel=name, write=write, terms=self.terms[name]) for name, (mode, write) in KINDS.items()
        )
        self.apis: dict[str, FakeChannelApi] = {}
        self.publishers: dict[str, Publisher] = {}
        self.actors: list[Any] = []
        self.hooks: list[asyncio.Task[Any]] = []
        self.client = client

    async def admit(self, orders: Sequence[Incoming]) -> Sequence[Accepted]:
        return await self.ledger.accept(orders, ["erp"] * len(orders), since_ms=0)

    def traits(self, name: str) -> ApiTraits:
        _, write = KINDS[name]
        return ApiTraits(mode=write, batch=5, idempotent=write is WriteMode.COMPARE, lag_ms=0)

    def open(
        self,
        name: str,
        *,
        api: ChannelApi | None = None,
        books: PoolBooks | None = None,
        lease_s: float = 6.0,
        doubt_s: float = 0.5,
    ) -> ChannelLine:
        """Put the actors of a process beside a shop; return their line."""
        api = api or FakeChannelApi(self.clock, name, self.traits(name), {"tee": 0})
        if isinstance(api, FakeChannelApi):
            self.apis[name] = api
            if name != "b":  # the other's webhooks are dead
                api.on_order = lambda incoming: self.hooks.append(asyncio.ensure_future(self.admit([incoming])))
        gate = RedisBackendGate(self.client, name, self.clock, key=channel_key)
        line = ChannelLine(
            name,
            "main",
            gate,
            clock=self.clock,
            announcer=FakeAnnouncer(),
            rate=lambda: Rate.parse("100/s"),
            owner="test",
            lease_s=lease_s,
        )
        rules = PublisherRules(display=self.table["abc".index(name)], table=self.table, doubt_s=doubt_s, poll_s=0.02)
        polls: list[Poller] = []

        def ask_poll(seen_ms: int) -> None:
            for poller in polls:
                poller.want(seen_ms)

        publisher = Publisher(api, rules, books or self.books, line, clock=self.clock, ask_poll=ask_poll)
        intake: Any = self
        poller = Poller(
            api,
            PollerRules(poll_s=0.5, overlap_ms=2000),
            intake,
            books or self.books,
            line,
            clock=self.clock,
            seen=publisher.seen,
        )
        polls.append(poller)
        self.publishers[name] = publisher
        self.actors += [line, publisher, poller]
        return line

    async def until(self, holds: Any, what: str, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not await holds():
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.02)

    async def level(self) -> StockLevel:
        [level] = await self.ledger.levels(["tee"])
        return level

    async def close(self) -> None:
        for actor in reversed(self.actors):
            await actor.stop(2.0)
        await asyncio.gather(*self.hooks)


async def test_escrow_sells_all_and_nothing_twice_over_the_real_scripts(client: Redis) -> None:
    floor = Floor(client)
    await floor.ledger.recount(StockLevel(sku="tee", on_hand=STOCK))
    for name in KINDS:
        floor.open(name)
        await floor.listings.place(name, [entry("tee")], by="test")
    try:
        for actor in floor.actors:
            actor.start()
        shops = [floor.apis[name] for name in "ab"]

        async def shown() -> bool:
            return all(api.stock["tee"] > 0 for api in floor.apis.values())

        await floor.until(shown, "all three show something")
        floor.apis["a"].faults.extend([Fault.LOST, Fault.VANISHED])
        floor.apis["b"].faults.append(Fault.LOST)
        chance, sold = random.Random(3), 0

        async def sold_out() -> bool:
            nonlocal sold
            sold += chance.choice(shops).sell("tee") is not None
            level = await floor.level()
            assert level.exposed + level.held + level.sold <= level.on_hand
            return sold == STOCK

        await floor.until(sold_out, "all units are sold", 40.0)

        async def settled() -> bool:
            level = await floor.level()
            return (level.sold, level.exposed, floor.apis["c"].stock["tee"]) == (STOCK, 0, 0)

        await floor.until(settled, "every order is known, and the mirror shows none")
        assert floor.publishers["a"].snapshot().lag.count > 0
    finally:
        await floor.close()
    assert (await floor.book.mark("b")).seen_ms > 0


async def test_a_shop_that_only_takes_figures_is_told_and_a_lost_answer_is_asked_for_by_the_same_message(
    client: Redis,
) -> None:
    floor = Floor(client)
    await floor.ledger.recount(StockLevel(sku="tee", on_hand=9))
    await floor.listings.place("c", [entry("tee")], by="test")
    async with OwnShop() as shop:
        shop.figures, shop.lose_replies = {"tee": 0}, 3
        section = standard_webhooks.Config(
            kind="standard_webhooks",
            secrets=(Secret(file="hook"),),
            api_token=Secret(file="token"),
            publish_url=shop.url + "/stock",
            publish=PublishConfig(mode="mirror", rate="100/s"),
        )
        texts = {"hook": SECRET, "token": TOKEN}
        api = standard_webhooks.connect_api("c", section, lambda secret: SecretText(texts[str(secret.file)]))
        assert api is not None
        floor.open("c", api=api)
        floor.actors.pop()  # nobody polls what lists no orders
        try:
            for actor in floor.actors:
                actor.start()

            async def known() -> bool:
                [row] = await floor.listings.get("c", ["tee"])
                return (row.figure, row.state) == (9, ListingState.SETTLING)

            await floor.until(known, "flashd knows that it was told")
            assert (shop.figures["tee"], len(shop.messages), len(shop.asked)) == (9, 1, 4)
            await floor.ledger.recount(StockLevel(sku="tee", on_hand=4))

            async def shows_four() -> bool:
                return shop.figures["tee"] == 4

            await floor.until(shows_four, "the next figure is told")
            assert (len(shop.messages), set(shop.asked)) == (2, {"/stock"})
        finally:
            await floor.close()
            await api.close()


async def test_a_channels_book_keeps_marks_and_revisions(client: Redis) -> None:
    book = RedisChannelBook(client, "main")
    assert await book.mark("a") == PollMark()
    await book.advance("a", PollMark(seen_ms=7, polled_ms=8))
    await book.advance("a", PollMark(seen_ms=5, polled_ms=9))
    assert await book.mark("a") == PollMark(seen_ms=7, polled_ms=8)
    used = Revisions().spent(1_790_000_000_000)
    await book.revise("a", {"tee": used})
    assert await book.revisions("a", ["tee", "cap"]) == {"tee": used, "cap": Revisions()}
    assert await book.revisions("b", ["tee"]) == {"tee": Revisions()}
    assert await book.revisions("b", []) == {}

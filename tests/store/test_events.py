from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import msgspec
from redis.asyncio import Redis

from flashd.domain.catalogue import Component, Entry, Kit
from flashd.domain.count import Count, CountKind
from flashd.domain.event import Event, message_of
from flashd.domain.event_schema import KINDS, json_schema
from flashd.domain.listing import Begin, Ended, Outcome, WriteMode
from flashd.domain.order import Line, OrderRef
from flashd.domain.privacy import Person
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.store.client import Client
from flashd.store.feed import RedisFeed
from flashd.store.journal import RedisJournal
from flashd.store.ledger import RedisLedger
from flashd.store.listings import RedisListings
from flashd.store.privacy import RedisEraser
from flashd.store.sales import RedisSales
from tests.conformance.ledgers import make_incoming
from tests.store.traffic import SKUS, Traffic

# Announced by actors and by the quarantine; their own tests see them.
BY_OTHERS = ("alert.", "backend.", "channel.", "sale.price_")


async def test_what_the_scripts_say_keeps_to_the_schema_and_nothing_is_left_unsaid(client: Client) -> None:
    traffic = Traffic(client, seed=21)
    await traffic.stock(60)
    await traffic.run(500)
    await traffic.ledger.recount(StockLevel(sku="A", on_hand=0, safety=2, seq=10**12))
    await RedisJournal(client, "main").purge(0)
    seconds, _ = await client.time()
    wishes = [Count(sku=sku, quantity=9, kind=CountKind.PHYSICAL, as_of_ms=int(seconds + 1) * 1000) for sku in SKUS]
    await traffic.stockroom.count(wishes, by="ann")
    await sell_out_of_window(RedisSales(client, "main"))
    await show_and_take_back(traffic.ledger, RedisListings(client, "main"))
    await traffic.ledger.accept([make_incoming("forgotten")], ["erp"], since_ms=0)
    await traffic.ledger.cancel(OrderRef("shop", "forgotten"), by="ann", reason="regret")
    await RedisEraser(client, "main").forget(Person(channel="shop", orders=("forgotten",)), by="ann")
    events = await everything(client)
    validator = jsonschema.Draft202012Validator(json_schema())
    for event in events:
        fact = KINDS[event.kind]
        assert set(fact.always) <= event.data.keys() <= {*fact.always, *fact.maybe}, event
        validator.validate(msgspec.json.decode(message_of(event)))
    unsaid = KINDS.keys() - {event.kind for event in events}
    rare = {"hold.extended", "order.ignored"}
    assert {kind for kind in unsaid if not kind.startswith(BY_OTHERS)} <= rare


async def test_a_step_lists_all_levels_that_it_changed_a_hundred_a_message_and_tells_who_sold_out_alone(
    client: Client,
) -> None:
    ledger, feed = RedisLedger(client, "main"), RedisFeed(client, client, "main")
    skus = [f"sku-{number:03}" for number in range(130)]
    for sku in skus:
        await ledger.recount(StockLevel(sku=sku, on_hand=1 if sku == "sku-007" else 9))
    before = await feed.last_id()
    order = make_incoming("large", lines=tuple(Line(sku, 1) for sku in skus))
    await ledger.accept([order], ["erp"], since_ms=0)
    told = [event for event in await feed.read(before) if isinstance(event, Event) and event.kind.startswith("stock.")]
    assert [event.kind for event in told] == ["stock.sold_out", "stock.changed", "stock.changed"]
    assert told[0].data["sku"] == "sku-007"
    listed = [event.data["levels"] for event in told[1:]]
    assert [len(levels) for levels in listed] == [100, 29]
    assert sorted(level for levels in listed for level in levels) == [
        [sku, "main", 9, 0, 1, 0, 0, 0, 8] for sku in skus if sku != "sku-007"
    ]


async def test_orders_of_many_skus_in_one_call_find_each_at_its_place(client: Client) -> None:
    terms = {"shop": SellingTerms(locations=("east", "west"))}
    ledger = RedisLedger(client, "main", terms=terms)
    for sku, places in {"both": ("east", "west"), "west-only": ("west",), "east-only": ("east",)}.items():
        for place in places:
            await ledger.recount(StockLevel(sku=sku, location=place, on_hand=2))
    wanted = ["both", "west-only", "nowhere", "east-only", "both", "both"]
    orders = [make_incoming(str(number), lines=(Line(sku, 1),)) for number, sku in enumerate(wanted)]
    await ledger.accept(orders, ["erp"] * len(orders), since_ms=0)
    sold = {(level.sku, level.location): level.sold for level in await ledger.levels()}
    assert sold == {
        ("both", "east"): 2,
        ("both", "west"): 1,
        ("west-only", "west"): 1,
        ("east-only", "east"): 1,
    }


async def show_and_take_back(ledger: RedisLedger, listings: RedisListings) -> None:
    await ledger.recount(StockLevel(sku="part", on_hand=9))
    await listings.place("shop", [Entry(sku="kit", ids={"id": "1"})], by="ann")
    await listings.displace("shop", ["kit"], by="ann")
    await listings.put_kits([Kit("kit", (Component("part", 2),))], by="ann")
    for figure in (3, 1, 5):  # the first look, a sale that went by, a human's edit
        [known] = await listings.get("shop", ["kit"])
        await listings.observe("shop", known, figure, at_ms=known.written_ms + 10)
        await listings.settle("shop", seen_ms=known.written_ms + 20)
        if figure == 3:
            wanted = Begin(sku="kit", units=2, mode=WriteMode.COMPARE, key="k", was=3, backed=True)
            await listings.begin("shop", [wanted])
            await listings.end("shop", [Ended(sku="kit", key="k", outcome=Outcome.APPLIED)])


async def sell_out_of_window(sales: RedisSales) -> None:
    start = datetime(2026, 11, 27, 8, tzinfo=UTC)
    sale = Sale(name="friday", start=start, end=start + timedelta(hours=1), products=(SaleProduct(sku="A"),))
    await sales.put(sale, by="ann")
    for state in (SaleState.STOPPED, SaleState.READY, SaleState.ENDED):
        await sales.set_state("friday", state, by="ann")
    now = datetime.fromtimestamp(await sales.clock_ms() / 1000, UTC)
    past, running = (
        Sale(name=name, start=now - timedelta(hours=2), end=end, products=(SaleProduct(sku=name),))
        for name, end in (("past", now - timedelta(hours=1)), ("running", now + timedelta(hours=1)))
    )
    assert await sales.boundary(await sales.put(past, by="ann"), "over")
    assert await sales.boundary(await sales.put(running, by="ann"), "opened")


async def everything(client: Redis) -> list[Event]:
    feed = RedisFeed(client, client, "main")
    events: list[Event] = []
    while page := await feed.read(events[-1].id if events else "0"):
        events += [event for event in page if isinstance(event, Event)]
    return events

"""Forgetting a customer: what is found, what is erased, what stays, and that it is gone from the server's files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from flashd.config import SecretText, StoreConfig
from flashd.domain.delivery import ClaimCode, Result, ResultKind
from flashd.domain.order import (
    AcceptCode,
    Address,
    Customer,
    Effect,
    Incoming,
    Kind,
    Line,
    Order,
    OrderRef,
    OrderState,
)
from flashd.domain.privacy import Demand, DemandKind, Forgotten, Person, ScrubCode
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.domain.stock import StockLevel
from flashd.errors import InvariantBroken, NotFound, StoreUnavailable
from flashd.store.audit import audit
from flashd.store.connection import connect
from flashd.store.journal import RedisJournal
from flashd.store.keys import order_key
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from flashd.store.packing import unpack_order, unpack_raw
from flashd.store.privacy import RedisEraser
from flashd.store.sales import RedisSales
from flashd.store.scripts import Script
from flashd.store.stockroom import RedisStockroom
from tests.faketime import shifted
from tests.servers import KINDS, Server, find_server, missing
from tests.until import until

EMAIL, PHONE, NAME = "canaria@gelbfeder.example", "+49 170 77665544", "Canaria Vogelsang"
STREET, NOTE, ENGRAVING = "Kanarienweg 4711", "beim Nachbarn Zeisig abgeben", "Fuer meine Canaria"
WORDS = (EMAIL, PHONE, NAME, STREET, NOTE, ENGRAVING)
DAY_MS = 86_400_000
NEVER_MS = 10_000 * DAY_MS


def body_of(order_id: str, *, email: str = EMAIL, customer_id: int = 207119551) -> bytes:
    if email != EMAIL:
        customer = {"id": customer_id, "email": email, "first_name": "Otto"}
        return json.dumps({"id": int(order_id), "email": email, "customer": customer}).encode()
    customer = {"id": customer_id, "email": email, "first_name": NAME, "phone": PHONE}
    return json.dumps({"id": int(order_id), "email": email, "customer": customer, "note": NOTE}).encode()


def order_of(
    order_id: str, *, email: str = EMAIL, phone: str = PHONE, sku: str = "TEE", channel: str = "shop"
) -> Order:
    mine = email == EMAIL or phone == PHONE
    return Order(
        channel=channel,
        id=order_id,
        placed_ms=1,
        currency="EUR",
        lines=(Line(sku, 1, unit_price=500, title=ENGRAVING if mine else "a tee"),),
        total=500,
        customer=Customer(name=NAME if mine else "Otto", email=email, phone=phone),
        ship_to=Address(name=NAME if mine else "Otto", street=STREET if mine else "Allee 1", country="DE"),
        note=NOTE if mine else "",
    )


class Desk:
    """One pool, and all that is done to it."""

    def __init__(self, client: Redis) -> None:
        self.client: Any = client
        self.ledger = RedisLedger(client, "main", kinds={"erp": {Kind.CREATE, Kind.CANCEL, Kind.AMEND}})
        self.book = RedisOrderBook(client, "main")
        self.outbox = RedisOutbox(client, "main", "erp")
        self.eraser = RedisEraser(client, "main")

    async def stock(self) -> None:
        await self.ledger.recount(StockLevel(sku="TEE", on_hand=100))

    async def accept(
        self, order: Order, *, version: int = 10, effect: Effect = Effect.DELIVER, raw: bytes = b""
    ) -> Any:
        told = Incoming(
            order=order, version=version, effect=effect, raw=raw or body_of(order.id, email=order.customer.email)
        )
        [answer] = await self.ledger.accept([told], ["erp"], since_ms=0)
        return answer

    async def send(self, kind: ResultKind = ResultKind.DELIVERED) -> int:
        """Let the backend answer this to all that is due; return how many that was."""
        claims = await self.outbox.claim(await self.outbox.due(100), epoch=1, lease_ms=60_000)
        refs = [delivery.ref for code, delivery in claims if code is ClaimCode.CLAIMED and delivery]
        await self.outbox.finish([Result(ref=ref, kind=kind, backend_ref="SO1") for ref in refs], epoch=1)
        return len(refs)

    async def delivered(self, *orders: Order) -> None:
        for order in orders:
            await self.accept(order)
        assert await self.send() == len(orders)

    async def forget(self, **person: Any) -> Forgotten:
        return await self.eraser.forget(Person(**person), by="ann")

    async def words_kept(self) -> list[str]:
        """Every key that still holds a word of the person, whatever way it is packed."""
        found = []
        for key in sorted([key async for key in self.client.scan_iter(match="fd:*", count=1000)]):
            for text in await self._texts(key):
                found += [f"{key.decode()}: {word}" for word in WORDS if word.lower() in text.lower()]
        return sorted(found)

    async def _texts(self, key: bytes) -> list[str]:
        kind = await self.client.type(key)
        if kind == b"hash":
            parts = [part for pair in (await self.client.hgetall(key)).items() for part in pair]
        elif kind == b"zset":
            parts = await self.client.zrange(key, 0, -1)
        elif kind == b"stream":
            parts = [part for _, fields in await self.client.xrange(key) for pair in fields.items() for part in pair]
        elif kind == b"set":
            parts = list(await self.client.smembers(key))
        else:
            parts = [await self.client.get(key)]
        return [text for part in parts for text in _opened(part)]


def _opened(part: bytes) -> Iterator[str]:
    """Whatever a text may be packed into: as it is, compressed, or compressed within a table."""
    yield part.decode("utf-8", "replace")
    with suppress(InvariantBroken):  # it is no packed text
        yield unpack_raw(part).decode("utf-8", "replace")
    table: Any = None
    with suppress(msgspec.DecodeError, UnicodeDecodeError):  # nor a table
        table = msgspec.msgpack.decode(part)
    for each in table if isinstance(table, list) else ():
        if isinstance(each, bytes):
            yield from _opened(each)


@pytest.fixture
async def desk(client: Redis) -> AsyncIterator[Desk]:
    made = Desk(client)
    await made.stock()
    yield made
    report = await audit(client, "main")
    assert report.ok, report.differences


async def test_an_order_that_is_named_is_erased_and_stays_counted(desk: Desk) -> None:
    await desk.delivered(order_of("1"), order_of("2"))
    done = await desk.forget(channel="shop", orders=("1", "404"))
    assert done.erased == ("shop:1",)
    assert done.unknown == ("shop:404",)
    assert done.backends == ("erp",), "its copy is the backend's"
    record = await desk.book.get(OrderRef("shop", "1"))
    assert record is not None
    assert record.erased
    assert record.order is not None
    assert record.order.lines == (Line("TEE", 1, unit_price=500),)
    assert (record.order.total, record.order.ship_to) == (500, Address(country="DE"))
    assert record.order.customer == Customer()
    assert record.items[0].taken == 1
    other = await desk.book.get(OrderRef("shop", "2"))
    assert other is not None
    assert other.order == order_of("2")


@pytest.mark.parametrize(
    "named",
    [
        {"email": EMAIL.upper()},
        {"phone": "0170-7766 5544"},
        {"email": EMAIL, "channel": "shop"},
        {"everything": True, "channel": "shop"},
    ],
)
async def test_a_customer_is_found_by_what_names_them_and_nobody_else_is(desk: Desk, named: dict[str, Any]) -> None:
    everything = "everything" in named
    stranger = order_of("9", email="otto@example.org", phone="030 1234567")
    till = order_of("5", channel="till")
    await desk.delivered(order_of("1"), order_of("2"), stranger, till)
    done = await desk.forget(**named)
    mine = {"shop:1", "shop:2"} | ({"shop:9"} if everything else set()) | (set() if "channel" in named else {"till:5"})
    assert set(done.erased) == mine
    kept = await desk.book.get(OrderRef("till", "5"))
    assert kept is not None
    assert (kept.order == till) == ("channel" in named)


async def test_the_platforms_customer_id_is_found_in_bodies_that_are_kept(desk: Desk) -> None:
    await desk.accept(order_of("1"))  # not delivered: its body is there
    await desk.accept(
        order_of("2", email="otto@example.org", phone=""), raw=body_of("2", email="otto@example.org", customer_id=7)
    )
    done = await desk.forget(customer_id="gid://shopify/Customer/207119551")
    assert [one.order for one in done.spared] == ["shop:1"]


async def test_what_was_split_off_an_order_goes_with_it(desk: Desk) -> None:
    await desk.ledger.recount(StockLevel(sku="TEE", on_hand=1))
    order = order_of("1")
    two = msgspec.structs.replace(order, lines=(msgspec.structs.replace(order.lines[0], quantity=2),), total=1000)
    assert (await desk.accept(two)).state is OrderState.SHORTFALL
    await RedisStockroom(desk.client, "main").split(OrderRef("shop", "1"), by="ann")
    done = await desk.forget(channel="shop", orders=("1",))
    assert [one.order for one in done.spared] == ["shop:1", "shop:1+rest"]
    assert done.unknown == ()


async def test_an_order_that_is_not_settled_is_spared_told_and_erased_as_soon_as_it_is(desk: Desk) -> None:
    await desk.accept(order_of("1"))
    done = await desk.forget(email=EMAIL)
    assert (done.erased, [(one.order, one.state) for one in done.spared]) == ((), [("shop:1", OrderState.QUEUED)])
    record = await desk.book.get(OrderRef("shop", "1"))
    assert record is not None
    assert record.order == order_of("1"), "its backend still needs the address"
    assert await desk.send() == 1
    await desk.client.zadd("fd:{main}:forget", {"shop:1": 1})  # a minute later
    assert await desk.eraser.sweep(NEVER_MS) == 1
    assert await desk.words_kept() == []


async def test_a_dead_letter_waits_for_its_human_and_is_erased_when_it_is_discarded(desk: Desk) -> None:
    await desk.accept(order_of("1"))
    await desk.send(ResultKind.DECLINED)
    done = await desk.forget(email=EMAIL)
    assert [one.state for one in done.spared] == [OrderState.DEAD]
    await desk.ledger.cancel(OrderRef("shop", "1"), by="ann", reason=f"{NAME} does not want it")
    done = await desk.forget(email=EMAIL)
    assert done.erased == ("shop:1",)
    record = await desk.book.get(OrderRef("shop", "1"))
    assert record is not None
    assert record.reason == ""
    assert not any(NAME in what for _, what in record.timeline), "what a human wrote as a reason goes, too"


async def test_a_version_that_waits_for_an_outcome_is_looked_into(desk: Desk) -> None:
    await desk.accept(order_of("1", email="otto@example.org", phone=""))
    await desk.outbox.claim(await desk.outbox.due(1), epoch=1, lease_ms=60_000)
    assert (await desk.accept(order_of("1"), version=20)).code is AcceptCode.LATER
    done = await desk.forget(email=EMAIL)
    assert [one.order for one in done.spared] == ["shop:1"]


async def test_doing_it_twice_erases_once(desk: Desk) -> None:
    await desk.delivered(order_of("1"))
    assert (await desk.forget(channel="shop", orders=("1",))).erased == ("shop:1",)
    again = await desk.forget(channel="shop", orders=("1",))
    assert (again.erased, again.before) == ((), 1)
    kinds = [fields[b"k"] for _, fields in await desk.client.xrange("fd:{main}:j")]
    assert kinds.count(b"order.erased") == 1


async def test_whatever_reply_is_lost_it_is_done_once_and_the_log_is_due(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.delivered(order_of("1"))
    await desk.ledger.quarantine("shop", {}, body_of("3"), "no lines")
    lost: list[str] = []
    really = Script.call

    async def losing(script: Script, client: Redis, keys: Any, args: Any) -> Any:
        answer = await really(script, client, keys, args)
        name = script.header.name
        if name in {"erase", "demand", "meet_demand", "unquarantine"} and name not in lost:
            lost.append(name)
            raise StoreUnavailable("the reply was lost")
        return answer

    async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
        for _ in range(5):
            with suppress(StoreUnavailable):
                return await ask()
        raise AssertionError("it never ends")

    monkeypatch.setattr(Script, "call", losing)
    asked = Demand(kind=DemandKind.ERASE, channel="shop", person=Person(email=EMAIL, channel="shop"))
    demand_id = await patiently(lambda: desk.eraser.demand(asked, b"body"))
    assert [one.id for one in await desk.eraser.demands()] == [demand_id]
    await patiently(lambda: desk.forget(email=EMAIL))
    await patiently(lambda: desk.eraser.meet(demand_id, by="ann", outcome="done"))
    assert sorted(lost) == ["demand", "erase", "meet_demand", "unquarantine"]
    assert await desk.words_kept() == []
    kinds = [fields[b"k"].decode() for _, fields in await desk.client.xrange("fd:{main}:j")]
    for kind in ("order.erased", "channel.demanded", "channel.demand_met", "channel.unquarantined"):
        assert kinds.count(kind) == 1, kind
    done = await desk.eraser.scrub(wait_s=30)
    assert done is not None
    assert done.code is ScrubCode.CLEAN


async def test_a_dry_run_says_the_same_and_changes_nothing(desk: Desk) -> None:
    await desk.delivered(order_of("1"))
    await desk.accept(order_of("2"))
    entry = await desk.ledger.quarantine("shop", {}, body_of("3"), "no lines")
    person = Person(email=EMAIL)
    before = await desk.words_kept()
    told = await desk.eraser.forget(person, by="ann", dry_run=True)
    assert await desk.words_kept() == before
    assert (told.erased, told.quarantined) == (("shop:1",), (entry,))
    assert await desk.eraser.forget(person, by="ann") == told


async def test_quarantined_bodies_go_whole_or_torn(desk: Desk) -> None:
    torn = body_of("7")[:-9]
    mine = [await desk.ledger.quarantine("shop", {}, body, "unreadable") for body in (body_of("6"), torn)]
    other = await desk.ledger.quarantine("shop", {}, body_of("8", email="otto@example.org"), "unreadable")
    done = await desk.forget(email=EMAIL)
    assert set(done.quarantined) == set(mine)
    assert [one.id for one in await desk.book.quarantined()] == [other]


async def test_quarantined_bodies_stay_where_nobody_said_that_they_may_go(desk: Desk) -> None:
    entry = await desk.ledger.quarantine("shop", {}, body_of("6"), "unreadable")
    done = await desk.eraser.forget(Person(email=EMAIL), by="the platform", bodies=False)
    assert done.quarantined == (entry,)
    assert [one.id for one in await desk.book.quarantined()] == [entry]


async def test_a_webhook_that_comes_again_does_not_bring_the_customer_back(desk: Desk) -> None:
    await desk.delivered(order_of("1"))
    await desk.forget(email=EMAIL)
    assert (await desk.accept(order_of("1"))).code is AcceptCode.REPEAT
    assert (await desk.accept(order_of("1"), version=5)).code is AcceptCode.STALE
    # Newer, and another content: it is noted, nothing is taken, and nobody is told.
    newer = msgspec.structs.replace(order_of("1"), note="once more, please")
    assert (await desk.accept(newer, version=20)).code is AcceptCode.UPDATED
    assert await desk.send() == 0
    assert await desk.words_kept() == []


async def test_a_cancelled_order_that_was_erased_is_not_revived(desk: Desk) -> None:
    await desk.accept(order_of("1"))
    await desk.accept(order_of("1"), version=20, effect=Effect.CANCEL)
    assert (await desk.forget(email=EMAIL)).erased == ("shop:1",)
    answer = await desk.accept(order_of("1"), version=30)
    assert (answer.code, answer.state) == (AcceptCode.UPDATED, OrderState.CANCELLED)
    assert await desk.words_kept() == []
    [level] = await desk.ledger.levels(["TEE"])
    assert level.sold == 0


async def test_a_cancel_after_the_erasure_still_reaches_the_backend_and_is_erased_behind_it(desk: Desk) -> None:
    await desk.delivered(order_of("1"))
    await desk.forget(email=EMAIL)
    await desk.accept(order_of("1"), version=20, effect=Effect.CANCEL)
    follow_up = OrderRef("shop", "1", Kind.CANCEL)
    record = await desk.book.get(follow_up)
    assert record is not None
    assert record.state is OrderState.QUEUED
    assert await desk.words_kept(), "the cancel brought it along"
    assert await desk.send() == 1
    await desk.client.zadd("fd:{main}:forget", {"shop:1": 1})  # a day later
    assert await desk.eraser.sweep(NEVER_MS) == 1
    assert await desk.words_kept() == []


async def test_what_followed_a_delivery_is_erased_with_it(desk: Desk) -> None:
    await desk.delivered(order_of("1"))
    edited = msgspec.structs.replace(order_of("1"), total=600, shipping=100)
    await desk.accept(edited, version=20)
    done = await desk.forget(email=EMAIL)
    assert [(one.order, one.state) for one in done.spared] == [("shop:1", OrderState.QUEUED)], "the amend is not over"
    assert await desk.send() == 1
    assert (await desk.forget(email=EMAIL)).erased == ("shop:1",)
    assert await desk.words_kept() == []


async def test_events_in_which_a_human_wrote_the_address_are_counted(desk: Desk) -> None:
    await desk.accept(order_of("1"))
    await desk.ledger.cancel(OrderRef("shop", "1"), by="ann", reason=f"{EMAIL} called")
    done = await desk.forget(email=EMAIL)
    assert (done.erased, done.journal) == (("shop:1",), 1)
    assert await RedisJournal(desk.client, "main").trim(0) > 0
    assert (await desk.forget(email=EMAIL)).journal == 0


async def test_settled_orders_are_erased_after_their_time_and_each_once(desk: Desk) -> None:
    await desk.delivered(order_of("1"), order_of("2"))
    await desk.accept(order_of("3"))
    await desk.client.zincrby("fd:{main}:done", -2 * DAY_MS, "shop:1")
    assert await desk.eraser.sweep(3 * DAY_MS) == 0
    assert await desk.words_kept()
    assert await desk.eraser.sweep(DAY_MS) == 1
    assert await desk.eraser.sweep(DAY_MS) == 0
    kept = [await desk.book.get(OrderRef("shop", order_id)) for order_id in "123"]
    assert [one is not None and one.erased for one in kept] == [True, False, False]


async def test_what_is_purged_during_a_sweep_hides_no_order_from_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flashd.store.privacy._FAMILIES", 2)
    await desk.delivered(*[order_of(order_id) for order_id in "123456"])
    for order_id in "123456":
        await desk.client.zadd("fd:{main}:done", {f"shop:{order_id}": 1000 + int(order_id) // 4})  # three at a time
    families = desk.eraser._families

    async def purged_meanwhile(refs: Any) -> Any:
        await desk.client.zrem("fd:{main}:done", "shop:1")
        return await families(refs)

    monkeypatch.setattr(desk.eraser, "_families", purged_meanwhile)
    await desk.eraser.sweep(DAY_MS)
    kept = [await desk.book.get(OrderRef("shop", order_id)) for order_id in "123456"]
    assert [one is not None and one.erased for one in kept] == [True] * 6
    await desk.client.zadd("fd:{main}:done", {"shop:1": 1000})


async def test_a_customers_hash_leaves_the_limits_of_a_sale_that_is_over(desk: Desk) -> None:
    sales, journal = RedisSales(desk.client, "main"), RedisJournal(desk.client, "main", uses_every_s=0.0)
    start = datetime.now(UTC) - timedelta(hours=1)
    products = (SaleProduct(sku="TEE", quota=50, limit=5),)
    await sales.put(
        Sale(name="friday", start=start, end=start + timedelta(hours=9), products=products, limit=7), by="ann"
    )
    for order_id in "12":
        order = msgspec.structs.replace(order_of(order_id), placed_ms=0)  # as it comes: within the window
        told = Incoming(order=order, version=10, effect=Effect.DELIVER, customer="hash-of-ada")
        await desk.ledger.accept([told], ["erp"], since_ms=0)
    assert await desk.send() == 2

    async def counted() -> dict[str, int]:
        found = await desk.client.hgetall("fd:{main}:use")
        return {field.decode().replace("\x1f", "/"): int(units) for field, units in found.items()}

    whole = {"q/friday/TEE": 2, "c/friday/TEE/hash-of-ada": 2, "t/friday/hash-of-ada": 2}
    await desk.client.zincrby("fd:{main}:done", -2 * DAY_MS, "shop:1")
    assert await journal.purge(1) == 1
    assert await counted() == whole, "the sale goes on, and so does its limit"
    await sales.set_state("friday", SaleState.ENDED, by="ann")
    assert await journal.purge(1) == 0
    assert await counted() == whole, "an order that is there still counts"
    assert await journal.purge(0) == 1
    assert await counted() == {"q/friday/TEE": 2}


async def test_a_demand_is_kept_once_and_names_nobody_when_it_is_met(desk: Desk) -> None:
    asked = Demand(kind=DemandKind.DISCLOSE, channel="shop", person=Person(email=EMAIL, channel="shop"), reference="9")
    first = await desk.eraser.demand(asked, b"body")
    assert await desk.eraser.demand(asked, b"body") == first
    [kept] = await desk.eraser.demands()
    assert (kept.id, kept.person.email, kept.met_ms) == (first, EMAIL, 0)
    met = await desk.eraser.meet(first, by="ann", outcome="answered by letter")
    assert (met.by, met.outcome) == ("ann", "answered by letter")
    assert await desk.eraser.meet(first, by="bob", outcome="again") == met, "whoever met it first has met it"
    assert await desk.words_kept() == []
    assert await desk.eraser.demand(asked, b"body") == first
    assert (await desk.eraser.demands())[0].met_ms, "told again, it is still met"
    with pytest.raises(NotFound):
        await desk.eraser.meet("none", by="ann", outcome="")


async def test_the_same_words_long_after_they_were_met_are_a_new_demand(desk: Desk) -> None:
    asked = Demand(kind=DemandKind.ERASE_SHOP, channel="shop", person=Person(channel="shop", everything=True))
    first = await desk.eraser.demand(asked, b'{"shop_id":1,"shop_domain":"x"}')
    met = await desk.eraser.meet(first, by="clerk", outcome="done")
    earlier = msgspec.structs.replace(met, met_ms=met.met_ms - 8 * DAY_MS)
    await desk.client.hset("fd:{main}:demand", first, msgspec.json.encode(earlier))
    assert await desk.eraser.demand(asked, b'{"shop_id":1,"shop_domain":"x"}') == first
    [again] = await desk.eraser.demands()
    assert (again.met_ms, again.person.everything) == (0, True), "the merchant came back, and has left again"


# ------------------------------------------------------------------------------------------------ the server's files


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own whose files can be read: nothing in them is compressed by the server."""
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    server = Server(request.param, settings={"rdbcompression": "no", "auto-aof-rewrite-percentage": "0"}).start()
    yield server
    server.close()


def connected(server: Server) -> Redis:
    return connect(StoreConfig(url=server.url, timeout_s=30), lambda _: SecretText(""))


def files_with(folder: Path, needles: list[bytes]) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{path.name} has needle {at}" for at, needle in enumerate(needles) if needle in content]
    return found


async def test_after_the_rewrite_no_file_of_the_server_has_what_was_erased(own: Server) -> None:
    async with connected(own) as client:
        desk = Desk(client)
        await desk.stock()
        await desk.delivered(order_of("1"))
        await desk.accept(order_of("2", email="otto@example.org", phone=""))
        await desk.ledger.quarantine("shop", {}, body_of("3"), "unreadable")
        await desk.accept(order_of("4"))
        await desk.ledger.cancel(OrderRef("shop", "4"), by="ann", reason="no")
        asked = Demand(kind=DemandKind.ERASE, channel="shop", person=Person(email=EMAIL, channel="shop"))
        demand_id = await desk.eraser.demand(asked, b"body")
        needles = [EMAIL.encode()]  # of the demand, which is not packed
        for ref in ("shop:1", "shop:4"):
            packed = await desk.client.hget(order_key("main", OrderRef.parse(ref)), "o")
            assert unpack_order(packed).customer.email == EMAIL
            needles.append(packed)
        quarantined = await desk.client.hvals("fd:{main}:quarantine")
        needles.append(msgspec.msgpack.decode(quarantined[0])[3])
        kept = await desk.client.hget(order_key("main", OrderRef("shop", "2")), "o")
        assert len(files_with(own.folder, needles)) >= len(needles), "they are in the log"

        await desk.forget(email=EMAIL)
        await desk.eraser.meet(demand_id, by="ann", outcome="erased")
        assert len(files_with(own.folder, needles)) >= len(needles), "erased, and still in the log"
        assert await desk.words_kept() == []

        done = await desk.eraser.scrub(wait_s=30)
        assert done is not None
        assert done.code is ScrubCode.CLEAN
        await until(lambda: not files_with(own.folder, needles), "the old log is gone")  # the server unlinks it aside
        assert files_with(own.folder, [kept]), "nothing else went"
        assert await desk.eraser.scrub() is None, "nothing is due"
    own.kill()
    own.start()
    async with connected(own) as client:
        assert await Desk(client).words_kept() == []
        assert (await audit(client, "main")).ok


async def test_a_log_that_is_not_rewritten_keeps_it(own: Server) -> None:
    """The control of the test above."""
    async with connected(own) as client:
        desk = Desk(client)
        await desk.stock()
        await desk.delivered(order_of("1"))
        packed = await desk.client.hget(order_key("main", OrderRef("shop", "1")), "o")
        await desk.forget(email=EMAIL)
        assert files_with(own.folder, [packed])


async def test_whoever_may_not_rewrite_is_told_the_command(own: Server) -> None:
    async with connected(own) as client:
        desk = Desk(client)
        await desk.stock()
        await desk.delivered(order_of("1"))
        await desk.forget(email=EMAIL)
        await desk.client.execute_command("ACL", "SETUSER", "default", "-bgrewriteaof")
        told = await desk.eraser.scrub(wait_s=5)
        assert told is not None
        assert told.code is ScrubCode.FORBIDDEN
        assert "BGREWRITEAOF" in told.mend[0]
        await desk.client.execute_command("ACL", "SETUSER", "default", "+bgrewriteaof")
        assert await desk.eraser.scrub(wait_s=30, least_ms=DAY_MS) is None, "not so soon again by itself"
        done = await desk.eraser.scrub(wait_s=30)
        assert done is not None
        assert done.code is ScrubCode.CLEAN, "it is still due"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_time_itself_erases_and_purges(kind: str) -> None:
    """Delivered 40 days ago by the server's clock: today the customer goes, and the rest when its retention ends."""
    server = shifted(kind, "-40d")
    try:
        async with connected(server) as client:
            desk = Desk(client)
            await desk.stock()
            await desk.delivered(order_of("1"))
            assert await desk.eraser.sweep(30 * DAY_MS) == 0
            assert await desk.words_kept()
        server.kill()
        server.environ["FAKETIME"] = "+0"
        server.start()
        async with connected(server) as client:
            desk = Desk(client)
            assert await desk.eraser.sweep(60 * DAY_MS) == 0
            assert await desk.eraser.sweep(30 * DAY_MS) == 1
            assert await desk.words_kept() == []
            assert await RedisJournal(client, "main").purge(60) == 0
            assert await RedisJournal(client, "main").purge(30) == 1
            assert await desk.book.get(OrderRef("shop", "1")) is None
            assert (await audit(client, "main")).ok
    finally:
        server.close()

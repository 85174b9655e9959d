"""Telling a person: nothing missed, nothing told twice, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from flashd.actors.alerter import Alerter, AlertRules
from flashd.actors.leadership import Election
from flashd.actors.lookout import Flow, Lookout, PoolSources, Sights
from flashd.actors.teller import Teller
from flashd.domain.catalogue import Entry
from flashd.domain.event import Event, Gap
from flashd.domain.flow import BackendSnapshot, ChannelFlow, PollFlow
from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.domain.sale import Sale, SaleProduct
from flashd.domain.stock import StockLevel
from flashd.ports import Sent, SentCode, StoreHealth
from tests.fakes.alerts import FakeAlertBook, FakeJournal, FakeMessenger
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.ledger import FakeLedger
from tests.fakes.listings import FakeListings
from tests.fakes.orderbook import FakeOrderBook
from tests.fakes.pool import FakePool
from tests.fakes.sales import FakeSales

AGAIN = Sent(code=SentCode.AGAIN, reason="HTTP 500")
ORDER = {"channel": "shop", "id": "1001"}
SHORT = {"order": ORDER, "item": "create", "state": "shortfall", "backend": "erp", "version": 1}


@dataclass
class World:
    """One deployment with the pools main and other; processes come and go, the rest stays."""

    clock: FakeClock = field(default_factory=FakeClock)
    messenger: FakeMessenger | None = field(default_factory=FakeMessenger)
    health: StoreHealth = field(default_factory=lambda: StoreHealth(ok=True))
    flows: list[Flow] = field(default_factory=list)
    backends: list[BackendSnapshot] = field(default_factory=list)
    living: list[Alerter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = FakeGate(clock=self.clock, backend="alerts")
        names = ("main", "other")
        self.pools = {name: FakePool(name=name, clock=self.clock) for name in names}
        self.journals = {name: FakeJournal(pool=name) for name in names}
        self.books = {name: FakeAlertBook(pool=name) for name in names}
        self.sales = FakeSales(now_ms=self.clock.now_ms)
        self.journal, self.book, self.pool = self.journals["main"], self.books["main"], self.pools["main"]

    @property
    def taken(self) -> FakeMessenger:
        assert self.messenger is not None
        return self.messenger

    async def start(self, *, in_doubt_s: float = 300.0, **rules: Any) -> Alerter:
        sources = [
            PoolSources(
                feed=self.journals[name],
                book=self.books[name],
                orders=FakeOrderBook(pool),
                ledger=FakeLedger(pool),
                listings=FakeListings(pool),
                sales=self.sales if name == "main" else FakeSales(pool=name, now_ms=self.clock.now_ms),
            )
            for name, pool in self.pools.items()
        ]
        sights = Sights(flows=lambda: self.flows, backends=lambda: self.backends)
        alerter = Alerter(
            sources,
            Lookout(sights, clock=self.clock, in_doubt_ms=lambda: round(in_doubt_s * 1000)),
            Teller(self.messenger, clock=self.clock),
            AlertRules(**rules),
            Election(gate=self.gate, owner=f"host:{len(self.living)}"),
            clock=self.clock,
            health=lambda: self.health,
        )
        alerter.start()
        self.living.append(alerter)
        await self.clock.advance(2)
        return alerter

    def stand(self, state: OrderState, order_id: str = "1001", **more: Any) -> OrderRef:
        ref = OrderRef("shop", order_id)
        now_ms = self.clock.now_ms()
        self.pool.records[ref] = OrderRecord(
            ref=ref, state=state, version=1, digest="d", backend="erp", changed_ms=now_ms, **more
        )
        self.pool.due_ms[ref] = now_ms
        return ref


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for alerter in made.living:
        task = asyncio.ensure_future(alerter.stop())
        await made.clock.advance(3)
        await task


async def test_a_shortfall_is_told_said_and_over_when_none_stands(world: World) -> None:
    await world.start()
    ref = world.stand(OrderState.SHORTFALL)
    with structlog.testing.capture_logs() as logs:
        world.journal.happen("order.fell_short", **SHORT)
        await world.clock.advance(3)
    assert world.taken.told == [("alert.raised", "shortfall:main")]
    data = world.taken.taken[0][1]["data"]
    assert (data["facts"], data["severity"]) == ({"orders": ["shop:1001"]}, "critical")
    assert [kind for kind, _ in world.book.said] == ["alert.raised"]
    assert [entry["trouble"] for entry in logs if entry["event"] == "alert.raised"] == ["shortfall"]
    await world.clock.advance(60)
    assert len(world.taken.taken) == 1
    world.pool.records[ref] = replace(world.pool.records[ref], state=OrderState.BACKORDER)
    await world.clock.advance(15)
    assert world.taken.told[1:] == [("alert.cleared", "shortfall:main")]
    assert [kind for kind, _ in world.book.said] == ["alert.raised", "alert.cleared"]
    assert world.book.keys == set()


async def test_a_storm_of_one_trouble_is_one_message_and_its_repeat_tells_how_many(world: World) -> None:
    await world.start(repeat_s=100)
    world.stand(OrderState.SHORTFALL)
    for number in range(50):
        world.journal.happen("order.fell_short", **{**SHORT, "order": {"channel": "shop", "id": str(number)}})
    await world.clock.advance(90)
    assert world.taken.told == [("alert.raised", "shortfall:main")]
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(20)
    assert [body["data"]["count"] for _, body in world.taken.taken] == [50, 51]
    assert world.taken.taken[0][0] != world.taken.taken[1][0]
    assert world.taken.taken[0][1]["data"]["id"] == world.taken.taken[1][1]["data"]["id"]


async def test_more_than_an_hour_may_bring_is_summed_up(world: World) -> None:
    await world.start(per_hour=3)
    for number in range(10):
        world.pool.levels[f"S{number}", "main"] = StockLevel(sku=f"S{number}", on_hand=-1)
        world.journal.happen("stock.fell_negative", sku=f"S{number}", location="main", deficit=1)
    await world.clock.advance(120)
    kinds = [body["type"] for _, body in world.taken.taken]
    assert kinds == ["alert.raised", "alert.raised", "alert.summed_up"]
    assert world.taken.taken[-1][1]["data"]["raised"] == {"deficit": 8}


async def test_a_restart_in_the_middle_misses_nothing_and_tells_nothing_twice(world: World) -> None:
    first = await world.start()
    world.stand(OrderState.SHORTFALL)
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(3)
    stopping = asyncio.ensure_future(first.stop())
    await world.clock.advance(5)
    await stopping
    world.stand(OrderState.DEAD, "1002")
    world.journal.happen("order.buried", **{**SHORT, "state": "dead"})
    await world.clock.advance(100)
    await world.start()
    await world.clock.advance(10)
    assert world.taken.told == [("alert.raised", "shortfall:main"), ("alert.raised", "dead_letter:erp")]


async def test_a_process_that_dies_before_its_telling_is_noted_repeats_it_under_the_same_id(world: World) -> None:
    await world.start()
    world.stand(OrderState.SHORTFALL)
    world.book.faults.extend([None, False, False, False, False, False, False, False, False])
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(3)
    assert world.taken.told == [("alert.raised", "shortfall:main")]
    dead = world.living[0]
    for child in list(dead.children):
        child.cancel()
    world.book.faults.clear()
    await world.clock.advance(10)
    await world.start()
    await world.clock.advance(10)
    ids = [message_id for message_id, _ in world.taken.taken]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_nothing_is_told_before_the_store_knows_it(world: World) -> None:
    await world.start()
    world.stand(OrderState.SHORTFALL)
    world.book.faults.extend([False] * 40)
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(5)
    assert world.taken.tried == []
    world.book.faults.clear()
    await world.clock.advance(5)
    assert world.taken.told == [("alert.raised", "shortfall:main")]


async def test_of_two_processes_one_tells_and_the_other_takes_over(world: World) -> None:
    first = await world.start()
    await world.start()
    world.journal.happen("order.parked", **SHORT)
    world.stand(OrderState.PARKED)
    await world.clock.advance(5)
    assert len(world.taken.tried) == 1
    stopping = asyncio.ensure_future(first.stop())
    await world.clock.advance(5)
    await stopping
    world.journal.happen("stock.fell_negative", sku="A", location="main", deficit=1)
    world.pool.levels["A", "main"] = StockLevel(sku="A", on_hand=-1)
    await world.clock.advance(5)
    assert world.taken.told == [("alert.raised", "parked:main"), ("alert.raised", "deficit:A")]


async def test_a_receiver_that_is_down_for_a_while_gets_it_when_it_is_back(world: World) -> None:
    alerter = await world.start()
    world.taken.always = AGAIN
    world.stand(OrderState.SHORTFALL)
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(300)
    tried = len(world.taken.tried)
    assert 8 < tried < 20
    assert alerter.receiver().failures == tried
    assert len({message_id for message_id, _ in world.taken.tried}) == 1
    world.taken.always = None
    await world.clock.advance(31)
    assert world.taken.told == [("alert.raised", "shortfall:main")]
    assert alerter.receiver().failures == 0


async def test_a_receiver_that_asks_for_time_gets_it(world: World) -> None:
    await world.start()
    world.taken.answers.append(Sent(code=SentCode.AGAIN, reason="HTTP 429", wait_s=120))
    world.journal.happen("order.fell_short", **SHORT)
    world.stand(OrderState.SHORTFALL)
    await world.clock.advance(110)
    assert len(world.taken.tried) == 1
    await world.clock.advance(20)
    assert len(world.taken.taken) == 1


async def test_a_receiver_that_is_gone_is_left_alone_loudly_until_a_test_proves_it_back(world: World) -> None:
    alerter = await world.start()
    world.taken.answers.append(Sent(code=SentCode.GONE, reason="HTTP 410"))
    world.stand(OrderState.SHORTFALL)
    with structlog.testing.capture_logs() as logs:
        world.journal.happen("order.fell_short", **SHORT)
        await world.clock.advance(200)
    assert len(world.taken.tried) == 1
    assert [entry["log_level"] for entry in logs if entry["event"] == "alerts.switched_off"] == ["error"]
    assert alerter.receiver().off == "HTTP 410"
    sent = await alerter.test("anna")
    assert sent is not None
    assert sent.code is SentCode.TAKEN
    await world.clock.advance(5)
    assert world.taken.told == [("alert.test", "test:anna"), ("alert.raised", "shortfall:main")]


async def test_without_a_receiver_it_is_in_the_journal_the_log_and_the_list(world: World) -> None:
    world.messenger = None
    alerter = await world.start()
    world.stand(OrderState.SHORTFALL)
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(3)
    assert [kind for kind, _ in world.book.said] == ["alert.raised"]
    assert [one.key for one in await alerter.standing()] == ["shortfall:main"]
    assert await alerter.test("anna") is None
    world.pool.records.clear()
    await world.clock.advance(15)
    assert world.book.keys == set()


async def test_a_step_whose_reply_was_lost_is_said_once(world: World) -> None:
    await world.start()
    world.stand(OrderState.SHORTFALL)
    world.book.faults.extend([True, True])
    world.journal.happen("order.fell_short", **SHORT)
    await world.clock.advance(10)
    assert [kind for kind, _ in world.book.said] == ["alert.raised"]
    assert world.taken.told == [("alert.raised", "shortfall:main")]


async def test_a_backend_is_told_once_though_every_journal_tells_of_it(world: World) -> None:
    await world.start()
    for journal in world.journals.values():
        journal.happen("backend.went_away", backend="erp", reason="401", alert=True)
    await world.clock.advance(3)
    assert world.taken.told == [("alert.raised", "backend_away:erp")]
    for journal in world.journals.values():
        journal.happen("backend.came_back", backend="erp")
    await world.clock.advance(3)
    assert world.taken.told[1:] == [("alert.cleared", "backend_away:erp")]


async def test_an_outage_is_told_after_a_minute_and_not_if_it_is_over_by_then(world: World) -> None:
    await world.start()
    world.journal.happen("backend.went_away", backend="erp", reason="timed out", alert=False)
    await world.clock.advance(40)
    world.journal.happen("backend.came_back", backend="erp")
    await world.clock.advance(100)
    assert world.taken.told == []
    assert world.book.said == []
    world.journal.happen("backend.went_away", backend="erp", reason="timed out", alert=False)
    await world.clock.advance(63)
    assert world.taken.told == [("alert.raised", "backend_away:erp")]


async def test_a_pause_that_was_forgotten_is_told(world: World) -> None:
    await world.start()
    world.journal.happen("backend.paused", backend="erp", by="anna", before={}, after={})
    await world.clock.advance(890)
    assert world.taken.told == []
    await world.clock.advance(20)
    assert world.taken.told == [("alert.raised", "backend_paused:erp")]
    world.journal.happen("backend.resumed", backend="erp", by="anna", before={}, after={})
    await world.clock.advance(3)
    assert world.taken.told[1:] == [("alert.cleared", "backend_paused:erp")]


async def test_an_order_in_doubt_for_too_long_is_told_until_all_is_known(world: World) -> None:
    await world.start(in_doubt_s=60)
    sent_ms = world.clock.now_ms()
    ref = world.stand(OrderState.IN_DOUBT, timeline=((sent_ms, "sending"), (sent_ms + 5, "in_doubt: lost")))
    await world.clock.advance(45)
    assert world.taken.told == []
    await world.clock.advance(30)
    assert world.taken.told == [("alert.raised", "in_doubt:erp")]
    assert world.taken.taken[0][1]["data"]["facts"]["orders"] == ["shop:1001"]
    world.pool.records[ref] = replace(world.pool.records[ref], state=OrderState.DELIVERED)
    await world.clock.advance(15)
    assert world.taken.told[1:] == [("alert.cleared", "in_doubt:erp")]


async def test_lost_durability_is_told_without_the_store(world: World) -> None:
    alerter = await world.start()
    world.health = StoreHealth(ok=False, reason="the disk is full")
    world.gate.down = True
    for name, book in world.books.items():
        book.down = world.journals[name].down = True
    await world.clock.advance(5)
    assert [body["data"]["kind"] for _, body in world.taken.taken] == ["not_durable"]
    assert "the disk is full" in world.taken.taken[0][1]["data"]["text"]
    assert [str(one.alert.kind) for one in await alerter.standing()] == ["not_durable"]
    world.health = StoreHealth(ok=True)
    world.gate.down = False
    for name, book in world.books.items():
        book.down = world.journals[name].down = False
    await world.clock.advance(10)
    assert [body["type"] for _, body in world.taken.taken] == ["alert.raised", "alert.cleared"]


async def test_lost_durability_of_some_pools_names_them(world: World) -> None:
    await world.start()
    away = "pool east: its server is away"
    world.health = StoreHealth(ok=True, reason=away, closed={"east": "its server is away"})
    await world.clock.advance(5)
    [told] = [body["data"]["text"] for _, body in world.taken.taken]
    assert told == f"no order of east can be made durable, so none is taken: {away}"


async def test_whoever_did_not_lead_leaves_lost_durability_to_the_leader_for_a_minute(world: World) -> None:
    world.gate.lease = replace(world.gate.lease, owner="elsewhere", until_ms=world.clock.now_ms() + 10**7, epoch=1)
    await world.start()
    world.health = StoreHealth(ok=False, reason="away")
    await world.clock.advance(55)
    assert world.taken.told == []
    await world.clock.advance(10)
    assert len(world.taken.told) == 1


def running_sale(world: World) -> Sale:
    now_s = world.clock.now_ms() / 1000
    return Sale(
        name="friday",
        start=datetime.fromtimestamp(now_s - 60, UTC),
        end=datetime.fromtimestamp(now_s + 90, UTC),
        products=(SaleProduct(sku="TEE"), SaleProduct(sku="CAP")),
    )


def map_to_shop(world: World, *skus: str) -> None:
    world.pool.entries["shop"] = {sku: Entry(sku=sku, ids={"item": sku}) for sku in skus}


async def test_what_a_running_sale_cannot_show_is_told_and_nothing_else(world: World) -> None:
    await world.sales.put(running_sale(world), by="anna")
    flow = ChannelFlow(name="shop", mode="mirror", leading=True, refused={"HAT": "no"})
    world.flows = [Flow(pool="main", figures=flow)]
    map_to_shop(world, "CAP")
    await world.start()
    await world.clock.advance(5)
    assert world.taken.told == [("alert.raised", "unmapped:shop")]
    assert world.taken.taken[0][1]["data"]["facts"] == {"skus": ["TEE"]}
    map_to_shop(world, "CAP", "TEE")
    world.flows = [Flow(pool="main", figures=replace(flow, refused={"CAP": "no such item"}))]
    await world.clock.advance(15)
    assert sorted(world.taken.told[1:]) == [("alert.cleared", "unmapped:shop"), ("alert.raised", "refused_figure:shop")]
    await world.clock.advance(110)
    assert world.taken.told[3:] == [("alert.cleared", "refused_figure:shop")]


async def test_who_does_not_publish_knows_of_maps_and_says_nothing_of_refusals(world: World) -> None:
    await world.sales.put(running_sale(world), by="anna")
    flow = ChannelFlow(name="shop", mode="mirror", leading=True, refused={"CAP": "no such item"})
    world.flows = [Flow(pool="main", figures=flow)]
    map_to_shop(world, "CAP", "TEE")
    await world.start()
    world.flows = [Flow(pool="main", figures=replace(flow, leading=False, refused={}))]
    map_to_shop(world, "CAP")
    await world.clock.advance(15)
    assert world.taken.told == [("alert.raised", "refused_figure:shop"), ("alert.raised", "unmapped:shop")]
    await world.clock.advance(110)
    assert sorted(world.taken.told[2:]) == [
        ("alert.cleared", "refused_figure:shop"),
        ("alert.cleared", "unmapped:shop"),
    ]


async def test_a_backend_that_left_the_configuration_is_no_trouble_any_more(world: World) -> None:
    world.backends = [BackendSnapshot(name="erp", kind="http", rate="1/s", per_second=1.0)]
    await world.start()
    for name in ("erp", "old"):
        world.journal.happen("backend.went_away", backend=name, reason="401", alert=True)
    await world.clock.advance(15)
    assert world.taken.told[2:] == [("alert.cleared", "backend_away:old")]


async def test_webhooks_that_returned_while_nobody_looked_end_their_alert(world: World) -> None:
    await world.start()
    world.journal.happen("channel.webhooks_silent", channel="shop", reason="switched off", alert=True)
    await world.clock.advance(3)
    flow = ChannelFlow(name="shop", mode="mirror", leading=True)
    world.flows = [Flow(pool="main", figures=flow, polls=PollFlow(name="shop", silent="still off"))]
    await world.clock.advance(150)
    assert world.taken.told == [("alert.raised", "webhooks_silent:shop")]
    polls = PollFlow(name="shop", last_poll_ms=world.clock.now_ms())
    world.flows = [Flow(pool="main", figures=flow, polls=polls)]
    await world.clock.advance(15)
    assert world.taken.told[1:] == [("alert.cleared", "webhooks_silent:shop")]


async def test_a_deficit_and_a_figure_too_high_end_when_all_is_covered(world: World) -> None:
    world.pool.levels["A", "main"] = StockLevel(sku="A", on_hand=5, sold=7)
    world.pool.levels["B", "main"] = StockLevel(sku="B", on_hand=5, exposed=9)
    await world.start()
    world.journal.happen("stock.fell_negative", sku="A", location="main", deficit=2)
    world.journal.happen("stock.drifted", channel="shop", exposures=[["B", 4, 9]])
    await world.clock.advance(140)
    assert sorted(world.taken.told) == [("alert.raised", "deficit:A"), ("alert.raised", "overexposed:shop")]
    world.pool.levels["A", "main"] = StockLevel(sku="A", on_hand=7, sold=7)
    world.pool.levels["B", "main"] = StockLevel(sku="B", on_hand=9, exposed=9)
    await world.clock.advance(15)
    assert sorted(world.taken.told[2:]) == [("alert.cleared", "deficit:A"), ("alert.cleared", "overexposed:shop")]


async def test_trimmed_events_are_told(world: World) -> None:
    await world.start()
    gap: Any = Gap(pool="main", after="0", first="7-0")
    world.journal.events += [gap, *(_noise(number) for number in range(2, 9))]
    await world.clock.advance(3)
    assert world.taken.told == [("alert.raised", "events_missed:main")]


def _noise(number: int) -> Event:
    return Event(id=f"{number}-0", at_ms=number, kind="stock.changed", pool="main", data={})


async def test_a_long_journal_is_read_to_its_end_and_what_interests_nobody_costs_few_writes(world: World) -> None:
    await world.start()
    world.journal.events += [_noise(number) for number in range(1, 3001)]
    world.journal.happen("order.parked", **SHORT)
    world.stand(OrderState.PARKED)
    await world.clock.advance(4)
    assert world.taken.told == [("alert.raised", "parked:main")]
    assert world.book.cursor == "3001-0"


async def test_an_event_that_nobody_understands_stops_no_other(world: World) -> None:
    await world.start()
    world.journal.happen("stock.drifted", channel="shop", exposures=7)
    world.journal.happen("order.fell_short", **SHORT)
    world.stand(OrderState.SHORTFALL)
    await world.clock.advance(3)
    assert world.taken.told == [("alert.raised", "shortfall:main")]


async def test_a_fault_of_its_own_ends_nobody_s_life(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_message_id: str, _body: bytes) -> Sent:
        raise RuntimeError("a bug")

    alerter = await world.start()
    monkeypatch.setattr(world.taken, "send", broken)
    world.stand(OrderState.SHORTFALL)
    world.journal.happen("order.fell_short", **SHORT)
    with structlog.testing.capture_logs() as logs:
        await world.clock.advance(9)
    assert [entry["event"] for entry in logs].count("alerts.round_failed") == 1
    assert alerter.ready.is_set()
    monkeypatch.undo()
    await world.clock.advance(10)
    assert world.taken.told == [("alert.raised", "shortfall:main")]


async def test_what_happened_before_alerts_were_ever_made_raises_none(world: World) -> None:
    world.journal.happen("order.fell_short", **SHORT)
    world.stand(OrderState.SHORTFALL)
    await world.start()
    await world.clock.advance(30)
    assert world.taken.told == []


async def test_no_customer_data_is_in_a_message(world: World) -> None:
    await world.start()
    world.stand(OrderState.PARKED)
    world.journal.happen("order.parked", **SHORT, reason="ann@example.com does not add up")
    await world.clock.advance(3)
    assert "ann@example.com" not in str(world.taken.taken)

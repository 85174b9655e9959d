"""What several channels ask for at once is one call; nobody waits for company, and nobody answers for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from flashd.actors import convoy as convoy_module
from flashd.actors.convoy import Convoy
from flashd.actors.row import Row
from flashd.actors.wish import Wish
from flashd.domain.order import AcceptCode, Accepted, Incoming, OrderState
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest
from flashd.domain.stock import StockLevel
from flashd.errors import Busy, InvariantBroken, MailboxFull, StoreUnavailable, Transient
from tests.conformance.ledgers import make_incoming
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.pool import FakePool
from tests.fakes.soon import soon


@dataclass
class Counted(FakeLedger):
    """Remembers what came in each call; answers when the door is open."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    carried: list[list[str]] = field(default_factory=list)
    error: Exception | None = None

    @soon
    async def accept(
        self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int | Sequence[int]
    ) -> list[Accepted]:
        self.carried.append([one.order.id for one in orders])
        await self.open.wait()
        if self.error is not None:
            raise self.error
        if any(one.order.id == "poison" for one in orders):
            raise InvariantBroken("a call that the store refuses as a whole")
        return await super().accept(orders, backends, since_ms=since_ms)

    @soon
    async def hold(self, requests: Sequence[HoldRequest]) -> list[HoldReply]:
        self.carried.append([one.id for one in requests])
        return await super().hold(requests)


@pytest.fixture
def ledger() -> Counted:
    pool = FakePool(clock=FakeClock())
    pool.levels["tee", "main"] = StockLevel(sku="tee", location="main", on_hand=100_000)
    found = Counted(pool)
    found.open.set()
    return found


class Channel:
    """A row of a channel, and what it wishes for."""

    def __init__(self, convoy: Convoy, *, size: int = 4096, closed: Callable[[bool], str] = lambda _: "") -> None:
        self.convoy = convoy
        self.broken: list[Exception] = []
        self.since_ms = 0
        self.row = Row("a channel", size, since_ms=lambda: self.since_ms, closed=closed, broke=self.broken.append)

    def wish(self, *ids: str) -> Wish:
        wish = Wish([make_incoming(order_id) for order_id in ids], ["erp"] * len(ids))
        self.row.add(wish)
        return wish

    async def ask(self, *ids: str) -> Sequence[Accepted]:
        wish = self.wish(*ids)
        self.convoy.call(self.row, 1)
        return await wish


def make_hold(name: str) -> Wish:
    return Wish([HoldRequest(id=name, lines=make_incoming("x").order.lines, ttl_ms=1000, digest=name)])


async def turns(count: int = 4) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_asked_for_in_one_turn_is_one_call_and_each_gets_its_own_answers(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    one, other = Channel(convoy), Channel(convoy)
    answers = await asyncio.gather(one.ask("a1", "a2"), other.ask("b1"), one.ask("a1"))
    assert sorted(ledger.carried[0]) == ["a1", "a1", "a2", "b1"]
    assert len(ledger.carried) == 1
    assert [[one.code for one in each] for each in answers] == [
        [AcceptCode.ACCEPTED, AcceptCode.ACCEPTED],
        [AcceptCode.ACCEPTED],
        [AcceptCode.REPEAT],
    ]


async def test_each_channel_keeps_its_cut_over(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    placed_ms = make_incoming("x").order.placed_ms
    one, other = Channel(convoy), Channel(convoy)
    one.since_ms, other.since_ms = placed_ms + 1, placed_ms
    late, early = await asyncio.gather(one.ask("a"), other.ask("b"))
    assert len(ledger.carried) == 1
    assert [late[0].state, early[0].state] == [OrderState.IGNORED, OrderState.QUEUED]


async def test_a_hold_does_not_wait_for_the_orders_of_its_call(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    order, hold = channel.wish("a"), make_hold("cart")
    channel.row.add(hold)
    channel.convoy.call(channel.row, 1)
    async with asyncio.timeout(5):
        assert [reply.code for reply in await hold] == [HoldCode.HELD]
    assert not order.is_over
    ledger.open.set()
    await order
    assert ledger.carried == [["a"], ["cart"]]


async def test_more_gathers_only_while_as_many_calls_as_may_be_are_under_way(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    asking = []
    for number in range(convoy_module.CALLS_IN_FLIGHT + 5):
        asking.append(asyncio.create_task(channel.ask(f"{number}")))
        await turns()
    assert [len(call) for call in ledger.carried] == [1] * convoy_module.CALLS_IN_FLIGHT
    ledger.open.set()
    await asyncio.gather(*asking)
    assert [len(call) for call in ledger.carried[convoy_module.CALLS_IN_FLIGHT :]] == [5]


async def test_what_is_enough_for_a_call_does_not_wait_for_the_end_of_the_turn(ledger: Counted) -> None:
    channel = Channel(Convoy(ledger))
    wishes = []
    for number in range(convoy_module.ENOUGH + 3):
        wishes.append(channel.wish(f"{number}"))
        channel.convoy.call(channel.row, 1)
    assert [wish.is_over for wish in wishes] == [False] * len(wishes)
    assert channel.row.waits == 3
    await asyncio.gather(*wishes)
    assert [len(call) for call in ledger.carried] == [convoy_module.ENOUGH, 3]


async def test_one_wish_that_is_enough_by_itself_leaves_at_once(ledger: Counted) -> None:
    channel = Channel(Convoy(ledger))
    ids = [str(number) for number in range(convoy_module.ENOUGH)]
    wish = channel.wish(*ids)
    channel.convoy.call(channel.row, len(ids))
    assert channel.row.waits == 0
    await wish
    assert ledger.carried == [ids]


async def test_where_the_store_is_busy_the_end_of_the_turn_is_waited_for(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    wishes = []
    for number in range(convoy_module.ENOUGH * (convoy_module.BUSY + 2)):
        wishes.append(channel.wish(f"{number}"))
        channel.convoy.call(channel.row, 1)
    assert channel.row.waits == 2 * convoy_module.ENOUGH
    ledger.open.set()
    await asyncio.gather(*wishes)
    assert [len(call) for call in ledger.carried] == [convoy_module.ENOUGH] * convoy_module.BUSY + [
        2 * convoy_module.ENOUGH
    ]


async def test_who_is_told_while_a_call_leaves_may_wish_for_more(ledger: Counted) -> None:
    closed = ""
    channel = Channel(Convoy(ledger), closed=lambda is_hold: "" if is_hold else closed)
    more = make_hold("more")

    def go_on(_: object) -> None:
        for _ in range(convoy_module.ENOUGH):
            channel.convoy.call(channel.row, 1)
        channel.row.add(more)
        channel.convoy.call(channel.row, 1)

    channel.wish("refused").add_done_callback(go_on)
    closed = "the store is away"
    channel.convoy.call(channel.row, 1)
    assert (await more)[0].code is HoldCode.HELD
    assert ledger.carried == [["more"]]


async def test_a_call_carries_no_more_than_its_bound(ledger: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convoy_module, "ITEMS", 3)
    channel = Channel(Convoy(ledger))
    await asyncio.gather(*(channel.ask(f"{number}a", f"{number}b") for number in range(3)), channel.ask(*"vwxyz"))
    assert sorted(len(call) for call in ledger.carried) == [2, 2, 2, 5]


async def test_a_flood_in_one_row_leaves_the_others_their_share_of_each_call(
    ledger: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convoy_module, "ITEMS", 10)
    monkeypatch.setattr(convoy_module, "ENOUGH", 100)
    convoy = Convoy(ledger)
    flood, calm = Channel(convoy), Channel(convoy)
    await asyncio.gather(*(flood.ask(f"flood-{number}") for number in range(50)), calm.ask("calm"))
    assert "calm" in ledger.carried[0]
    assert [len(call) for call in ledger.carried] == [10, 10, 10, 10, 10, 1]


async def test_a_wish_that_is_larger_than_its_share_comes_first_in_its_turn(
    ledger: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convoy_module, "ITEMS", 4)
    convoy = Convoy(ledger)
    flood, large, other = Channel(convoy), Channel(convoy), Channel(convoy)
    floods = [channel.ask(f"{number}") for number in range(40) for channel in (flood, other)]
    await asyncio.gather(floods[0], large.ask("a", "b", "c"), *floods[1:])
    assert [index for index, call in enumerate(ledger.carried) if "b" in call] == [1]


async def test_a_row_bounds_what_waits_in_it_and_takes_nothing_of_what_is_too_much(ledger: Counted) -> None:
    channel = Channel(Convoy(ledger), size=3)
    channel.wish("1", "2")
    with pytest.raises(MailboxFull, match="2 orders and holds waiting"):
        channel.wish("3", "4")
    assert channel.row.waits == 2
    await channel.ask("3")
    assert ledger.carried == [["1", "2", "3"]]


async def test_a_store_that_is_away_is_everybodys_error_and_nothing_is_asked_twice(ledger: Counted) -> None:
    ledger.error = StoreUnavailable("away")
    convoy = Convoy(ledger)
    answers = await asyncio.gather(Channel(convoy).ask("a"), Channel(convoy).ask("b"), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in answers)
    assert len(ledger.carried) == 1


async def test_a_call_that_is_refused_as_a_whole_is_made_again_for_each_channel_alone(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    sound, poisoned = Channel(convoy), Channel(convoy)
    good, bad = await asyncio.gather(sound.ask("a"), poisoned.ask("poison"), return_exceptions=True)
    assert isinstance(bad, InvariantBroken)
    assert not isinstance(good, BaseException)
    assert good[0].code is AcceptCode.ACCEPTED
    assert ledger.carried == [["a", "poison"], ["a"], ["poison"]]
    assert sound.broken == poisoned.broken == []


async def test_an_error_that_no_ledger_may_raise_is_told_to_its_own_channel(ledger: Counted) -> None:
    ledger.error = LookupError("a bug")
    channel = Channel(Convoy(ledger))
    with pytest.raises(LookupError):
        await channel.ask("a")
    assert channel.broken == [ledger.error]


async def test_one_who_goes_away_takes_nobodys_answers(ledger: Counted) -> None:
    ledger.open.clear()
    convoy = Convoy(ledger)
    gone = asyncio.create_task(Channel(convoy).ask("a1", "a2"))
    stays = asyncio.create_task(Channel(convoy).ask("b"))
    await turns()
    gone.cancel()
    ledger.open.set()
    assert [one.code for one in await stays] == [AcceptCode.ACCEPTED]
    assert ledger.carried == [["a1", "a2", "b"]]


async def test_what_nobody_waits_for_any_more_is_not_asked_for(ledger: Counted) -> None:
    channel = Channel(Convoy(ledger))
    gone, stays = channel.wish("gone"), channel.wish("stays")
    waiting = asyncio.create_task(channel.ask("last"))
    gone.fail(asyncio.CancelledError())
    await asyncio.gather(stays, waiting)
    assert ledger.carried == [["stays", "last"]]


async def test_what_waits_when_the_store_goes_away_is_refused_and_not_asked_for(ledger: Counted) -> None:
    why = ""
    channel = Channel(Convoy(ledger), closed=lambda is_hold: "" if is_hold else why)
    waiting = asyncio.create_task(channel.ask("a"))
    hold = make_hold("h")
    channel.row.add(hold)
    await asyncio.sleep(0)
    why = "the store is away"
    with pytest.raises(Busy, match="the store is away"):
        await waiting
    assert (await hold)[0].code is HoldCode.HELD
    assert ledger.carried == [["h"]]


async def test_holds_travel_together_too(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    wishes = [make_hold(name) for name in "ab"]
    for wish in wishes:
        channel = Channel(convoy)
        channel.row.add(wish)
        convoy.call(channel.row, 1)
    answers = await asyncio.gather(*wishes)
    assert [each[0].code for each in answers] == [HoldCode.HELD] * 2
    assert ledger.carried == [["a", "b"]]


async def test_a_call_that_is_cut_off_leaves_nobody_without_an_answer(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    waiting = asyncio.create_task(channel.ask("a"))
    await turns()
    [call] = [task for task in asyncio.all_tasks() if "accept" in repr(task)]
    call.cancel()
    with pytest.raises(Transient, match="cut off"):
        await waiting
    ledger.open.set()
    assert (await channel.ask("a"))[0].code is AcceptCode.ACCEPTED


async def test_a_row_is_quiet_when_the_last_answer_is_there_or_the_time_is_over(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    await channel.row.quiet(5)
    waiting = asyncio.create_task(channel.ask("a"))
    await turns()
    await channel.row.quiet(0.01)
    assert not waiting.done()
    quiet = asyncio.create_task(channel.row.quiet(60))
    ledger.open.set()
    await asyncio.wait_for(quiet, 30)
    assert (await waiting)[0].code is AcceptCode.ACCEPTED


async def test_a_row_is_quiet_when_nobody_waits_for_what_was_in_it_any_more(ledger: Counted) -> None:
    channel = Channel(Convoy(ledger))
    gone = channel.wish("gone")
    quiet = asyncio.create_task(channel.row.quiet(60))
    await turns()
    gone.fail(asyncio.CancelledError())
    channel.convoy.call(channel.row, 1)
    await turns()
    assert quiet.done()
    assert ledger.carried == []


async def test_a_row_that_was_shut_is_not_waited_for_again(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    under_way = asyncio.create_task(channel.ask("a"))
    await turns()
    channel.row.shut()
    quiet = asyncio.create_task(channel.row.quiet(60))
    await turns()
    assert quiet.done()
    with pytest.raises(Transient):
        await under_way


async def test_who_is_refused_at_the_end_learns_whether_anything_is_known(ledger: Counted) -> None:
    ledger.open.clear()
    channel = Channel(Convoy(ledger))
    under_way = asyncio.create_task(channel.ask("under way"))
    await turns()
    waits = channel.wish("waits")
    channel.row.shut()
    with pytest.raises(Transient, match="is stopping"):
        await under_way
    with pytest.raises(Busy, match="is stopping"):
        await waits
    with pytest.raises(Busy, match="is stopping"):
        channel.wish("late")


async def test_one_who_fails_when_told_keeps_nobody_elses_answer_back(ledger: Counted) -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    channel = Channel(Convoy(ledger))
    trouble = ValueError("a bug in who waits")

    def fails(_: object) -> None:
        raise trouble

    channel.wish("a").add_done_callback(fails)
    assert (await channel.ask("b"))[0].code is AcceptCode.ACCEPTED
    assert heard == [trouble]


async def test_a_bug_in_who_is_told_of_moved_stock_is_said_and_keeps_no_answer_back(ledger: Counted) -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    trouble = ValueError("a bug in who is told")

    def moved() -> None:
        raise trouble

    channel = Channel(Convoy(ledger, moved=moved))
    for name in "ab":
        assert (await channel.ask(name))[0].code is AcceptCode.ACCEPTED
        await turns()
    assert heard == [trouble, trouble]

"""What several channels ask for at once is one call; nobody waits for company, and nobody answers for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from flashd.actors import convoy as convoy_module
from flashd.actors.convoy import Convoy
from flashd.domain.order import AcceptCode, Accepted, Incoming, OrderState
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest
from flashd.domain.stock import StockLevel
from flashd.errors import InvariantBroken, StoreUnavailable
from tests.conformance.ledgers import make_incoming
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.pool import FakePool


@dataclass
class Counted(FakeLedger):
    """Remembers what came in each call; answers when the door is open."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    carried: list[list[str]] = field(default_factory=list)
    error: Exception | None = None

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


async def ask(convoy: Convoy, *ids: str, since_ms: int = 0) -> Sequence[Accepted]:
    orders = [make_incoming(order_id) for order_id in ids]
    return await convoy.accept(orders, ["erp"] * len(orders), since_ms=since_ms)


async def test_what_is_asked_for_in_one_turn_is_one_call_and_each_gets_its_own_answers(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    answers = await asyncio.gather(ask(convoy, "a1", "a2"), ask(convoy, "b1"), ask(convoy, "a1"))
    assert ledger.carried == [["a1", "a2", "b1", "a1"]]
    assert [[one.code for one in each] for each in answers] == [
        [AcceptCode.ACCEPTED, AcceptCode.ACCEPTED],
        [AcceptCode.ACCEPTED],
        [AcceptCode.REPEAT],
    ]


async def test_each_channel_keeps_its_cut_over(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    placed_ms = make_incoming("x").order.placed_ms
    late, early = await asyncio.gather(ask(convoy, "a", since_ms=placed_ms + 1), ask(convoy, "b", since_ms=placed_ms))
    assert len(ledger.carried) == 1
    assert [late[0].state, early[0].state] == [OrderState.IGNORED, OrderState.QUEUED]


async def test_more_gathers_only_while_as_many_calls_as_may_be_are_under_way(ledger: Counted) -> None:
    ledger.open.clear()
    convoy = Convoy(ledger)
    asking = []
    for number in range(convoy_module.CALLS_IN_FLIGHT + 5):
        asking.append(asyncio.create_task(ask(convoy, f"{number}")))
        for _ in range(4):
            await asyncio.sleep(0)
    assert [len(call) for call in ledger.carried] == [1] * convoy_module.CALLS_IN_FLIGHT
    ledger.open.set()
    await asyncio.gather(*asking)
    assert [len(call) for call in ledger.carried[convoy_module.CALLS_IN_FLIGHT :]] == [5]


async def test_a_call_carries_no_more_than_its_bound(ledger: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convoy_module, "ITEMS", 3)
    convoy = Convoy(ledger)
    await asyncio.gather(*(ask(convoy, f"{number}a", f"{number}b") for number in range(3)), ask(convoy, *"vwxyz"))
    assert sorted(len(call) for call in ledger.carried) == [2, 2, 2, 5]


async def test_a_store_that_is_away_is_everybodys_error_and_nothing_is_asked_twice(ledger: Counted) -> None:
    ledger.error = StoreUnavailable("away")
    convoy = Convoy(ledger)
    answers = await asyncio.gather(ask(convoy, "a"), ask(convoy, "b"), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in answers)
    assert len(ledger.carried) == 1


async def test_a_call_that_is_refused_as_a_whole_is_made_again_for_each_channel_alone(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    good, bad = await asyncio.gather(ask(convoy, "a"), ask(convoy, "poison"), return_exceptions=True)
    assert isinstance(bad, InvariantBroken)
    assert not isinstance(good, BaseException)
    assert good[0].code is AcceptCode.ACCEPTED
    assert ledger.carried == [["a", "poison"], ["a"], ["poison"]]


async def test_one_who_goes_away_takes_nobodys_answers(ledger: Counted) -> None:
    ledger.open.clear()
    convoy = Convoy(ledger)
    gone = asyncio.create_task(ask(convoy, "a1", "a2"))
    stays = asyncio.create_task(ask(convoy, "b"))
    await asyncio.sleep(0.01)
    gone.cancel()
    ledger.open.set()
    assert [one.code for one in await stays] == [AcceptCode.ACCEPTED]
    assert ledger.carried == [["a1", "a2", "b"]]


async def test_holds_travel_together_too(ledger: Counted) -> None:
    convoy = Convoy(ledger)
    lines = make_incoming("x").order.lines
    wishes = [HoldRequest(id=name, lines=lines, ttl_ms=1000, digest=name) for name in "ab"]
    answers = await asyncio.gather(*(convoy.hold([wish]) for wish in wishes))
    assert [each[0].code for each in answers] == [HoldCode.HELD] * 2
    assert ledger.carried == [["a", "b"]]


async def test_a_call_for_which_nobody_waits_any_more_gives_its_place_up(ledger: Counted) -> None:
    ledger.open.clear()
    convoy = Convoy(ledger)
    asking = []
    for number in range(convoy_module.CALLS_IN_FLIGHT):
        asking.append(asyncio.create_task(ask(convoy, f"{number}")))
        await asyncio.sleep(0.001)
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    ledger.open.set()
    assert (await asyncio.wait_for(ask(convoy, "next"), 1))[0].code is AcceptCode.ACCEPTED

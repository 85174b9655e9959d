"""The way in: what arrives together becomes durable together, and nobody is left without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from flashd.actors.convoy import CALLS_IN_FLIGHT, ITEMS, Convoy
from flashd.actors.intake import ChannelIntake, IntakeRules
from flashd.domain.order import AcceptCode, Accepted, Incoming, Line, OrderState
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest
from flashd.domain.stock import StockLevel
from flashd.errors import Busy, MailboxFull, StoreUnavailable, Transient, Unauthenticated
from flashd.runtime.supervisor import RestartPolicy, Supervisor
from tests import intakes
from tests.conformance.ledgers import make_incoming
from tests.fakes.clock import FakeClock
from tests.fakes.doors import DoorChannel, sign
from tests.fakes.ledger import FakeLedger
from tests.fakes.pool import FakePool
from tests.fakes.soon import soon


@dataclass
class SlowLedger(FakeLedger):
    """Answers when the door is open; remembers how many came in one call, and breaks where it is told to."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    groups: list[int] = field(default_factory=list)
    trouble: asyncio.Event = field(default_factory=asyncio.Event)  # now the order "bad" raises what no ledger may raise
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    @soon
    async def accept(
        self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int | Sequence[int]
    ) -> list[Accepted]:
        self.groups.append(len(orders))
        self.arrived.release()
        if any(incoming.order.id == "bad" for incoming in orders):
            await self.trouble.wait()
            raise LookupError("a bug")
        await self.open.wait()
        return await super().accept(orders, backends, since_ms=since_ms)

    @soon
    async def hold(self, requests: Sequence[HoldRequest]) -> list[HoldReply]:
        await self.open.wait()
        return await super().hold(requests)


class World:
    def __init__(self, *, row_size: int = 4096) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        self.pool.levels["tee", "main"] = StockLevel(sku="tee", location="main", on_hand=100_000)
        self.ledger = SlowLedger(self.pool)
        self.woken: list[str] = []
        self.why_closed = ""
        rules = IntakeRules(route=lambda _: "erp", closed=lambda _is_hold: self.why_closed)
        self.intake = ChannelIntake(
            DoorChannel("shop"),
            Convoy(self.ledger, wake=self.woken.append),
            rules,
            clock=self.clock,
            row_size=row_size,
        )
        self.supervisor = Supervisor(clock=self.clock, policy=RestartPolicy(max_restarts=1000))
        self.asking: list[asyncio.Task[Any]] = []

    def ask(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        async def wait() -> Any:
            return await work

        task = asyncio.create_task(wait())
        self.asking.append(task)
        return task

    async def fill_all_places(self, last: str = "last") -> list[asyncio.Task[Accepted]]:
        """As many calls as may be in flight, one order each, none of them answered."""
        waiting = []
        for order_id in [*(f"place-{number}" for number in range(1, CALLS_IN_FLIGHT)), last]:
            waiting.append(self.ask(intakes.admit(self.intake, make_incoming(order_id))))
            await asyncio.wait_for(self.ledger.arrived.acquire(), 30)
        return waiting


def make_hold(hold_id: str = "h1", quantity: int = 1) -> HoldRequest:
    return HoldRequest(id=hold_id, lines=(Line("tee", quantity, 0),), ttl_ms=60_000, digest=f"{hold_id}-{quantity}")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.supervisor.start([world.intake])
    yield world
    world.ledger.open.set()
    await world.supervisor.stop(0.5)
    for task in world.asking:
        task.cancel()
    await asyncio.gather(*world.asking, return_exceptions=True)


async def test_without_load_an_order_goes_out_alone_and_wakes_its_backend(world: World) -> None:
    world.ledger.open.set()
    accepted = await intakes.admit(world.intake, make_incoming("1"))
    assert (accepted.code, accepted.state) == (AcceptCode.ACCEPTED, OrderState.QUEUED)
    assert world.ledger.groups == [1]
    assert world.woken == ["erp"]
    assert world.intake.counts == {"accepted": 1}


async def test_what_arrives_while_all_calls_are_in_flight_goes_out_in_one_call(world: World) -> None:
    await world.fill_all_places()
    late = [world.ask(intakes.admit(world.intake, make_incoming(f"late-{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    world.ledger.open.set()
    assert {reply.code for reply in await asyncio.gather(*late)} == {AcceptCode.ACCEPTED}
    assert world.ledger.groups[:CALLS_IN_FLIGHT] == [1] * CALLS_IN_FLIGHT
    assert len(world.ledger.groups) <= CALLS_IN_FLIGHT + 2
    assert max(world.ledger.groups) <= ITEMS


async def test_fifty_identical_webhooks_at_once_are_one_order(world: World) -> None:
    world.ledger.open.set()
    same = [world.ask(intakes.admit(world.intake, make_incoming("1"))) for _ in range(50)]
    codes = [reply.code for reply in await asyncio.gather(*same)]
    assert codes.count(AcceptCode.ACCEPTED) == 1
    assert codes.count(AcceptCode.REPEAT) == 49
    assert world.pool.levels["tee", "main"].sold == 2


async def test_holds_and_orders_of_one_group_are_both_answered(world: World) -> None:
    await world.fill_all_places()
    order = world.ask(intakes.admit(world.intake, make_incoming("1")))
    hold = world.ask(intakes.hold(world.intake, make_hold()))
    await asyncio.sleep(0)
    world.ledger.open.set()
    assert (await order).code is AcceptCode.ACCEPTED
    assert (await hold).code is HoldCode.HELD


async def test_a_store_that_does_not_answer_is_the_answer_of_everybody_and_no_crash(world: World) -> None:
    world.ledger.open.set()
    world.ledger.failing.add("accept")
    asked = [world.ask(intakes.admit(world.intake, make_incoming(str(number)))) for number in range(30)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    world.ledger.failing.clear()
    assert (await intakes.admit(world.intake, make_incoming("1"))).code is AcceptCode.ACCEPTED
    assert world.supervisor.restarts == 0


async def test_an_order_whose_caller_went_away_while_it_waited_is_not_made_durable(world: World) -> None:
    await world.fill_all_places()
    gone = [world.ask(intakes.admit(world.intake, make_incoming(f"gone-{number}"))) for number in range(2)]
    stays = world.ask(intakes.admit(world.intake, make_incoming("stays")))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    world.ledger.open.set()
    assert (await stays).code is AcceptCode.ACCEPTED


async def test_a_caller_that_goes_away_in_the_call_takes_nobody_with_it(world: World) -> None:
    [first, *others] = await world.fill_all_places()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    world.ledger.open.set()
    assert {reply.code for reply in await asyncio.gather(*others)} == {AcceptCode.ACCEPTED}
    assert world.supervisor.restarts == 0


async def crash(world: World) -> Sequence[object]:
    """One call of all that are in flight raises; return what the callers of the others and of the next were told."""
    [*others, bad] = await world.fill_all_places(last="bad")
    others.append(world.ask(intakes.admit(world.intake, make_incoming("next"))))
    hold = world.ask(intakes.hold(world.intake, make_hold()))
    await asyncio.sleep(0)
    world.ledger.trouble.set()
    with pytest.raises(LookupError):
        await bad
    await world.clock.advance(10)  # the supervisor runs it again
    world.ledger.open.set()
    answers = [reply.code for reply in await asyncio.wait_for(asyncio.gather(*others), 30)]
    answers.append((await asyncio.wait_for(hold, 5)).code)
    world.ledger.trouble.clear()
    world.ledger.open.clear()
    return answers


async def test_a_crash_is_the_answer_of_its_own_call_and_nobody_elses(world: World) -> None:
    assert await crash(world) == [AcceptCode.ACCEPTED] * CALLS_IN_FLIGHT + [HoldCode.HELD]
    assert world.supervisor.restarts == 1


async def test_after_many_crashes_every_place_is_free_again(world: World) -> None:
    for _ in range(CALLS_IN_FLIGHT):
        await crash(world)
    world.ledger.groups.clear()
    await world.fill_all_places()
    assert world.ledger.groups == [1] * CALLS_IN_FLIGHT
    assert world.supervisor.restarts == CALLS_IN_FLIGHT


async def test_what_comes_between_two_lives_is_taken_in_the_next(world: World) -> None:
    bad = world.ask(intakes.admit(world.intake, make_incoming("bad")))
    world.ledger.trouble.set()
    with pytest.raises(LookupError):
        await bad
    for _ in range(5):
        await asyncio.sleep(0)
    assert not world.intake.ready.is_set()
    waits = world.ask(intakes.admit(world.intake, make_incoming("waits")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.ledger.groups == [1]
    world.ledger.open.set()
    await world.clock.advance(10)
    assert (await asyncio.wait_for(waits, 5)).code is AcceptCode.ACCEPTED


async def test_a_full_row_is_busy_at_once_and_nothing_is_kept() -> None:
    world = World(row_size=2)
    for number in range(2):
        world.ask(intakes.admit(world.intake, make_incoming(str(number))))
    await asyncio.sleep(0)
    with pytest.raises(MailboxFull):
        await intakes.admit(world.intake, make_incoming("3"))
    await world.intake.stop(0.1)
    assert {type(answer) for answer in await asyncio.gather(*world.asking, return_exceptions=True)} == {Busy}
    assert world.pool.records == {}


async def test_what_is_in_the_call_when_it_stops_is_finished_and_answered(world: World) -> None:
    waiting = await world.fill_all_places()
    stopping = asyncio.create_task(world.intake.stop(5))
    await asyncio.sleep(0)
    world.ledger.open.set()
    await stopping
    assert {reply.code for reply in await asyncio.gather(*waiting)} == {AcceptCode.ACCEPTED}


async def test_a_store_that_never_answers_does_not_hold_up_the_stop(world: World) -> None:
    waiting = await world.fill_all_places()
    waiting.append(world.ask(intakes.admit(world.intake, make_incoming("in the mailbox"))))
    await asyncio.sleep(0)
    await asyncio.wait_for(world.intake.stop(0.2), 4)
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert {type(answer) for answer in answers} <= {Busy, Transient}
    with pytest.raises(Busy):
        await intakes.admit(world.intake, make_incoming("after"))


async def test_while_nothing_can_be_made_durable_nothing_comes_in(world: World) -> None:
    world.ledger.open.set()
    world.why_closed = "the store is away"
    body = b"unreadable"
    asks: list[Callable[[], Awaitable[Any]]] = [
        lambda: intakes.admit(world.intake, make_incoming("1")),
        lambda: intakes.hold(world.intake, make_hold()),
        lambda: intakes.webhook(world.intake, {"x-signature": sign(body)["X-Signature"]}, body),
    ]
    for ask in asks:
        with pytest.raises(Busy, match="the store is away"):
            await ask()
    assert world.ledger.calls == []


async def test_what_waited_when_the_store_went_away_is_refused_in_its_turn_and_not_tried(world: World) -> None:
    waiting = await world.fill_all_places()
    late = [
        world.ask(intakes.admit(world.intake, make_incoming("late"))),
        world.ask(intakes.hold(world.intake, make_hold())),
    ]
    await asyncio.sleep(0)
    world.why_closed = "the store is away"
    world.ledger.failing.add("accept")
    world.ledger.open.set()
    answers = await asyncio.gather(*waiting, *late, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * CALLS_IN_FLIGHT + [Busy] * 2
    assert world.ledger.groups == [1] * CALLS_IN_FLIGHT


async def test_a_wrong_signature_writes_nothing(world: World) -> None:
    world.ledger.open.set()
    with pytest.raises(Unauthenticated):
        await intakes.webhook(world.intake, {"x-signature": "0" * 64}, b"{}")
    assert world.ledger.calls == []
    assert world.intake.counts == {"unauthenticated": 1}

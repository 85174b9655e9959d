"""
What every backend owes that takes several orders in one request: an outcome and a finding for each, in their order.

Each adapter joins by a way to make it for the address of its stand-in; the fake of the outflow's tests joins the part
that needs no network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, cast

import msgspec
import pytest

from flashd.backends import tryton
from flashd.config import Secret
from flashd.domain.delivery import (
    Absent,
    Away,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Found,
    Later,
    Outcome,
    Sunk,
    Throttled,
    Unknown,
)
from flashd.domain.order import Line
from flashd.ports import Backend, BatchingBackend
from tests.backends.fault_server import AWAY, DOUBTFUL, THROTTLED, Fault, FaultServer, StandIn
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import TrytonStandIn
from tests.conftest import PassTime
from tests.fakes.backend import BatchingFake
from tests.fakes.clock import FakeClock

KEY = Secret(env="secret")
POISON = "4"  # the order that the backend refuses, and with it whoever travels with it


class Batching(Backend, BatchingBackend, Protocol):
    """A backend that takes both."""


class Rig(msgspec.Struct):
    """One of them, and what it has under a key."""

    backend: Batching
    held: Callable[[str], int]
    server: FaultServer | None = None


def make_tryton(url: str, **more: Any) -> Batching:
    fields = {"url": url, "database": "erp", "secret": KEY, "shop": 1, "party": 2, "user": "flashd", "password": KEY}
    config = msgspec.convert({"kind": "tryton", "batch": 8, **fields, **more}, tryton.Config)
    return cast("Batching", tryton.connect("b", config, reveal))


def poisonable() -> TrytonStandIn:
    stand_in = TrytonStandIn()
    stand_in.poison = 99
    return stand_in


ADAPTERS: dict[str, tuple[Callable[..., Batching], Callable[[], StandIn]]] = {"tryton": (make_tryton, poisonable)}


@pytest.fixture(params=[*ADAPTERS, "fake"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Each adapter before a stand-in of its backend, and the fake."""
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            fake = BatchingFake(FakeClock(), takes_s=0, poisoned={POISON})
            yield Rig(fake, fake.recorded.count)
            return
        make, stand_in = ADAPTERS[request.param]
        server = await stack.enter_async_context(FaultServer(stand_in()).running())
        backend = make(server.url)
        yield Rig(backend, server.stand_in.held, server)
        await backend.close()


@pytest.fixture(params=ADAPTERS)
async def faulty(request: pytest.FixtureRequest, pass_time: PassTime) -> AsyncIterator[Rig]:
    """Each adapter; in a black hole its minute is over at once."""
    make, stand_in = ADAPTERS[request.param]
    async with FaultServer(stand_in(), hangs=lambda: pass_time(60)).running() as server:
        backend = make(server.url, timeout_s=60.0)
        yield Rig(backend, server.stand_in.held, server)
        await backend.close()


def some(*numbers: int) -> list[Delivery]:
    """Orders by their ids; that of the poisonous one has a product that no order can be made with."""
    return [
        a_delivery(an_order(str(number), lines=(Line("SKU-99", 1, 100),) if str(number) == POISON else None))
        for number in numbers
    ]


def again(deliveries: Sequence[Delivery]) -> list[Delivery]:
    return [msgspec.structs.replace(delivery, sends=delivery.sends + 1) for delivery in deliveries]


async def in_halves(backend: Batching, deliveries: Sequence[Delivery]) -> dict[str, Outcome]:
    """Do as the backend actor does with what sinks."""
    if len(deliveries) == 1:
        return {deliveries[0].ref.id: await backend.deliver(deliveries[0])}
    outcomes = dict(zip((one.ref.id for one in deliveries), await backend.deliver_many(deliveries), strict=True))
    sunk = [one for one in deliveries if isinstance(outcomes[one.ref.id], Sunk)]
    for half in (sunk[: len(sunk) // 2], sunk[len(sunk) // 2 :]):
        if half:
            outcomes |= await in_halves(backend, half)
    return outcomes


# ------------------------------------------------------------------------------------------ what a healthy backend does


async def test_each_of_a_batch_is_delivered_and_found_in_its_place(rig: Rig) -> None:
    assert isinstance(rig.backend, BatchingBackend)
    assert rig.backend.traits.batch == 8
    deliveries, never = some(1, 2, 3), some(7)
    outcomes = await rig.backend.deliver_many(deliveries)
    refs = [outcome.backend_ref for outcome in outcomes if isinstance(outcome, Delivered)]
    assert len(set(refs)) == 3
    findings = await rig.backend.find_many([deliveries[2], *never, deliveries[0]])
    assert findings == [Found(backend_ref=refs[2]), Absent(), Found(backend_ref=refs[0])]
    assert await rig.backend.find(deliveries[1]) == Found(backend_ref=refs[1])
    assert rig.server is None or rig.server.written == 1


async def test_the_same_batch_twice_is_the_same_orders(rig: Rig) -> None:
    deliveries = some(1, 2, 3)
    first = await rig.backend.deliver_many(deliveries)
    assert await rig.backend.deliver_many(again(deliveries)) == first
    assert await rig.backend.deliver_many(deliveries) == first
    assert [rig.held(delivery.key) for delivery in deliveries] == [1, 1, 1]


async def test_a_batch_of_which_some_are_there_makes_the_others_only(rig: Rig) -> None:
    deliveries = some(1, 2, 3, 5, 6)
    one = await rig.backend.deliver(deliveries[1])
    two, three = await rig.backend.deliver_many(deliveries[3:])
    outcomes = await rig.backend.deliver_many(deliveries)
    assert [type(outcome) for outcome in outcomes] == [Delivered] * 5
    assert (outcomes[1], outcomes[3], outcomes[4]) == (one, two, three)
    assert [rig.held(delivery.key) for delivery in deliveries] == [1] * 5


async def test_what_sinks_has_left_nothing_and_in_halves_only_the_poison_is_declined(rig: Rig) -> None:
    deliveries = some(1, 2, 3, int(POISON), 5, 6, 7)
    outcomes = await rig.backend.deliver_many(deliveries)
    assert [type(outcome) for outcome in outcomes] == [Sunk] * 7
    assert [rig.held(delivery.key) for delivery in deliveries] == [0] * 7
    ends = await in_halves(rig.backend, deliveries)
    assert {name for name, end in ends.items() if not isinstance(end, Delivered)} == {POISON}
    assert isinstance(ends[POISON], Declined)
    assert [rig.held(one.key) for one in deliveries] == [int(one.ref.id != POISON) for one in deliveries]


# ------------------------------------------------------------------------------------------------------------- adapters


@pytest.mark.parametrize("fault", DOUBTFUL, ids=str)
async def test_without_an_answer_that_proves_something_each_is_in_doubt_and_ends_up_once(
    faulty: Rig, fault: Fault
) -> None:
    deliveries, server = some(1, 2, 3), faulty.server
    assert server is not None
    server.fault = fault
    outcomes = await faulty.backend.deliver_many(deliveries)
    assert [type(outcome) for outcome in outcomes] == [Doubtful] * 3
    assert server.written == 1, "it repeated a request by itself"
    assert [faulty.held(delivery.key) for delivery in deliveries] == [int(fault.records)] * 3
    server.fault = None
    for finding in await faulty.backend.find_many(deliveries):
        assert isinstance(finding, Absent)
        assert bool(finding.half_done) == fault.records
    assert [type(outcome) for outcome in await faulty.backend.deliver_many(again(deliveries))] == [Delivered] * 3
    assert [faulty.held(delivery.key) for delivery in deliveries] == [1] * 3


@pytest.mark.parametrize("fault", AWAY, ids=str)
@pytest.mark.parametrize("every", [False, True], ids=["writing", "everything"])
async def test_a_refused_login_or_address_means_away_for_all(faulty: Rig, fault: Fault, every: bool) -> None:  # noqa: FBT001
    assert faulty.server is not None
    faulty.server.fault, faulty.server.on_every = fault, every
    assert [type(outcome) for outcome in await faulty.backend.deliver_many(some(1, 2))] == [Away] * 2
    if every:
        assert [type(finding) for finding in await faulty.backend.find_many(some(1, 2))] == [Unknown] * 2


@pytest.mark.parametrize(("fault", "wait_s"), THROTTLED[:4], ids=[str(fault) for fault, _ in THROTTLED[:4]])
async def test_a_throttled_batch_says_how_long_to_wait(faulty: Rig, fault: Fault, wait_s: float | None) -> None:
    assert faulty.server is not None
    faulty.server.fault, faulty.server.on_every = fault, True
    for said in await faulty.backend.deliver_many(some(1, 2)):
        assert isinstance(said, Throttled)
        assert said.retry_after_s == wait_s
    for found in await faulty.backend.find_many(some(1, 2)):
        assert isinstance(found, Unknown)
        assert found.retry_after_s == wait_s


@pytest.mark.parametrize("kind", ADAPTERS)
async def test_where_nothing_reached_the_wire_it_is_later_for_all(kind: str) -> None:
    backend = ADAPTERS[kind][0]("http://127.0.0.1:1", timeout_s=1.0)
    assert [type(outcome) for outcome in await backend.deliver_many(some(1, 2))] == [Later] * 2
    assert [type(finding) for finding in await backend.find_many(some(1, 2))] == [Unknown] * 2
    await backend.close()


async def test_the_answer_to_another_batch_proves_nothing(faulty: Rig) -> None:
    server = faulty.server
    assert server is not None
    await faulty.backend.deliver_many(some(1, 2))
    other = server.last
    server.fault = Fault("another batch's answer", answer=lambda _: other)
    assert [type(outcome) for outcome in await faulty.backend.deliver_many(some(3, 5))] == [Doubtful] * 2
    server.fault = None
    assert await faulty.backend.find_many(some(3, 5)) == [Absent()] * 2

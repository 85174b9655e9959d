"""Several orders in one request: each has its own outcome, and nobody shares another's fate beyond that request."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.actors.company import Companies
from flashd.domain.delivery import (
    Away,
    BackendTraits,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Later,
    Outcome,
    Sunk,
    Throttled,
    Unsupported,
)
from flashd.domain.order import Kind, OrderRef, OrderState
from tests.actors.test_backend import Make, World, make, most_in_any_second
from tests.conformance.outboxes import make_record
from tests.fakes.backend import BatchingFake
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool

__all__ = ["make"]


def batching(world: World, batch: int = 8, *, idempotent: bool = False, lookup: bool = True) -> BatchingFake:
    """Put a backend that takes batches in the place of the other; not idempotent, so that twice is seen."""
    traits = BackendTraits(
        idempotent=idempotent, lookup=lookup, batch=batch, kinds=frozenset({Kind.CREATE, Kind.CANCEL})
    )
    world.backend = BatchingFake(world.clock, traits=traits)
    return world.backend


def times_recorded(backend: BatchingFake) -> Counter[str]:
    return Counter(backend.recorded)


async def test_a_backlog_goes_out_in_full_batches_each_with_one_drop_one_claim_and_one_settling(make: Make) -> None:
    world = make(rate="5/s", batch=8)
    backend = batching(world)
    world.queue(*range(40))
    await world.run(3)
    assert set(world.states()) == {"delivered"}
    assert [len(group) for group in backend.batches] == [8] * 5
    assert [member for group in backend.batches for member in group] == [f"{number:04}" for number in range(40)]
    assert world.gate.drops == 5
    assert world.outbox.calls.count("claim") == 5
    assert world.outbox.calls.count("finish") == 5
    assert most_in_any_second(backend.requests_s) <= 5


async def test_what_is_due_is_sent_and_nobody_waits_for_a_batch_to_fill(make: Make) -> None:
    world = make(rate="5/s", batch=8)
    backend = batching(world)
    world.queue(0, 1, 2)
    await world.run(1)
    assert [len(group) for group in backend.batches] == [3]
    world.queue(3)
    await world.clock.advance(2)
    assert [len(group) for group in backend.batches] == [3, 1]
    assert set(world.states()) == {"delivered"}


async def test_with_a_batch_of_one_the_backend_is_asked_as_ever(make: Make) -> None:
    world = make(batch=1)
    backend = batching(world)
    world.queue(*range(5))
    await world.run(2)
    assert [len(group) for group in backend.batches] == [1] * 5


async def test_a_batch_carries_orders_of_several_pools(make: Make) -> None:
    world = make(rate="5/s", batch=8)
    backend = batching(world)
    south = FakeOutbox(FakePool("south", clock=world.clock))
    for number in range(100, 104):
        record = make_record(f"{number:04}")
        south.state.records[record.ref] = record
        south.state.due_ms[record.ref] = world.clock.now_ms()
    world.queue(*range(4))
    await world.run(2, outboxes=[world.outbox, south])
    assert [len(group) for group in backend.batches] == [8]
    assert set(world.states()) == {"delivered"}
    assert {str(record.state) for record in south.state.records.values()} == {"delivered"}
    assert (world.outbox.calls.count("finish"), south.calls.count("finish")) == (1, 1)


async def test_cancels_travel_alone(make: Make) -> None:
    world = make(rate="50/s", batch=8)
    backend = batching(world)
    world.queue(0, 1)
    record = make_record("0002", kind=Kind.CANCEL, taken=0)
    world.pool.records[record.ref] = record
    world.pool.due_ms[record.ref] = world.clock.now_ms()
    world.queue(3, 4)
    await world.run(2)
    assert set(world.states()) == {"delivered"}
    assert [group for group in backend.batches if "0002" in group] == [["0002"]]


async def test_each_member_has_an_outcome_of_its_own(make: Make) -> None:
    world = make(rate="5/s", batch=8, settle_s=30.0)
    backend = batching(world)

    def each_its_own(deliveries: Sequence[Delivery]) -> list[Outcome]:
        kinds: list[Outcome] = [Declined("unknown product"), Doubtful("unreadable"), Unsupported("not here")]
        return [*(backend.record(one) for one in deliveries[:3]), *kinds]

    backend.scripts.append(each_its_own)
    world.queue(*range(6))
    actor = await world.run(2)
    assert world.states() == ["delivered", "delivered", "delivered", "dead", "in_doubt", "manual"]
    assert actor.snapshot().circuit == "closed"
    assert actor.snapshot().counts == {"delivered": 3, "declined": 1, "doubtful": 1, "unsupported": 1}
    assert world.record(3).reason == "unknown product"


@pytest.mark.parametrize(("size", "place"), [(size, place) for size in range(1, 9) for place in range(size)])
async def test_a_poisoned_member_is_buried_alone_and_the_others_arrive_once(make: Make, size: int, place: int) -> None:
    world = make(rate="50/s", batch=8)
    backend = batching(world)
    backend.poisoned.add(f"{place:04}")
    world.queue(*range(size))
    await world.run(2)
    states = world.states()
    assert states.pop(place) == "dead"
    assert set(states) <= {"delivered"}
    assert set(times_recorded(backend).values()) <= {1}
    assert len(backend.recorded) == size - 1
    assert len(backend.batches) <= 2 * math.ceil(math.log2(size)) + 1 if size > 1 else len(backend.batches) == 1
    assert (world.record(place).refusals, world.record(place).reason) == (1, "poisoned")


async def test_halves_of_a_sunk_batch_draw_in_nobody_else(make: Make) -> None:
    world = make(rate="50/s", batch=4)
    backend = batching(world, batch=4)
    backend.poisoned.add("0001")
    world.queue(*range(12))
    await world.run(2)
    assert backend.batches[0] == ["0000", "0001", "0002", "0003"]
    for group in backend.batches[1:]:
        strangers = {int(member) > 3 for member in group}
        assert len(strangers) == 1, backend.batches
    assert world.states().count("delivered") == 11


async def test_two_that_only_sink_together_are_both_delivered(make: Make) -> None:
    world = make(rate="50/s", batch=4)
    backend = batching(world, batch=4)

    def quarrel(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        ids = {one.ref.id for one in deliveries}
        if {"0000", "0001"} <= ids:
            return [Sunk("deadlock")] * len(deliveries)
        return [backend.record(one) for one in deliveries]

    backend.scripts.extend([quarrel] * 4)
    world.queue(*range(4))
    await world.run(2)
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}


@pytest.mark.parametrize("committed", ["all", "some", "none"])
async def test_a_time_out_puts_each_in_doubt_and_one_look_up_tells_them_apart(make: Make, committed: str) -> None:
    world = make(rate="5/s", batch=8, timeout_s=3.0, settle_s=5.0)
    backend = batching(world)
    backend.takes_s = 0.1

    def commit(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        for index, delivery in enumerate(deliveries):
            if committed == "all" or (committed == "some" and index % 2):
                backend.record(delivery)
        raise TimeoutError

    backend.scripts.append(commit)
    world.queue(*range(8))
    await world.run(2)
    assert set(world.states()) == {"in_doubt"}
    await world.clock.advance(30)
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}
    assert len(backend.searches[0]) == 8
    wanted = {"all": 1, "some": 2, "none": 2}[committed]  # absence is proven twice
    assert len(backend.searches) == wanted
    assert {record.refusals for record in world.pool.records.values()} == {0}


async def test_a_hanging_request_of_many_is_cut_off_in_time(make: Make) -> None:
    world = make(rate="5/s", batch=8, timeout_s=3.0, settle_s=60.0)
    backend = batching(world)
    backend.takes_s = 100.0
    world.queue(*range(8))
    await world.run(5)
    assert set(world.states()) == {"in_doubt"}
    assert world.record(7).reason == "no answer within 3 s"


async def test_a_poisoned_member_that_makes_the_backend_hang_sinks_nobody(make: Make) -> None:
    world = make(rate="50/s", batch=8, settle_s=1.0, timeout_s=2.0, max_refusals=3)
    backend = batching(world)

    def hang(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        if any(one.ref.id == "0005" for one in deliveries):
            return [Doubtful("no answer")] * len(deliveries)
        return [backend.record(one) for one in deliveries]

    backend.scripts.extend([hang] * 500)
    backend.by_order["0005"] = Doubtful("no answer")
    world.queue(*range(16))
    actor = await world.run(12)
    world.queue(*range(16, 40))
    for number in range(40, 400):
        world.queue(number)
        await world.clock.advance(0.2)
    await world.clock.advance(20)
    states = world.states()
    assert states.pop(5) == "dead"
    assert set(states) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}
    assert max(world.record(number).refusals for number in range(400) if number != 5) == 0
    assert actor.snapshot().circuit != "open"


@pytest.mark.parametrize("said", [Later("connection refused"), Away("401"), Throttled("429", 5.0)], ids=str)
async def test_one_answer_for_a_batch_counts_once_against_the_backend(make: Make, said: Outcome) -> None:
    world = make(rate="50/s", batch=8)
    backend = batching(world)
    backend.scripts.append(lambda deliveries: [said] * len(deliveries))
    world.queue(*range(8))
    actor = await world.run(1.1)
    assert set(world.states()) == {"queued"}
    told = "backend.throttled" if isinstance(said, Throttled) else "backend.went_away"
    assert world.announcer.kinds == [told]
    wait_s = 5.0 if isinstance(said, Throttled) else 1.0
    assert actor.health.circuit.retry_at_s - backend.requests_s[0] == pytest.approx(wait_s, abs=0.1)
    await world.clock.advance(60)
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}
    assert {record.refusals for record in world.pool.records.values()} == {0}


async def test_three_batches_without_an_answer_are_an_outage_and_one_is_not(make: Make) -> None:
    world = make(rate="10/s", batch=8, settle_s=600.0, max_in_flight=1)
    backend = batching(world)
    backend.scripts.append(lambda deliveries: [Doubtful("reset")] * len(deliveries))
    world.queue(*range(8))
    actor = await world.run(1)
    assert actor.snapshot().circuit == "closed"
    backend.scripts.extend([lambda deliveries: [Doubtful("reset")] * len(deliveries)] * 2)
    world.queue(*range(8, 80))
    actor.wake()
    await world.clock.advance(0.5)
    assert actor.snapshot().circuit == "open"
    assert world.states().count("in_doubt") == 24


async def test_an_outage_is_probed_by_one_order_and_not_by_a_batch(make: Make) -> None:
    world = make(rate="10/s", batch=8)
    backend = batching(world)
    backend.scripts.append(lambda deliveries: [Away("401")] * len(deliveries))
    world.queue(*range(16))
    await world.run(1.9)
    assert [len(group) for group in backend.batches[:2]] == [8, 1]


@pytest.mark.parametrize(
    "answer",
    [lambda _: [], lambda deliveries: [Delivered("SO-1")] * (len(deliveries) + 1), ValueError("a bug")],
    ids=["nothing", "one too many", "raises"],
)
async def test_an_answer_that_does_not_fit_puts_each_in_doubt(
    make: Make, answer: Callable[[Sequence[Delivery]], Sequence[Outcome]] | Exception
) -> None:
    world = make(rate="5/s", batch=8, settle_s=2.0)
    backend = batching(world)
    backend.scripts.append(answer)
    world.queue(*range(4))
    await world.run(1)
    assert set(world.states()) == {"in_doubt"}
    await world.clock.advance(20)
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}


async def test_one_key_that_cannot_be_looked_up_hides_no_other(make: Make) -> None:
    world = make(rate="10/s", batch=8, settle_s=1.0)
    backend = batching(world)
    backend.unreadable.add("0003")
    world.queue(*range(8), state=OrderState.IN_DOUBT, sends=1)
    backend.recorded.extend(record_key(world, number) for number in range(8))
    await world.run(60)
    states = world.states()
    assert states.pop(3) == "in_doubt"
    assert set(states) == {"delivered"}


def record_key(world: World, number: int) -> str:
    return world.outbox._delivery(OrderRef("shop", f"{number:04}")).key


async def test_without_look_up_a_batch_in_doubt_is_sent_again_in_halves_under_the_same_keys(make: Make) -> None:
    world = make(rate="10/s", batch=4, settle_s=1.0)
    backend = batching(world, batch=4, idempotent=True, lookup=False)
    backend.scripts.append(lambda deliveries: [*map(backend.record_and_drop_the_reply, deliveries)])
    world.queue(*range(4))
    await world.run(8)
    assert set(world.states()) == {"delivered"}
    assert [len(group) for group in backend.batches] == [4, 2, 2]
    assert set(times_recorded(backend).values()) == {1}
    assert backend.searches == []


# ------------------------------------------------------------------------------------------------- crashes, the store


@pytest.mark.parametrize("verb", ["claim", "finish"])
async def test_a_lost_reply_of_the_store_sends_no_member_twice(make: Make, verb: str) -> None:
    world = make(rate="10/s", batch=4)
    backend = batching(world, batch=4)
    world.outbox.lost_replies.extend([verb, verb])
    world.queue(*range(12))
    await world.run(8)
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}
    assert len(backend.sent) == 12


async def test_a_stop_between_claim_and_send_gives_every_member_back(make: Make) -> None:
    world = make(rate="10/s", batch=4, max_in_flight=4)
    backend = batching(world, batch=4)
    world.queue(*range(16))
    actor = world.actor()
    actor.start()
    while not world.outbox.calls.count("claim"):
        await world.clock.advance(0.01)
    assert backend.batches == []
    assert "sending" in world.states()
    world.clock.stand_still(0.0)
    for task in actor._rounds:
        task.cancel()
    actor.leadership._term.end()  # type: ignore[union-attr]  # nothing may leave any more
    await world.stop(actor)
    assert set(world.states()) == {"queued"}
    assert backend.batches == []


async def test_a_stop_in_the_midst_of_a_request_leaves_each_member_in_doubt_and_none_is_sent_twice(make: Make) -> None:
    world = make(rate="10/s", batch=4, timeout_s=300.0, settle_s=2.0)
    backend = batching(world, batch=4)
    backend.takes_s = 200.0
    world.queue(*range(4))
    actor = await world.run(1)
    await world.stop(actor)
    assert set(world.states()) == {"in_doubt"}
    backend.recorded.extend(delivery.key for delivery in backend.sent[:2])  # two of them had arrived
    backend.takes_s = 0.01
    await world.run(20, owner="b")
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}


async def test_a_kill_before_the_settling_leaves_the_items_in_flight_and_the_next_leader_looks_them_up(
    make: Make,
) -> None:
    world = make(rate="10/s", batch=4, settle_s=2.0)
    backend = batching(world, batch=4)
    world.outbox.failing.add("finish")
    world.queue(*range(4))
    actor = await world.run(1)
    assert len(backend.recorded) == 4
    await kill(world, *world.actors)
    assert actor in world.actors or not world.actors
    world.outbox.failing.clear()
    await world.clock.advance(world.rules.lease_ms / 1000 + world.rules.lease_s)
    await world.run(10, owner="b")
    assert set(world.states()) == {"delivered"}
    assert set(times_recorded(backend).values()) == {1}
    assert len(backend.batches) == 1


async def kill(world: World, *actors: Any) -> None:
    """As SIGKILL would: nothing is settled, nobody resigns."""
    for actor in actors:
        for task in [*actor.children, actor._task]:
            task.cancel()
        actor.on_stop = _die
        await asyncio.gather(*actor.children, actor._task, return_exceptions=True)
        world.actors.remove(actor)


async def _die() -> None:
    return


async def test_a_leader_that_was_overtaken_half_way_settles_what_is_a_fact(make: Make) -> None:
    world = make(rate="10/s", batch=4)
    backend = batching(world, batch=4)
    backend.takes_s = 2.0
    backend.scripts.append(
        lambda deliveries: [*(backend.record(one) for one in deliveries[:2]), Declined("no"), Doubtful("reset")]
    )
    world.queue(*range(4))
    await world.run(1)
    world.pool.fences["erp"] = 10**16
    await world.clock.advance(3)
    assert world.states() == ["delivered", "delivered", "sending", "sending"]


# ------------------------------------------------------------------------------------------------------------ figures


async def test_the_time_a_backlog_takes_knows_the_batch(make: Make) -> None:
    world = make(rate="1/s", batch=8)
    batching(world)
    await world.gate.pause(reason="counting", by="ada")
    world.queue(*range(80))
    actor = await world.run(2)
    snapshot = actor.snapshot()
    assert (snapshot.per_second, snapshot.batch, snapshot.orders_per_second) == (1.0, 8, 8.0)
    assert snapshot.drain_s == pytest.approx(10.0)
    assert snapshot.leave_s(1) == pytest.approx(1.0)


def test_a_company_is_forgotten_when_it_is_too_many() -> None:
    companies = Companies()
    keys = [("main", OrderRef("shop", str(number))) for number in range(20_000)]
    for start in range(0, len(keys), 8):
        companies.split(keys[start : start + 8])
    assert companies.of(keys[0]) == 0
    assert companies.of(keys[-1]) > 0
    assert len(companies._half_of) == 10_000
    companies.leave(keys[-1])
    assert companies.of(keys[-1]) == 0


# ----------------------------------------------------------------------------------------------------- random faults

FAULTS = ["fine", "sunk", "lost", "partly", "reset", "away", "throttled", "raises", "short"]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(2, 9),
    count=st.integers(1, 30),
    faults=st.lists(st.sampled_from(FAULTS), max_size=12),
    lost=st.lists(st.sampled_from(["claim", "finish"]), max_size=4),
    poisoned=st.sets(st.integers(0, 29), max_size=3),
    stops=st.integers(0, 2),
)
def test_whatever_happens_each_key_is_recorded_once_where_it_is_delivered_and_never_twice(
    batch: int, count: int, faults: list[str], lost: list[str], poisoned: set[int], stops: int
) -> None:
    async def play() -> None:
        world = World(rate="50/s", batch=batch, settle_s=1.0, slow_start_s=0.1)
        backend = batching(world, batch=batch)
        backend.poisoned.update(f"{number:04}" for number in poisoned)
        backend.scripts.extend(misfortune(backend, fault) for fault in faults)
        world.outbox.lost_replies.extend(lost)
        world.queue(*range(count))
        for turn in range(stops):
            actor = await world.run(0.3 + turn / 3, owner=str(turn))
            await world.stop(actor)
        actor = await world.run(200, owner="last")
        await world.stop(actor)
        books = times_recorded(backend)
        assert set(books.values()) <= {1}
        for number in range(count):
            record = world.record(number)
            wanted = OrderState.DEAD if number in poisoned else OrderState.DELIVERED
            assert record.state is wanted, (number, record.timeline)
            assert books[record_key(world, number)] == (number not in poisoned)

    asyncio.run(play())


def misfortune(backend: BatchingFake, fault: str) -> Callable[[Sequence[Delivery]], Sequence[Outcome]]:
    """What becomes of one request of several; the poisoned are never recorded."""
    for_all: dict[str, Outcome] = {
        "sunk": Sunk("rolled back"),
        "lost": Doubtful("the reply was lost"),
        "partly": Doubtful("half of a reply"),
        "reset": Doubtful("reset"),
        "away": Away("401"),
        "throttled": Throttled("429", 1.0),
    }
    recorded = {"lost": slice(None), "partly": slice(None, None, 2), "short": slice(None), "fine": slice(None)}

    def answer(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        if fault == "raises":
            raise ValueError("a bug")
        if any(delivery.ref.id in backend.poisoned for delivery in deliveries):
            return [for_all.get(fault, for_all["sunk"])] * len(deliveries)
        outcomes = [backend.record(one) for one in deliveries[recorded.get(fault, slice(0))]]
        if fault == "short":
            return outcomes[1:]
        return outcomes if fault == "fine" else [for_all[fault]] * len(deliveries)

    return answer

"""A store that forgot what was sent (a fail-over to a replica that lacked it): who sent it does not send blindly."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flashd.actors.sendings import KEPT, Sendings
from flashd.domain.delivery import BackendTraits, Delivery, idempotency_key
from flashd.domain.order import OrderRef
from tests.actors.test_backend import NEITHER, ONLY_IDEMPOTENT, Make, make
from tests.conformance.ledgers import make_incoming
from tests.fakes.backend import BatchingFake

__all__ = ["make"]  # the fixture
ONLY_LOOKUP = BackendTraits(idempotent=False, lookup=True)


def key(number: int) -> str:
    return idempotency_key(OrderRef("shop", f"{number:04}"))


@pytest.mark.parametrize("asked_s", [5.0, 0.5], ids=["delivered", "under way"])
async def test_what_was_sent_and_is_forgotten_is_looked_up_and_found(make: Make, asked_s: float) -> None:
    world = make()
    world.backend.traits, world.backend.takes_s = ONLY_LOOKUP, 2.0
    world.queue(0)
    await world.run(asked_s)
    assert [delivery.ref.id for delivery in world.backend.sent] == ["0000"]
    world.queue(0, 1)  # as if never claimed; and one that nobody sent
    await world.clock.advance(30)
    assert world.states() == ["delivered", "delivered"]
    assert world.backend.recorded == [key(0), key(1)]
    assert [delivery.ref.id for delivery in world.backend.sent] == ["0000", "0001"]
    assert [delivery.ref.id for delivery in world.backend.looked_up] == ["0000"]


async def test_what_was_sent_and_never_arrived_is_sent_after_two_absences(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_LOOKUP
    world.queue(0)
    await world.run(5)
    world.backend.recorded.clear()  # the backend lost it as well
    world.queue(0)
    await world.clock.advance(30)
    assert world.states() == ["delivered"]
    assert [len(world.backend.sent), len(world.backend.looked_up)] == [2, 2]
    world.queue(0)  # forgotten once more
    await world.clock.advance(30)
    assert world.states() == ["delivered"]
    assert world.backend.recorded == [key(0)]


async def test_a_store_that_forgets_twice_in_a_row_is_not_believed_either_time(make: Make) -> None:
    world = make(settle_s=5.0)
    world.backend.traits = ONLY_LOOKUP
    world.queue(0)
    await world.run(5)
    for _ in range(2):  # the second time before the backend was asked
        world.queue(0)
        await world.clock.advance(2)
        assert world.states() == ["in_doubt"]
    await world.clock.advance(20)
    assert world.states() == ["delivered"]
    assert world.backend.recorded == [key(0)]


async def test_each_attempt_that_the_store_knows_of_goes_out_unasked(make: Make) -> None:
    world = make(settle_s=1.0)
    world.backend.traits = ONLY_LOOKUP
    world.backend.refused = True
    world.queue(0)
    await world.run(10)
    world.backend.refused = False
    await world.clock.advance(60)
    assert world.states() == ["delivered"]
    assert len(world.backend.sent) > 2
    assert world.backend.looked_up == []


async def test_where_nobody_can_be_asked_only_what_was_forgotten_is_left_to_a_human(make: Make) -> None:
    world = make()
    world.backend.traits = NEITHER
    world.queue(0)
    await world.run(5)
    world.queue(0, 1)
    await world.clock.advance(20)
    assert world.states() == ["manual", "delivered"]
    assert "the store forgot" in world.record(0).reason
    assert world.backend.recorded == [key(0), key(1)]


async def test_a_backend_that_heeds_keys_is_sent_it_again_at_once(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_IDEMPOTENT
    world.queue(0)
    await world.run(5)
    world.queue(0)
    await world.clock.advance(1)
    assert world.states() == ["delivered"]
    assert world.backend.recorded == [key(0)]


async def test_of_a_batch_only_what_was_forgotten_stays_behind(make: Make) -> None:
    world = make(rate="5/s", batch=8)
    backend = world.backend = BatchingFake(world.clock, traits=BackendTraits(idempotent=False, lookup=True, batch=8))
    world.queue(0, 1)
    await world.run(5)
    world.queue(0, 1, 2, 3)
    await world.clock.advance(30)
    assert world.states() == ["delivered"] * 4
    assert sorted(backend.recorded) == sorted(map(key, range(4)))
    assert sorted(backend.batches[-1]) == ["0002", "0003"]


async def test_who_takes_its_place_after_a_reload_remembers_it(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_LOOKUP
    world.queue(0)
    former = await world.run(5)
    await world.stop(former)
    world.queue(0)
    heir = world.actor()
    heir.courier.follow(former.courier)
    heir.start()
    await world.clock.advance(20)
    assert world.states() == ["delivered"]
    assert world.backend.recorded == [key(0)]


def test_the_newest_are_remembered_and_no_more_than_a_bound() -> None:
    sendings = Sendings()
    order = make_incoming("1").order

    def delivery(number: int) -> Delivery:
        return Delivery(ref=OrderRef("shop", str(number)), key=key(number), order=order)

    for number in range(3 * KEPT):
        sendings.note(delivery(number))
        assert len(sendings) <= KEPT
    assert not sendings.knows(delivery(0))
    newest = delivery(3 * KEPT - KEPT // 2)
    assert sendings.knows(newest)
    assert not sendings.knows(replace(newest, sends=2))
    sendings.note(replace(newest, sends=2))
    sendings.note(newest)
    assert not sendings.knows(replace(newest, sends=2)), "the store counts anew"

"""A backend that is asked before anything is sent: the store is an older copy, and may have forgotten what it sent."""

from __future__ import annotations

from flashd.domain.delivery import BackendTraits, idempotency_key
from flashd.domain.order import OrderRef
from tests.actors.test_backend import NEITHER, ONLY_IDEMPOTENT, Make, make

__all__ = ["make"]  # the fixture
ONLY_LOOKUP = BackendTraits(idempotent=False, lookup=True)
WHY = "the backup of Tuesday was restored"


def key(number: int) -> str:
    return idempotency_key(OrderRef("shop", f"{number:04}"))


async def test_what_the_backend_has_is_found_and_what_it_lacks_is_sent_once_after_two_absences(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_LOOKUP
    world.backend.recorded += [key(0), key(1)]  # sent before the backup was restored
    await world.gate.ask_first(WHY, by="ada")
    world.queue(0, 1, 2)
    await world.run(20)
    assert world.states() == ["delivered"] * 3
    assert sorted(world.backend.recorded) == [key(0), key(1), key(2)]
    assert [delivery.ref.id for delivery in world.backend.sent] == ["0002"]
    looked = [delivery.ref.id for delivery in world.backend.looked_up]
    assert (looked.count("0000"), looked.count("0002")) == (1, 2)
    assert world.record(2).refusals == 0


async def test_without_the_word_they_would_be_there_twice(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_LOOKUP
    world.backend.recorded += [key(0)]
    world.queue(0)
    await world.run(20)
    assert world.backend.recorded == [key(0), key(0)]


async def test_a_backend_that_can_neither_be_asked_nor_told_twice_leaves_it_to_a_human(make: Make) -> None:
    world = make()
    world.backend.traits = NEITHER
    await world.gate.ask_first(WHY, by="ada")
    world.queue(0, 1)
    await world.run(20)
    assert world.states() == ["manual", "manual"]
    assert world.backend.sent == []
    assert "asked first" in world.record(0).reason


async def test_a_backend_that_heeds_keys_is_sent_the_same_key(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_IDEMPOTENT
    world.backend.recorded += [key(0)]
    await world.gate.ask_first(WHY, by="ada")
    world.queue(0, 1)
    await world.run(20)
    assert world.states() == ["delivered"] * 2
    assert sorted(world.backend.recorded) == [key(0), key(1)]


async def test_another_process_asks_for_itself(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_LOOKUP
    await world.gate.ask_first(WHY, by="ada")
    world.queue(0)
    first = await world.run(7, owner="a")
    await world.stop(first)
    world.backend.recorded += [key(0)]  # somebody wrote it meanwhile: what the first one saw is not believed
    await world.run(20, owner="b")
    assert world.backend.sent == []
    assert world.states() == ["delivered"]


async def test_another_reason_begins_anew_and_none_ends_it(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_LOOKUP
    await world.gate.ask_first(WHY, by="ada")
    actor = await world.run(2)
    assert actor.status.asks_first == WHY
    world.queue(0)
    await world.clock.advance(2)
    assert world.states() == ["in_doubt"]
    await world.gate.ask_first("", by="ada")
    await world.clock.advance(2)
    world.queue(1)
    await world.clock.advance(2)
    assert world.states() == ["in_doubt", "delivered"]
    assert [delivery.ref.id for delivery in world.backend.sent] == ["0001"]

"""A pool whose server is away keeps nobody waiting but its own orders."""

from __future__ import annotations

from flashd.actors.roll_call import ABSENT_S
from flashd.domain.order import OrderState
from tests.actors.test_backend import World
from tests.conformance.outboxes import make_record
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool

ALL = {"claim", "finish", "due", "recover", "depth", "doubtful"}


def with_another(world: World, count: int) -> tuple[FakePool, list[FakeOutbox]]:
    """Return another pool with so many orders, and the outboxes of both; its own comes first."""
    other = FakePool(clock=world.clock, name="other")
    for number in range(count):
        record = make_record(f"{number:04}")
        other.records[record.ref], other.raws[record.ref] = record, b"raw"
        other.due_ms[record.ref] = world.clock.now_ms()
    return other, [FakeOutbox(other), world.outbox]


async def test_the_orders_of_other_pools_go_on_while_the_server_of_one_is_away() -> None:
    world = World()
    other, outboxes = with_another(world, 20)
    world.queue(*range(100, 140))
    outboxes[0].failing.update(ALL)
    actor = await world.run(8, outboxes=outboxes)
    assert set(world.states()) == {"delivered"}
    assert {record.state for record in other.records.values()} == {OrderState.QUEUED}
    asked = len([call for call in outboxes[0].calls if call == "due"])
    assert 1 <= asked <= 8 / ABSENT_S + 2  # each may cost a time-out
    outboxes[0].failing.clear()
    await world.clock.advance(ABSENT_S + 8)
    assert {record.state for record in other.records.values()} == {OrderState.DELIVERED}
    assert len(world.backend.sent) == 60
    await world.stop(actor)


async def test_what_was_peeked_of_a_pool_before_it_went_away_holds_up_nobody() -> None:
    world = World()
    other, outboxes = with_another(world, 200)
    world.queue(*range(300, 400))
    actor = await world.run(1, outboxes=outboxes)  # a backlog of both was peeked together
    outboxes[0].failing.update(ALL)
    before = len(world.backend.sent)
    await world.clock.advance(9)
    assert len(world.backend.sent) - before > 70  # of 90 that the rate allows
    outboxes[0].failing.clear()
    await world.clock.advance(ABSENT_S + 30)
    assert set(world.states()) == {"delivered"}
    assert {record.state for record in other.records.values()} == {OrderState.DELIVERED}
    assert len(world.backend.sent) == len(world.backend.recorded) == 300
    await world.stop(actor)

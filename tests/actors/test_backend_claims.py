"""What was claimed and did not fly: nothing may stand still in the hands of an actor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flashd.domain.delivery import BackendTraits, ClaimCode, Delivery
from flashd.domain.order import OrderRef
from flashd.errors import StoreUnavailable
from tests.actors.test_backend import Make, World, make
from tests.conformance.outboxes import make_record
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool

__all__ = ["make"]

NEITHER = BackendTraits(idempotent=False, lookup=False)


def south_of(world: World) -> FakeOutbox:
    """Another pool, with as many orders as the first: they are claimed in the same round."""
    south = FakeOutbox(FakePool("south", clock=world.clock))
    for number in range(4):
        record = make_record(f"{number:04}")
        south.state.records[record.ref] = record
        south.state.due_ms[record.ref] = world.clock.now_ms()
    return south


async def test_what_one_pool_gave_flies_although_the_claim_in_another_was_not_answered(make: Make) -> None:
    world = make(rate="50/s", max_in_flight=4)
    world.backend.traits = NEITHER
    south = south_of(world)
    south.lost_replies.extend(["claim"] * 3)
    world.queue(*range(12))
    actor = await world.run(8, outboxes=[world.outbox, south])
    assert set(world.states()) == {"delivered"}
    assert {str(record.state) for record in south.state.records.values()} == {"delivered"}
    assert len(world.backend.sent) == 16
    assert actor.snapshot().in_flight == 0


async def test_what_was_claimed_flies_although_the_newer_version_of_another_could_not_be_applied(make: Make) -> None:
    world = make(rate="50/s")
    world.backend.traits = NEITHER
    world.queue(*range(4))

    failed = 0

    async def fail_twice(pool: str) -> None:
        nonlocal failed
        failed += 1
        if failed <= 2:
            raise StoreUnavailable("apply_next")
        world.applied.append(pool)
        changed.clear()

    changed = {OrderRef("shop", "0001")}
    world.outbox = Changing(world.pool, changed=changed)
    actor = world.actor()
    actor._in_hand._apply_next = fail_twice
    actor.start()
    await world.clock.advance(5)
    assert world.applied == ["main"]
    assert set(world.states()) == {"delivered"}
    assert len(world.backend.sent) == 4
    assert actor.snapshot().in_flight == 0


@dataclass
class Changing(FakeOutbox):
    """Answers `changed` for some: a newer version of them waits."""

    changed: set[OrderRef] = field(default_factory=set)

    async def claim(
        self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        free = [ref for ref in refs if ref not in self.changed]
        given = dict(zip(free, await super().claim(free, epoch=epoch, lease_ms=lease_ms), strict=True))
        return [given.get(ref, (ClaimCode.CHANGED, None)) for ref in refs]


@dataclass
class Slow(FakeOutbox):
    """Claims, and does not answer until it is told to."""

    claimed: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim(self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int) -> Any:
        given = await super().claim(refs, epoch=epoch, lease_ms=lease_ms)
        self.claimed.set()
        await asyncio.Event().wait()
        return given


async def test_stopping_in_the_midst_of_a_claim_puts_back_what_was_surely_not_sent(make: Make) -> None:
    world = make()
    world.backend.traits = NEITHER
    world.outbox = Slow(world.pool)
    world.queue(0, 1)
    actor = await world.run(2)
    assert world.outbox.claimed.is_set()
    assert "sending" in world.states()
    await world.stop(actor)
    assert world.states() == ["queued", "queued"]
    assert world.backend.sent == []

"""A channel that takes figures and cannot say what it shows: a doubt is ended by the same write, under the same key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.domain.listing import Begin, BeginCode, ListingState, WriteMode
from flashd.ports import FigureWrite, FigureWritten, WriteCode
from tests.actors.shops import Make, Shop, World
from tests.fakes.channel_api import Fault

COUNTED = 40
DOUBT_S = 5.0
FAULTS = 6
UNREAD = {"reads": False, "idempotent": True, "lag_ms": 0}


def opened(world: World) -> Shop:
    return world.shop(write=WriteMode.ABSOLUTE, traits=UNREAD)


@dataclass(frozen=True)
class Step:
    """Something changes, what the platform does to the next writes, and how much time goes by then."""

    verb: str
    units: int
    faults: list[Fault | None]
    seconds: float


STEPS = st.builds(
    Step,
    st.sampled_from(["sell", "count", "land"]),
    st.integers(1, 3),
    st.lists(st.sampled_from([None, *Fault]), max_size=FAULTS),
    st.sampled_from([0.0, 0.1, 1.0, 7.0]),
)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_whatever_becomes_of_writes_the_shop_ends_with_what_is_left(steps: list[Step]) -> None:
    async def live() -> None:
        world, left = World(tee=COUNTED), COUNTED
        shop, on_hand = opened(world), COUNTED
        await world.run(3, doubt_s=DOUBT_S, poll_s=5.0)
        for step in steps:
            shop.api.faults.extend(step.faults)
            if step.verb == "sell" and shop.api.sell("tee", step.units):
                left -= step.units
            elif step.verb == "count":
                on_hand, left = on_hand + step.units, left + step.units
                world.stock("tee", on_hand)
            elif step.verb == "land":
                shop.api.land()
            await world.clock.advance(step.seconds)
        shop.api.faults.clear()
        await world.clock.advance(12 * DOUBT_S)
        shop.api.land()  # nothing that was late brings anything back
        await world.clock.advance(1)
        shown, row = shop.shows(), shop.row()
        await world.stop()
        assert (shown, row.figure, row.exposed, row.state) == (left, left, left, ListingState.IDLE)

    asyncio.run(live())


async def test_it_is_told_without_being_asked_and_shows_what_it_did_not_have(make: Make) -> None:
    world = make(tee=10, cap=3)
    shop = opened(world)
    shop.api.stock["tee"] = 25
    await world.run(30, sweep_s=10.0)
    assert shop.api.stock == {"tee": 10, "cap": 3}
    assert len(shop.api.written) == 2  # an unchanged figure is never rewritten
    shop.publisher.slate.unclear.add("tee")
    world.stock("tee", 10)  # looked at once more
    await world.clock.advance(1)
    world.stock("tee", 7)
    await world.clock.advance(1)
    assert shop.shows() == 7


async def test_a_sale_after_a_write_whose_answer_was_lost_is_not_undone_by_its_repeat(make: Make) -> None:
    world = make(tee=10)
    shop = opened(world)
    await world.run(5, doubt_s=DOUBT_S)
    shop.api.faults.extend([Fault.LOST, Fault.VANISHED])  # the write, and its repeat at once
    world.stock("tee", 8)
    await world.clock.advance(1)
    assert shop.row().state is ListingState.IN_DOUBT
    shop.api.sell("tee", 3)
    await world.clock.advance(2 * DOUBT_S)
    assert shop.shows() == 5
    assert len(set(shop.api.keys)) < len(shop.api.keys)


async def test_what_a_process_that_died_had_begun_is_sent_under_its_key(make: Make) -> None:
    world = make(tee=10)
    shop = opened(world)
    [begun] = await world.listings.begin("a", [Begin(sku="tee", units=9, mode=WriteMode.ABSOLUTE, key="its own")])
    assert begun.code is BeginCode.BEGUN
    await world.run(4 * DOUBT_S, doubt_s=DOUBT_S)
    assert shop.api.keys[0] == "its own"
    assert [to for _, _, to in shop.api.written] == [9, 10]


async def test_a_refusal_of_the_repeat_leaves_it_in_doubt(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(tee=10)
    shop = opened(world)
    await world.run(5, doubt_s=DOUBT_S)
    shop.api.faults.extend([Fault.LOST, Fault.VANISHED])
    world.stock("tee", 4)
    await world.clock.advance(1)
    take = shop.api.write

    async def refuse(writes: list[FigureWrite]) -> list[FigureWritten]:
        return [FigureWritten(sku=one.entry.sku, code=WriteCode.REFUSED, reason="HTTP 401") for one in writes]

    monkeypatch.setattr(shop.api, "write", refuse)
    await world.clock.advance(3 * DOUBT_S)
    assert shop.row().state is ListingState.IN_DOUBT
    monkeypatch.setattr(shop.api, "write", take)
    world.stock("tee", 6)
    await world.clock.advance(3 * DOUBT_S)
    assert shop.shows() == 6

"""What a publisher may conclude of answers, and how exposure that nothing else would mend becomes right again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from flashd.domain.listing import ListingState
from flashd.domain.publication import PublishMode
from flashd.ports import FigureWrite, FigureWritten, WriteCode
from tests.actors.shops import Make
from tests.fakes.channel_api import Fault


@pytest.mark.parametrize("exposed", [2, 14])
@pytest.mark.parametrize("mode", ["mirror", "escrow"])
async def test_a_sweep_mends_exposure_that_is_not_what_the_platform_shows(
    make: Make, mode: PublishMode, exposed: int
) -> None:
    world = make(tee=20)
    shop = world.shop(mode=mode, shows=7)
    await world.run(30, sweep_s=20.0)
    shown = shop.shows()
    row, level = shop.row(), world.level()
    assert row.exposed == shown > 0
    world.pool.listings["a", "tee"] = replace(row, exposed=exposed)  # a clamp, or a refusal while it settled
    if mode == "escrow":
        world.pool.levels["tee", "main"] = replace(level, exposed=exposed)
    await world.clock.advance(60)
    assert shop.row().exposed == shop.shows()
    assert mode == "mirror" or world.level().exposed == shop.shows()


async def test_a_refusal_of_the_repeat_says_nothing_of_the_first_attempt(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(tee=10)
    shop = world.shop(shows=3)
    await world.run(5)
    take, keys = shop.api.write, set()

    async def login_ends(writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        if writes[0].key in keys:
            return [FigureWritten(sku=one.entry.sku, code=WriteCode.REFUSED, reason="HTTP 422") for one in writes]
        keys.add(writes[0].key)
        return await take(writes)

    monkeypatch.setattr(shop.api, "write", login_ends)
    shop.api.faults.append(Fault.LOST)  # applied, and nobody heard
    world.stock("tee", 4)
    await world.clock.advance(2)
    assert shop.shows() == 4
    assert shop.row().state is ListingState.IN_DOUBT
    assert shop.row().exposed >= 4
    await world.clock.advance(60)
    assert (shop.row().state, shop.row().exposed) == (ListingState.IDLE, 4)


async def test_skus_that_the_platform_does_not_have_are_not_handed_out_at_every_look(make: Make) -> None:
    world = make(tee=10, **{f"gone{number}": 5 for number in range(300)})
    shop = world.shop()
    for number in range(300):
        del shop.api.stock[f"gone{number}"]
    await world.run(20)
    assert (shop.publisher.snapshot().dirty, len(shop.publisher.snapshot().gaps)) == (0, 300)
    world.stock("gone7", 4)
    world.stock("tee", 9)
    calls = shop.api.calls
    await world.clock.advance(20)
    assert shop.shows() == 9
    assert shop.api.calls - calls <= 2  # the figure, and a poll
    shop.api.stock["gone7"] = 0
    await world.clock.advance(320)
    assert shop.shows("gone7") == 4

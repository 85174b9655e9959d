"""A backend without a rate: as fast as it answers, and never more at once than it was given places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from flashd.actors.backend_rules import BackendRules
from flashd.config import BackendConfig
from flashd.domain.delivery import Away, ClaimCode, Delivery, FinishCode, Later, Outcome, Result, Throttled
from flashd.domain.order import OrderRef
from flashd.domain.rate import Rate
from tests.actors.test_backend import NEITHER, Make, World, make
from tests.fakes.outbox import FakeOutbox

__all__ = ["make"]

UNLIMITED = Rate.parse("unlimited", unlimited=True)


def unlimited(world: World, **rules: object) -> World:
    known = {name: getattr(world.rules, name) for name in world.rules.__dataclass_fields__}
    world.rules = BackendRules(**{**known, "rate": UNLIMITED, **rules})
    return world


async def test_without_a_rate_no_drop_is_taken_and_all_places_are_used(make: Make) -> None:
    world = unlimited(make(), max_in_flight=8)
    world.backend.takes_s = 0.05
    world.queue(*range(200))
    actor = await world.run(2)
    assert set(world.states()) == {"delivered"}
    assert world.gate.drops == 0
    assert world.backend.busiest == 8
    assert world.backend.requests_s[-1] - world.backend.requests_s[0] <= 1.3  # 25 rounds of 50 ms
    assert actor.snapshot().rate == "unlimited"
    assert set(Counter(world.backend.recorded).values()) == {1}


@dataclass
class Unhurried(FakeOutbox):
    """Takes a while for what it must make durable."""

    async def claim(
        self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        await self.state.clock.sleep(0.005)
        return await super().claim(refs, epoch=epoch, lease_ms=lease_ms)

    async def finish(self, results: Sequence[Result], *, epoch: int) -> list[FinishCode]:
        await self.state.clock.sleep(0.005)
        return await super().finish(results, epoch=epoch)


async def test_results_and_claims_share_their_calls_and_no_place_waits_for_the_store(make: Make) -> None:
    world = unlimited(make(), max_in_flight=16)
    world.outbox = Unhurried(world.pool)
    world.queue(*range(800))
    await world.run(2)
    assert set(world.states()) == {"delivered"}
    assert world.outbox.calls.count("claim") <= 800 / 8
    assert world.outbox.calls.count("finish") <= 800 / 5
    sent = world.backend.requests_s
    assert sent[-1] - sent[0] <= 1.25 * 800 / 16 * world.backend.takes_s


async def test_orders_are_claimed_ahead_only_where_a_claim_that_was_not_sent_can_be_told_from_one_that_was(
    make: Make,
) -> None:
    ahead = unlimited(make(), max_in_flight=8)
    ahead.backend.takes_s = 0.05
    ahead.queue(*range(500))
    await ahead.run(1)
    assert 8 < ahead.states().count("sending") <= 24
    careful = unlimited(make(), max_in_flight=8)
    careful.backend.takes_s, careful.backend.traits = 0.05, NEITHER
    careful.queue(*range(500))
    await careful.run(1)
    assert careful.states().count("sending") <= 8


async def test_a_slow_backend_has_nothing_claimed_for_later(make: Make) -> None:
    world = unlimited(make(), max_in_flight=8, timeout_s=60.0)
    world.backend.takes_s = 20.0
    world.queue(*range(100))
    await world.run(70)
    assert world.states().count("sending") <= 9
    assert {delivery.sends for delivery in world.backend.sent} == {1}  # none was claimed and given back


@pytest.mark.parametrize("said", [Throttled("429", 5.0), Away("401"), Later("refused")], ids=str)
async def test_an_answer_that_closes_the_way_lets_nothing_more_out(make: Make, said: Outcome) -> None:
    world = unlimited(make(), max_in_flight=4)
    world.backend.takes_s = 0.05
    world.queue(*range(300))
    await world.run(1)
    world.backend.script.append(said)
    sent = len(world.backend.sent)
    await world.clock.advance(0.9)
    assert len(world.backend.sent) - sent <= 12  # those on the wire, the one that was told, and as many beside it
    assert world.states().count("sending") == 0  # what was claimed ahead went back
    await world.clock.advance(60)
    assert set(world.states()) == {"delivered"}
    assert set(Counter(world.backend.recorded).values()) == {1}
    assert {record.refusals for record in world.pool.records.values()} == {0}


async def test_a_humans_pause_is_noticed_within_a_moment(make: Make) -> None:
    world = unlimited(make(), max_in_flight=4)
    world.backend.takes_s = 0.05
    world.queue(*range(1000))
    await world.run(1)
    await world.gate.pause(reason="stock-taking", by="ada")  # by another process: nobody tells this actor
    await world.clock.advance(0.2)
    sent = len(world.backend.sent)
    await world.clock.advance(5)
    assert len(world.backend.sent) == sent
    assert "sending" not in world.states()
    await world.gate.resume(by="ada")
    await world.clock.advance(2)
    assert len(world.backend.sent) > sent


async def test_after_an_outage_a_tenth_of_the_places_is_used_at_first(make: Make) -> None:
    world = unlimited(make(), max_in_flight=20)
    world.backend.script.append(Later("refused"))
    world.backend.takes_s = 0.5
    world.queue(*range(2000))
    await world.run(3)
    world.backend.busiest = world.backend.busy
    await world.clock.advance(5)
    assert world.backend.busiest == 2
    await world.clock.advance(60)
    assert world.backend.busiest == 20


async def test_stopping_gives_back_what_was_claimed_ahead(make: Make) -> None:
    world = unlimited(make(), max_in_flight=4, timeout_s=300.0)
    world.backend.takes_s = 0.05
    world.queue(*range(500))
    actor = await world.run(1)
    world.backend.takes_s = 200.0
    await world.clock.advance(0.1)
    assert world.states().count("sending") > 4
    await world.stop(actor)
    states = Counter(world.states())
    assert states["in_doubt"] == 4
    assert states["sending"] == 0
    assert states["queued"] + states["delivered"] == 496


async def test_an_override_puts_a_rate_on_it(make: Make) -> None:
    world = unlimited(make())
    await world.gate.set_rate("2/s", by="ada")
    world.queue(*range(50))
    actor = await world.run(5)
    assert len(world.backend.sent) <= 11
    assert actor.snapshot().rate == "2/s"


async def test_what_left_lately_tells_how_long_a_backlog_takes(make: Make) -> None:
    world = unlimited(make(), max_in_flight=4)
    world.backend.takes_s = 0.1  # 40 a second
    world.queue(*range(1000))
    actor = await world.run(5)
    snapshot = actor.snapshot()
    assert snapshot.per_second == pytest.approx(40, rel=0.2)
    assert snapshot.drain_s == pytest.approx(snapshot.queued / 40, rel=0.3)


def test_unlimited_is_a_word_of_backends_only() -> None:
    assert BackendRules.of(BackendConfig(kind="http", rate="unlimited")).rate == UNLIMITED
    assert (str(UNLIMITED), UNLIMITED.spacing_us, UNLIMITED.paced_us) == ("unlimited", 0, 0)
    with pytest.raises(ValueError, match=r"10/30s$"):
        Rate.parse("unlimited")  # of a channel, or an override
    with pytest.raises(ValueError, match="or unlimited"):
        Rate.parse("fast", unlimited=True)

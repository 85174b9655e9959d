from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flashd.actors.backend import BackendActor
from flashd.actors.backend_rules import BackendRules
from flashd.actors.flight import Flight, Parcel
from flashd.domain.delivery import (
    Absent,
    Away,
    BackendTraits,
    Declined,
    Delivery,
    Doubtful,
    Later,
    Mismatch,
    Throttled,
    Unknown,
    Unsupported,
)
from flashd.domain.lease import Term
from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.domain.rate import SLACK_US, Rate
from flashd.errors import StoreUnavailable
from tests.conformance.outboxes import make_record
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool

NEITHER = BackendTraits(idempotent=False, lookup=False)
ONLY_IDEMPOTENT = BackendTraits(idempotent=True, lookup=False)


class World:
    """One backend, its gate and one pool, fed by one actor or more."""

    def __init__(self, **rules: Any) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        self.outbox = FakeOutbox(self.pool)
        self.gate = FakeGate(self.clock)
        self.backend = FakeBackend(self.clock)
        self.announcer = FakeAnnouncer()
        self.applied: list[str] = []
        self.actors: list[BackendActor] = []
        rate = Rate.parse(rules.pop("rate", "10/s"))
        self.rules = BackendRules(**{"rate": rate, "settle_s": 5.0, "timeout_s": 10.0, **rules})

    def actor(self, owner: str = "a", **more: Any) -> BackendActor:
        actor = BackendActor(
            self.backend,
            self.rules,
            more.get("outboxes", [self.outbox]),
            self.gate,
            clock=self.clock,
            announcer=self.announcer,
            owner=owner,
            apply_next=self._apply_next,
        )
        self.actors.append(actor)
        return actor

    async def _apply_next(self, pool: str) -> None:
        self.applied.append(pool)
        self.pool.waiting.clear()

    def queue(self, *numbers: int, **changes: Any) -> None:
        for number in numbers:
            record = make_record(f"{number:04}", **changes)
            self.pool.records[record.ref] = record
            self.pool.due_ms[record.ref] = self.clock.now_ms()
            self.pool.raws[record.ref] = b"raw"

    def record(self, number: int) -> OrderRecord:
        return self.pool.records[OrderRef("shop", f"{number:04}")]

    def states(self) -> list[str]:
        return [str(self.pool.records[ref].state) for ref in sorted(self.pool.records)]

    async def claimed_flight(self, *, age_s: float = 0.0) -> Flight:
        """One order, claimed by hand, with a drop that could be used that long ago."""
        self.queue(0)
        [(_, delivery)] = await self.outbox.claim([OrderRef("shop", "0000")], epoch=1, lease_ms=60_000)
        assert delivery is not None
        now = self.clock.monotonic_s()
        parcels = (Parcel(self.outbox, delivery),)
        return Flight(parcels=parcels, term=Term(1, now, 60), use_at_s=now - age_s, claimed_s=now)

    async def run(self, seconds: float, **more: Any) -> BackendActor:
        """Start an actor and let that much time go by."""
        actor = self.actor(**more)
        actor.start()
        await self.clock.advance(seconds)
        return actor

    async def stop(self, actor: BackendActor, timeout_s: float = 5.0) -> float:
        """Stop it while the clock turns; return how long that took."""
        began = self.clock.monotonic_s()
        stopping = asyncio.create_task(actor.stop(timeout_s))
        for _ in range(200):
            if stopping.done():
                break
            await self.clock.advance(0.1)
        await stopping
        assert actor._task is not None
        assert actor._task.exception() is None, "the actor crashed"
        return self.clock.monotonic_s() - began


Make = Callable[..., World]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    worlds: list[World] = []

    def build(**rules: Any) -> World:
        worlds.append(World(**rules))
        return worlds[-1]

    yield build
    for world in worlds:
        for actor in world.actors:
            await world.stop(actor)


# -------------------------------------------------------------------------------------------- the outcome table


async def test_every_queued_order_is_delivered_once_and_oldest_first(make: Make) -> None:
    world = make()
    world.queue(*range(20))
    actor = await world.run(4)
    assert set(world.states()) == {"delivered"}
    assert len(world.backend.recorded) == 20
    assert [delivery.ref.id for delivery in world.backend.sent] == [f"{number:04}" for number in range(20)]
    assert world.record(3).backend_ref.startswith("SO-")
    assert world.pool.raws == {}
    snapshot = actor.snapshot()
    assert (snapshot.queued, snapshot.leading, snapshot.circuit) == (0, True, "closed")
    assert snapshot.counts == {"delivered": 20}


async def test_declined_is_a_dead_letter_and_blocks_nobody(make: Make) -> None:
    world = make()
    world.backend.by_order["0000"] = Declined("unknown product")
    world.queue(0, 1, 2)
    await world.run(2)
    assert world.states() == ["dead", "delivered", "delivered"]
    assert (world.record(0).refusals, world.record(0).reason) == (1, "unknown product")


async def test_unsupported_waits_for_a_human(make: Make) -> None:
    world = make()
    world.backend.by_order["0000"] = Unsupported("no edits here")
    world.queue(0, 1)
    await world.run(2)
    assert world.states() == ["manual", "delivered"]


async def test_throttled_makes_the_whole_backend_wait_and_counts_nothing(make: Make) -> None:
    world = make()
    world.backend.script.append(Throttled("429", retry_after_s=20))
    world.queue(0, 1, 2)
    await world.run(15)
    sends = len(world.backend.sent)
    assert sends <= 2  # the one that was told, and one that was on its way
    assert "backend.throttled" in world.announcer.kinds
    assert (await world.gate.status()).reason == "429"
    assert world.record(0).refusals == 0
    await world.clock.advance(10)
    assert set(world.states()) == {"delivered"}


async def test_a_retry_after_of_hours_is_cut_to_fifteen_minutes(make: Make) -> None:
    world = make()
    world.backend.script.append(Throttled("429", retry_after_s=86_400))
    world.queue(0)
    await world.run(890)
    assert len(world.backend.sent) == 1
    await world.clock.advance(20)
    assert world.states() == ["delivered"]


@pytest.mark.parametrize("said", [Later("connection refused"), Away("401: the token has expired")])
async def test_an_outage_burns_no_attempts(make: Make, said: Later | Away) -> None:
    world = make()
    world.backend.script.extend([said] * 8)
    world.queue(*range(10))
    await world.run(3)
    assert set(world.states()) == {"queued"}
    assert world.announcer.kinds == ["backend.went_away"]
    assert world.announcer.said[0][2]["alert"] is isinstance(said, Away)
    await world.clock.advance(300)
    assert set(world.states()) == {"delivered"}
    assert max(record.refusals for record in world.pool.records.values()) == 0
    assert world.announcer.kinds == ["backend.went_away", "backend.came_back"]


async def test_what_went_wrong_is_told_until_the_backend_answers_again(make: Make) -> None:
    world = make()
    world.backend.script.append(Later("connection refused"))
    world.queue(*range(10))
    actor = await world.run(0.5)
    assert actor.snapshot().last_error == "connection refused"
    await world.clock.advance(300)
    assert set(world.states()) == {"delivered"}
    assert actor.snapshot().last_error == ""


async def test_an_outage_is_probed_by_one_order_at_a_time_ever_more_rarely(make: Make) -> None:
    world = make(max_in_flight=4)
    world.backend.refused = True
    world.queue(*range(50))
    actor = await world.run(120)
    sent = world.backend.requests_s
    pauses = [later - earlier for earlier, later in zip(sent[-5:-1], sent[-4:], strict=True)]
    assert all(pause >= 29 for pause in pauses[-2:]), pauses
    assert len(sent) < 15
    assert actor.snapshot().circuit == "open"
    assert actor.snapshot().drain_s is None


async def test_after_an_outage_the_flow_begins_at_a_tenth_and_doubles(make: Make) -> None:
    world = make(rate="10/s")
    world.backend.script.append(Later("connection refused"))
    world.queue(*range(400))
    actor = await world.run(3)
    came_back = world.backend.requests_s[1]
    assert actor.snapshot().circuit == "slow"
    await world.clock.advance(60)
    since = [when - came_back for when in world.backend.requests_s[1:]]
    per_step = [sum(1 for when in since if step * 10 < when <= step * 10 + 10) for step in range(5)]
    assert per_step[0] in range(8, 12)
    assert per_step[1] in range(17, 22)
    assert per_step[2] in range(36, 42)
    assert per_step[4] in range(95, 101)
    assert actor.snapshot().circuit == "closed"


async def test_one_poison_order_blocks_nobody_and_is_buried(make: Make) -> None:
    world = make(rate="10/s", settle_s=2.0, max_refusals=3)
    world.backend.by_order["0000"] = Doubtful("connection reset")
    world.queue(*range(400))
    await world.run(60)
    assert world.states()[0] == "dead"
    assert set(world.states()[1:]) == {"delivered"}
    assert "backend.went_away" not in world.announcer.kinds


async def test_a_backend_that_swallows_everything_does_not_put_the_whole_backlog_in_doubt(make: Make) -> None:
    world = make(settle_s=600.0)
    world.backend.by_order.update({f"{number:04}": Doubtful("no answer") for number in range(300)})
    world.queue(*range(300))
    await world.run(60)
    assert world.states().count("in_doubt") < 15
    assert world.states().count("queued") > 285


async def test_a_lost_reply_is_looked_up_and_found(make: Make) -> None:
    world = make()
    world.backend.script.append(world.backend.record_and_drop_the_reply)
    world.queue(0)
    await world.run(4.5)
    assert world.states() == ["in_doubt"]
    assert world.backend.looked_up == []  # not before the settling time is over
    await world.clock.advance(4)
    assert world.states() == ["delivered"]
    assert len(world.backend.sent) == 1
    assert len(world.backend.recorded) == 1


async def test_absent_twice_a_settling_time_apart_is_sent_again_under_the_same_key(make: Make) -> None:
    world = make()
    world.backend.script.append(Doubtful("connection reset"))
    world.queue(0)
    await world.run(30)
    assert world.states() == ["delivered"]
    assert len({delivery.key for delivery in world.backend.sent}) == 1
    assert len(world.backend.sent) == 2
    first, second = (when for when in world.backend.requests_s[1:3])
    assert second - first >= 5.0
    assert world.record(0).refusals == 0  # nobody else was answered meanwhile


async def test_a_commit_between_two_look_ups_is_found_and_not_sent_again(make: Make) -> None:
    world = make()
    world.backend.script.append(Doubtful("no answer"))

    def commit_late(delivery: Any) -> Absent:
        world.backend.record(delivery)
        return Absent()

    world.backend.findings.append(commit_late)
    world.queue(0)
    await world.run(30)
    assert world.states() == ["delivered"]
    assert len(world.backend.sent) == 1


async def test_what_is_booked_until_the_settling_time_is_over_is_never_sent_again(make: Make) -> None:
    world = make(settle_s=5.0)
    world.backend.traits = BackendTraits(idempotent=False, lookup=True)

    async def commit(delivery: Delivery) -> None:
        await world.clock.sleep(4.9)
        world.backend.record(delivery)

    def swallow(delivery: Delivery) -> Doubtful:
        later.append(asyncio.ensure_future(commit(delivery)))
        return Doubtful("no answer")

    later: list[asyncio.Future[None]] = []
    world.backend.script.append(swallow)
    world.queue(0)
    await world.run(40)
    assert world.states() == ["delivered"]
    assert len(world.backend.recorded) == len(set(world.backend.recorded)), "booked twice"


async def test_something_else_under_the_key_is_for_a_human(make: Make) -> None:
    world = make()
    world.backend.script.append(Doubtful("garbage"))
    world.backend.findings.append(Mismatch("another total", backend_ref="SO9"))
    world.queue(0)
    await world.run(10)
    assert world.states() == ["manual"]
    assert world.record(0).backend_ref == "SO9"


async def test_a_failed_look_up_is_repeated_and_the_order_stays_in_doubt(make: Make) -> None:
    world = make()
    world.backend.script.append(world.backend.record_and_drop_the_reply)
    world.backend.findings.extend([Unknown("500"), Unknown("429", retry_after_s=30)])
    world.queue(0)
    await world.run(25)
    assert world.states() == ["in_doubt"]
    await world.clock.advance(40)
    assert world.states() == ["delivered"]
    assert len(world.backend.sent) == 1


async def test_no_look_up_but_idempotent_is_sent_again_after_the_settling_time(make: Make) -> None:
    world = make()
    world.backend.traits = ONLY_IDEMPOTENT
    world.backend.script.append(world.backend.record_and_drop_the_reply)
    world.queue(0)
    await world.run(20)
    assert world.states() == ["delivered"]
    assert world.backend.looked_up == []
    assert len(world.backend.recorded) == 1
    assert world.backend.requests_s[1] - world.backend.requests_s[0] >= 5.0


async def test_without_look_up_an_order_that_is_never_answered_ends_at_a_human(make: Make) -> None:
    world = make(rate="10/s", settle_s=2.0, max_refusals=3)
    world.backend.traits = ONLY_IDEMPOTENT
    world.backend.by_order["0000"] = Doubtful("connection reset")
    world.queue(*range(300))
    await world.run(60)
    assert world.states()[0] == "manual"
    assert set(world.states()[1:]) == {"delivered"}


async def test_neither_look_up_nor_idempotency_is_for_a_human(make: Make) -> None:
    world = make()
    world.backend.traits = NEITHER
    world.backend.script.append(world.backend.record_and_drop_the_reply)
    world.queue(0, 1)
    await world.run(20)
    assert world.states() == ["manual", "delivered"]
    assert len(world.backend.sent) == 2


async def test_at_least_once_is_the_operators_choice(make: Make) -> None:
    world = make(at_least_once=True)
    world.backend.traits = NEITHER
    world.backend.script.append(Doubtful("connection reset"))
    world.queue(0)
    await world.run(20)
    assert world.states() == ["delivered"]
    assert len(world.backend.sent) == 2


async def test_an_adapter_that_hangs_or_raises_leaves_the_order_in_doubt(make: Make) -> None:
    world = make(timeout_s=3.0)
    world.backend.script.append(ValueError("a bug"))
    world.queue(0)
    await world.run(3)
    assert world.states() == ["in_doubt"]
    world.backend.takes_s = 60
    world.queue(1)
    await world.clock.advance(4)
    assert world.record(1).state is OrderState.IN_DOUBT
    assert world.record(1).reason == "no answer within 3 s"


async def test_a_waiting_version_is_applied_before_its_order_goes_out(make: Make) -> None:
    world = make()
    world.queue(0)
    world.pool.waiting[OrderRef("shop", "0000")] = None  # type: ignore[assignment]  # only its presence counts
    await world.run(3)
    assert world.applied == ["main"]
    assert world.states() == ["delivered"]


# ---------------------------------------------------------------------------------------------- pace and limits


async def test_resuming_probes_a_backend_that_was_away_at_once(make: Make) -> None:
    world = make()
    world.backend.refused = True
    world.queue(*range(3))
    await world.run(70)
    assert world.gate.until_ms - world.clock.now_ms() > 5_000
    world.backend.refused = False
    probes = len(world.backend.sent)
    await world.gate.resume(by="ada")  # another process' admin API: nobody tells this actor
    await world.clock.advance(3)
    assert len(world.backend.sent) > probes


def most_in_any_second(times: list[float]) -> int:
    return max(sum(1 for when in times if start <= when < start + 1.0 - 1e-9) for start in times)


async def test_with_a_backlog_the_rate_is_used_and_never_passed(make: Make) -> None:
    world = make(rate="50/s")
    world.queue(*range(600))
    await world.run(2)
    before = len(world.backend.requests_s)
    await world.clock.advance(8)
    assert len(world.backend.requests_s) - before >= 0.95 * 400
    assert most_in_any_second(world.backend.requests_s) <= 50


async def test_never_more_at_once_than_the_operator_allows(make: Make) -> None:
    world = make(rate="50/s", max_in_flight=3)
    world.backend.takes_s = 0.5
    world.queue(*range(40))
    await world.run(5)
    assert world.backend.busiest == 3
    assert len(world.backend.sent) >= 25


async def test_look_ups_take_drops_too(make: Make) -> None:
    world = make(rate="2/s", settle_s=1.0)
    world.queue(*range(20), state=OrderState.IN_DOUBT, sends=1)
    world.queue(*range(100, 120))
    await world.run(15)
    assert world.backend.looked_up
    assert world.backend.sent
    assert most_in_any_second(world.backend.requests_s) <= 2


async def test_an_override_of_the_rate_is_followed(make: Make) -> None:
    world = make(rate="10/s")
    await world.gate.set_rate("1/s", by="ada")
    world.queue(*range(200))
    actor = await world.run(11)
    assert len(world.backend.sent) <= 11
    assert (actor.snapshot().rate, actor.snapshot().per_second) == ("1/s", 1.0)
    await world.gate.set_rate("", by="ada")
    await world.clock.advance(10)
    assert len(world.backend.sent) >= 80
    assert actor.snapshot().drain_s == pytest.approx(actor.snapshot().queued / 10)


async def test_a_human_pauses_and_resumes_the_flow(make: Make) -> None:
    world = make()
    await world.gate.pause(reason="stock-taking", by="ada")
    world.queue(*range(5))
    actor = await world.run(5)
    assert world.backend.sent == []
    assert actor.status.paused
    await world.gate.resume(by="ada")
    await world.clock.advance(3)
    assert set(world.states()) == {"delivered"}


async def test_requests_that_piled_up_in_a_pause_leave_at_their_distance(make: Make) -> None:
    world = make(rate="50/s", max_in_flight=8)
    world.queue(*range(200))
    await world.run(2)
    before = len(world.backend.requests_s)
    world.clock.stand_still(0.3)
    await world.clock.advance(1)
    times = world.backend.requests_s
    assert len(times) > before + 40
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= 0.02 - SLACK_US / 1e6 - 1e-6
    assert sum(gap < 0.02 - 1e-6 for gap in gaps) <= 1  # what is late catches up once, not each time
    assert most_in_any_second(times) <= 50


@pytest.mark.parametrize(("age_s", "drops"), [(0.1, 0), (2.0, 1)])
async def test_a_drop_that_grew_old_is_thrown_away(make: Make, age_s: float, drops: int) -> None:
    world = make()
    flight = await world.claimed_flight(age_s=age_s)
    carrying = asyncio.create_task(world.actor().courier.carry(flight))
    await world.clock.advance(2)
    await carrying
    world.actors.clear()
    assert world.gate.drops == drops
    assert world.states() == ["delivered"]


async def test_nothing_leaves_once_the_term_is_over(make: Make) -> None:
    world = make()
    flight = await world.claimed_flight()
    flight.term = Term(1, world.clock.monotonic_s() - 4, 6)
    await world.actor().courier.carry(flight)
    await world.clock.advance(0.1)
    world.actors.clear()
    assert world.backend.sent == []
    assert world.states() == ["queued"]  # the claim was ours to give back: it was not sent


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from(["3/s", "10/s", "50/s", "30/10s"]),
    burst=st.integers(1, 3),
    takes_s=st.sampled_from([0.0, 0.03, 0.4]),
    answers=st.lists(
        st.sampled_from([Doubtful("reset"), Later("refused"), Throttled("429", 1.0), Declined("no")]), max_size=12
    ),
    pauses=st.lists(st.tuples(st.floats(0.05, 2.0), st.floats(0.0, 3.0)), max_size=4),
)
def test_no_window_holds_more_requests_than_the_bound_whatever_happens(
    rate: str, burst: int, takes_s: float, answers: list[Any], pauses: list[tuple[float, float]]
) -> None:
    async def play() -> None:
        world = World(rate=rate, burst=burst, settle_s=1.0)
        world.backend.takes_s = takes_s
        world.backend.script.extend(answers)
        world.queue(*range(120))
        actor = await world.run(1)
        for runs_s, stands_s in pauses:
            await world.clock.advance(runs_s)
            world.clock.stand_still(stands_s)
        await world.clock.advance(5)
        await world.stop(actor)
        parsed = Rate.parse(rate)
        times = world.backend.requests_s
        assert times
        for windows in (1.0, 1.7, 3.3):
            window_s = parsed.window_s * windows
            bound = math.ceil(parsed.count * windows) + burst - 1
            most = max(sum(1 for when in times if start <= when < start + window_s - 1e-5) for start in times)
            assert most <= bound, (window_s, bound)

    asyncio.run(play())


# ------------------------------------------------------------------------------------------- leadership, faults


async def test_only_the_leader_sends_and_another_takes_over_when_it_leaves(make: Make) -> None:
    world = make()
    world.queue(*range(10))
    first = await world.run(1, owner="a")
    second = await world.run(2, owner="b")
    assert not second.snapshot().leading
    await world.stop(first)
    world.queue(*range(10, 20))
    await world.clock.advance(5)
    assert second.snapshot().leading
    assert set(world.states()) == {"delivered"}
    assert len(world.backend.recorded) == 20


async def test_sending_stops_when_the_lease_cannot_be_renewed(make: Make) -> None:
    world = make(rate="10/s")
    world.queue(*range(200))
    actor = await world.run(1)
    world.gate.lead = _unavailable  # type: ignore[method-assign]  # only this door is shut
    began = world.clock.monotonic_s()
    await world.clock.advance(20)
    last = world.backend.requests_s[-1]
    assert last - began <= world.rules.lease_s / 2 + 0.01
    assert not actor.snapshot().leading


async def _unavailable(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable("down")


async def test_a_leader_that_was_overtaken_claims_nothing_more(make: Make) -> None:
    world = make()
    actor = await world.run(1)
    world.pool.fences["erp"] = 10**16  # a later term acted in this pool
    world.queue(0)
    await world.clock.advance(1.5)
    assert not actor.snapshot().leading
    await world.clock.advance(10)
    assert world.backend.sent == []
    assert world.states() == ["queued"]


async def test_a_leader_that_was_fenced_goes_on_in_a_higher_term(make: Make) -> None:
    world = make()
    actor = await world.run(1)
    fenced = actor.leadership.epoch
    world.pool.fences["erp"] = fenced + 1  # another led for a moment, and the lease is ours again
    world.queue(0)
    await world.clock.advance(10)
    assert actor.leadership.epoch > fenced
    assert world.states() == ["delivered"]


async def test_delivered_is_settled_although_another_leads_meanwhile(make: Make) -> None:
    world = make()
    world.backend.takes_s = 2.0
    world.queue(0)
    await world.run(1)
    world.pool.fences["erp"] = 10**16
    await world.clock.advance(3)
    assert world.states() == ["delivered"]


async def test_what_a_dead_leader_had_in_flight_is_recovered_as_in_doubt(make: Make) -> None:
    world = make()
    world.queue(0, state=OrderState.SENDING, sends=1)
    world.queue(1, state=OrderState.SENDING, sends=1)
    world.pool.due_ms[OrderRef("shop", "0001")] += 60_000  # its lease still lives
    world.backend.recorded.append("nothing of ours")
    await world.run(2)
    assert world.states() == ["in_doubt", "sending"]
    await world.clock.advance(20)
    assert world.states() == ["delivered", "sending"]
    await world.clock.advance(60)
    assert world.states() == ["delivered", "delivered"]


@pytest.mark.parametrize("verb", ["claim", "finish"])
async def test_a_lost_reply_of_the_store_delays_and_sends_nothing_twice(make: Make, verb: str) -> None:
    world = make()
    world.backend.traits = NEITHER
    world.outbox.lost_replies.extend([verb, verb])
    world.queue(*range(5))
    await world.run(6)
    assert set(world.states()) == {"delivered"}
    assert len(world.backend.sent) == 5


async def test_a_store_that_is_away_for_a_while_loses_nothing(make: Make) -> None:
    world = make()
    world.queue(*range(40))
    await world.run(1)
    world.outbox.failing.update({"claim", "finish", "due", "recover", "depth", "doubtful"})
    world.gate.down = True
    await world.clock.advance(20)
    world.outbox.failing.clear()
    world.gate.down = False
    await world.clock.advance(60)
    assert set(world.states()) == {"delivered"}
    assert len(world.backend.recorded) == 40


async def test_a_store_that_answers_again_leaves_no_trouble_beside_a_backend_at_rest(make: Make) -> None:
    world = make()
    actor = await world.run(1)
    world.outbox.failing.update({"due", "depth"})
    world.gate.down = True
    await world.clock.advance(20)
    assert actor.snapshot().last_error
    world.outbox.failing.clear()
    world.gate.down = False
    await world.clock.advance(20)
    assert actor.snapshot().last_error == ""


async def test_stopping_waits_for_what_is_on_its_way(make: Make) -> None:
    world = make()
    world.backend.takes_s = 1.0
    world.queue(*range(20))
    actor = await world.run(1)
    assert world.states().count("sending") > 0
    assert await world.stop(actor) <= 3.5
    assert set(world.states()) == {"delivered", "queued"}
    assert world.gate.lease.owner == ""


async def test_a_stuck_socket_does_not_hold_up_the_stop_and_its_order_is_in_doubt(make: Make) -> None:
    world = make(timeout_s=300.0)
    world.backend.takes_s = 200.0
    world.queue(*range(20))
    actor = await world.run(1)
    began = world.states().count("sending")
    assert began == 4
    assert await world.stop(actor, 5.0) <= 5.0
    assert world.states().count("in_doubt") == 4
    assert world.states().count("queued") == 16
    await world.stop(actor)


async def test_a_restart_goes_on_with_what_was_in_doubt(make: Make) -> None:
    world = make(timeout_s=300.0)
    world.backend.takes_s = 200.0
    world.backend.by_order["0000"] = world.backend.record_and_drop_the_reply
    world.queue(0)
    actor = await world.run(1)
    await world.stop(actor, 5.0)
    world.backend.recorded.append(world.backend.sent[0].key)
    world.backend.takes_s = 0.01
    await world.run(15, owner="b")
    assert world.states() == ["delivered"]
    assert len(world.backend.sent) == 1


async def test_a_wake_is_only_a_hint(make: Make) -> None:
    world = make()
    actor = await world.run(0.95)
    world.queue(0)
    actor.wake()
    await world.clock.advance(0.3)
    assert len(world.backend.sent) == 1
    world.queue(1)  # nobody says so
    await world.clock.advance(1.2)
    assert len(world.backend.sent) == 2


async def test_no_number_of_wakes_is_too_many(make: Make) -> None:
    world = make()
    actor = await world.run(0.95)
    for _ in range(100_000):  # a letter each would be refused long before
        actor.wake()
    world.queue(0)
    await world.clock.advance(0.3)
    assert len(world.backend.sent) == 1


async def test_two_pools_take_turns(make: Make) -> None:
    world = make()
    other = FakePool(name="other", clock=world.clock)
    record = make_record("9999")
    other.records[record.ref] = record
    other.due_ms[record.ref] = world.clock.now_ms()
    world.queue(*range(50))
    await world.run(2, outboxes=[world.outbox, FakeOutbox(other)])
    assert other.records[record.ref].state is OrderState.DELIVERED

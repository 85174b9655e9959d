from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.delivery import ClaimCode, FinishCode, Result, ResultKind, idempotency_key
from flashd.domain.order import Item, Kind, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.ports import Depth
from tests.conformance.outboxes import Bench, FakeBench, RedisBench, make_record
from tests.servers import KINDS, Server, find_server, missing

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


@pytest.fixture(params=["fake", *KINDS])
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    if request.param == "fake":
        yield FakeBench()
        return
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    if request.param not in servers:
        servers[request.param] = Server(request.param).start()
    client = Redis(unix_socket_path=servers[request.param].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield RedisBench(client)
    await client.aclose()


REF = OrderRef("shop", "1001")


async def claim_one(bench: Bench, *, epoch: int = 5, lease_ms: int = HOUR_MS) -> ClaimCode:
    [(code, _)] = await bench.outbox.claim([REF], epoch=epoch, lease_ms=lease_ms)
    return code


async def finish_one(bench: Bench, kind: ResultKind, *, epoch: int = 5, **more: object) -> FinishCode:
    [code] = await bench.outbox.finish([Result(ref=REF, kind=kind, **more)], epoch=epoch)  # type: ignore[arg-type]  # by name
    return code


async def test_a_claimed_item_is_counted_in_flight_and_no_longer_due(bench: Bench) -> None:
    await bench.put(make_record())
    assert await bench.outbox.due(10) == [REF]
    [(code, delivery)] = await bench.outbox.claim([REF], epoch=5, lease_ms=HOUR_MS)
    assert code is ClaimCode.CLAIMED
    assert delivery is not None
    assert delivery.key == idempotency_key(REF)
    assert delivery.order.lines[0].sku == "tee"
    assert delivery.sends == 1
    assert await bench.outbox.due(10) == []
    assert [item.ref for item in await bench.outbox.in_flight()] == [REF]
    record = await bench.record(REF)
    assert (record.state, record.sends, record.epoch) == (OrderState.SENDING, 1, 5)


async def test_the_second_claim_finds_nothing_queued(bench: Bench) -> None:
    await bench.put(make_record())
    assert await claim_one(bench) is ClaimCode.CLAIMED
    assert await claim_one(bench) is ClaimCode.NOT_QUEUED
    assert (await bench.record(REF)).sends == 1


async def test_many_items_are_claimed_in_one_call_each_on_its_own(bench: Bench) -> None:
    await bench.put(make_record("1001"))
    await bench.put(make_record("1002"), due_in_ms=HOUR_MS)
    refs = [OrderRef("shop", number) for number in ("1001", "1002", "1003")]
    codes = [code for code, _ in await bench.outbox.claim(refs, epoch=5, lease_ms=HOUR_MS)]
    assert codes == [ClaimCode.CLAIMED, ClaimCode.NOT_DUE, ClaimCode.NOT_QUEUED]


async def test_an_item_with_a_waiting_version_is_not_claimed(bench: Bench) -> None:
    await bench.put(make_record())
    await bench.wait_next(REF)
    assert await claim_one(bench) is ClaimCode.CHANGED
    assert (await bench.record(REF)).state is OrderState.QUEUED


async def test_a_mended_item_goes_out_under_a_new_key(bench: Bench) -> None:
    await bench.put(make_record(revision=2))
    [(_, delivery)] = await bench.outbox.claim([REF], epoch=5, lease_ms=HOUR_MS)
    assert delivery is not None
    assert delivery.key == idempotency_key(REF, 2)


async def test_a_follow_up_knows_the_backends_own_id_of_its_order(bench: Bench) -> None:
    await bench.put(make_record(state=OrderState.DELIVERED, sends=1, backend_ref="SO7"))
    await bench.put(make_record(kind=Kind.CANCEL))
    cancel = OrderRef("shop", "1001", Kind.CANCEL)
    [(code, delivery)] = await bench.outbox.claim([cancel], epoch=5, lease_ms=HOUR_MS)
    assert code is ClaimCode.CLAIMED
    assert delivery is not None
    assert (delivery.ref, delivery.backend_ref) == (cancel, "SO7")


async def test_a_stale_epoch_claims_and_recovers_nothing(bench: Bench) -> None:
    await bench.put(make_record("1"))
    await bench.put(make_record("2"))
    await bench.outbox.claim([OrderRef("shop", "1")], epoch=6, lease_ms=0)
    [(code, _)] = await bench.outbox.claim([OrderRef("shop", "2")], epoch=5, lease_ms=0)
    assert code is ClaimCode.FENCED
    assert await bench.outbox.recover(epoch=5, delay_ms=0) == []
    assert (await bench.record(OrderRef("shop", "2"))).state is OrderState.QUEUED


@pytest.mark.parametrize("kind", [kind for kind in ResultKind if kind is not ResultKind.DELIVERED])
async def test_a_stale_epoch_settles_nothing_but_delivered(bench: Bench, kind: ResultKind) -> None:
    await bench.put(make_record())
    await claim_one(bench, epoch=5)
    await bench.outbox.recover(epoch=6, delay_ms=0)
    assert await finish_one(bench, kind, epoch=5) is FinishCode.FENCED
    assert (await bench.record(REF)).state is OrderState.SENDING
    assert await finish_one(bench, ResultKind.DELIVERED, epoch=5, backend_ref="SO7") is FinishCode.DONE
    assert (await bench.record(REF)).state is OrderState.DELIVERED


async def test_delivered_forgets_the_raw_body_and_keeps_the_items(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    assert await bench.has_raw(REF)
    assert await finish_one(bench, ResultKind.DELIVERED, backend_ref="SO7") is FinishCode.DONE
    record = await bench.record(REF)
    assert (record.state, record.backend_ref, record.items) == (
        OrderState.DELIVERED,
        "SO7",
        (Item("tee", "main", 2, 2),),
    )
    assert not await bench.has_raw(REF)
    assert await bench.outbox.in_flight() == []
    assert [kind for kind, _ in await bench.said()] == ["order.delivered"]
    assert (await bench.said())[0][1]["backend_ref"] == "SO7"


async def test_delivered_comes_late_and_is_still_a_fact(bench: Bench) -> None:
    await bench.put(make_record(sends=1))  # queued again after two absences
    assert await finish_one(bench, ResultKind.DELIVERED) is FinishCode.DONE
    assert await bench.outbox.due(10) == []
    assert await finish_one(bench, ResultKind.DELIVERED) is FinishCode.NOT_IN_FLIGHT


async def test_what_was_never_sent_cannot_have_been_delivered(bench: Bench) -> None:
    await bench.put(make_record())
    assert await finish_one(bench, ResultKind.DELIVERED) is FinishCode.NOT_IN_FLIGHT
    [code] = await bench.outbox.finish([Result(ref=OrderRef("shop", "9"), kind=ResultKind.DELIVERED)], epoch=5)
    assert code is FinishCode.UNKNOWN_ORDER


async def test_a_delivered_cancel_gives_its_units_back_once(bench: Bench) -> None:
    await bench.set_level(StockLevel(sku="tee", on_hand=10, sold=5))
    await bench.put(make_record(kind=Kind.CANCEL))
    cancel = OrderRef("shop", "1001", Kind.CANCEL)
    await bench.outbox.claim([cancel], epoch=5, lease_ms=HOUR_MS)
    for _ in range(2):
        await bench.outbox.finish([Result(ref=cancel, kind=ResultKind.DELIVERED)], epoch=5)
    assert (await bench.level("tee")).sold == 3
    assert (await bench.record(cancel)).items == (Item("tee", "main", 2, 0),)
    [(kind, data)] = await bench.said()
    assert (kind, data["moves"]) == ("order.delivered", [["tee", "main", 0, 0, -2, 0, 0]])


async def test_later_goes_back_into_the_queue_and_counts_nothing(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    assert await finish_one(bench, ResultKind.LATER, reason="connection refused") is FinishCode.DONE
    record = await bench.record(REF)
    assert (record.state, record.refusals, record.reason) == (OrderState.QUEUED, 0, "connection refused")
    assert await bench.outbox.due(10) == [REF]
    assert await finish_one(bench, ResultKind.LATER) is FinishCode.NOT_IN_FLIGHT


@pytest.mark.parametrize("kind", [kind for kind in ResultKind if kind is not ResultKind.DELIVERED])
async def test_a_result_of_an_earlier_attempt_that_arrives_late_is_void(bench: Bench, kind: ResultKind) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    await finish_one(bench, ResultKind.LATER, sends=1)
    await claim_one(bench)
    assert await finish_one(bench, kind, sends=1) is FinishCode.NOT_IN_FLIGHT
    assert (await bench.record(REF)).state is OrderState.SENDING
    assert await finish_one(bench, kind, sends=2) is FinishCode.DONE


async def test_later_with_a_delay_is_not_due_yet(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    await finish_one(bench, ResultKind.LATER, delay_ms=HOUR_MS)
    assert await bench.outbox.due(10) == []
    assert await claim_one(bench) is ClaimCode.NOT_DUE


async def test_in_doubt_stays_in_flight_until_its_look_up_is_due(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    await finish_one(bench, ResultKind.DOUBT, reason="timeout", delay_ms=HOUR_MS)
    assert (await bench.record(REF)).state is OrderState.IN_DOUBT
    assert await bench.outbox.doubtful(10) == []
    await finish_one(bench, ResultKind.UNKNOWN, reason="still away")
    [delivery] = await bench.outbox.doubtful(10)
    assert (delivery.ref, delivery.key, delivery.sends) == (REF, idempotency_key(REF), 1)
    assert [kind for kind, _ in await bench.said()] == ["order.doubted"]


async def test_absent_twice_goes_back_under_the_same_key(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    await finish_one(bench, ResultKind.DOUBT)
    await finish_one(bench, ResultKind.ABSENT)
    assert (await bench.record(REF)).state is OrderState.IN_DOUBT
    await finish_one(bench, ResultKind.ABSENT)
    record = await bench.record(REF)
    assert (record.state, record.absences, record.refusals, record.revision) == (OrderState.QUEUED, 0, 0, 0)
    assert await bench.outbox.due(10) == [REF]


async def test_an_absence_counts_once_although_the_reply_was_lost(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    await finish_one(bench, ResultKind.DOUBT)
    for _ in range(3):
        assert await finish_one(bench, ResultKind.ABSENT, delay_ms=HOUR_MS) is FinishCode.DONE
    assert (await bench.record(REF)).absences == 1


async def test_the_same_item_twice_in_one_call_is_claimed_once_and_its_results_are_taken_in_turn(bench: Bench) -> None:
    await bench.put(make_record())
    claims = await bench.outbox.claim([REF, REF], epoch=5, lease_ms=HOUR_MS)
    assert [code for code, _ in claims] == [ClaimCode.CLAIMED, ClaimCode.NOT_QUEUED]
    doubt, absent = Result(ref=REF, kind=ResultKind.DOUBT), Result(ref=REF, kind=ResultKind.ABSENT, delay_ms=HOUR_MS)
    assert await bench.outbox.finish([doubt, absent, absent], epoch=5) == [FinishCode.DONE] * 3
    record = await bench.record(REF)
    assert (record.state, record.sends, record.absences) == (OrderState.IN_DOUBT, 1, 1)
    delivered = Result(ref=REF, kind=ResultKind.DELIVERED, backend_ref="SO-7")
    codes = await bench.outbox.finish([doubt, delivered, absent], epoch=5)
    assert codes == [FinishCode.DONE, FinishCode.DONE, FinishCode.NOT_IN_FLIGHT]
    assert (await bench.record(REF)).state is OrderState.DELIVERED
    assert await bench.outbox.in_flight() == []


async def test_five_refusals_bury_an_order(bench: Bench) -> None:
    await bench.put(make_record(refusals=4))
    await claim_one(bench)
    await finish_one(bench, ResultKind.DOUBT)
    await finish_one(bench, ResultKind.ABSENT, count_refusal=True)
    await finish_one(bench, ResultKind.ABSENT, count_refusal=True, reason="swallowed")
    record = await bench.record(REF)
    assert (record.state, record.refusals, record.reason) == (OrderState.DEAD, 5, "swallowed")
    assert [kind for kind, _ in await bench.said()][-1] == "order.buried"


async def test_declined_is_buried_with_its_reason(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    assert await finish_one(bench, ResultKind.DECLINED, reason="unknown SKU") is FinishCode.DONE
    record = await bench.record(REF)
    assert (record.state, record.refusals, record.reason) == (OrderState.DEAD, 1, "unknown SKU")
    assert (await bench.said())[-1][1]["reason"] == "unknown SKU"


async def test_manual_lands_on_the_desk(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    await finish_one(bench, ResultKind.MANUAL, reason="no look-up", backend_ref="SO9")
    record = await bench.record(REF)
    assert (record.state, record.backend_ref) == (OrderState.MANUAL, "SO9")
    assert [kind for kind, _ in await bench.said()] == ["order.left_to_human"]


async def test_a_lease_that_ended_is_in_doubt_and_never_queued(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench, lease_ms=0)
    assert await bench.outbox.recover(epoch=6, delay_ms=HOUR_MS) == [REF]
    assert (await bench.record(REF)).state is OrderState.IN_DOUBT
    assert await bench.outbox.due(10) == []
    assert await bench.outbox.recover(epoch=6, delay_ms=0) == []


async def test_a_living_lease_is_left_alone(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench)
    assert await bench.outbox.recover(epoch=6, delay_ms=0) == []
    assert (await bench.record(REF)).state is OrderState.SENDING


async def test_depth_tells_how_many_and_since_when(bench: Bench) -> None:
    assert await bench.outbox.depth() == Depth()
    await bench.put(make_record("1"))
    await bench.put(make_record("2", accepted_ms=1_790_000_000_500), due_in_ms=MINUTE_MS)
    assert await bench.outbox.depth() == Depth(queued=2, oldest_ms=1_790_000_000_000, due=True)
    await bench.outbox.claim([make_record("1").ref], epoch=6, lease_ms=MINUTE_MS)
    assert await bench.outbox.depth() == Depth(queued=1, oldest_ms=1_790_000_000_500, in_flight=1)


async def test_depth_tells_what_in_flight_wants_to_be_seen_to(bench: Bench) -> None:
    await bench.put(make_record())
    await claim_one(bench, lease_ms=0)
    assert await bench.outbox.depth() == Depth(in_flight=1, overdue=True)
    await bench.outbox.recover(epoch=6, delay_ms=MINUTE_MS)
    assert await bench.outbox.depth() == Depth(in_flight=1)


async def test_depth_tells_what_only_a_clock_that_was_set_back_can_have_left(bench: Bench) -> None:
    await bench.put(make_record(), due_in_ms=HOUR_MS)
    assert await bench.outbox.depth() == Depth(queued=1, oldest_ms=1_790_000_000_000, overdue=True)


async def test_another_backends_items_are_not_touched(bench: Bench) -> None:
    await bench.put(make_record(backend="other"))
    assert await claim_one(bench) is ClaimCode.NOT_QUEUED
    assert await finish_one(bench, ResultKind.DELIVERED) is FinishCode.NOT_IN_FLIGHT


async def test_nothing_asked_is_nothing_done(bench: Bench) -> None:
    assert await bench.outbox.claim([], epoch=5, lease_ms=0) == []
    assert await bench.outbox.finish([], epoch=5) == []

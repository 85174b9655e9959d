"""
A leader that was overtaken changes nothing any more, but for telling what is a fact; else an order would be twice.

Here it is asleep at the worst moment: between a look-up and the telling of it, or before a claim whose order it will
send when it wakes. No clock of its own tells it so (a paused machine's stands still), so only the fence can.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from flashd.domain.delivery import ClaimCode, Delivery, FinishCode, Result, ResultKind
from flashd.domain.order import OrderRef, OrderState
from tests.conformance.outboxes import RedisBench, make_record

SETTLE_MS, LEASE_MS = 120, 60
REF = OrderRef("shop", "1")


@dataclass
class Backend:
    """Heeds no key: what is sent twice is there twice."""

    booked: list[str] = field(default_factory=list)

    def find(self, delivery: Delivery) -> ResultKind:
        return ResultKind.DELIVERED if delivery.key in self.booked else ResultKind.ABSENT


@dataclass
class Leader:
    """What a backend's actor does, one step at a time."""

    bench: RedisBench
    backend: Backend
    epoch: int

    async def claim(self) -> Delivery | None:
        [(code, delivery)] = await self.bench.outbox.claim([REF], epoch=self.epoch, lease_ms=LEASE_MS)
        self.claimed = code
        return delivery

    async def tell(self, kind: ResultKind) -> FinishCode:
        result = Result(ref=REF, kind=kind, delay_ms=SETTLE_MS if kind is not ResultKind.DELIVERED else 0)
        [code] = await self.bench.outbox.finish([result], epoch=self.epoch)
        return code

    async def lead(self) -> None:
        await self.bench.outbox.recover(epoch=self.epoch, delay_ms=0)

    async def go_on(self) -> None:
        """Look up what is in doubt, and send what is due, until it is delivered."""
        async with asyncio.timeout(60):
            while (await self.bench.record(REF)).state is not OrderState.DELIVERED:
                await self.lead()
                for doubt in await self.bench.outbox.doubtful(1):
                    await self.tell(self.backend.find(doubt))
                if await self.bench.outbox.due(1) and (delivery := await self.claim()):
                    self.backend.booked.append(delivery.key)
                    await self.tell(ResultKind.DELIVERED)
                await asyncio.sleep(0.01)


@pytest.fixture
async def pair(client: Redis) -> tuple[Leader, Leader]:
    bench, backend = RedisBench(client), Backend()
    await bench.put(make_record("1"))
    return Leader(bench, backend, 1), Leader(bench, backend, 2)


async def test_a_look_up_from_before_the_pause_is_no_proof_of_absence(pair: tuple[Leader, Leader]) -> None:
    asleep, awake = pair
    sent = await asleep.claim()
    assert sent is not None
    await asleep.tell(ResultKind.DOUBT)  # it was sent, and nothing came back
    await asyncio.sleep(SETTLE_MS / 1000)
    assert asleep.backend.find(sent) is ResultKind.ABSENT  # and here it falls asleep
    await awake.lead()
    await awake.tell(ResultKind.ABSENT)  # the first of two look-ups
    awake.backend.booked.append(sent.key)  # within its settling time
    await asyncio.sleep(1.2 * SETTLE_MS / 1000)
    told = await asleep.tell(ResultKind.ABSENT)  # it wakes, and tells what it saw then
    await awake.go_on()
    assert awake.backend.booked == [sent.key], "booked twice"
    assert told is FinishCode.FENCED


async def test_who_sleeps_through_the_end_of_its_term_claims_nothing_to_be_sent_later(
    pair: tuple[Leader, Leader],
) -> None:
    asleep, awake = pair
    await awake.lead()
    to_be_sent = await asleep.claim()  # it believes that it leads, and falls asleep again before it sends
    await asyncio.sleep(2 * LEASE_MS / 1000)
    await awake.go_on()
    if to_be_sent is not None:
        asleep.backend.booked.append(to_be_sent.key)  # it wakes, and writes what it had in hand
    assert len(awake.backend.booked) == 1, "booked twice"
    assert asleep.claimed is ClaimCode.FENCED


async def test_what_was_delivered_is_told_by_whoever_knows_it(pair: tuple[Leader, Leader]) -> None:
    asleep, awake = pair
    sent = await asleep.claim()
    assert sent is not None
    asleep.backend.booked.append(sent.key)
    await awake.lead()
    assert await asleep.tell(ResultKind.DELIVERED) is FinishCode.DONE
    await awake.go_on()
    assert awake.backend.booked == [sent.key]

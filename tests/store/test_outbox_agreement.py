"""The scripts of the outflow and their executable specification decide alike, over random sequences on both servers."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from redis.asyncio import Redis

from flashd.domain.bucket import AHEAD_MAX_US, Bucket, take_drop
from flashd.domain.delivery import Result, ResultKind
from flashd.domain.order import Kind, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.store.scripts import load
from tests.conformance.outboxes import Bench, FakeBench, RedisBench, index_of, make_record

LATER_MS = 600_000  # what lies further ahead than anything can is brought back, see hasten.lua
STATES = [state for state in OrderState if state is not OrderState.SENDING]


async def build(bench: Bench, seed: int) -> list[OrderRef]:
    dice = random.Random(seed)
    refs = []
    await bench.set_level(StockLevel(sku="tee", on_hand=1000, sold=500, seq=3))
    for number in range(14):
        state = OrderState.QUEUED if number < 9 else dice.choice(STATES)
        record = make_record(
            str(number),
            state,
            kind=dice.choice(list(Kind)),
            sends=dice.choice([0, 0, 1, 3]),
            taken=dice.choice([0, 1, 2]),
            refusals=dice.choice([0, 3, 4]),
            revision=dice.choice([0, 1]),
            backend="erp" if dice.random() < 0.95 else "other",
        )
        await bench.put(record, due_in_ms=dice.choice([0, 0, 0, LATER_MS]))
        if dice.random() < 0.1:
            await bench.wait_next(record.ref)
        refs.append(record.ref)
    return [*refs, OrderRef("shop", "nobody")]


async def step(bench: Bench, refs: list[OrderRef], dice: random.Random) -> Any:
    verb = dice.choice(["claim", "claim", "finish", "finish", "finish", "recover", "look"])
    epoch = dice.choice([5, 6, 6, 6, 7]) if dice.random() < 0.2 else 6
    some = dice.sample(refs, dice.randint(1, 4))
    if verb == "claim":
        lease_ms = dice.choice([0, LATER_MS])
        claims = await bench.outbox.claim(some, epoch=epoch, lease_ms=lease_ms)
        return [(code, delivery) for code, delivery in claims]
    if verb == "finish":
        results = [
            Result(
                ref=ref,
                kind=dice.choice(list(ResultKind)),
                reason=dice.choice(["", "refused: é\nand more"]),
                backend_ref=dice.choice(["", "SO1"]),
                delay_ms=dice.choice([0, 0, LATER_MS]),
                count_refusal=dice.random() < 0.5,
            )
            for ref in some
        ]
        return await bench.outbox.finish(results, epoch=epoch)
    if verb == "recover":
        return sorted(await bench.outbox.recover(epoch=epoch, delay_ms=dice.choice([0, LATER_MS])))
    doubtful = await bench.outbox.doubtful(100)
    return sorted(await bench.outbox.due(100)), sorted(delivery.ref for delivery in doubtful)


async def view(bench: Bench, ref: OrderRef) -> Any:
    record = await bench.record(ref)
    return (
        record.state,
        record.sends,
        record.refusals,
        record.epoch,
        record.absences,
        record.items,
        record.reason.replace("\n", " "),
        record.backend_ref,
        [text for _, text in record.timeline],
        await bench.has_raw(ref),
    )


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 12))])
async def test_fake_and_store_agree_on_random_sequences(client: Redis, seed: int) -> None:
    fake, real = FakeBench(), RedisBench(client)
    refs = await build(fake, seed)
    assert await build(real, seed) == refs
    for turn in range(60):
        moment = f"seed {seed}, turn {turn}"
        assert await step(real, refs, random.Random(seed * 1000 + turn)) == await step(
            fake, refs, random.Random(seed * 1000 + turn)
        ), moment
    for ref in refs[:-1]:
        assert await view(real, ref) == await view(fake, ref), f"seed {seed}, {ref}"
        record = await real.record(ref)
        assert await real.index_names(ref) == [index_of(record)], f"{ref} is {record.state}"
    assert await real.level("tee") == await fake.level("tee")
    said = await real.said()
    assert [kind for kind, _ in said] == [kind for kind, _ in await fake.said()]
    assert [_plain(data) for _, data in said] == [_plain(data) for _, data in await fake.said()]


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"reason": data.get("reason", "").replace("\n", " ")}


def micros_of(time: tuple[int, int]) -> int:
    return time[0] * 1_000_000 + time[1]


async def test_script_and_specification_take_the_same_drops(client: Redis) -> None:
    """The server's clock cannot be turned, so the specification is asked at the time the script wrote down."""
    keys = ["fd:{b:x}:tat", "fd:{b:x}:pause"]
    dice = random.Random(7)
    seen = set()
    drop = load("drop")
    await client.script_load(drop.source)
    for _ in range(400):
        now_us = micros_of(await client.time())
        known = dice.choice(
            [None, *(Bucket(now_us + offset, 5000) for offset in (-(10**7), -3000, 0, 2000, 9000, 90_000, 10**9))]
        )
        spacing, burst, ahead, count = (
            dice.choice([1000, 5000, 50_000]),
            dice.choice([1, 1, 4]),
            dice.choice([0, AHEAD_MAX_US]),
            dice.choice([1, 1, 3, 500]),
        )
        if known is None:
            await client.delete(keys[0])
        else:
            await client.set(keys[0], f"{known.tat_us} {known.spacing_us}")
        async with client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.evalsha(drop.sha, len(keys), *keys, spacing, burst, ahead, count)
            pipe.time()
            first, (wait_ms, after_us, reason, taken), last = await pipe.execute()
        stored: Any = await client.get(keys[0])
        after = None if stored is None else Bucket(*(int(part) for part in stored.split()))
        first_us, last_us = micros_of(first), micros_of(last)
        # The script's clock may stand from the transaction's begin on: a moment before the first reading.
        instants = itertools.chain(range(max(now_us, first_us - 100), last_us + 1), range(now_us, first_us - 100))
        answers = (take_drop(known, now, spacing, burst=burst, ahead_us=ahead, count=count) for now in instants)
        said = (wait_ms, after_us, taken, after)
        assert any((answer.wait_ms, answer.after_us, answer.taken, answer.bucket) == said for answer in answers), (
            known,
            spacing,
            burst,
            ahead,
            count,
            said,
        )
        seen.add((reason, after_us > 0, known is None, taken > 1))
    assert len(seen) >= 6

"""The scripts of the ledger and their executable specification decide alike, over random sequences on both servers."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.acceptance import UNSETTLED
from flashd.domain.delivery import Result, ResultKind
from flashd.domain.order import AcceptCode, Effect, Incoming, Kind, Line, OrderRef, OrderState
from flashd.domain.reservation import HoldCode
from flashd.domain.stock import StockLevel
from flashd.errors import Refused
from tests.conformance.ledgers import HOUR_MS, Bench, fake_bench, make_hold, make_incoming, real_bench

SKUS = ["tee", "mug", "a b"]
STEPS = 200
SEEDS, DELIVERED_SEEDS = range(5), range(2)

Step = tuple[str, tuple[Any, ...]]


class Draw:
    """Steps with all their arguments, so that both ledgers are asked the same; three orders at a time, told forward."""

    def __init__(self, seed: int, *, delivered: bool = False) -> None:
        self.dice = random.Random(seed)
        self.delivered = delivered  # two orders that the backend has: it is all about what follows
        self.number = 0
        self.told: list[Incoming] = []
        self.verbs = [(verb, name) for name, count in _VERBS.items() for verb in [getattr(self, name)] * count]

    def next(self) -> Step:
        self.number += 1
        verb, name = self.dice.choice(self.verbs)
        return name, verb()

    def order_id(self) -> str:
        if self.delivered:
            return self.dice.choice("ab")
        return str(self.number // 50 * 3 + self.dice.randint(0, 2))

    def hold_id(self) -> str:
        return f"h{self.number // 20}{self.dice.choice('ab')}"

    def lines(self) -> tuple[Line, ...]:
        skus = [*SKUS, "ghost"] if self.dice.random() < 0.05 else SKUS
        return tuple(Line(self.dice.choice(skus), self.dice.randint(1, 3), 100) for _ in range(self.dice.randint(1, 2)))

    def ref(self) -> OrderRef:
        kind = self.dice.choice([*[Kind.CREATE] * (0 if self.delivered else 4), Kind.CANCEL, Kind.AMEND])
        return OrderRef("shop", self.order_id(), kind)

    def incoming(self) -> Incoming:
        dice, strict = self.dice, self.dice.random() < 0.1
        incoming = make_incoming(
            f"s{self.order_id()}" if strict else self.order_id(),
            max(1, self.number + dice.randint(-8, 3)),
            dice.choice([*[Effect.DELIVER] * 6, Effect.WAIT, Effect.CANCEL, Effect.IGNORE]),
            lines=self.lines(),
            placed_ms=dice.choice([5, *[50] * 8]),
            reason=dice.choice([*[""] * 7, "total differs"]),
            hold_id=dice.choice(["", self.hold_id()]),
            strict=strict,
            raw=dice.choice([b"", b"raw" * 50, b"x"]),
        )
        self.told.append(incoming)
        return incoming

    def accept(self) -> tuple[Any, ...]:
        return ([self.incoming() for _ in range(self.dice.choice([1, 1, 2]))],)

    def retell(self) -> tuple[Any, ...]:
        known = self.dice.choice(self.told[-6:]) if self.told else self.incoming()
        return ([replace(known, version=known.version + self.dice.randint(0, 9))],)

    def hold(self) -> tuple[Any, ...]:
        request = make_hold(self.hold_id(), ttl_ms=self.dice.choice([1, HOUR_MS]), digest=self.dice.choice("xxy"))
        return ([replace(request, lines=self.lines())],)

    def extend(self) -> tuple[Any, ...]:
        return (self.hold_id(),)

    def release(self) -> tuple[Any, ...]:
        return (self.hold_id(),)

    def recount(self) -> tuple[Any, ...]:
        seq = self.dice.choice([0, self.number // 10])
        level = StockLevel(
            sku=self.dice.choice(SKUS), on_hand=self.dice.randint(5, 40), safety=self.dice.randint(0, 2), seq=seq
        )
        return (level, self.dice.randint(0, 3) if seq else 0)

    def send(self) -> tuple[Any, ...]:
        kinds = [*[None] * 4, *ResultKind, *[ResultKind.DELIVERED] * 6, *[ResultKind.DOUBT] * 2]
        return (self.ref(), self.dice.choice(kinds))

    def mend(self) -> tuple[Any, ...]:
        return (self.ref(), self.lines())

    def command(self) -> tuple[Any, ...]:
        return (self.ref(),)

    cancel = requeue = settle = command

    def sweep(self) -> tuple[Any, ...]:
        return ()

    apply_next = sweep


_VERBS = {
    "accept": 8, "retell": 4, "hold": 3, "send": 9, "extend": 1, "release": 1, "sweep": 1, "recount": 1, "cancel": 1,
    "requeue": 2, "mend": 1, "settle": 2, "apply_next": 4,
}  # fmt: skip


async def ask(bench: Bench, verb: str, args: tuple[Any, ...]) -> Any:  # noqa: PLR0911  # one return a verb
    ledger = bench.ledger
    match verb:
        case "accept" | "retell":
            return await ledger.accept(args[0], ["erp"] * len(args[0]), since_ms=10)
        case "hold":
            return [replace(reply, expires_ms=0) for reply in await ledger.hold(args[0])]
        case "extend":
            return replace(await ledger.extend(args[0], HOUR_MS, max_total_ms=2 * HOUR_MS), expires_ms=0)
        case "release":
            return replace(await ledger.release(args[0], "changed his mind"), expires_ms=0)
        case "sweep":
            return await ledger.sweep()
        case "recount":
            return await ledger.recount(args[0], lacks=args[1], by="me")
        case "send":
            return await send(bench, *args)
        case "apply_next":
            return await ledger.apply_next()
        case _:
            return await command(bench, verb, *args)


async def send(bench: Bench, ref: OrderRef, kind: ResultKind | None) -> Any:
    [(code, _)] = await bench.outbox.claim([ref], epoch=1, lease_ms=HOUR_MS)
    return code, kind and await bench.outbox.finish([Result(ref=ref, kind=kind, backend_ref="SO1")], epoch=1)


async def command(bench: Bench, verb: str, ref: OrderRef, lines: tuple[Line, ...] = ()) -> Any:
    try:
        if verb == "cancel":
            return await bench.ledger.cancel(ref, by="me", reason="no\nmore")
        if verb == "settle":
            return await bench.ledger.settle(ref, "SO9", by="me")
        mended = make_incoming(ref.id, lines=lines).order if lines else None
        return await bench.ledger.requeue(ref, by="me", order=mended)
    except Refused as refusal:
        return type(refusal), refusal.detail


async def view(bench: Bench) -> Any:
    """All that can be seen of a pool, but the times."""
    records = {
        record.ref: replace(
            record,
            accepted_ms=0,
            changed_ms=0,
            delivered_ms=min(1, record.delivered_ms),
            timeline=tuple((0, text) for _, text in record.timeline),
        )
        for record in await bench.book.page(limit=1000)
    }
    return records, await bench.ledger.levels(), await bench.book.counts()


async def raws(bench: Bench) -> list[bytes | None]:
    return [await bench.book.raw(record.ref) for record in await bench.book.page(limit=1000)]


def count_codes(seen: Counter[str], verb: str, reply: Any) -> None:
    if verb in {"accept", "retell"}:
        seen.update(f"accept {accepted.code} {accepted.state}" for accepted in reply)
        seen.update(f"accept {accepted.code}" for accepted in reply)
    elif verb in {"hold", "extend", "release"}:
        seen.update(f"hold {one.code}" for one in (reply if isinstance(reply, list) else [reply]))
    else:
        seen.update([verb if isinstance(reply, tuple) else f"{verb} {reply}"])


async def fill(bench: Bench) -> Bench:
    for sku in SKUS:
        await bench.ledger.recount(StockLevel(sku=sku, on_hand=30))
    return bench


async def fill_and_deliver(bench: Bench) -> Bench:
    for sku in SKUS:
        await bench.ledger.recount(StockLevel(sku=sku, on_hand=60))
    for order_id in "ab":
        await bench.ledger.accept([make_incoming(order_id)], ["erp"], since_ms=0)
        await bench.send(OrderRef("shop", order_id), ResultKind.DELIVERED)
    return bench


@pytest.mark.parametrize("seed", SEEDS)
async def test_scripts_and_specification_agree(client: Redis, seed: int) -> None:
    fake, real = await fill(fake_bench()), await fill(real_bench(client))
    await compare(fake, real, Draw(seed))


@pytest.mark.parametrize("seed", DELIVERED_SEEDS)
async def test_they_agree_on_what_follows_a_delivered_order(client: Redis, seed: int) -> None:
    kinds = {"erp": set(Kind)}
    fake, real = await fill_and_deliver(fake_bench(kinds)), await fill_and_deliver(real_bench(client, kinds))
    await compare(fake, real, Draw(seed, delivered=True))


async def compare(fake: Bench, real: Bench, draw: Draw) -> None:
    for number in range(STEPS):
        verb, args = draw.next()
        replies = []
        for bench in (fake, real):
            await bench.pass_time(2)
            replies.append(await ask(bench, verb, args))
        assert replies[0] == replies[1], (number, verb, args)
        if number % 4 == 0 or number == STEPS - 1:
            assert await view(fake) == await view(real), (number, verb, args, replies)
    assert await told(fake, draw) == await told(real, draw)
    assert await raws(fake) == await raws(real)
    await assert_conserved(real)


async def told(bench: Bench, draw: Draw) -> list[Any]:
    """The journal; the outbox of the tests moves units of follow-ups without saying what the level is then."""
    return [(kind, moves) for kind, moves in await bench.journal() if moves or not draw.delivered]


async def assert_conserved(bench: Bench) -> None:
    """The journal folds to the counters, and what is sold is what orders took, but for what counts took out of it."""
    folded: dict[tuple[str, str], StockLevel] = {}
    for _, moves in await bench.journal():
        for move in moves:
            at = (move.sku, move.location)
            folded[at] = folded.get(at, StockLevel(sku=move.sku, location=move.location)).moved(move)
    for level in await bench.ledger.levels():
        assert replace(folded[level.sku, level.location], seq=level.seq, owed=level.owed) == level
        assert min(level.held, level.sold, level.on_hand) >= 0


async def test_every_result_code_is_among_what_is_compared() -> None:
    """Asked of the specification alone, for the sequences themselves may run in other workers."""
    seen: Counter[str] = Counter()
    plays = [(await fill(fake_bench()), Draw(seed)) for seed in SEEDS]
    plays += [
        (await fill_and_deliver(fake_bench({"erp": set(Kind)})), Draw(seed, delivered=True)) for seed in DELIVERED_SEEDS
    ]
    for bench, draw in plays:
        for _ in range(STEPS):
            verb, args = draw.next()
            await bench.pass_time(2)
            count_codes(seen, verb, await ask(bench, verb, args))
    missing = {f"accept {code}" for code in AcceptCode}
    missing |= {f"hold {code}" for code in HoldCode if code not in {HoldCode.LIMIT, HoldCode.CLOSED}}
    missing |= {
        f"accept {AcceptCode.UPDATED} {state}"
        for state in OrderState
        if state not in {*UNSETTLED, OrderState.BACKORDER}
    }
    missing |= {f"accept {AcceptCode.LATER} {state}" for state in UNSETTLED} | {"apply_next 1"}
    assert missing - set(seen) == set()

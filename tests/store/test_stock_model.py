"""
The stock of one pool on real servers against a model that shares no code with flashd.

Random sequences of holds, paid orders, edits, cancels, a human's commands, counts, receipts and sales, over several
locations, with kits and limits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.catalogue import Component, Kit
from flashd.domain.count import Receipt
from flashd.domain.delivery import ClaimCode, Result, ResultKind
from flashd.domain.order import AcceptCode, Kind, OrderRef, OrderState
from flashd.domain.reservation import HoldCode
from flashd.domain.sale import SaleState
from flashd.domain.stock import StockLevel
from flashd.errors import Conflict, NotFound
from flashd.store.audit import audit
from flashd.store.ledger import RedisLedger
from flashd.store.listings import RedisListings
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from flashd.store.sales import RedisSales
from flashd.store.stockroom import RedisStockroom
from tests.servers import Server
from tests.store.order_model import OrderModel
from tests.store.stock_books import OPEN, SINCE, Deal, Held, Place, Shelf, Terms, Told
from tests.store.stock_wishes import (
    CHANNELS,
    HOUR_MS,
    KITS,
    PLACES,
    SKUS,
    deals,
    hold_id,
    incoming_of,
    kit,
    known_lines,
    lines,
    order_of,
    pinned,
    place,
    request_of,
    said_of,
    sale_of,
    terms_of,
    told,
    wish,
)

OPERATIONS = 20_000  # of the slow run, on each server


class Stock(RuleBasedStateMachine):
    """Each rule asks the store and the model the same; after each, all that is kept is compared."""

    server: ClassVar[Server]
    seen: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = OrderModel(dict(CHANNELS))
        self.told: list[Told] = []
        self.deficits: dict[Place, int] = {}
        self.client = Redis(unix_socket_path=self.server.socket_path, retry=Retry(NoBackoff(), 0))
        self.run(self.client.flushall())
        self.ledger = RedisLedger(self.client, "main", kinds={"erp": set(Kind)}, terms=terms_of(self.model))
        self.listings = RedisListings(self.client, "main", terms=terms_of(self.model))
        self.sales = RedisSales(self.client, "main")
        self.stockroom = RedisStockroom(self.client, "main")
        self.outbox = RedisOutbox(self.client, "main", "erp")
        self.book = RedisOrderBook(self.client, "main")

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self.runner.run(wait())

    def ask(self, begin: Callable[[], Awaitable[Any]]) -> Any:
        """Run what is asked for as soon as it is named, and so wants the loop."""

        async def wait() -> Any:
            return await begin()

        return self.runner.run(wait())

    def agree(self, verb: str, said: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
        note(f"{verb}: {said}")
        assert said == expected, (verb, said, expected)
        self.seen[f"{verb} {said[0]}"] += 1

    def step(self) -> None:
        """One more operation: the model's clock goes on, and what ends within the millisecond has ended."""
        self.seen["operations"] += 1
        self.model.tick += 1
        self.model.now = int(time.time() * 1000)
        ending = any(hold.short and not hold.overdue for hold in self.model.live())
        time.sleep(0.0025 if ending else 0.0012)  # so that what comes is a millisecond later by the server's clock, too
        for hold in self.model.live():
            hold.overdue = hold.short

    # ----------------------------------------------------------------------------------------------------- rules

    @initialize(units=st.lists(st.integers(3, 14), min_size=6, max_size=6), deal=deals())
    def open_pool(self, units: list[int], deal: Deal) -> None:
        self.put_kit(("set", {"tee": 2, "mug": 1}))
        self.put_kit(("duo", {"mug": 1, "cap": 3}))
        places = [(name, at) for name in SKUS for at in PLACES][: len(units)]
        for where, on_hand in zip(places, units, strict=True):
            self.count(where, on_hand, 1 if where[0] == "mug" else 0, 0)
        self.put_sale("one", deal)

    @rule(wishes=st.lists(st.tuples(hold_id, wish, pinned), min_size=1, max_size=2))
    def hold(self, wishes: list[tuple[str, Held, str]]) -> None:
        self.step()
        requests = [request_of(name, one, at) for name, one, at in wishes]
        replies = self.ask(lambda: self.ledger.hold(requests))
        for (name, one, at), reply in zip(wishes, replies, strict=True):
            expected = self.model.hold(name, one, at)
            if expected[0] == "closed":
                assert reply.sale in expected[2]  # type: ignore[operator]  # one of those that say so
                deal = self.model.sales[reply.sale].deal
                assert (reply.start_ms, reply.end_ms) == (deal.start, deal.end)
                expected = expected[:2]
            self.agree("hold", said_of(reply), expected)
            if reply.code is HoldCode.HELD:
                self.model.holds[name].expires = reply.expires_ms
            elif reply.state is not None:
                assert reply.expires_ms == self.model.holds[name].expires

    @rule(one=wish, units=st.integers(1, 3), name=st.sampled_from((*SKUS, *KITS)))
    def hold_a_little(self, one: Held, units: int, name: str) -> None:
        one.lines = {name: units}
        self.hold([(f"h{len(self.model.holds) + 9}", one, "")])

    def some_hold(self, which: int) -> str:
        live = [name for name, hold in self.model.holds.items() if hold.state == "held"]
        names = live or [*self.model.holds, "none"]
        return names[which % len(names)]

    @rule(which=st.integers(0, 9))
    def release_held(self, which: int) -> None:
        self.release(self.some_hold(which))

    @rule(which=st.integers(0, 9), version=told)
    def buy_what_is_held(self, which: int, version: Told) -> None:
        self.buy_held(self.some_hold(which), version)

    @rule(name=hold_id)
    def release(self, name: str) -> None:
        self.step()
        self.agree("release", said_of(self.run(self.ledger.release(name, "changed"))), self.model.release(name))

    @rule(name=hold_id, ttl_ms=st.sampled_from((1, HOUR_MS)), most_ms=st.sampled_from((1, 2 * HOUR_MS, 2 * HOUR_MS)))
    def extend(self, name: str, ttl_ms: int, most_ms: int) -> None:
        self.step()
        reply = self.run(self.ledger.extend(name, ttl_ms, max_total_ms=most_ms))
        expected = self.model.extend(name, lasts=ttl_ms == most_ms // 2)
        self.agree("extend", said_of(reply), expected)
        if reply.code is HoldCode.HELD:
            assert reply.expires_ms >= self.model.holds[name].expires
            self.model.holds[name].expires = reply.expires_ms

    @rule()
    def sweep(self) -> None:
        self.step()
        self.agree("sweep", (self.run(self.ledger.sweep()),), (self.model.expire(),))

    @rule(versions=st.lists(told, min_size=1, max_size=2))
    def accept(self, versions: list[Told]) -> None:
        self.tell(versions)

    @rule(version=told, units=st.one_of(known_lines, lines))
    def accept_native(self, version: Told, units: tuple[tuple[str, int], ...]) -> None:
        more = {"id": f"n{version.id}", "strict": True, "effect": "deliver", "version": 1, "lines": units}
        self.tell([Told(**{**vars(version), **more})])

    @rule(name=hold_id, version=told)
    def buy_held(self, name: str, version: Told) -> None:
        """The way most orders come: what was held is bought, by its customer, on its channel."""
        hold = self.model.holds.get(name)
        if hold is None:
            return
        more = {"channel": hold.channel, "customer": hold.customer, "lines": tuple(hold.lines.items()), "hold": name}
        self.tell([Told(**{**vars(version), **more, "id": f"b{name}"})])

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 5), rise=st.integers(0, 2), change=st.one_of(st.none(), known_lines))
    def tell_again(self, which: int, rise: int, change: tuple[tuple[str, int], ...] | None) -> None:
        version = self.told[-1 - which % len(self.told)]
        more = {"version": version.version + rise, "lines": change or version.lines}
        self.tell([Told(**{**vars(version), **more})])

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 9))
    def cancel_on_the_platform(self, which: int) -> None:
        version = self.told[-1 - which % len(self.told)]
        self.tell([Told(**{**vars(version), "version": version.version + 1, "effect": "cancel"})])

    def tell(self, versions: list[Told]) -> None:
        self.step()
        pairs = [incoming_of(version) for version in versions]
        self.told += [version for version, _ in pairs]
        replies = self.ask(lambda: self.ledger.accept([one for _, one in pairs], ["erp"] * len(pairs), since_ms=SINCE))
        for (version, _), reply in zip(pairs, replies, strict=True):
            code, state, short = self.model.accept(version)
            said = (reply.code.value, reply.state.value, reply.short)
            self.agree("accept", said, (code, state or "ignored", short))
            self.seen[f"state {reply.state.value}"] += 1

    def refs(self, *states: str) -> list[str]:
        return [name for name, row in self.model.orders.items() if not states or row.state in states]

    def some(self, which: int, *states: str) -> OrderRef:
        names = self.refs(*states) or self.refs()
        return OrderRef.parse(names[which % len(names)] if names else "shop:none")

    def command(self, verb: str, asked: Awaitable[OrderState], expected: tuple[object, ...]) -> None:
        try:
            said: tuple[object, ...] = ("done", self.run(asked).value)
        except NotFound:
            said = ("unknown",)
        except Conflict as conflict:
            said = ("conflict", conflict.extra.get("state"))
        self.agree(verb, said, expected)

    @rule(which=st.integers(0, 99))
    def cancel_by_hand(self, which: int) -> None:
        self.step()
        ref = self.some(which)
        asked = self.ledger.cancel(ref, by="ann", reason="asked")
        self.command("cancel", asked, self.model.cancel(str(ref)))

    @rule(which=st.integers(0, 99), mend=st.one_of(st.none(), st.none(), lines), wanting=st.booleans())
    def requeue(self, which: int, mend: tuple[tuple[str, int], ...] | None, *, wanting: bool) -> None:
        self.step()
        ref = self.some(which, *(("shortfall", "backorder", "parked", "dead") if wanting else ()))
        row = self.model.orders.get(str(ref))
        placed = row.content[1] if row and isinstance(row.content, tuple) else 0
        order = order_of(ref.channel, ref.id, placed, mend) if mend else None
        self.command("requeue", self.ledger.requeue(ref, by="ann", order=order), self.model.requeue(str(ref), mend))

    @rule(which=st.integers(0, 99))
    def backorder(self, which: int) -> None:
        self.step()
        ref = self.some(which, "shortfall")
        self.command("backorder", self.stockroom.backorder(ref, by="ann"), self.model.backorder(str(ref)))

    @precondition(lambda self: self.refs("queued"))
    @rule(which=st.integers(0, 99))
    def send(self, which: int) -> None:
        self.step()
        ref = self.some(which, "queued")
        [(code, _)] = self.run(self.outbox.claim([ref], epoch=1, lease_ms=HOUR_MS))
        assert code is ClaimCode.CLAIMED
        self.model.send(str(ref))

    @precondition(lambda self: self.refs("sending"))
    @rule(which=st.integers(0, 99), kind=st.sampled_from((ResultKind.LATER, ResultKind.DECLINED)))
    def come_back(self, which: int, kind: ResultKind) -> None:
        self.step()
        ref = self.some(which, "sending")
        self.run(self.outbox.finish([Result(ref=ref, kind=kind)], epoch=1))
        self.run(self.ledger.apply_next())
        self.model.finish(str(ref), "queued" if kind is ResultKind.LATER else "dead")

    @rule(where=place, on_hand=st.integers(-2, 20), safety=st.integers(0, 2), seq=st.integers(0, 9))
    def count(self, where: Place, on_hand: int, safety: int, seq: int) -> None:
        self.step()
        level = StockLevel(sku=where[0], location=where[1], on_hand=on_hand, safety=safety, seq=seq)
        self.run(self.ledger.recount(level, by="ann"))
        self.model.recount(where, Shelf(on_hand, safety, seq))
        self.deficits[where] = min(0, self.model.spare(where) + self.model.owed(where))

    @rule(name=st.sampled_from("abcdefghij"), where=place, units=st.integers(1, 6))
    def receive(self, name: str, where: Place, units: int) -> None:
        self.step()
        if name in self.model.receipts and where not in self.model.shelves:
            return
        got = self.run(self.stockroom.receive(Receipt(id=name, sku=where[0], location=where[1], units=units), by="ann"))
        self.agree("receive", (got.repeat, got.served), self.model.receive(name, where, units))
        self.seen["served"] += len(got.served)

    @precondition(lambda self: self.refs("shortfall", "backorder"))
    @rule(which=st.integers(0, 9), units=st.integers(1, 9))
    def receive_what_lacks(self, which: int, units: int) -> None:
        claims = self.model.orders[str(self.some(which, "shortfall", "backorder"))].claims
        for where in list(claims)[:1]:
            self.receive(f"r{self.model.tick}", where, units)

    @rule()
    def serve(self) -> None:
        self.step()
        served = sorted(map(str, self.run(self.stockroom.serve())))
        expected = sorted(name for where in sorted(self.model.shelves) for name in self.model.serve(where))
        assert served == expected, (served, expected)
        self.seen["served"] += len(served)

    @rule(name=st.sampled_from(("one", "two", "three")), deal=deals())
    def put_sale(self, name: str, deal: Deal) -> None:
        self.step()
        self.on_sale("put_sale", self.sales.put(sale_of(name, deal), by="ann"), self.model.put_sale(name, deal))

    @rule(
        name=st.sampled_from(("one", "two", "three")),
        state=st.sampled_from(("stopped", "ready", "stopped", "ready", "ended")),
    )
    def set_sale(self, name: str, state: str) -> None:
        self.step()
        self.on_sale(
            f"sale {state}", self.sales.set_state(name, SaleState(state), by="ann"), self.model.set_sale(name, state)
        )

    def on_sale(self, verb: str, asked: Awaitable[Any], expected: tuple[object, ...]) -> None:
        try:
            record = self.run(asked)
            said: tuple[object, ...] = ("put", record.version, record.state.value)
        except Conflict:
            said = ("conflict",)
            self.seen["a sale that is over"] += verb != "put_sale"
        except NotFound:
            said = ("unknown",)
        self.agree(verb, said, expected)

    @rule(made=kit)
    def put_kit(self, made: tuple[str, dict[str, int]]) -> None:
        self.step()
        name, parts = made
        components = tuple(Component(part, units) for part, units in parts.items())
        self.run(self.listings.put_kits([Kit(name, components)], by="ann"))
        self.model.kits[name] = parts

    @rule(on=st.booleans())
    def thresholds(self, *, on: bool) -> None:
        self.step()
        self.model.terms = {name: one if on else Terms(one.places, split=one.split) for name, one in CHANNELS.items()}
        self.ledger.adopt({"erp": set(Kind)}, terms_of(self.model))

    # ---------------------------------------------------------------------------------------------------- checks

    def teardown(self) -> None:
        try:
            self.look()
            report = self.run(audit(self.client, "main"))
            assert report.differences == ()
        finally:
            self.run(self.client.aclose())
            self.runner.close()

    async def kept(self) -> tuple[Any, ...]:
        client: Any = self.client
        orders = [self.book.get(OrderRef.parse(name)) for name in self.model.orders]
        return await asyncio.gather(self.ledger.levels(), client.hgetall("fd:{main}:use"), asyncio.gather(*orders))

    @invariant()
    def look(self) -> None:
        """All that is kept, as the model has it; and the law, from the store's own figures alone."""
        model = self.model
        found, used, records = self.run(self.kept())
        levels = {(level.sku, level.location): level for level in found}
        assert {
            at: (one.on_hand, one.held, one.sold, one.safety, one.owed, one.exposed) for at, one in levels.items()
        } == {
            at: (shelf.on_hand, model.held(at), model.sold(at), shelf.safety, model.owed(at), 0)
            for at, shelf in model.shelves.items()
        }
        for at, level in levels.items():
            assert min(level.held, level.sold, level.safety, level.owed) >= 0, level
            assert level.on_hand == level.atp + level.held + level.sold + level.safety, level
            deficit = min(0, level.atp)
            assert deficit >= self.deficits.get(at, 0), (level, "a deficit that no count announced")
            self.deficits[at] = deficit
        assert {name.decode(): int(units) for name, units in used.items()} == named(model.used())
        for (name, row), record in zip(model.orders.items(), records, strict=True):
            taken = {(item.sku, item.location): item.taken for item in record.items if item.taken}
            assert taken == {at: units for at, units in row.units.items() if units}, name
            assert record.uses == named(row.uses), name
            assert (record.state.value, record.version) == (row.state, row.version), name


def named(uses: Counter[tuple[str, ...]]) -> dict[str, int]:
    return {"\x1f".join(use): units for use, units in uses.items()}


def play(server: Server, number: int, examples: int, steps: int) -> Counter[str]:
    """Play so many sequences from one seed; return what was seen."""
    counts: Counter[str] = Counter()

    @seed(number)
    class OnServer(Stock):
        pass

    OnServer.server, OnServer.seen = server, counts
    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
    return counts


def test_the_store_and_a_model_that_shares_nothing_agree(server: Server) -> None:
    seen = play(server, number=1, examples=8, steps=50)
    assert seen["operations"] >= 200


def expected_codes() -> set[str]:
    return {
        *(f"hold {code.value}" for code in HoldCode if code not in (HoldCode.RELEASED, HoldCode.GONE)),
        *(f"release {code}" for code in ("released", "repeat", "gone")),
        *(f"extend {code}" for code in ("held", "gone")),
        *(f"accept {code.value}" for code in AcceptCode),
        *(f"state {state}" for state in (*OPEN, "cancelled", "ignored")),
        *(f"{verb} {code}" for verb in ("cancel", "requeue", "backorder") for code in ("done", "conflict", "unknown")),
        *(f"put_sale {code}" for code in ("put", "conflict")),
        *(f"sale {state} {code}" for state in ("stopped", "ready") for code in ("put", "unknown")),
        *(f"receive {repeat}" for repeat in (False, True)),
        "a sale that is over",
        "served",
    }


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_they_agree_over_many_operations_and_every_answer_was_given(server: Server) -> None:
    total: Counter[str] = Counter()
    number = 0
    while total["operations"] < OPERATIONS:
        number += 1
        total += play(server, number, examples=50, steps=50)
        print(f"{server.kind}: seed {number}: {total['operations']} operations", flush=True)
    print(f"{server.kind}: seeds 1 to {number}: {dict(sorted(total.items()))}")
    assert expected_codes() <= set(+total), expected_codes() - set(+total)

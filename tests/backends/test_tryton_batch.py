"""What the Tryton adapter does with several orders at once, against a stand-in that rolls back as Tryton does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from flashd.backends.tryton import Config, TrytonBackend, connect
from flashd.config import Secret
from flashd.domain.delivery import (
    Absent,
    Away,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Found,
    Later,
    Mismatch,
    Sunk,
    Throttled,
    Unknown,
)
from flashd.domain.order import Address, Line
from flashd.errors import BackendUnavailable, ConfigError
from flashd.ports import BatchingBackend
from tests.backends.fault_server import Fault, FaultServer, Request, said, status, throttle
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import TrytonStandIn
from tests.conftest import PassTime

SECRET = Secret(env="secret")
LOGIN = {"user": "flashd", "password": SECRET}


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(TrytonStandIn()).running() as server:
        yield server


@pytest.fixture
def tryton(server: FaultServer) -> TrytonStandIn:
    assert isinstance(server.stand_in, TrytonStandIn)
    return server.stand_in


def make(server: FaultServer, **more: Any) -> TrytonBackend:
    fields = {"url": server.url, "database": "erp", "shop": 1, "party": 2, "timeout_s": 2.0, "batch": 50, **LOGIN}
    return connect("b", msgspec.convert({"kind": "tryton", "secret": SECRET, **fields, **more}, Config), reveal)


@pytest.fixture
async def backend(server: FaultServer) -> AsyncIterator[TrytonBackend]:
    backend = make(server)
    yield backend
    await backend.close()


def some(count: int, first: int = 1, **changes: Any) -> list[Delivery]:
    return [a_delivery(an_order(str(number), **changes)) for number in range(first, first + count)]


def again(deliveries: list[Delivery]) -> list[Delivery]:
    return [msgspec.structs.replace(delivery, sends=delivery.sends + 1) for delivery in deliveries]


def asked(server: FaultServer) -> list[str]:
    """What was asked, in words: the last parts of each path, and the method of JSON-RPC."""
    words = []
    for request in server.seen:
        if request.path == "/erp/rpc/":
            words.append(request.json["method"].removeprefix("model."))
        else:
            words.append(request.path.removeprefix("/erp/rest/model/"))
    return words


def states(tryton: TrytonStandIn) -> list[str]:
    return [sale["state"] for sale in tryton.sales.values()]


# -------------------------------------------------------------------------------------------------- all of them at once


async def test_a_batch_is_a_create_a_reading_a_quote_a_confirm_and_a_reading(
    server: FaultServer, tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    tryton.processes = True
    assert isinstance(backend, BatchingBackend)
    assert backend.traits.batch == 50
    deliveries = some(5)
    assert await backend.deliver_many(deliveries) == [Delivered(backend_ref=str(number)) for number in range(1, 6)]
    assert set(states(tryton)) == {"processing"}
    server.seen.clear()
    more = some(50, first=6)
    outcomes = await backend.deliver_many(more)
    assert [isinstance(outcome, Delivered) for outcome in outcomes] == [True] * 50
    assert all(tryton.held(delivery.key) == 1 for delivery in [*deliveries, *more])
    assert asked(server) == [
        "party.address/search_read",
        "sale.sale/create",
        "sale.sale/search_read",
        "sale.sale.quote",
        "sale.sale.confirm",
        "sale.sale/search_read",
    ]
    assert tryton.logins == 1


async def test_findings_come_in_the_order_of_the_deliveries_by_one_request(
    server: FaultServer, backend: TrytonBackend
) -> None:
    sent, never, half = some(2), some(2, first=10), make(server, until="draft")
    await backend.deliver_many(sent)
    (drafted,) = await half.deliver_many(some(1, first=20))
    assert drafted == Delivered(backend_ref="3")
    other = a_delivery(an_order("2", total=1))  # its sale is there, with another total
    server.seen.clear()
    findings = await backend.find_many([never[0], sent[1], *some(1, first=20), sent[0], never[1], other])
    assert findings == [
        Absent(),
        Found(backend_ref="2"),
        Absent(half_done="3"),
        Found(backend_ref="1"),
        Absent(),
        Mismatch(reason="its total is another", backend_ref="2"),
    ]
    assert asked(server) == ["sale.sale/search_read"]
    await half.close()


async def test_the_same_batch_again_is_the_same_sales(
    server: FaultServer, tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    deliveries = some(4)
    first = await backend.deliver_many(deliveries)
    server.seen.clear()
    assert await backend.deliver_many(deliveries) == first  # as if nobody knew: Tryton says that they are there
    assert server.written == 1
    assert await backend.deliver_many(again(deliveries)) == first  # looked up first
    assert server.written == 1
    assert len(tryton.sales) == 4


async def test_of_a_batch_those_that_are_there_are_taken_as_they_are_and_the_others_made(
    tryton: TrytonStandIn, backend: TrytonBackend, server: FaultServer
) -> None:
    quoting = make(server, until="quotation")
    deliveries = some(6)
    await quoting.deliver_many(deliveries[1:3])
    await backend.deliver_many(deliveries[4:])
    outcomes = await backend.deliver_many([*deliveries[:2], *again(deliveries[2:4]), *deliveries[4:]])
    assert [isinstance(outcome, Delivered) for outcome in outcomes] == [True] * 6
    assert [outcome.backend_ref for outcome in outcomes[1:3]] == ["1", "2"]  # type: ignore[union-attr]  # delivered
    assert states(tryton) == ["confirmed"] * 6
    assert all(tryton.held(delivery.key) == 1 for delivery in deliveries)
    await quoting.close()


async def test_one_alone_goes_the_way_of_a_single_order(server: FaultServer, backend: TrytonBackend) -> None:
    assert await backend.deliver_many(some(1)) == [Delivered(backend_ref="1")]
    assert "sale.sale/1/quote" in asked(server)
    assert await backend.find_many(some(1)) == [Found(backend_ref="1")]


async def test_until_a_draft_a_batch_needs_no_login_and_takes_no_step(
    server: FaultServer, tryton: TrytonStandIn
) -> None:
    backend = make(server, until="draft", user="", password=None)
    assert await backend.deliver_many(some(2)) == [Delivered(backend_ref="1"), Delivered(backend_ref="2")]
    assert states(tryton) == ["draft", "draft"]
    assert tryton.logins == 0
    await backend.close()


async def test_until_a_quotation_nothing_is_confirmed(server: FaultServer, tryton: TrytonStandIn) -> None:
    backend = make(server, until="quotation")
    assert [type(outcome) for outcome in await backend.deliver_many(some(3))] == [Delivered] * 3
    assert states(tryton) == ["quotation"] * 3
    await backend.close()


async def test_a_place_of_several_orders_is_one_address(
    server: FaultServer, tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    there = Address(name="Bob", street="1 Infinite Loop ", city="Cupertino", country="US")
    bare = Address(name="Bob", city="Cupertino")
    places = [there, bare, msgspec.structs.replace(there, phone="+1 408"), Address(), bare]
    deliveries = [a_delivery(an_order(str(number), ship_to=to)) for number, to in enumerate(places)]
    assert [type(outcome) for outcome in await backend.deliver_many(deliveries)] == [Delivered] * 5
    used = [sale["shipment_address"] for sale in tryton.sales.values()]
    assert used[0] == used[2]
    assert used[1] == used[4]
    assert used[3] == 2  # the party's own
    assert len(set(used)) == 3
    assert len(tryton.places) == 3
    await backend.deliver_many([a_delivery(an_order(f"9{number}", ship_to=to)) for number, to in enumerate(places)])
    assert len(tryton.places) == 3
    asked_for = [words.removeprefix("party.address") for words in asked(server) if words.startswith("party.address")]
    assert asked_for == ["", "/search_read", "/create", "/search_read"]  # the first: the party's own


async def test_an_address_that_mixes_two_places_of_a_batch_is_used_for_neither(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    bob = Address(name="Bob", street="1 Infinite Loop", city="Cupertino")
    eve = Address(name="Eve", street="2 Long Lane", city="Bonn")
    mixed = msgspec.structs.replace(bob, street=eve.street)
    await backend.deliver(a_delivery(an_order("0", ship_to=mixed)))
    deliveries = [a_delivery(an_order(str(number), ship_to=to)) for number, to in enumerate((bob, eve), 1)]
    assert [type(outcome) for outcome in await backend.deliver_many(deliveries)] == [Delivered] * 2
    by_id = {place["id"]: place for place in tryton.places}
    used = [by_id[sale["shipment_address"]] for sale in tryton.sales.values()]
    assert [(place["party_name"], place["street_unstructured"]) for place in used] == [
        ("Bob", "2 Long Lane"),
        ("Bob", "1 Infinite Loop"),
        ("Eve", "2 Long Lane"),
    ]


async def test_made_addresses_that_cannot_be_told_apart_let_nothing_be_written() -> None:
    class OneTooFew(TrytonStandIn):
        def _make_places(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return super()._make_places(bodies)[1:]

    stand_in = OneTooFew()
    async with FaultServer(stand_in).running() as server:
        backend = make(server)
        deliveries = [a_delivery(an_order(city, ship_to=Address(name="Bob", city=city))) for city in ("Bonn", "Köln")]
        outcomes = await backend.deliver_many(deliveries)
        assert [type(outcome) for outcome in outcomes] == [Later] * 2
        assert stand_in.sales == {}
        await backend.close()


# ---------------------------------------------------------------------------------------------------- one is poisonous


async def test_who_cannot_be_written_is_declined_alone_and_the_others_go(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    deliveries = [
        a_delivery(an_order("1")),
        a_delivery(an_order("2", lines=(Line("NO-SUCH-MUG", 1, 100),))),
        a_delivery(an_order("3", currency="ZZZ")),
        a_delivery(an_order("4", ship_to=Address(street="No Street", city="Nowhere"))),
        a_delivery(an_order("5")),
    ]
    one, sku, currency, place, five = await backend.deliver_many(deliveries)
    assert [type(outcome) for outcome in (one, five)] == [Delivered, Delivered]
    assert sku == Declined(reason="NO-SUCH-MUG is not known in Tryton")
    assert currency == Declined(reason="currency ZZZ is not known in Tryton")
    assert place == Declined(reason="Tryton refused the address")
    assert len(tryton.sales) == 2


async def test_a_batch_that_is_refused_because_of_one_is_sunk_and_leaves_nothing(
    tryton: TrytonStandIn, backend: TrytonBackend, server: FaultServer
) -> None:
    tryton.poison = 2
    deliveries = some(5, lines=(Line("SKU-01", 1, 500),))
    deliveries[3] = a_delivery(an_order("4", lines=(Line("SKU-02", 1, 500),)))
    outcomes = await backend.deliver_many(deliveries)
    assert outcomes == [Sunk(reason="Tryton refused one of a batch of 5")] * 5
    assert tryton.sales == {}
    assert "product.product/search_read" in asked(server)
    server.seen.clear()
    assert [type(outcome) for outcome in await backend.deliver_many(deliveries[:3])] == [Delivered] * 3
    assert asked(server)[0] == "product.product/search_read", "what may have been mended was not read again"
    assert [type(outcome) for outcome in await backend.deliver_many(deliveries[3:])] == [Sunk] * 2
    assert isinstance(await backend.deliver(deliveries[3]), Declined)
    assert isinstance(await backend.deliver(deliveries[4]), Delivered)
    assert all(tryton.held(one.key) == int(one is not deliveries[3]) for one in deliveries)


async def test_beside_a_poison_those_that_are_there_go_on_and_the_rest_is_sunk(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    tryton.poison = 2
    poison, harmless = a_delivery(an_order("3", lines=(Line("SKU-02", 1, 500),))), (Line("SKU-01", 1, 500),)
    there, fresh = some(2, lines=harmless), some(1, first=4, lines=harmless)
    await backend.deliver_many(there)
    outcomes = await backend.deliver_many([there[0], poison, *fresh, there[1]])
    assert [type(outcome) for outcome in outcomes] == [Delivered, Sunk, Sunk, Delivered]
    assert [type(outcome) for outcome in await backend.deliver_many([*there, poison])] == [
        Delivered,
        Delivered,
        Declined,
    ]
    assert len(tryton.sales) == 2


async def test_another_total_in_tryton_is_doubt_for_that_one_alone(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    deliveries = some(3)
    tryton.added, tryton.added_to = Decimal("0.19"), {deliveries[1].key}
    outcomes = await backend.deliver_many(deliveries)
    assert [type(outcome) for outcome in outcomes] == [Delivered, Doubtful, Delivered]
    assert states(tryton) == ["confirmed", "draft", "confirmed"]
    assert isinstance((await backend.find_many(deliveries))[1], Mismatch)


@pytest.mark.parametrize(("step", "left"), [("quote", "draft"), ("confirm", "quotation")])
async def test_a_step_that_is_refused_for_one_is_taken_with_all_others(
    tryton: TrytonStandIn, backend: TrytonBackend, server: FaultServer, step: str, left: str
) -> None:
    deliveries = some(8)
    tryton.refuses, tryton.refuses_for = step, {deliveries[5].key}
    outcomes = await backend.deliver_many(deliveries)
    refused = outcomes[5]
    assert isinstance(refused, Declined)
    assert refused.reason.startswith(f"sale 6 stays a {left} in Tryton: ")
    assert "Ada" not in refused.reason
    assert [type(outcome) for outcome in outcomes if outcome is not refused] == [Delivered] * 7
    assert Counter(states(tryton)) == {"confirmed": 7, left: 1}
    assert server.written == 1
    tryton.refuses = ""
    assert await backend.deliver_many(again(deliveries)) == [
        Delivered(backend_ref=str(number)) for number in range(1, 9)
    ]
    assert len(tryton.sales) == 8


async def test_a_sale_that_is_cancelled_in_tryton_is_doubt_for_that_one_alone(
    tryton: TrytonStandIn, backend: TrytonBackend, server: FaultServer
) -> None:
    drafting = make(server, until="draft")
    deliveries = some(3)
    await drafting.deliver_many(deliveries)
    tryton.sales[2]["state"] = "cancelled"
    outcomes = await backend.deliver_many(again(deliveries))
    assert [type(outcome) for outcome in outcomes] == [Delivered, Doubtful, Delivered]
    assert states(tryton) == ["confirmed", "cancelled", "confirmed"]
    await drafting.close()


async def test_what_tryton_cannot_process_keeps_no_other_sale_from_being_processed(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    tryton.processes = True
    deliveries = some(9)
    tryton.unprocessable = {deliveries[6].key}
    assert [type(outcome) for outcome in await backend.deliver_many(deliveries)] == [Delivered] * 9
    assert [sale["id"] for sale in tryton.sales.values() if sale["state"] != "processing"] == [7]
    assert tryton.sales[7]["state"] == "confirmed"


async def test_where_a_worker_processes_nothing_is_processed_in_its_stead(
    tryton: TrytonStandIn, backend: TrytonBackend, server: FaultServer
) -> None:
    for first in (1, 11):
        assert [type(outcome) for outcome in await backend.deliver_many(some(4, first=first))] == [Delivered] * 4
    assert set(states(tryton)) == {"confirmed"}
    assert not [words for words in asked(server) if words.endswith("process")]


# ------------------------------------------------------------------------------------------------------ what is unclear


class RpcStandIn(TrytonStandIn):
    """Its faults strike a step of several sales, not the login and not the creation."""

    struck_step = "quote"

    def writes(self, request: Request) -> bool:
        return request.path == "/erp/rpc/" and request.json["method"].endswith(f".{self.struck_step}")


UNCLEAR = [status(500), status(504), throttle("7"), status(404), said(b'{"id": 1, "error": ["KeyError", "x"]}'), None]


@pytest.mark.parametrize("step", ["quote", "confirm"])
@pytest.mark.parametrize("answer", UNCLEAR)
async def test_a_step_without_an_answer_that_says_something_leaves_doubt_and_no_second_sale(
    answer: Any, step: str
) -> None:
    stand_in = RpcStandIn()
    stand_in.struck_step = step
    async with FaultServer(stand_in, fault=Fault("", answer=answer)).running() as server:
        backend, deliveries = make(server), some(4)
        outcomes = await backend.deliver_many(deliveries)
        before = "draft" if step == "quote" else "quotation"
        # The first one is confirmed alone, to see what Tryton does behind it.
        struck = outcomes if step == "quote" else outcomes[1:]
        for outcome in struck:
            assert isinstance(outcome, Doubtful)
            assert f"is {before}: " in outcome.reason
        assert outcomes[0] == Delivered(backend_ref="1") or step == "quote"
        server.fault = None
        findings = await backend.find_many(deliveries)
        assert [isinstance(finding, Absent) and bool(finding.half_done) for finding in findings][1:] == [True] * 3
        assert [type(outcome) for outcome in await backend.deliver_many(again(deliveries))] == [Delivered] * 4
        assert len(stand_in.sales) == 4
        await backend.close()


async def test_a_step_that_was_taken_though_its_answer_was_lost_is_read_from_the_sales() -> None:
    stand_in = RpcStandIn()
    stand_in.struck_step = "confirm"
    async with FaultServer(stand_in, fault=Fault("", answer=status(502), records=True)).running() as server:
        backend = make(server)
        assert [type(outcome) for outcome in await backend.deliver_many(some(4))] == [Delivered] * 4
        await backend.close()


class ReadStandIn(TrytonStandIn):
    """Its faults strike the reading of sales that are there."""

    def writes(self, request: Request) -> bool:
        return bool(self.sales) and request.path == "/erp/rest/model/sale.sale/search_read"


async def test_sales_that_are_made_and_cannot_be_read_are_in_doubt_and_take_no_step() -> None:
    stand_in = ReadStandIn()
    async with FaultServer(stand_in, fault=Fault("", answer=status(500))).running() as server:
        backend, deliveries = make(server), some(3)
        outcomes = await backend.deliver_many(deliveries)
        assert [type(outcome) for outcome in outcomes] == [Doubtful] * 3
        assert states(stand_in) == ["draft"] * 3
        assert [type(finding) for finding in await backend.find_many(deliveries)] == [Unknown] * 3
        server.fault = None
        assert [type(outcome) for outcome in await backend.deliver_many(again(deliveries))] == [Delivered] * 3
        assert len(stand_in.sales) == 3
        await backend.close()


async def test_a_look_up_before_anything_is_written_that_fails_is_only_later(
    server: FaultServer, tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    server.fault, server.on_every = Fault("", answer=status(500)), True
    assert [type(outcome) for outcome in await backend.deliver_many(again(some(3)))] == [Later] * 3
    assert tryton.sales == {}


async def test_a_batch_that_takes_too_long_is_in_doubt_but_for_those_whose_outcome_is_known(
    server: FaultServer, pass_time: PassTime
) -> None:
    backend = make(server, timeout_s=600)
    server.fault = Fault("", cut="hole", records=True)
    bad = a_delivery(an_order("3", lines=(Line("NO-SUCH-MUG", 1, 100),)))
    delivering = asyncio.create_task(backend.deliver_many([*some(2), bad]))
    while not delivering.done():
        await asyncio.wait({delivering}, timeout=0.02)
        pass_time(600 if server.struck else 0)
    outcomes = await delivering
    late = Doubtful(reason="not finished after 600 s, in a batch of 3")
    assert outcomes == [late, late, Declined(reason="NO-SUCH-MUG is not known in Tryton")]
    server.fault = None
    findings = await backend.find_many([*some(2), bad])
    assert findings == [Absent(half_done="1"), Absent(half_done="2"), Absent()]
    await backend.close()


# ----------------------------------------------------------------------------------------------------------- the login


async def test_a_login_that_is_refused_means_away_and_leaves_no_draft(
    server: FaultServer, tryton: TrytonStandIn
) -> None:
    backend = make(server, user="nobody")
    outcomes = await backend.deliver_many(some(2))
    assert outcomes == [Away(reason="HTTP 401: Tryton refused the login of nobody: mend user or password")] * 2
    assert tryton.sales == {}
    with pytest.raises(BackendUnavailable, match="refused the login of nobody"):
        await backend.check()
    await backend.close()


async def test_a_session_that_has_ended_is_opened_again_without_a_word(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    await backend.deliver_many(some(3))
    tryton.session = "another"
    assert [type(outcome) for outcome in await backend.deliver_many(some(3, first=4))] == [Delivered] * 3
    assert tryton.logins == 2
    assert len(tryton.sales) == 6


async def test_too_many_logins_slow_down(server: FaultServer, tryton: TrytonStandIn, backend: TrytonBackend) -> None:
    server.fault, server.on_every = Fault("", answer=throttle("7")), True
    assert await backend.deliver_many(some(2)) == [Throttled(reason="HTTP 429", retry_after_s=7.0)] * 2
    assert tryton.sales == {}


async def test_a_login_that_wants_more_than_a_password_says_so(server: FaultServer, backend: TrytonBackend) -> None:
    server.on_every = True
    server.fault = Fault("", answer=said(b'{"id": 1, "error": ["LoginException", ["sms", "code", "char"]]}'))
    (outcome, _) = await backend.deliver_many(some(2))
    assert outcome == Away(reason="Tryton wants more of flashd than a password")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": "", "password": None}, r"batch = 50: .* write user and password"),
        ({"user": ""}, "go together"),
        ({"password": None}, "go together"),
    ],
)
def test_a_batch_without_a_whole_login_is_no_configuration(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(FaultServer(TrytonStandIn()), **changes)


def test_without_a_batch_no_login_is_needed() -> None:
    backend = make(FaultServer(TrytonStandIn()), batch=1, user="", password=None)
    assert backend.traits.batch == 1

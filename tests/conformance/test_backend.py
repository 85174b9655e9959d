"""
What every backend adapter owes: the outcome of each fault, one request that writes per sending, a truthful look-up.

A new adapter joins by a `Rig`: a stand-in of its backend and a way to make the adapter for an address. The fake of the
outflow's tests joins the part that needs no network.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from flashd.backends import http, odoo, tryton
from flashd.config import Secret
from flashd.domain.delivery import (
    Absent,
    Away,
    Declined,
    Delivered,
    Doubtful,
    Found,
    Later,
    Mismatch,
    NoLookup,
    Outcome,
    Throttled,
    Unknown,
    Unsupported,
)
from flashd.domain.order import Kind, Line, Order
from flashd.errors import BackendUnavailable
from flashd.ports import Backend
from tests.backends.fault_server import AWAY, DOUBTFUL, THROTTLED, Fault, FaultServer, StandIn
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import HttpStandIn, OdooStandIn, TrytonStandIn
from tests.conftest import PassTime
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import FakeClock

KEY = Secret(env="secret")
EXTRAS = {"shipping": 91, "discount": 92, "tax": 93, "rounding": 94}


def make_http(url: str, **more: Any) -> Backend:
    fields = {"url": f"{url}/orders", "lookup_url": f"{url}/orders?key={{key}}", **more}
    return http.connect("b", msgspec.convert({"kind": "http", "secret": KEY, **fields}, http.Config), reveal)


def make_tryton(url: str, **more: Any) -> Backend:
    fields = {"url": url, "database": "erp", "secret": KEY, "shop": 1, "party": 2, **more}
    return tryton.connect("b", msgspec.convert({"kind": "tryton", **fields}, tryton.Config), reveal)


def make_odoo(url: str, **more: Any) -> Backend:
    fields = {"url": url, "secret": KEY, "partner": 9, "currency": "USD", "extras": EXTRAS, **more}
    return odoo.connect("b", msgspec.convert({"kind": "odoo", **fields}, odoo.Config), reveal)


@dataclass
class Rig:
    backend: Backend
    server: FaultServer


ADAPTERS: dict[str, tuple[Callable[..., Backend], Callable[[], StandIn]]] = {
    "http": (make_http, HttpStandIn),
    "tryton": (make_tryton, TrytonStandIn),
    "odoo": (make_odoo, OdooStandIn),
}


@pytest.fixture(params=ADAPTERS)
async def rig(request: pytest.FixtureRequest, pass_time: PassTime) -> AsyncIterator[Rig]:
    """Each adapter before a stand-in of its backend; in a black hole its minute is over at once."""
    make, stand_in = ADAPTERS[request.param]
    async with FaultServer(stand_in(), hangs=lambda: pass_time(60)).running() as server:
        backend = make(server.url, timeout_s=60.0)
        yield Rig(backend, server)
        await backend.close()


@pytest.fixture(params=[*ADAPTERS, "fake"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each adapter, and the fake of the outflow's tests: a willing, idempotent `FakeBackend()` with a look-up."""
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            made: Backend = FakeBackend(FakeClock(), takes_s=0)
        else:
            make, stand_in = ADAPTERS[request.param]
            server = await stack.enter_async_context(FaultServer(stand_in()).running())
            made = make(server.url)
        yield made
        await made.close()


def mended(order: Order, **changes: Any) -> Order:
    return msgspec.structs.replace(order, **changes)


# ------------------------------------------------------------------------------------------ what a healthy backend does


async def test_an_order_is_delivered_and_found(backend: Backend) -> None:
    delivery = a_delivery(an_order("1"))
    outcome = await backend.deliver(delivery)
    assert isinstance(outcome, Delivered)
    assert outcome.backend_ref
    assert await backend.find(delivery) == Found(backend_ref=outcome.backend_ref)


async def test_what_was_never_sent_is_absent(backend: Backend) -> None:
    await backend.deliver(a_delivery(an_order("1")))
    assert await backend.find(a_delivery(an_order("2"))) == Absent()


async def test_the_same_key_twice_is_one_order(backend: Backend) -> None:
    assert backend.traits.idempotent
    delivery = a_delivery(an_order("1"))
    first = await backend.deliver(delivery)
    again = await backend.deliver(msgspec.structs.replace(delivery, sends=2))
    assert isinstance(first, Delivered)
    assert again == first


async def test_closing_twice_is_fine_and_before_the_first_request_too(backend: Backend) -> None:
    await backend.close()
    await backend.close()


async def test_check_says_who_answered(backend: Backend) -> None:
    assert await backend.check()


# ------------------------------------------------------------------------------------------------------------- adapters


async def test_every_order_is_written_by_one_request_and_read_back_whole(rig: Rig) -> None:
    for number in range(1, 4):
        delivery = a_delivery(an_order(str(number)))
        assert isinstance(await rig.backend.deliver(delivery), Delivered)
        assert rig.server.stand_in.held(delivery.key) == 1
    assert rig.server.written == 3


async def test_other_content_under_the_key_is_a_mismatch(rig: Rig) -> None:
    order = an_order("1")
    assert isinstance(await rig.backend.deliver(a_delivery(order)), Delivered)
    more = mended(order, lines=(Line("SKU-01", 3, 1050), *order.lines[1:]))
    dearer = mended(order, total=order.total + 1)
    for other in (more, dearer):
        finding = await rig.backend.find(a_delivery(other))
        assert isinstance(finding, Mismatch)
        assert finding.backend_ref
        assert isinstance(await rig.backend.deliver(a_delivery(other, sends=2)), Doubtful)


async def test_an_unknown_sku_is_declined_without_a_word_about_the_customer(rig: Rig) -> None:
    delivery = a_delivery(an_order("1", lines=(Line("NO-SUCH-MUG", 1, 100),)))
    outcome = await rig.backend.deliver(delivery)
    assert isinstance(outcome, Declined)
    assert_fit_for_a_log(outcome)
    assert rig.server.stand_in.held(delivery.key) == 0


@pytest.mark.parametrize("fault", DOUBTFUL, ids=str)
async def test_without_an_answer_that_proves_something_the_order_is_in_doubt(rig: Rig, fault: Fault) -> None:
    rig.server.fault = fault
    delivery = a_delivery(an_order("1"))
    outcome = await rig.backend.deliver(delivery)
    recorded = rig.server.stand_in.held(delivery.key)
    assert rig.server.struck == 1
    assert rig.server.written == 1, "it repeated a request by itself"
    assert recorded == int(fault.records)
    if isinstance(outcome, Delivered):
        # Only where the adapter read back under the key what the broken answer did not say.
        assert rig.backend.kind == "odoo"
        assert recorded == 1
    else:
        assert isinstance(outcome, Doubtful), outcome
        assert_fit_for_a_log(outcome)
    rig.server.fault = None
    found = await rig.backend.find(delivery)
    if recorded:
        half_done = isinstance(found, Absent) and found.half_done
        assert isinstance(found, Found) or half_done, found
    else:
        assert found == Absent()
    assert isinstance(await rig.backend.deliver(msgspec.structs.replace(delivery, sends=2)), Delivered)
    assert rig.server.stand_in.held(delivery.key) == 1
    assert isinstance(await rig.backend.find(delivery), Found)


async def test_the_answer_to_another_order_proves_nothing(rig: Rig) -> None:
    assert isinstance(await rig.backend.deliver(a_delivery(an_order("1"))), Delivered)
    other = rig.server.last
    rig.server.fault = Fault("another order's answer", answer=lambda _: other)
    delivery = a_delivery(an_order("2"))
    assert isinstance(await rig.backend.deliver(delivery), Doubtful)
    rig.server.fault = None
    assert await rig.backend.find(delivery) == Absent()


@pytest.mark.parametrize("fault", AWAY, ids=str)
@pytest.mark.parametrize("every", [False, True], ids=["writing", "everything"])
async def test_a_refused_login_or_address_means_away(rig: Rig, fault: Fault, every: bool) -> None:  # noqa: FBT001
    rig.server.fault, rig.server.on_every = fault, every
    delivery = a_delivery(an_order("1"))
    outcome = await rig.backend.deliver(delivery)
    assert isinstance(outcome, Away)
    assert_fit_for_a_log(outcome)
    if every:
        assert isinstance(await rig.backend.find(delivery), Unknown)
        with pytest.raises(BackendUnavailable):
            await rig.backend.check()


@pytest.mark.parametrize(("fault", "wait_s"), THROTTLED, ids=[str(fault) for fault, _ in THROTTLED])
@pytest.mark.parametrize("every", [False, True], ids=["writing", "everything"])
async def test_a_throttled_request_says_how_long_to_wait(
    rig: Rig,
    fault: Fault,
    wait_s: float | None,
    every: bool,  # noqa: FBT001
) -> None:
    rig.server.fault, rig.server.on_every = fault, every
    delivery = a_delivery(an_order("1"))
    outcome = await rig.backend.deliver(delivery)
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after_s == wait_s
    if every:
        finding = await rig.backend.find(delivery)
        assert isinstance(finding, Unknown)
        assert finding.retry_after_s == wait_s


@pytest.mark.parametrize(
    "fault", [fault for fault in DOUBTFUL if not fault.records and "of" not in fault.name], ids=str
)
async def test_a_look_up_that_fails_never_says_found_or_absent(rig: Rig, fault: Fault) -> None:
    delivery = a_delivery(an_order("1"))
    rig.server.fault, rig.server.on_every = fault, True
    finding = await rig.backend.find(delivery)
    if fault.name == "200 with a list":
        assert finding == Absent()  # which is exactly how these backends say so
    else:
        assert isinstance(finding, Unknown), finding
        assert_fit_for_a_log(finding)
    assert rig.server.struck == 1


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "tls"])
async def test_where_nothing_reached_the_wire_it_is_later(kind: str, url: str) -> None:
    make, stand_in = ADAPTERS[kind]
    async with FaultServer(stand_in()).running() as server:
        backend = make(server.url.replace("http:", "https:") if url == "tls" else url, timeout_s=1.0)
        delivery = a_delivery(an_order("1"))
        outcome = await backend.deliver(delivery)
        assert isinstance(outcome, Later), outcome
        assert_fit_for_a_log(outcome)
        assert isinstance(await backend.find(delivery), Unknown)
        with pytest.raises(BackendUnavailable):
            await backend.check()
        assert server.seen == []
        await backend.close()


async def test_a_kind_that_the_adapter_cannot_do_is_left_to_a_human(rig: Rig) -> None:
    assert Kind.AMEND not in rig.backend.traits.kinds
    outcome = await rig.backend.deliver(a_delivery(an_order("1"), kind=Kind.AMEND, backend_ref="1"))
    assert isinstance(outcome, Unsupported)
    assert rig.server.written == 0


async def test_connections_are_bounded_by_max_in_flight_and_used_again(rig: Rig) -> None:
    for number in range(5):
        await rig.backend.deliver(a_delivery(an_order(str(number))))
    assert rig.server.connections == 1


async def test_an_entry_point_names_every_adapter() -> None:
    for kind in ADAPTERS:
        module = importlib.import_module(f"flashd.backends.{kind}")
        assert module.connect.__module__ == module.Config.__module__ == f"flashd.backends.{kind}"


async def test_without_a_look_up_nothing_is_concluded() -> None:
    async with FaultServer(HttpStandIn()).running() as server:
        backend = make_http(server.url, lookup_url="")
        assert not backend.traits.lookup
        assert await backend.find(a_delivery(an_order("1"))) == NoLookup()
        await backend.close()


def assert_fit_for_a_log(outcome: Outcome | Unknown) -> None:
    reason = getattr(outcome, "reason", "")
    assert reason
    assert len(reason) <= 200
    assert not any(unicodedata.category(mark) in {"Cc", "Cf"} for mark in reason)
    for private in ("Ada", "Lovelace", "example.com", "7946", "St James"):
        assert private not in reason

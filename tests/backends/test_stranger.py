"""The adapter that docs/writing-an-adapter.md prints is a whole one: it is read from there and run."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from flashd.config import Secret
from flashd.domain.delivery import Declined, Delivered, Doubtful, NoLookup, Throttled, Unsupported
from flashd.domain.order import Kind, Line
from flashd.ports import Backend
from tests.backends.fault_server import DOUBTFUL, THROTTLED, Fault, FaultServer, Reply, Request
from tests.backends.orders import a_delivery, an_order, reveal

PAGE = Path(__file__).parents[2] / "docs" / "writing-an-adapter.md"


class AcmeStandIn:
    def __init__(self) -> None:
        self.refs: list[str] = []

    def writes(self, request: Request) -> bool:
        return request.method == "POST"

    def held(self, key: str) -> int:
        return self.refs.count(key)

    def handle(self, request: Request) -> Reply:
        if request.method == "GET":
            return Reply.of({})
        if "NO-SUCH-MUG" in request.json["items"]:
            return Reply.of({"problem": "no such mug"}, 422)
        if request.json["ref"] not in self.refs:
            self.refs.append(request.json["ref"])
        return Reply.of({"ref": request.json["ref"], "no": self.refs.index(request.json["ref"]) + 1}, 201)


@pytest.fixture
def acme() -> Iterator[ModuleType]:
    """The printed module."""
    (source,) = re.findall(r'```python\n("""Acme.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("printed_acme")
    sys.modules["printed_acme"] = module
    exec(compile(source, str(PAGE), "exec"), module.__dict__)  # noqa: S102  # our own page
    yield module
    del sys.modules["printed_acme"]


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(AcmeStandIn()).running() as server:
        yield server


@pytest.fixture
async def backend(acme: ModuleType, server: FaultServer) -> AsyncIterator[Backend]:
    fields = {"kind": "acme", "url": server.url, "timeout_s": 1.0, "secret": Secret(env="secret")}
    backend: Backend = acme.connect("b", msgspec.convert(fields, acme.Config), reveal)
    yield backend
    await backend.close()


async def test_the_printed_adapter_delivers_declines_and_leaves_the_rest_to_a_human(backend: Backend) -> None:
    delivery = a_delivery(an_order("1"))
    assert await backend.deliver(delivery) == Delivered(backend_ref="1")
    assert await backend.deliver(delivery) == Delivered(backend_ref="1")
    assert await backend.find(delivery) == NoLookup()
    assert await backend.check() == "Acme"
    poison = a_delivery(an_order("2", lines=(Line("NO-SUCH-MUG", 1),)))
    assert await backend.deliver(poison) == Declined(reason="no such mug")
    assert isinstance(await backend.deliver(a_delivery(an_order("1"), kind=Kind.CANCEL)), Unsupported)


@pytest.mark.parametrize("fault", [fault for fault in DOUBTFUL if "hole" not in fault.name], ids=str)
async def test_the_printed_adapter_is_in_doubt_where_it_must(
    backend: Backend, server: FaultServer, fault: Fault
) -> None:
    server.fault = fault
    assert isinstance(await backend.deliver(a_delivery(an_order("1"))), Doubtful)
    assert server.written == 1


@pytest.mark.parametrize(("fault", "wait_s"), THROTTLED, ids=[str(fault) for fault, _ in THROTTLED])
async def test_the_printed_adapter_hands_retry_after_on(
    backend: Backend, server: FaultServer, fault: Fault, wait_s: float | None
) -> None:
    server.fault = fault
    outcome = await backend.deliver(a_delivery(an_order("1")))
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after_s == wait_s

"""What a backend says of its stock: read whole or not at all, and nothing guessed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flashd.backends.http import Config as HttpConfig
from flashd.backends.http import connect as connect_http
from flashd.backends.tryton import Config as TrytonConfig
from flashd.backends.tryton import connect as connect_tryton
from flashd.config import Secret
from flashd.domain.count import Count, CountKind
from flashd.errors import BackendUnavailable
from flashd.ports import CountingBackend
from tests.backends.fault_server import FaultServer, Reply, Request
from tests.backends.orders import reveal
from tests.backends.stand_ins import TrytonStandIn

NOW_MS = 1_800_000_000_000


class Counts:
    """Answers every GET with the next of what it was given."""

    def __init__(self, *pages: object) -> None:
        self.pages = list(pages)

    def writes(self, request: Request) -> bool:
        return False

    def held(self, key: str) -> int:
        return 0

    def handle(self, request: Request) -> Reply:
        page = self.pages.pop(0)
        return page if isinstance(page, Reply) else Reply.of(page)


async def read(*pages: object, **more: Any) -> list[Count]:
    async with FaultServer(Counts(*pages)).running() as server:
        wish = {"kind": "http", "url": server.url, "counts_url": f"{server.url}/stock", **more}
        backend = connect_http("erp", msgspec.convert(wish, HttpConfig), reveal)
        assert isinstance(backend, CountingBackend)
        assert backend.traits.counts
        try:
            return await backend.counts(NOW_MS)
        finally:
            await backend.close()


async def test_rows_and_what_stands_above_them_for_all() -> None:
    page = {
        "as_of": "2026-11-27T08:00:00Z",
        "seq": 7,
        "kind": "physical",
        "counts": [{"sku": "A", "quantity": 3}, {"sku": "B", "quantity": -2, "location": "north", "seq": 8}],
    }
    first, second = await read(page)
    assert (first.sku, first.quantity, first.kind, first.seq) == ("A", 3, CountKind.PHYSICAL, 7)
    assert first.as_of_ms == 1_795_766_400_000
    assert (second.quantity, second.location, second.seq, second.source) == (-2, "north", 8, "erp")


async def test_without_as_of_it_is_the_instant_before_it_was_asked_and_the_kind_is_the_configured() -> None:
    [count] = await read({"counts": [{"sku": "A", "quantity": 3}]}, counts_kind="physical")
    assert (count.as_of_ms, count.kind, count.seq) == (NOW_MS, CountKind.PHYSICAL, 0)


async def test_all_pages_are_read() -> None:
    pages = [{"counts": [{"sku": str(n), "quantity": n}], "next": "?page=1" if n < 2 else None} for n in range(3)]
    assert [count.sku for count in await read(*pages)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "pages",
    [
        ([],),
        ({"counts": [{"sku": "A"}]},),
        ({"counts": [{"sku": "A", "quantity": 1.5}]},),
        ({"counts": [{"sku": "", "quantity": 1}]},),
        ({"counts": [{"sku": "A", "quantity": 1, "kind": "guessed"}]},),
        ({"counts": [{"sku": "A", "quantity": 1, "as_of": "yesterday"}]},),
        ({"counts": [{"sku": "A", "quantity": 1}], "next": "http://elsewhere.example/"},),
        ({"counts": [{"sku": "A", "quantity": 1}], "next": "?2"}, Reply.of({}, 500)),
        (Reply.of({}, 404),),
    ],
)
async def test_what_cannot_be_read_whole_is_not_used(pages: tuple[object, ...]) -> None:
    with pytest.raises(BackendUnavailable):
        await read(*pages)


class StockedTryton(TrytonStandIn):
    """A Tryton whose products have stock, in the warehouse that the context names."""

    def _search(self, model: str, domain: list[Any]) -> list[dict[str, Any]]:
        if model == "product.product" and domain == [["salable", "=", True]]:
            return [
                {"id": 1, "code": "SKU-01", "quantity": 9.0, "forecast_quantity": 7.0},
                {"id": 2, "code": None, "quantity": 4.5, "forecast_quantity": -1.0},
                {"id": 3, "code": "", "quantity": 1.0, "forecast_quantity": 1.0},
            ]
        return super()._search(model, domain)


@pytest.mark.parametrize(("kind", "quantities"), [("physical", [9, 4]), ("available", [7, -1])])
async def test_tryton_tells_what_lies_there_or_what_is_not_promised(kind: str, quantities: list[int]) -> None:
    async with FaultServer(StockedTryton()).running() as server:
        fields = {"url": server.url, "database": "erp", "shop": 1, "party": 2, "counts": kind, "products": {"MUG": 2}}
        wish = {"kind": "tryton", "secret": Secret(env="secret"), **fields}
        backend = connect_tryton("erp", msgspec.convert(wish, TrytonConfig), reveal)
        counts = await backend.counts(NOW_MS)
        await backend.close()
    assert [(count.sku, count.quantity) for count in counts] == list(zip(["SKU-01", "MUG"], quantities, strict=True))
    assert {(count.kind, count.as_of_ms) for count in counts} == {(CountKind(kind), NOW_MS)}

"""The demo's oracle is handed what flashd showed and what the ERP had at one moment, though flashd goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from flashd.demo import run
from flashd.demo.evidence import FlashdOrder, FlashdStock
from flashd.demo.run import DemoOptions, _Demo

LATE = FlashdOrder(channel="store", id="52", kind="create", state="shortfall", sends=0, taken={}, wanted={"mug": 1})


class Moving:
    """Flashd's API, which fills an order that fell short (somebody called another off) after so many questions."""

    def __init__(self, books: Path, fills_after: int) -> None:
        self.books = books
        self.order = LATE
        self.left = fills_after

    def _goes_on(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.order = replace(LATE, state="queued", taken={"mug": 1})
        elif self.left == -1:
            self.order = replace(self.order, state="delivered", sends=1)
            self.books.write_text("52 is booked\n")

    async def orders(self) -> list[FlashdOrder]:
        self._goes_on()
        return [self.order]

    async def stock(self) -> list[FlashdStock]:
        self._goes_on()
        return [FlashdStock(sku="mug", on_hand=1, held=0, sold=sum(self.order.taken.values()))]

    async def has_backlog(self) -> bool:
        self._goes_on()
        return self.order.state == "queued"


@pytest.mark.parametrize("fills_after", range(1, 12))
async def test_whenever_an_order_is_filled_it_is_in_both_or_in_neither(
    tmp_path: Path, fills_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "REFRESH_S", 0.0)
    books = tmp_path / "erp.ledger"
    books.touch()
    demo = _Demo(DemoOptions(orders=1), tmp_path, Console(quiet=True))
    site: Any = SimpleNamespace(erp=SimpleNamespace(ledger=books))
    api: Any = Moving(books, fills_after)
    await demo._drain(api)
    shown, copied = await demo._standstill(site, api)
    [order] = shown["orders"]
    assert (order.state, copied.read_text()) in {("shortfall", ""), ("delivered", "52 is booked\n")}
    assert shown["counters"][0].sold == sum(order.taken.values())

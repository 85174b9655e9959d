"""The oracle itself is put to the test: it passes a clean run, and each broken promise is seen and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from flashd.demo.evidence import Evidence, FlashdOrder, FlashdStock
from flashd.demo.ledger import Entry, Ledger
from flashd.demo.oracle import Verdict, judge, main


class Run:
    """The evidence of a run, made up order by order."""

    def __init__(self, *, stock: int = 10, limit: int = 5) -> None:
        self.now_us = 1_000_000_000
        self.stock = {"A": stock}
        self.limit = limit
        self.shops: list[Entry] = []
        self.erp: list[Entry] = []
        self.orders: list[FlashdOrder] = []
        self.sends_us: list[int] = []  # when flashd let each request go

    def sent(self, order: str, *, version: int = 1, stage: str = "paid", quantity: int = 1, **more: Any) -> Entry:
        entry = {
            "kind": "order_sent",
            "at_us": self.now_us,
            "channel": "shop",
            "order": order,
            "version": version,
            "stage": stage,
            "lines": [{"sku": "A", "quantity": quantity, "unit_price": 500, "discount": 0}],
            "shipping": 0,
            "tax": 0,
            "total": 500 * quantity,
            "held_until_us": 0,
        } | more
        self.shops.append(entry)
        return entry

    def answered(self, order: str, *, version: int = 1, status: int = 200, state: str = "queued") -> None:
        entry = {"kind": "order_answered", "at_us": self.now_us, "channel": "shop", "order": order}
        self.shops.append(entry | {"version": version, "status": status, "state": state})

    def booked(self, order: str, *, quantity: int = 1, key: str = "", booking: str = "", **more: Any) -> None:
        self.now_us += 400_000
        key = key or f"key-{order}"
        self.erp.append({"kind": "request", "at_us": self.now_us, "method": "POST", "key": key, "fault": None})
        lines = [{"sku": "A", "quantity": quantity, "unit_price": 500}]
        body = {"channel": "shop", "order_id": order, "lines": lines, "total": 500 * quantity} | more
        self.erp.append(
            {"kind": "booked", "at_us": self.now_us, "id": booking or f"SO-{order}", "key": key, "order": body}
        )

    def record(self, order: str, state: str, *, kind: str = "create", wanted: int = 1, taken: int = 1) -> None:
        self.orders.append(
            FlashdOrder(
                channel="shop", id=order, kind=kind, state=state, sends=1, taken={"A": taken}, wanted={"A": wanted}
            )
        )

    def order(self, order: str, *, quantity: int = 1, state: str = "delivered") -> None:
        """An order that went well, all the way."""
        self.sent(order, quantity=quantity)
        self.answered(order)
        self.record(order, state, wanted=quantity, taken=quantity)
        if state == "delivered":
            self.booked(order, quantity=quantity)

    def verdict(self, **counters: int) -> Verdict:
        units = sum(order.taken["A"] for order in self.orders if order.state not in {"cancelled", "ignored"})
        counted = {"on_hand": self.stock["A"], "held": 0, "sold": units} | counters
        return judge(
            Evidence(
                stock=self.stock,
                limit=self.limit,
                shops=self.shops,
                erp=self.erp,
                orders=self.orders,
                counters=[FlashdStock(sku="A", **counted)],
                sent_us=self.sends_us or None,
            )
        )


@pytest.fixture
def run() -> Run:
    run = Run()
    for number in range(4):
        run.order(f"good-{number}")
    return run


def test_a_clean_run_passes(run: Run) -> None:
    verdict = run.verdict()
    assert verdict.line == "oversold 0  lost 0  duplicated 0  over limit 0  PASS"
    assert (verdict.acknowledged, verdict.booked, verdict.units_booked, verdict.problems) == (4, 4, 4, [])


def test_one_unit_too_many_in_the_erp_is_oversold() -> None:
    run = Run(stock=3)
    for number in range(4):
        run.order(f"{number}")
    verdict = run.verdict()
    assert verdict.oversold >= 1
    assert not verdict.passed
    assert "the ERP shall ship 4 of A, there are 3" in verdict.problems[0]


def test_an_order_that_left_without_its_units_is_oversold(run: Run) -> None:
    run.sent("x", quantity=2)
    run.answered("x")
    run.booked("x", quantity=2)
    run.record("x", "delivered", wanted=2, taken=1)
    assert run.verdict().line == "oversold 1  lost 0  duplicated 0  over limit 0  FAIL"


def test_a_negative_counter_is_oversold(run: Run) -> None:
    assert run.verdict(held=7).oversold == 1


def test_a_live_hold_that_ends_in_a_shortfall_is_oversold(run: Run) -> None:
    run.sent("x", held_until_us=run.now_us + 1)
    run.answered("x", state="shortfall")
    run.record("x", "shortfall", taken=0)
    assert run.verdict().oversold == 1


def test_a_shortfall_without_a_hold_is_visible_and_fine(run: Run) -> None:
    run.sent("x", held_until_us=run.now_us)
    run.answered("x", state="shortfall")
    run.record("x", "shortfall", taken=0)
    assert run.verdict().passed


@pytest.mark.parametrize("state", ["queued", "sending", "in_doubt", "ignored", "cancelled", "waiting", None])
def test_an_acknowledged_order_that_is_not_where_it_should_be_is_lost(run: Run, state: str | None) -> None:
    run.sent("x")
    run.answered("x")
    if state is not None:
        run.record("x", state)
    assert run.verdict().line == "oversold 0  lost 1  duplicated 0  over limit 0  FAIL"


def test_delivered_by_word_only_is_lost(run: Run) -> None:
    run.sent("x")
    run.answered("x")
    run.record("x", "delivered")
    assert run.verdict().lost == 1


def test_an_order_in_two_states_is_lost(run: Run) -> None:
    run.record("good-1", "dead", taken=0)
    assert run.verdict().lost == 1


def test_what_was_never_acknowledged_may_be_missing(run: Run) -> None:
    run.sent("x")
    run.answered("x", status=0, state="")
    verdict = run.verdict()
    assert (verdict.passed, verdict.never_acknowledged) == (True, 1)


def test_two_bookings_of_one_order_are_a_duplicate(run: Run) -> None:
    run.booked("good-1", key="another", booking="SO-9")
    run.orders[1] = msgspec.structs.replace(run.orders[1], sends=2)
    verdict = run.verdict()
    assert verdict.line == "oversold 0  lost 0  duplicated 1  over limit 0  FAIL"
    assert verdict.problems == ["duplicated: order shop:good-1 is SO-good-1, SO-9"]


def test_two_orders_under_one_key_are_a_duplicate(run: Run) -> None:
    run.sent("x")
    run.booked("x", key="key-good-1")
    run.record("x", "delivered")
    assert run.verdict().duplicated >= 1


def test_one_request_too_many_in_any_second_is_over_the_limit(run: Run) -> None:
    last = run.now_us
    for offset in (990_000, 992_000, 999_000, 1_000_000):  # the second after the last booking: [last, last + 1 s)
        run.erp.append({"kind": "request", "at_us": last + offset, "method": "GET", "key": "k", "fault": None})
    run.erp.append({"kind": "request", "at_us": last + 1_000_001, "method": "GET", "key": "k", "fault": None})
    assert run.verdict().over_limit == 0
    run.erp.append({"kind": "request", "at_us": last + 999_999, "method": "GET", "key": "k", "fault": None})
    verdict = run.verdict()
    assert verdict.line == "oversold 0  lost 0  duplicated 0  over limit 1  FAIL"
    assert verdict.max_in_a_second == 6


def test_one_sending_too_many_in_any_second_is_over_the_limit_though_the_network_spread_them(run: Run) -> None:
    run.sends_us = [0, 100, 200, 300, 999_999, 1_000_000]
    assert run.verdict().over_limit == 0
    run.sends_us.append(500)
    verdict = run.verdict()
    assert (verdict.over_limit, verdict.max_sent_in_a_second) == (2, 6)
    assert verdict.problems == [f"over limit: 6 requests in one second, the limit is {run.limit}"]


def test_a_half_open_window_does_not_hold_its_end() -> None:
    run = Run(limit=1)
    for at_us in (0, 1_000_000, 2_000_000):
        run.erp.append({"kind": "request", "at_us": at_us, "method": "GET", "key": "k", "fault": None})
    assert run.verdict().over_limit == 0


@pytest.mark.parametrize(
    "change",
    [
        {"total": 501},
        {"lines": [{"sku": "A", "quantity": 1, "unit_price": 499}]},
        {"lines": [{"sku": "B", "quantity": 1, "unit_price": 500}]},
        {"shipping": 1},
    ],
)
def test_a_price_or_line_that_changed_on_the_way_is_wrong(run: Run, change: dict[str, Any]) -> None:
    run.sent("x")
    run.answered("x")
    run.booked("x", **change)
    run.record("x", "delivered")
    verdict = run.verdict()
    assert verdict.wrong == 1
    assert not verdict.passed
    assert verdict.line.endswith("wrong 1  FAIL")


@pytest.mark.parametrize("state", ["parked", "dead"])
def test_an_order_that_was_stopped_for_no_reason_is_wrong(run: Run, state: str) -> None:
    run.order("x", state=state)
    assert run.verdict().wrong == 1


def test_a_dead_letter_that_the_erp_refused_is_fine(run: Run) -> None:
    run.order("x", state="dead")
    run.erp.append({"kind": "refused", "at_us": 0, "key": "k", "order": {"channel": "shop", "order_id": "x"}})
    assert run.verdict().passed


def test_an_invented_order_is_wrong(run: Run) -> None:
    run.booked("never-sent")
    run.record("never-sent", "delivered")
    assert run.verdict().wrong == 1


def test_a_sending_that_was_not_counted_is_wrong(run: Run) -> None:
    run.orders = [msgspec.structs.replace(order, sends=0) for order in run.orders]
    assert run.verdict().wrong == 4


def test_stock_that_is_not_conserved_is_wrong(run: Run) -> None:
    assert run.verdict(sold=3).wrong == 1
    assert run.verdict(on_hand=11).wrong == 1


def test_a_cancelled_order_may_have_left_only_if_its_cancellation_followed(run: Run) -> None:
    run.sent("x")
    run.answered("x")
    run.sent("x", version=2, stage="cancelled")
    run.answered("x", version=2, state="cancelled")
    run.booked("x")
    run.record("x", "delivered", taken=0)
    assert run.verdict().lost == 1

    run.record("x", "manual", kind="cancel")
    assert run.verdict().passed

    run.orders[-1] = msgspec.structs.replace(run.orders[-1], state="delivered", taken={"A": 0})
    assert run.verdict().wrong == 1, "flashd says that it told the ERP, and the ERP does not know"
    run.erp.append({"kind": "cancelled", "at_us": 0, "id": "SO-x", "key": "c"})
    assert run.verdict().passed
    run.orders[-1] = msgspec.structs.replace(run.orders[-1], state="manual")
    assert run.verdict().passed, "a human is asked whether the ERP knows"
    run.orders[-1] = msgspec.structs.replace(run.orders[-1], state="dead")
    assert run.verdict().wrong == 1


def test_a_cancellation_that_was_acknowledged_and_not_done_is_lost(run: Run) -> None:
    run.sent("x")
    run.sent("x", version=2, stage="cancelled")
    run.answered("x", version=2, state="cancelled")
    run.record("x", "shortfall", taken=0)
    assert run.verdict().lost == 1


def test_an_old_version_in_the_erp_needs_its_change_beside_it(run: Run) -> None:
    run.sent("x", quantity=2)
    run.answered("x")
    run.sent("x", version=2, quantity=1)
    run.answered("x", version=2)
    run.booked("x", quantity=2)
    run.record("x", "delivered", wanted=2, taken=2)
    assert run.verdict().wrong == 1
    run.record("x", "manual", kind="amend", taken=0)
    assert run.verdict().passed


def test_the_oracle_is_a_command_that_reads_ledgers(tmp_path: Path) -> None:
    run = Run()
    run.order("1")
    run.booked("1", key="again", booking="SO-2")
    for name, entries in (("shops", run.shops), ("erp", run.erp)):
        ledger = Ledger(tmp_path / name)
        for entry in entries:
            ledger.note(entry["kind"], **{key: value for key, value in entry.items() if key != "kind"})
        ledger.close()
    evidence = {
        "stock": run.stock,
        "limit": 5,
        "shops": str(tmp_path / "shops"),
        "erp": str(tmp_path / "erp"),
        "orders": [msgspec.structs.replace(order, sends=2) for order in run.orders],
        "counters": [{"sku": "A", "on_hand": 10, "held": 0, "sold": 1}],
    }
    (tmp_path / "evidence.json").write_bytes(msgspec.json.encode(evidence))
    said = CliRunner().invoke(main, [str(tmp_path / "evidence.json")])
    assert said.exit_code == 1
    assert said.output.splitlines()[-1] == "oversold 0  lost 0  duplicated 1  over limit 0  FAIL"


def test_requests_that_the_log_does_not_tell_of_are_a_contradiction(run: Run) -> None:
    run.sends_us.append(1)  # of four that the ERP saw
    verdict = run.verdict()
    assert verdict.wrong >= 1
    assert any("flashd's log tells of 1" in problem for problem in verdict.problems)

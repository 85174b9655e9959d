"""The oracle sees each kind of broken promise, and is a stranger to what it judges."""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.fault_proxy import FAULTS
from tests.chaos.judge import PARTS, TARGETS, Evidence, judge, most_in

HERE = Path(__file__).parent
STRANGERS = ("oracle", "judge", "erp", "fault_proxy", "ledger", "shop")


def told(that: str, order: str, status: int, *, channel: str = "till", units: int = 2) -> list[dict[str, Any]]:
    """What stands in the sender's ledger of one request and its answer."""
    what = {"channel": channel, "sku": "TEE", "units": units, "total": units * 100}
    sent = {"what": "sent", "that": that, "order": order} | (what if that in {"order", "call_off"} else {})
    return [sent, {"what": "answered", "that": that, "order": order, "status": status, "said": "", "tries": 2}]


def booked(order: str, key: str = "", *, units: int = 2, channel: str = "till") -> dict[str, Any]:
    lines = [{"sku": "TEE", "quantity": units}]
    content = {"channel": channel, "order_id": order, "lines": lines, "total": units * 100}
    return {"what": "booked", "id": f"SO-{key or order}", "key": key or order, "order": content}


def record(order: str, state: str, *, channel: str = "till") -> dict[str, Any]:
    return {"ref": {"channel": channel, "id": order, "kind": "create"}, "state": state, "sends": 2}


def good() -> Evidence:
    """A run in which everything happened, and nothing went wrong."""
    sent = [*told("hold", "1", 201), *told("order", "1", 201), *told("hold", "2", 409), *told("order", "3", 202)]
    sent += [*told("order", "4", 201), *told("cancel", "4", 200), *told("order", "5", 201), *told("cancel", "5", 409)]
    sent += [*told("order", "6", 200, channel="shop"), *told("call_off", "6", 200, channel="shop")]
    books = [booked("1"), booked("5"), booked("6", channel="shop"), {"what": "cancelled", "id": "SO-6"}]
    books += [{"what": "request", "at_s": 10.0 + number, "method": "GET", "key": "1"} for number in range(3)]
    states = {"1": "delivered", "3": "shortfall", "4": "cancelled", "5": "delivered"}
    records = [*(record(*one) for one in states.items()), record("6", "delivered", channel="shop")]
    faults = [{"what": "fault", "fault": fault, "at_s": 1.0} for fault in FAULTS]
    requests = [{"what": "request", "at_s": 10.0 + number / 10, "line": "POST /orders"} for number in range(20)]
    end = {
        "orders": records,
        "stock": [{"sku": "TEE", "on_hand": 5, "held": 0, "sold": 4, "exposed": 0}],
        "audit": "clean",
        "kills": dict.fromkeys(TARGETS, 1),
        "drain": {"took_s": 3.0, "bound_s": 40.0, "backlog": 5},
        "terms": {"limit": 10, "stock": {"TEE": 5}, "backend": "keys"},
    }
    return Evidence(sent, books, faults, faults + requests, end)


def test_a_good_run_passes() -> None:
    verdict = judge(good())
    assert verdict.breaches == []
    assert verdict.never == []
    assert verdict.passed


def set_state(evidence: Evidence, order: str, state: str) -> None:
    [one] = [one for one in evidence.end["orders"] if one["ref"]["id"] == order]
    one["state"] = state


def forget(evidence: Evidence, order: str) -> None:
    evidence.books = [one for one in evidence.books if one.get("key") != order or one["what"] != "booked"]


BREACHES: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "an order that the backend never got": (lambda e: forget(e, "1"), "lost"),
    "an order that nobody knows": (lambda e: e.end["orders"].pop(0), "lost"),
    "an order that never left": (lambda e: set_state(e, "1", "queued"), "lost"),
    "an order that was buried": (lambda e: set_state(e, "5", "dead"), "lost"),
    "twice under one key": (lambda e: e.books.append(booked("1")), "twice"),
    "twice under two keys": (lambda e: e.books.append(booked("1", "other")), "twice"),
    "other content": (lambda e: e.books.__setitem__(0, booked("1", units=1)), "other content"),
    "somebody else's order": (lambda e: e.books.append(booked("99")), "never sent"),
    "a cancelled order that was sent": (lambda e: e.books.append(booked("4")), "called off"),
    "a cancellation that the backend never heard of": (
        lambda e: e.books.remove({"what": "cancelled", "id": "SO-6"}),
        "called off",
    ),
    "a refusal that nobody deserves": (lambda e: e.sent.extend(told("order", "1", 409)), "answered 409"),
    "an order that was never answered": (lambda e: e.sent.append(told("order", "7", 0)[0]), "never answered"),
    "more sold than there is": (lambda e: e.end["terms"]["stock"].update(TEE=3), "oversold"),
    "units that were never given back": (lambda e: e.end["stock"][0].update(held=1), "stock of TEE"),
    "units that were given back twice": (lambda e: e.end["stock"][0].update(sold=2), "stock of TEE"),
    "too fast": (lambda e: e.end["terms"].update(limit=9), "in a second"),
    "the audit": (lambda e: e.end.update(audit="1 difference"), "audit"),
    "a backlog that stays": (lambda e: e.end["drain"].update(took_s=41.0), "backlog"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_each_broken_promise_is_seen(breach: str) -> None:
    spoil, says = BREACHES[breach]
    evidence = copy.deepcopy(good())
    spoil(evidence)
    verdict = judge(evidence)
    assert not verdict.passed
    assert any(says in one for one in verdict.breaches), verdict.breaches


def test_a_run_in_which_a_claimed_fault_never_happened_is_red() -> None:
    for name in good().end["kills"]:
        evidence = good()
        evidence.end["kills"].pop(name)
        assert judge(evidence).never == [f"killed {name}"]
    evidence = good()
    evidence.store_proxy = [one for one in evidence.store_proxy if one["fault"] != "drop_reply"]
    assert judge(evidence).never == ["store: drop_reply"]
    assert not judge(evidence).passed


def test_the_fullest_window_is_half_open() -> None:
    assert most_in([0.0, 0.5, 1.0, 1.4, 1.5], 1.0) == 3
    assert most_in([], 1.0) == 0


@pytest.mark.parametrize("name", STRANGERS)
def test_the_oracle_shares_no_code_with_the_daemon(name: str) -> None:
    tree = ast.parse((HERE / f"{name}.py").read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = {"aiohttp", *(f"tests.chaos.{one}" for one in STRANGERS)}
    assert {one for one in named if one.split(".")[0] not in sys.stdlib_module_names} <= allowed


def test_evidence_is_read_from_what_a_run_leaves(tmp_path: Path) -> None:
    for name in PARTS:
        (tmp_path / f"{name}.jsonl").write_text('{"what": "fault"}\n{"what": "to')
    (tmp_path / "end.json").write_text("{}")
    assert Evidence.of(tmp_path).books == [{"what": "fault"}]

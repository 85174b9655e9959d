"""The report of `make chaos` names each fault that it claims, and is red where one of them never happened."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import BROKEN, KILLED, SUMMED, Found, in_sum, report


def a_loop(kills: int) -> Found:
    sometimes = {**dict.fromkeys(KILLED, kills // 5), **dict.fromkeys(BROKEN, 3), "holds taken": 7}
    figures = {**dict.fromkeys(SUMMED, 0), "kills": kills, "orders": 1000}
    verdict = {"breaches": [], "never": [], "passed": True}
    return {"title": "kill loop", "terms": {"kind": "valkey"}, "sometimes": sometimes, "figures": figures} | verdict


def test_the_loops_are_added_up_and_a_hundred_kills_in_a_quarter_of_an_hour_are_wanted() -> None:
    told = in_sum([a_loop(60), a_loop(60)], 900)
    assert told["passed"]
    assert (told["figures"]["kills"], told["figures"]["orders"]) == (120, 2000)
    assert told["sometimes"]["killed daemon"] == 24
    assert not in_sum([a_loop(60), a_loop(35)], 900)["passed"]


@pytest.mark.parametrize("name", [*KILLED, *BROKEN])
def test_a_fault_that_never_happened_anywhere_is_named(name: str) -> None:
    loops = [a_loop(60), a_loop(60)]
    for one in loops:
        one["sometimes"][name] = 0
    told = in_sum(loops, 900)
    assert told["never"] == [name]
    assert f"NEVER HAPPENED {name}" in report([*loops, told], 900)


def test_the_report_shows_each_claimed_fault_with_its_count() -> None:
    text = report([a_loop(60), in_sum([a_loop(60)], 100)], 100)
    for name in (*KILLED, *BROKEN):
        assert f"| {name} | " in text

"""`flashd orders triage`: what it says of an order that waits for units, and of one that does not."""

from __future__ import annotations

import pytest

from tests.cli.daemon import Daemon


@pytest.mark.parametrize(
    ("state", "short", "fills", "said"),
    [
        ("shortfall", {"tee": 2}, False, "short 2 of tee; it waits for a decision"),
        ("backorder", {"tee": 1, "mug": 3}, True, "short 1 of tee, 3 of mug; goods that come go to it"),
        ("delivered", {}, False, "nothing to decide"),
    ],
)
def test_an_order_is_said_to_wait_only_where_it_waits(
    daemon: Daemon,
    state: str,
    short: dict[str, int],
    fills: bool,  # noqa: FBT001  # drawn from the table
    said: str,
) -> None:
    daemon.answer = {"order": {"order": "till:1", "state": state}, "short": short, "fills_itself": fills, "options": []}
    result = daemon.run("orders", "triage", "till:1")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == f"till:1  {state}, {said}"

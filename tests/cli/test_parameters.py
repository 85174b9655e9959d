"""What is no number, time or rate is refused before anything is asked: which it was, and what is allowed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from click.types import FloatParamType, IntParamType

from flashd.cli import cli
from flashd.cli.parameter import Seconds, Whole
from tests.cli.daemon import Daemon
from tests.cli.test_commands import every_parameter

UNITS = "give a whole number from 0 to 1,000,000,000,000"
SPAN = "give a number of seconds above 0 and up to 604,800, such as 2.5"
TIME = "want ISO 8601 such as 2026-11-27T08:00:00Z, or now"
RATE = "write a positive number per time, such as 5/s, 120/min, 1000/h or 10/30s, or default"


@pytest.mark.parametrize(
    ("line", "name", "given", "allowed"),
    [
        ("stock set TEE abc", "COUNT", "abc", UNITS),
        ("stock set TEE -5", "COUNT", "-5", UNITS),
        ("stock set TEE 1_000", "COUNT", "1_000", UNITS),
        ("stock set TEE \u0667", "COUNT", "\u0667", UNITS),
        ("stock set TEE 1000000000001", "COUNT", "1000000000001", UNITS),
        (f"stock set TEE {'9' * 5000}", "COUNT", "999", UNITS),
        ("stock set TEE 5 --safety -1", "--safety", "-1", UNITS),
        ("stock set TEE 5 --seq 1.5", "--seq", "1.5", "give a whole number from 1 to"),
        ("stock receive TEE -3", "UNITS", "-3", "give a whole number from 1 to 1,000,000,000"),
        ("stock recount --sku TEE --quantity z", "--quantity", "z", "give a whole number from -1,000,000,000,000 to"),
        ("stock recount --sku TEE --quantity 3 --as-of yesterday", "--as-of", "yesterday", TIME),
        ("orders ship shop:1 --at 1.12.2026", "--at", "1.12.2026", TIME),
        ("orders ship shop:1 --at 2026-12-01T08:00:00", "--at", "2026-12-01T08:00:00", "has no offset"),
        ("channel import shop --since yesterday", "--since", "yesterday", TIME),
        ("channel pause shop --reason x --for inf", "--for", "inf", SPAN),
        ("backend pause erp --reason x --for nan", "--for", "nan", SPAN),
        ("backend pause erp --reason x --for 0.0", "--for", "0.0", SPAN),
        ("backend pause erp --reason x --for 604801", "--for", "604801", SPAN),
        ("backend rate erp fast", "RATE", "fast", RATE),
        ("sale stop s --wait -1", "--wait", "-1", "give a number of seconds from 0 to 86,400, such as 2.5"),
        ("orders list --limit 501", "--limit", "501", "give a whole number from 1 to 500"),
    ],
)
def test_what_is_no_number_time_or_rate_is_said_with_its_name_and_what_is_allowed(
    daemon: Daemon, line: str, name: str, given: str, allowed: str
) -> None:
    result = daemon.run(*line.split())
    assert result.exit_code == 2, result.output
    said = next(line for line in result.output.splitlines() if line.startswith("Error: "))
    assert said.startswith(f"Error: {name}: '{given}")
    assert allowed in said
    assert daemon.asked == []


def test_what_is_one_goes_to_the_daemon_as_it_was_given(daemon: Daemon) -> None:
    daemon.answer = {"rows": []}
    daemon.run("stock", "recount", "--sku", "TEE", "--quantity", "-3", "--as-of", "2026-11-27T08:00:00+01:00")
    daemon.run("stock", "recount", "--sku", "TEE", "--quantity", "1000000000000", "--as-of", "now")
    assert daemon.asked == [
        ("POST /admin/v1/stock/recount?as_of=2026-11-27T08%3A00%3A00%2B01%3A00", [{"sku": "TEE", "quantity": -3}]),
        ("POST /admin/v1/stock/recount?as_of=now", [{"sku": "TEE", "quantity": 10**12}]),
    ]
    daemon.asked.clear()
    for span in ("0.5", "604800"):
        daemon.run("backend", "pause", "erp", "--reason", "x", "--for", span)
    daemon.run("backend", "rate", "erp", "10/30s")
    daemon.run("backend", "rate", "erp", "default")
    assert [sent for _, sent in daemon.asked] == [
        {"reason": "x", "for_s": 0.5},
        {"reason": "x", "for_s": 604_800},
        {"rate": "10/30s"},
        {"rate": ""},
    ]


def test_an_option_that_is_none_stays_one_beside_a_number() -> None:
    result = CliRunner().invoke(cli, ["stock", "set", "TEE", "5", "-q"], prog_name="flashd")
    assert (result.exit_code, "No such option '-q'" in result.output) == (2, True)


def test_no_command_takes_a_number_by_the_words_of_the_library() -> None:
    numbers = [one for _, one in every_parameter() if isinstance(one.type, IntParamType | FloatParamType)]
    assert len(numbers) > 20
    assert [one.name for one in numbers if not isinstance(one.type, Whole | Seconds)] == []

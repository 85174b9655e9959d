"""`flashd check --sale` and `flashd alerts`: what they print, and how they end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.daemon import Daemon

HOSTILE = "a\x1b[31m\u202eb"


def preflight(*levels: str) -> dict[str, Any]:
    findings = [
        {"check": "stock", "subject": HOSTILE, "level": level, "said": f"it is {level}", "mend": "bring more"}
        for level in levels
    ]
    return {"sale": "friday", "version": 1, "go": "fail" not in levels, "findings": findings}


def test_a_go_ends_in_0_and_a_warning_says_what_to_do(daemon: Daemon) -> None:
    daemon.answer = preflight("ok", "warn")
    result = daemon.run("check", "--sale", "black friday", "--pool", "main")
    assert result.exit_code == 0
    assert daemon.asked == [("GET /admin/v1/sales/black%20friday/preflight?pool=main", None)]
    assert "it is warn; bring more" in result.output
    assert "it is ok; bring more" not in result.output
    assert result.output.splitlines()[-1] == "GO: 0 to mend, 1 to know"
    assert "\x1b[31m" not in result.output
    assert "\u202e" not in result.output


def test_a_no_go_ends_in_1_also_as_json(daemon: Daemon) -> None:
    daemon.answer = preflight("ok", "fail", "warn")
    result = daemon.run("check", "--sale", "friday")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == "NO-GO: 1 to mend, 1 to know"
    told = daemon.run("check", "--sale", "friday", "--json")
    assert told.exit_code == 1
    assert json.loads(told.output) == daemon.answer


def alert(**more: Any) -> dict[str, Any]:
    right = {
        "id": "alert_1",
        "kind": "shortfall",
        "subject": "main",
        "pool": "main",
        "severity": "critical",
        "text": HOSTILE,
        "mend": "decide",
        "since": "2026-11-27T08:00:00.000Z",
        "last": "2026-11-27T08:00:00.000Z",
        "count": 3,
        "told": None,
        "over": None,
        "facts": {},
    }
    return right | more


RECEIVER = {"configured": True, "leading": True, "off": "", "failures": 0, "last_error": "", "messages": 4}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "4 were told by this process"),
        ({"configured": False}, "nobody is told: [alerts] url is empty"),
        ({"off": "HTTP 410"}, "nobody is told any more: HTTP 410"),
        ({"failures": 2, "last_error": "HTTP 500"}, "the receiver did not take the last 2: HTTP 500"),
    ],
)
def test_the_list_says_what_to_do_and_how_the_receiver_is(daemon: Daemon, more: dict[str, Any], said: str) -> None:
    daemon.answer = {"alerts": [alert()], "receiver": RECEIVER | more}
    result = daemon.run("alerts", "list")
    assert result.exit_code == 0
    assert "not yet" in result.output
    assert "; decide" in result.output
    assert result.output.splitlines()[-1] == said
    assert "\x1b[31m" not in result.output


def test_what_is_over_is_not_told_to_be_mended(daemon: Daemon) -> None:
    daemon.answer = {"alerts": [alert(over="2026-11-27T09:00:00.000Z")], "receiver": RECEIVER}
    result = daemon.run("alerts", "list")
    assert "over since 2026-11-27 09:00:00" in result.output
    assert "decide" not in result.output


@pytest.mark.parametrize(("taken", "code"), [(True, 0), (False, 1)])
def test_a_test_alert_ends_as_the_receiver_answered(daemon: Daemon, *, taken: bool, code: int) -> None:
    daemon.answer = {"taken": taken, "said": "HTTP 204"}
    result = daemon.run("alerts", "test")
    assert (result.exit_code, daemon.asked) == (code, [("POST /admin/v1/alerts/test", None)])
    assert result.output.strip() == f"{'taken' if taken else 'not taken'}: HTTP 204"


def test_the_status_names_what_stands_and_not_what_is_over(daemon: Daemon) -> None:
    store = {"server": "valkey 9.0", "durability": "fsync", "ok": True}
    status = {"version": "1", "ready": True, "draining": False, "store": store, "pools": {}, "backends": [], "more": {}}
    over = alert(kind="in_doubt", over="2026-11-27T09:00:00.000Z")
    daemon.answer = status | {"channels": [], "alerts": [alert(), over], "receiver": RECEIVER}
    shown = daemon.run("status")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == "ALERTS   shortfall of main: see flashd alerts list"
    daemon.answer["alerts"] = [alert(subject=str(number)) for number in range(7)]
    assert ", shortfall of 4, and 2 more: see" in daemon.run("status").stdout
    daemon.answer["alerts"] = [over]
    assert "ALERTS" not in daemon.run("status").stdout

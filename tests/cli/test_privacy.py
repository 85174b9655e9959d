"""`flashd forget` and `flashd demands`: what they ask, print and end with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.daemon import Daemon


def forgotten(code: str | None = "clean", **more: Any) -> dict[str, Any]:
    done = {
        "erased": ["shop:1"],
        "before": 0,
        "spared": [{"order": "shop:2", "state": "queued"}],
        "quarantined": ["q1"],
        "backends": ["erp"],
        "journal": 1,
        "unknown": ["shop:404"],
    }
    scrubbed = None if code is None else {"code": code, "mend": ["run BGREWRITEAOF on replicas"]}
    return {"dry_run": False, "pools": [{"pool": "main", "forgotten": done | more}], "scrubbed": scrubbed}


def test_what_was_done_and_what_could_not_be_is_said(daemon: Daemon) -> None:
    daemon.answer = forgotten()
    done = daemon.run("forget", "shop:1", "shop:404", "--email", "ada@example.com", "--yes")
    assert done.exit_code == 0, done.output
    [(line, sent)] = daemon.asked
    assert line == "POST /admin/v1/forget", "no customer data in an address"
    assert (sent["orders"], sent["email"]) == (["shop:1", "shop:404"], "ada@example.com")
    for words in (
        "1 orders erased: shop:1",
        "1 quarantined bodies erased: q1",
        "shop:2 is queued: erased as soon as it is settled",
        "shop:404 is not kept here",
        "1 events name them",
        "not ours to erase: the copies in erp",
        "the bytes are gone from its disk",
        "run BGREWRITEAOF on replicas",
    ):
        assert words in done.output


def test_without_yes_it_is_shown_first_and_asked_for(daemon: Daemon) -> None:
    daemon.answer = forgotten()
    refused = daemon.run("forget", "shop:1", answer="n\n")
    assert refused.exit_code == 1
    assert [line for line, _ in daemon.asked] == ["POST /admin/v1/forget?dry_run=true"]
    assert "would be erased" in refused.output
    assert daemon.run("forget", "shop:1", answer="y\n").exit_code == 0
    assert [line for line, _ in daemon.asked][-1] == "POST /admin/v1/forget"


@pytest.mark.parametrize(("code", "ends"), [("clean", 0), ("running", 0), ("none", 0), ("failed", 1), ("forbidden", 1)])
def test_bytes_that_are_left_on_the_disk_end_with_1(daemon: Daemon, code: str, ends: int) -> None:
    daemon.answer = forgotten(code)
    assert daemon.run("forget", "shop:1", "--yes").exit_code == ends


def test_demands_are_listed_shown_and_met(daemon: Daemon) -> None:
    row = {
        "id": "d1",
        "pool": "main",
        "kind": "disclose",
        "channel": "shop",
        "reference": "9",
        "received_at": "2026-11-22T07:00:00.000Z",
        "met_at": "",
        "by": "",
        "outcome": "",
    }
    daemon.answer = {"demands": [row]}
    listed = daemon.run("demands", "list")
    assert "d1" in listed.output
    assert "open" in listed.output
    person = {"channel": "shop", "orders": [], "email": "ada@example.com", "phone": "", "customer_id": "7"}
    daemon.answer = {"demand": row, "person": person, "kept": forgotten()["pools"][0]["forgotten"]}
    shown = daemon.run("demands", "show", "d1").output
    assert "ada@example.com" in shown
    assert "flashd orders show shop:1" in shown
    assert "flashd orders show shop:2" in shown
    daemon.answer = row
    assert "d1 is met" in daemon.run("demands", "met", "d1", "--reason", "by letter").output
    assert daemon.asked[-1] == ("POST /admin/v1/demands/d1/met", {"reason": "by letter"})

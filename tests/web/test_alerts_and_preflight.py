"""What a person is told, and whether a sale may go, over the admin API."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashd.domain.alert import Alert, AlertKind, Receiver, Severity, Standing, raise_alert
from flashd.domain.preflight_facts import Finding, Level, Preflight
from flashd.errors import NotFound
from flashd.ports import Sent, SentCode
from flashd.web.doors import AlertDoor
from tests.fakes.doors import OPERATE, READ, DoorHouse
from tests.web.conftest import Serve, Served


def standing() -> Standing:
    alert = Alert(
        kind=AlertKind.SHORTFALL,
        subject="main",
        severity=Severity.CRITICAL,
        text="one is short",
        mend="decide",
        facts={"orders": ["shop:1"]},
    )
    return raise_alert(None, alert, pool="main", now_ms=1_790_000_000_000)


@pytest.fixture
async def admin(house: DoorHouse, serve: Serve) -> Served:
    async def stands() -> list[Standing]:
        return [standing()]

    async def test(by: str) -> Sent:
        return Sent(code=SentCode.AGAIN if by == "admin" else SentCode.TAKEN, reason=f"HTTP of {by}")

    async def preflight(pool: str, sale: str) -> Preflight:
        if sale != "friday":
            raise NotFound(f"there is no sale {sale!r}")
        found = Finding(check="stock", subject=pool, level=Level.FAIL, said="too few", mend="more")
        return Preflight(sale=sale, version=3, go=False, findings=(found,))

    door = AlertDoor(standing=stands, receiver=lambda: Receiver(configured=True, messages=2), test=test)
    house.doors = replace(house.doors, alerts=door, preflight=preflight)
    return await serve("admin")


async def test_what_stands_is_shown_with_what_to_do_and_how_it_is_told(admin: Served) -> None:
    answer = await admin.call("GET", "/admin/v1/alerts", token=READ)
    (shown,) = answer.json["alerts"]
    assert (shown["kind"], shown["text"], shown["mend"], shown["told"]) == ("shortfall", "one is short", "decide", None)
    assert shown["since"] == "2026-09-21T14:13:20.000Z"
    assert answer.json["receiver"]["messages"] == 2


async def test_a_test_alert_says_what_the_receiver_answered(admin: Served) -> None:
    answer = await admin.call("POST", "/admin/v1/alerts/test", token=OPERATE)
    assert (answer.status, answer.json) == (200, {"taken": True, "said": "HTTP of operate"})


async def test_a_test_alert_that_nobody_would_get_is_a_conflict(serve: Serve) -> None:
    plain = await serve("admin", behind=DoorHouse())
    answer = await plain.call("POST", "/admin/v1/alerts/test", token=OPERATE)
    assert (answer.status, answer.json["title"]) == (409, "conflict")
    listed = await plain.call("GET", "/admin/v1/alerts", token=READ)
    assert (listed.json["alerts"], listed.json["receiver"]["configured"]) == ([], False)


async def test_a_preflight_is_shown_whole(admin: Served) -> None:
    answer = await admin.call("GET", "/admin/v1/sales/friday/preflight?pool=main", token=READ)
    assert answer.status == 200
    assert answer.json == {
        "sale": "friday",
        "version": 3,
        "go": False,
        "findings": [{"check": "stock", "subject": "main", "level": "fail", "said": "too few", "mend": "more"}],
    }


async def test_there_is_no_preflight_of_what_is_no_sale(admin: Served) -> None:
    answer = await admin.call("GET", "/admin/v1/sales/monday/preflight?pool=main", token=READ)
    assert (answer.status, answer.json["title"]) == (404, "not_found")

"""What a person is told, as an operator sees it."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flashd.domain.alert import Receiver, Standing
from flashd.domain.event import rfc3339
from flashd.errors import Conflict
from flashd.ports import SentCode
from flashd.web.admin_desk import AdminDesk
from flashd.web.endpoint import Endpoint
from flashd.web.problem import encode
from flashd.web.tokens import Scope


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """One alert that stands."""

    id: str
    kind: str
    subject: str
    pool: str
    severity: str
    text: str
    mend: str
    since: str
    last: str  # when it was last seen
    count: int
    told: str | None  # when somebody was last told; None: not yet
    over: str | None  # since when it is over, where nobody was told of that yet
    facts: dict[str, Any]


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """All that stand, and how it goes with whoever is told."""

    alerts: tuple[AlertView, ...]
    receiver: Receiver


class AlertTested(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiver made of a test."""

    taken: bool
    said: str


class AdminAlerts:
    """``/admin/v1/alerts``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/alerts",
                name="list_alerts",
                summary="What a human must see to, and whether somebody is told",
                handler=self.list_,
                answers={200: AlertList},
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/alerts/test",
                name="test_alerts",
                summary="Send one alert now; 409 where nobody is told",
                handler=self.test,
                scope=Scope.OPERATE,
                answers={200: AlertTested},
            ),
        ]

    async def list_(self, _: web.Request) -> web.Response:
        """Show all that stand."""
        door = self._desk.doors.alerts
        shown = tuple(_view(one) for one in await door.standing())
        return encode(200, AlertList(alerts=shown, receiver=door.receiver()))

    async def test(self, request: web.Request) -> web.Response:
        """Send one and say what became of it."""
        sent = await self._desk.doors.alerts.test(self._desk.caller(request).name)
        if sent is None:
            raise Conflict("nobody is told: [alerts] url is empty")
        return encode(200, AlertTested(taken=sent.code is SentCode.TAKEN, said=sent.reason))


def _view(one: Standing) -> AlertView:
    alert = one.alert
    return AlertView(
        id=one.id,
        kind=str(alert.kind),
        subject=alert.subject,
        pool=one.pool,
        severity=str(alert.severity),
        text=alert.text,
        mend=alert.mend,
        since=rfc3339(one.first_ms),
        last=rfc3339(one.last_ms),
        count=one.count,
        told=rfc3339(one.told_ms) if one.told_ms else None,
        over=rfc3339(one.over_ms) if one.over_ms else None,
        facts=alert.facts,
    )

"""Health: alive (asks nothing), ready (an order could be made durable), healthy (all of it, told in health+json)."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flashd import __version__
from flashd.web.doors import Doors
from flashd.web.endpoint import Endpoint, flag
from flashd.web.view import at

HEALTH = "application/health+json"
_NO_STORE = {"Cache-Control": "no-store"}


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an order could be made durable now, and if not why."""

    ready: bool
    reasons: tuple[str, ...] = ()
    checks: dict[str, str] | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"kind": "componentType"}):
    """One check of health+json."""

    status: str
    kind: str = "component"
    time: str = ""
    output: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health+json document (draft-inadarei-api-health-check-06)."""

    status: str
    version: str
    checks: dict[str, list[Check]]


class Healthy:
    """``/livez``, ``/readyz``, ``/healthz``."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def endpoints(self) -> list[Endpoint]:
        """List the routes; probes carry no token."""
        return [
            Endpoint(
                method="GET",
                path="/livez",
                name="livez",
                summary="The process answers; nothing is checked",
                handler=self.live,
                scope=None,
                answers={200: str},
                media="text/plain",
            ),
            Endpoint(
                method="GET",
                path="/readyz",
                name="readyz",
                summary="An order can be made durable; 503 if not, or draining. A backend's outage is not unready",
                handler=self.ready,
                scope=None,
                answers={200: Ready, 503: Ready},
                query={"verbose": "name every check"},
            ),
            Endpoint(
                method="GET",
                path="/healthz",
                name="healthz",
                summary="All checks; warn where a backend is away",
                handler=self.health,
                scope=None,
                answers={200: Health, 503: Health},
                media=HEALTH,
            ),
        ]

    def readiness(self) -> tuple[bool, dict[str, str]]:
        """Return whether the daemon is ready, and each check with its answer."""
        store = self._doors.store_health()
        checks = {
            "store": "ok" if store.ok else store.reason or "it does not answer",
            "draining": "yes: it is stopping" if self._doors.draining.is_set() else "ok",
        }
        return all(answer == "ok" for answer in checks.values()), checks

    async def live(self, _: web.Request) -> web.Response:
        """Answer."""
        return web.Response(text="ok\n", headers=_NO_STORE)

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether traffic should come here."""
        ready, checks = self.readiness()
        reasons = tuple(f"{name}: {answer}" for name, answer in checks.items() if answer != "ok")
        body = Ready(ready=ready, reasons=reasons, checks=checks if flag(request, "verbose") else None)
        return _json(200 if ready else 503, body, "application/json")

    async def health(self, _: web.Request) -> web.Response:
        """Tell all checks."""
        now = at(self._doors.clock.now_ms())
        store = self._doors.store_health()
        ready, answers = self.readiness()
        checks = {
            f"{name}:ready": [Check(status="pass" if answer == "ok" else "fail", time=now, output=_output(answer))]
            for name, answer in answers.items()
        }
        checks["store:durability"] = [
            Check(
                status="pass" if store.durability == "fsync" else "warn",
                kind="datastore",
                time=now,
                output=f"{store.durability} {store.server}".strip(),
            )
        ]
        for pool, reason in store.closed.items():
            checks[f"pool:{pool}"] = [Check(status="warn", kind="datastore", time=now, output=reason)]
        for name, snapshot in self._doors.backends.items():
            flow = snapshot()
            checks[f"backend:{name}"] = [
                Check(status="warn" if flow.circuit == "open" else "pass", time=now, output=flow.last_error)
            ]
        statuses = {check.status for group in checks.values() for check in group}
        status = "fail" if not ready else "warn" if "warn" in statuses else "pass"
        return _json(200 if ready else 503, Health(status=status, version=__version__, checks=checks), HEALTH)


def _output(answer: str) -> str:
    return "" if answer == "ok" else answer


def _json(status: int, body: Any, media: str) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=media, headers=_NO_STORE)

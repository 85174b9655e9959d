"""Go or no-go, before a sale opens."""

from __future__ import annotations

from aiohttp import web

from flashd.domain.preflight_facts import Preflight
from flashd.web.admin_desk import AdminDesk
from flashd.web.endpoint import Endpoint
from flashd.web.problem import encode


class AdminPreflight:
    """``/admin/v1/sales/{name}/preflight``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/sales/{name}/preflight",
                name="preflight_sale",
                summary="Whether a sale may go, with all reasons; asks every platform, and may take a minute",
                handler=self.preflight,
                answers={200: Preflight},
                query={"pool": "which pool"},
            )
        ]

    async def preflight(self, request: web.Request) -> web.Response:
        """Ask everybody and judge."""
        pool, _ = self._desk.pool(request)
        return encode(200, await self._desk.doors.preflight(pool, request.match_info["name"]))

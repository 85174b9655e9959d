"""A shop of one's own for tests: takes signed figures, tells its figures and its orders, as the channel's page asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, Self

from aiohttp import web

from flashd.demo.signatures import standard_signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # that of the specification's example
TOKEN = "a bearer token"


class OwnShop:
    """Listens on loopback, inside an ``async with``."""

    def __init__(self) -> None:
        self.figures: dict[str, int | None] = {}
        self.orders: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []  # those that counted
        self.asked: list[str] = []
        self.lose_replies = 0
        self.answer: web.Response | None = None  # instead of its own
        self.page = 2
        self._seen: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.post("/stock", self._guarded(self._stock)),
                web.get("/figures", self._guarded(self._figures)),
                web.get("/orders", self._guarded(self._orders)),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def _guarded(
        self, answer: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self.asked.append(request.path_qs)
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return web.Response(status=401)
            if self.answer is not None:
                return self.answer.__class__(
                    status=self.answer.status, body=self.answer.body, headers=self.answer.headers
                )
            reply = await answer(request)
            reply.headers["Date"] = formatdate(usegmt=True)
            return reply

        return handle

    async def _stock(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = request.headers
        message_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        if headers["webhook-signature"] != standard_signature(SECRET, message_id, timestamp, body):
            return web.Response(status=401)
        message = json.loads(body)
        if message_id not in self._seen:
            self._seen.add(message_id)
            self.messages.append(message)
            for figure in message["data"]["figures"]:
                if figure["sku"] in self.figures:
                    self.figures[figure["sku"]] = figure["units"]
        unknown = [one["sku"] for one in message["data"]["figures"] if one["sku"] not in self.figures]
        errors = [{"sku": sku, "error": "we do not sell that"} for sku in unknown]
        if self.lose_replies:
            self.lose_replies -= 1
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.json_response({"figures": errors})

    async def _figures(self, request: web.Request) -> web.Response:
        skus = request.query.getall("sku", [])
        shown = [{"sku": sku, "units": units, "title": f"The {sku}"} for sku, units in sorted(self.figures.items())]
        if skus:
            return web.json_response({"figures": [one for one in shown if one["sku"] in skus]})
        begin = int(request.query.get("cursor", "0"))
        end = begin + self.page
        return web.json_response({"figures": shown[begin:end], "cursor": str(end) if end < len(shown) else ""})

    async def _orders(self, request: web.Request) -> web.Response:
        after = request.query["updated_after"].replace("Z", "+00:00")
        found = sorted(
            (order for order in self.orders if order["updated_at"] >= after), key=lambda one: one["updated_at"]
        )
        begin = int(request.query.get("cursor", "0"))
        end = begin + min(self.page, int(request.query["limit"]))
        return web.json_response({"orders": found[begin:end], "cursor": str(end) if end < len(found) else ""})

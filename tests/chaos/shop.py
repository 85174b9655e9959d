"""
A shop of one's own: sells by signed Standard Webhooks, and shows its orders to whoever polls.

``python -m tests.chaos.shop '{"ledger": ..., "intake": 8787, "port": 8001, ...}'``. It shares no code
with the daemon. An order stands in the ledger, on the disk, before anybody is told of it. A webhook that was answered
2xx is never sent again: what is forgotten after that only a poll can find.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.chaos.ledger import Ledger
from tests.chaos.oracle import PATIENCE_S, PLENTY, PRICE


class Shop:
    """Sells for a while, then only answers."""

    def __init__(self, wish: dict[str, Any], http: aiohttp.ClientSession) -> None:
        self._url = f"http://127.0.0.1:{wish['intake']}/webhooks/{wish['channel']}"
        self._channel, self._secret = wish["channel"], wish["secret"].encode()
        self._rate, self._seconds = wish["rate"], wish["seconds"]
        self._dice = random.Random(wish["seed"])
        self._ledger = Ledger(Path(wish["ledger"]))
        self._http = http
        self._orders: list[dict[str, Any]] = []  # by the time of their change: each changes once, when it is placed

    async def run(self) -> None:
        began, told = time.monotonic(), []
        for number in range(round(self._seconds * self._rate)):
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            told.append(asyncio.create_task(self._sell(number)))
        await asyncio.gather(*told)
        self._ledger.note("done", that="all", order="")
        await self._ledger.flushed()

    async def _sell(self, number: int) -> None:
        sku, units, name = self._dice.choice(PLENTY), self._dice.choice([1, 1, 2, 3]), f"H{number:06}"
        order = {
            "id": name,
            "status": "paid",
            "updated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "currency": "EUR",
            "lines": [{"sku": sku, "quantity": units, "unit_price": PRICE}],
            "total": units * PRICE,
        }
        self._orders.append(order)
        told = {"channel": self._channel, "sku": sku, "units": units, "total": units * PRICE}
        self._ledger.note("sent", that="order", order=name, **told)
        await self._ledger.flushed()
        tries, status = 0, 0
        while not 0 < status < 500:
            tries += 1
            try:
                status, said = await self._send(name, json.dumps(order).encode())
            except (aiohttp.ClientError, TimeoutError) as error:
                status, said = 0, type(error).__name__
            entry = {"that": "order", "order": name, "status": status, "said": said, "at_s": time.time()}
            self._ledger.note("answered" if 0 < status < 500 else "unanswered", tries=tries, **entry)
            await self._ledger.flushed()
            if not 0 < status < 500:
                await asyncio.sleep(self._dice.uniform(0.3, 1.2) * min(tries, 4))

    async def _send(self, name: str, body: bytes) -> tuple[int, str]:
        stamp = str(int(time.time()))
        proof = hmac.new(self._secret, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers = {"webhook-id": name, "webhook-timestamp": stamp, "Content-Type": "application/json"}
        headers["webhook-signature"] = f"v1,{base64.b64encode(proof).decode()}"
        async with self._http.post(self._url, data=body, headers=headers) as answer:
            return answer.status, (await answer.read()).decode(errors="replace")[:200]

    async def show(self, request: web.Request) -> web.Response:
        """Answer a poll: orders that changed at or after an instant, oldest first."""
        after = datetime.fromisoformat(request.query["updated_after"])
        begin, limit = int(request.query.get("cursor") or 0), int(request.query["limit"])
        found = [one for one in self._orders if datetime.fromisoformat(one["updated_at"]) >= after]
        more = str(begin + limit) if len(found) > begin + limit else ""
        return web.json_response({"orders": found[begin : begin + limit], "cursor": more})


async def run(wish: dict[str, Any]) -> None:
    """Sell, and answer until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    timeout = aiohttp.ClientTimeout(PATIENCE_S, sock_connect=1.0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=400), timeout=timeout) as http:
        shop, app = Shop(wish, http), web.Application()
        app.router.add_get("/orders", shop.show)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", wish["port"], reuse_address=True).start()
        selling = asyncio.create_task(shop.run())
        await stop.wait()
        selling.cancel()
        await runner.cleanup()


def main(arguments: Sequence[str]) -> None:
    asyncio.run(run(json.loads(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])

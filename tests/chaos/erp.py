"""
The backend: idempotent by key or not, with a look-up, and books of its own that are on the disk before it answers.

``python -m tests.chaos.erp '{"port": 8000, "books": "erp.jsonl", "keys": true}'``. It shares no code with the daemon.
With *keys*, a key that comes again is answered with what was booked under it; without, it is booked again. The books
show every request with its time, so that a limit can be judged, and every order as often as it was booked.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.chaos.ledger import Ledger, read


class Erp:
    def __init__(self, books: Path, *, keys: bool) -> None:
        self._heeds_keys = keys
        self._by_key: dict[str, dict[str, Any]] = {}
        self._cancelled: set[str] = set()
        for entry in read(books):
            if entry["what"] == "booked":
                self._by_key[entry["key"]] = entry
            elif entry["what"] == "cancelled":
                self._cancelled.add(entry["id"])
        self._ledger = Ledger(books)
        self._next = sum(entry["what"] == "booked" for entry in read(books)) + 1

    def _came(self, request: web.Request, key: str) -> None:
        self._ledger.note("request", at_s=time.time(), method=request.method, key=key)

    async def book(self, request: web.Request) -> web.Response:
        key, order = request.headers["Idempotency-Key"], await request.json()
        self._came(request, key)
        known = self._by_key.get(key) if self._heeds_keys else None
        if known is None:
            booking = {"id": f"SO{self._next}", "key": key, "order": order}
            self._next += 1
            self._by_key[key] = booking
            self._ledger.note("booked", **booking)
        await self._ledger.flushed()
        return web.json_response({"id": self._by_key[key]["id"], "key": key}, status=200 if known else 201)

    async def find(self, request: web.Request) -> web.Response:
        key = request.query["key"]
        self._came(request, key)
        await self._ledger.flushed()
        found = self._by_key.get(key)
        if found is None:
            return web.json_response([])
        told = {name: found["order"][name] for name in ("channel", "order_id", "lines", "total")}
        return web.json_response([told | {"id": found["id"], "key": key}])

    async def cancel(self, request: web.Request) -> web.Response:
        own, key = request.match_info["id"], request.headers["Idempotency-Key"]
        self._came(request, key)
        if own not in {booking["id"] for booking in self._by_key.values()}:
            return web.json_response({"error": "there is no such order"}, status=422)
        if own not in self._cancelled:
            self._cancelled.add(own)
            self._ledger.note("cancelled", id=own)
        await self._ledger.flushed()
        return web.json_response({"id": own, "key": key})


async def serve(port: int, books: Path, *, keys: bool) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    erp, app = Erp(books, keys=keys), web.Application()
    app.router.add_post("/orders", erp.book)
    app.router.add_get("/orders", erp.find)
    app.router.add_post("/orders/{id}/cancel", erp.cancel)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    await stop.wait()
    await runner.cleanup()


def main(arguments: Sequence[str]) -> None:
    wish = json.loads(arguments[0])
    asyncio.run(serve(wish["port"], Path(wish["books"]), keys=wish["keys"]))


if __name__ == "__main__":
    main(sys.argv[1:])

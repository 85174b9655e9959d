"""
The other side of the ratio: aiohttp on uvloop that reads a POST's body and answers 200, and does nothing else.

With the path of a server's socket as its argument it takes a unit off a counter before each answer, by one DECRBY
through redis-py: what somebody writes by hand instead of holds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import UnixDomainSocketConnection

Handler = Callable[[web.Request], Awaitable[web.Response]]

ROUTES = ("/webhooks/shop-000", "/v1/orders", "/v1/holds")  # fixed ones: 5 % faster than a pattern that catches all
_CONNECTIONS = 256  # as many as requests come at once


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b"{}", content_type="application/json")


def _counting(path: str) -> Redis:
    pool = BlockingConnectionPool(
        connection_class=UnixDomainSocketConnection, path=path, max_connections=_CONNECTIONS, timeout=10
    )
    return Redis.from_pool(pool)


def _taking(client: Redis) -> Handler:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        left = await client.decrby("stock", 1)
        return web.Response(body=b'{"left":%d}' % left, content_type="application/json")

    return take


async def _serve(path: str) -> None:
    app, answer = web.Application(), _answer if not path else _taking(_counting(path))
    for route in ROUTES:
        app.router.add_post(route, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1] if len(sys.argv) > 1 else ""))

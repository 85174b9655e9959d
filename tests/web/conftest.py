from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from flashd.config import AdminConfig, IntakeConfig
from flashd.web.admin import admin_app
from flashd.web.intake import intake_app
from flashd.web.limits import ClientLimits
from flashd.web.server import Listener, open_socket
from tests.fakes.doors import SHOP_TOKEN, DoorHouse


@dataclass
class Answer:
    status: int
    headers: Any
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Served:
    """A listener on a real port, and a client that holds no connection open between calls."""

    listener: Listener
    session: aiohttp.ClientSession
    token: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    async def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        token = self.token if token is None else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        async with self.session.request(method, self.base + path, headers=headers, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a bare connection; it is closed when the test ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        self.writers.append(writer)
        return reader, writer


async def eventually(check: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for what has no signal: the kernel's or the loop's own bookkeeping of connections."""
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.005)


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def house() -> DoorHouse:
    return DoorHouse()


@pytest.fixture
async def serve(house: DoorHouse) -> AsyncIterator[Serve]:
    """Start a listener: `await serve("intake", body_bytes=10)`; limits with a leading `limit_`."""
    served: list[Served] = []

    async def start(name: str, *, behind: DoorHouse | None = None, keeps: bool = False, **options: Any) -> Served:
        limits = {key.removeprefix("limit_"): value for key, value in options.items() if key.startswith("limit_")}
        rest = {key: value for key, value in options.items() if not key.startswith("limit_")}
        doors = (behind or house).doors
        app = intake_app(doors, IntakeConfig(**rest)) if name == "intake" else admin_app(doors, AdminConfig(**rest))
        listener = Listener(name, app, ClientLimits(**{"stop_s": 2.0, **limits}))
        await listener.start(open_socket("127.0.0.1:0"))
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=not keeps), timeout=aiohttp.ClientTimeout(total=60)
        )
        served.append(Served(listener, session))
        return served[-1]

    yield start
    for each in served:
        for writer in each.writers:
            writer.transport.abort()
        await each.session.close()
        await each.listener.stop()


@pytest.fixture(params=["ordinary", "express"])
async def intake(serve: Serve, request: pytest.FixtureRequest) -> Served:
    """The intake listener, asked so that aiohttp answers (a connection that is to close), or the express way."""
    served = await serve("intake", keeps=request.param == "express")
    served.token = SHOP_TOKEN
    return served


@pytest.fixture
async def admin(serve: Serve) -> Served:
    return await serve("admin")

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from flashd.config import SecretText, StoreConfig
from flashd.store.connection import connect
from tests.servers import KINDS, Server, find_server, missing

# structlog's own default draws each exception by rich, locals and all: most of a second for every crash that is tested.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


# How long an example takes says how busy the machine is; and who changed nothing gets the examples of the last run. New
# ones are drawn by `pytest --hypothesis-profile=new`.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("new"), derandomize=True)
settings.load_profile("same")

PassTime = Callable[[float], None]


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> PassTime:
    """Let the loop's clock go on by so many seconds at once: deadlines may be long then, and no test waits for one."""
    loop = asyncio.get_running_loop()
    real, ahead_s = loop.time, 0.0

    def go_on(seconds: float) -> None:
        nonlocal ahead_s
        ahead_s += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead_s)
    return go_on


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo what a test makes of the logs: the next one in this process listens to them."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Server]]:
    """The servers that this session started, by kind; started when first asked for."""
    running: dict[str, Server] = {}
    yield running
    for server in running.values():
        server.close()


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Server:
    """An emptied server of each kind that the machine has."""
    kind: str = request.param
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    if kind not in servers:
        servers[kind] = Server(kind).start()
    return servers[kind]


@pytest.fixture
def valkey(servers: dict[str, Server]) -> Server:
    """A Valkey alone, for long tests whose scripts others run on every server."""
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    if "valkey" not in servers:
        servers["valkey"] = Server("valkey").start()
    return servers["valkey"]


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Redis]:
    """The store's own client, of an emptied server."""
    async with connect(StoreConfig(url=server.url, timeout_s=30), lambda _: SecretText("")) as redis:
        await redis.flushall()
        yield redis

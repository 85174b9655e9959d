from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
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

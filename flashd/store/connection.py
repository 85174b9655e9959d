"""
From the configuration to a client: where the server is, how to prove who we are, how long to wait.

No command is ever repeated by the client itself: redis-py 8 repeats each ten times by default, and a lost reply then
makes one INCR count twice. Whoever may repeat a call knows why it is safe.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from flashd.config import Secret, SecretText, StoreConfig
from flashd.errors import ConfigError
from flashd.store.client import Client
from flashd.store.link import TcpLink, TlsLink, UnixLink
from flashd.store.wire import Wire

Reveal = Callable[[Secret], SecretText]

_ALLOWED = "embedded, redis://host:6379/0, rediss://host:6379/0 or unix:///run/valkey/valkey.sock"
_LISTENERS = 256  # subscribers of the feed, each on a connection of its own


class Address(msgspec.Struct, frozen=True):
    """Where a server is, as the URL says it; no secret stands in it."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    db: int = 0
    username: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}?db={self.db}"
        return f"{self.scheme}://{self.host}:{self.port}/{self.db}"


def read_address(url: str) -> Address:
    """
    Read ``redis://``, ``rediss://`` or ``unix://``.

    Raises:
        ConfigError: Another scheme, a password in the URL, or a part that is not understood.
    """
    parts = urlsplit(url)
    if parts.password or "password" in parse_qs(parts.query):
        raise ConfigError(
            '[store] url holds a password; secrets never stand inline: write password = { file = "store.secret" }'
        )
    try:
        port = parts.port or 6379
    except ValueError as error:
        raise ConfigError(f"[store] url = {url!r}: {error}; write {_ALLOWED}") from error
    if parts.scheme in ("sentinel", "cluster"):
        raise ConfigError(
            f"[store] url: {parts.scheme}:// is not supported in this version; name the primary itself: {_ALLOWED}"
        )
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(f"[store] url: {(parts.scheme or url)!r} is not known; write {_ALLOWED}")
    username = unquote(parts.username or "") or parse_qs(parts.query).get("username", [""])[0]
    if parts.scheme == "unix":
        path = unquote(parts.netloc + parts.path) if not parts.username else unquote(parts.path)
        if not path.startswith("/"):
            raise ConfigError(f"[store] url = {url!r}: a unix socket needs an absolute path, unix:///run/valkey.sock")
        return Address("unix", path=path, db=_database(parts), username=username)
    return Address(parts.scheme, parts.hostname or "localhost", port, db=_database(parts), username=username)


def _database(parts: SplitResult) -> int:
    text = parse_qs(parts.query).get("db", [""])[0]
    if not text and parts.scheme != "unix":
        text = parts.path.strip("/")
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigError(f"[store] url: {text!r} is not a database number; write {_ALLOWED}")
    return int(text or 0)


def connect(config: StoreConfig, reveal: Reveal, *, url: str = "") -> Client:
    """
    Return the client of the store's commands; no connection is opened yet.

    *url* is where the server is, if not where the configuration says: the socket of an embedded server.

    Raises:
        ConfigError: The URL is of no use.
    """
    kind, options = _options(config, reveal, url)
    pool = BlockingConnectionPool(
        connection_class=kind,
        max_connections=config.connections,
        timeout=config.timeout_s,
        socket_timeout=config.timeout_s,
        **options,
    )
    client = cast("Client", Client.from_pool(pool))  # its annotation names the parent
    client.wire = _wire(config, reveal, url)
    return client


def listen(config: StoreConfig, reveal: Reveal, *, url: str = "") -> Redis:
    """
    Return the client for pub/sub: each subscriber keeps a connection, so it must not take them from the commands' pool.

    Raises:
        ConfigError: The URL is of no use.
    """
    kind, options = _options(config, reveal, url)
    return Redis.from_pool(
        ConnectionPool(connection_class=kind, max_connections=_LISTENERS, socket_timeout=None, **options)
    )


def _wire(config: StoreConfig, reveal: Reveal, url: str) -> Wire:
    address = read_address(url or config.url)
    greeting: list[tuple[str | int, ...]] = []
    if config.password is not None and config.url != "embedded":
        username = config.username or address.username
        greeting.append(("AUTH", *([username] if username else []), str(reveal(config.password))))
    if address.db:
        greeting.append(("SELECT", address.db))
    return Wire(partial(_dial, address, config.ca_file), greeting=greeting, timeout_s=config.timeout_s)


async def _dial(address: Address, ca_file: str, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
    """Connect *protocol*, as redis-py connects its own by the `_options` below."""
    loop = asyncio.get_running_loop()
    if address.scheme == "unix":
        await loop.create_unix_connection(protocol, address.path)
        return
    proof: ssl.SSLContext | None = None
    if address.scheme == "rediss":
        proof = ssl.create_default_context()
        if ca_file:
            proof.load_verify_locations(ca_file)
    transport, _ = await loop.create_connection(protocol, address.host, address.port, ssl=proof)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _options(config: StoreConfig, reveal: Reveal, url: str) -> tuple[type[AbstractConnection], dict[str, Any]]:
    address = read_address(url or config.url)
    options: dict[str, Any] = {
        "db": address.db,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": config.timeout_s,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if config.password is not None and config.url != "embedded":
        options["password"] = str(reveal(config.password))
        options["username"] = config.username or address.username or None
    if address.scheme == "unix":
        return UnixLink, options | {"path": address.path}
    options |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.scheme == "redis":
        return TcpLink, options
    return TlsLink, options | {"ssl_ca_certs": config.ca_file or None, "ssl_check_hostname": True}

"""
From the configuration to a client: where the server is, how to prove who we are, how long to wait.

No command is ever repeated by the client itself: redis-py 8 repeats each ten times by default, and a lost reply then
makes one INCR count twice. Whoever may repeat a call knows why it is safe.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from flashd.config import Secret, SecretText, StoreConfig
from flashd.store.address import Node, read_address
from flashd.store.admission import Primacy
from flashd.store.client import Client
from flashd.store.line import Command
from flashd.store.link import LocatedLink, LocatedTlsLink, TcpLink, TlsLink, UnixLink
from flashd.store.locator import Fixed, Locator, cluster_map, sentinels
from flashd.store.way import Way, dial
from flashd.store.wire import Wire

Reveal = Callable[[Secret], SecretText]

_LISTENERS = 256  # subscribers of the feed, each on a connection of its own
_ASKED_S = 1.0  # who knows where the primary is answers in milliseconds, or hangs


def connect(config: StoreConfig, reveal: Reveal, *, url: str = "") -> Client:
    """
    Return the client of the store's commands; no connection is opened yet.

    In a Cluster it is the first of several: see `Client.at`.

    *url* is where the server is, if not where the configuration says: the socket of an embedded server.

    Raises:
        ConfigError: The URL is of no use.
    """
    login = _Login(config, reveal, url)
    client = _connect(login, None)
    if login.address.scheme == "cluster":
        client.split = partial(_connect, login)
    return client


def listen(config: StoreConfig, reveal: Reveal, *, url: str = "") -> Redis:
    """
    Return the client for pub/sub: each subscriber keeps a connection, so it must not take them from the commands' pool.

    In a Cluster any server hears of everything.

    Raises:
        ConfigError: The URL is of no use.
    """
    login = _Login(config, reveal, url)
    kind, options = login.options(login.way(None, admission=None))
    return Redis.from_pool(
        ConnectionPool(connection_class=kind, max_connections=_LISTENERS, socket_timeout=None, **options)
    )


def _connect(login: _Login, slot: int | None) -> Client:
    config = login.config
    is_located = bool(login.address.nodes)
    way = login.way(slot, admission=Primacy() if is_located else None)
    kind, options = login.options(way)
    pool = BlockingConnectionPool(
        connection_class=kind,
        max_connections=config.connections,
        timeout=config.timeout_s,
        socket_timeout=config.timeout_s,
        **options,
    )
    client = cast("Client", Client.from_pool(pool))  # its annotation names the parent
    client.wire = Wire(
        way.dial, greeting=login.greeting(), timeout_s=config.timeout_s, tell=way.tell, admission=way.admission
    )
    client.way = way if is_located else None
    return client


class _Login:
    """How a deployment is reached and spoken to; its locator is one for all connections."""

    def __init__(self, config: StoreConfig, reveal: Reveal, url: str) -> None:
        self.config = config
        self.address = read_address(url or config.url)
        self._reveal = reveal
        # A CA is of use only to who encrypts; a redis:// that has one says no all the same.
        self._is_encrypted = self.address.scheme == "rediss" or (
            bool(self.address.nodes) and (self.address.tls or bool(config.ca_file))
        )
        self._locator = self._locate()

    def way(self, slot: int | None, admission: Primacy | None) -> Way:
        """Return the way to the primary of *slot*."""
        return Way(self._locator, slot, encrypt=self._proof if self._is_encrypted else None, admission=admission)

    def greeting(self) -> list[Command]:
        """Return what proves who we are, and chooses the database."""
        said: list[Command] = []
        if password := self._password():
            username = self.config.username or self.address.username
            said.append(("AUTH", *([username] if username else []), password))
        if self.address.db:
            said.append(("SELECT", self.address.db))
        return said

    def options(self, way: Way) -> tuple[type[AbstractConnection], dict[str, Any]]:
        """Return how redis-py opens its connections."""
        address = self.address
        options: dict[str, Any] = {
            "db": address.db,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": self.config.timeout_s,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        if password := self._password():
            options["password"] = password
            options["username"] = self.config.username or address.username or None
        if address.scheme == "unix":
            return UnixLink, options | {"path": address.path}
        options["socket_keepalive"] = True
        if self._is_encrypted:
            options |= {"ssl_ca_certs": self.config.ca_file or None, "ssl_check_hostname": True}
        if address.nodes:
            return LocatedTlsLink if self._is_encrypted else LocatedLink, options | {"way": way}
        options |= {"host": address.host, "port": address.port}
        return TlsLink if self._is_encrypted else TcpLink, options

    def _password(self) -> str:
        if self.config.password is None or self.config.url == "embedded":
            return ""
        return str(self._reveal(self.config.password))

    def _locate(self) -> Locator:
        address, timeout_s = self.address, min(_ASKED_S, self.config.timeout_s / 2)
        if address.scheme == "sentinel":
            config, login = self.config, list[Command]()
            if config.sentinel_password is not None:
                name = [config.sentinel_username] if config.sentinel_username else []
                login.append(("AUTH", *name, str(self._reveal(config.sentinel_password))))
            ask = partial(self._ask, login, timeout_s)
            return sentinels(address.nodes, address.service, ask, timeout_s=timeout_s)
        if address.scheme == "cluster":
            return cluster_map(address.nodes, partial(self._ask, self.greeting(), timeout_s), timeout_s=timeout_s)
        return Fixed(address.node)

    async def _ask(self, greeting: list[Command], timeout_s: float, node: Node, command: Command) -> Any:
        """Put one question over a connection of its own: who is asked once in hours need not keep one."""

        async def reach(protocol: Callable[[], asyncio.BaseProtocol]) -> None:
            await dial(node, protocol, self._proof() if self._is_encrypted else None)

        wire = Wire(reach, greeting=greeting, timeout_s=timeout_s)
        try:
            return await wire.call(*command)
        finally:
            await wire.close()

    def _proof(self) -> ssl.SSLContext:
        proof = ssl.create_default_context()
        if self.config.ca_file:
            proof.load_verify_locations(self.config.ca_file)
        return proof

"""Where the store is, as its URL says it: one server, or those who know which server is the primary."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from flashd.errors import ConfigError

Scheme = Literal["redis", "rediss", "unix", "sentinel", "cluster"]

_ONE = "embedded, redis://host:6379/0, rediss://host:6379/0 or unix:///run/valkey/valkey.sock"
_MANY = "sentinel://a:26379,b:26379,c:26379/service or cluster://a:6379,b:6379,c:6379"
_ALLOWED = f"{_ONE}; or {_MANY}"
_PORTS = {"sentinel": 26379, "cluster": 6379}
_PLACE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]@/,\s]+))(?::(?P<port>[0-9]{1,5}))?")


class Node(msgspec.Struct, frozen=True):
    """One server: a host and its port, or a socket in the file system."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Address(msgspec.Struct, frozen=True):
    """Where the store is, as the URL says it; no secret stands in it."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    db: int = 0
    username: str = ""
    nodes: tuple[Node, ...] = ()  # the Sentinels, or nodes of the Cluster to begin with
    service: str = ""  # the primary's name among the Sentinels
    tls: bool = False  # asked for, where the scheme does not say it

    @property
    def node(self) -> Node:
        """The server itself, where the URL names it."""
        return Node(self.host, self.port, self.path)

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}?db={self.db}"
        if not self.nodes:
            return f"{self.scheme}://{self.host}:{self.port}/{self.db}"
        named = ",".join(sorted(map(str, self.nodes)))  # another order is no other store
        return f"{self.scheme}://{named}" + (f"/{self.service}?db={self.db}" if self.service else "")


def read_address(url: str) -> Address:
    """
    Read a store's URL: ``redis://``, ``rediss://``, ``unix://``, ``sentinel://`` or ``cluster://``.

    Raises:
        ConfigError: Another scheme, a password in the URL, or a part that is not understood.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"[store] url = {url!r}: {error}; write {_ALLOWED}") from error
    authority = parts.netloc.rpartition("@")[0]
    if parts.password or ":" in authority or "password" in parse_qs(parts.query):
        raise ConfigError(
            '[store] url holds a password; secrets never stand inline: write password = { file = "store.secret" }'
        )
    username = unquote(parts.username or "") or parse_qs(parts.query).get("username", [""])[0]
    if parts.scheme in ("sentinel", "cluster"):
        return _read_many(url, parts, username)
    try:
        port = parts.port or 6379
    except ValueError as error:
        raise ConfigError(f"[store] url = {url!r}: {error}; write {_ALLOWED}") from error
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(f"[store] url: {(parts.scheme or url)!r} is not known; write {_ALLOWED}")
    if parts.scheme == "unix":
        path = unquote(parts.netloc + parts.path) if not parts.username else unquote(parts.path)
        if not path.startswith("/"):
            raise ConfigError(f"[store] url = {url!r}: a unix socket needs an absolute path, unix:///run/valkey.sock")
        return Address("unix", path=path, db=_database(parts), username=username)
    return Address(parts.scheme, parts.hostname or "localhost", port, db=_database(parts), username=username)


def _read_many(url: str, parts: SplitResult, username: str) -> Address:
    query = parse_qs(parts.query, keep_blank_values=True)
    if unknown := set(query) - {"db", "tls", "username"}:
        raise ConfigError(f"[store] url: {min(unknown)!r} is not known; write ?db=0 or ?tls=true")
    tls = query.get("tls", ["false"])[0]
    if tls not in ("true", "false"):
        raise ConfigError(f"[store] url: tls is {tls!r}; wanted: true or false")
    service, db = unquote(parts.path.strip("/")), _database(parts, query.get("db", [""])[0])
    if parts.scheme == "sentinel" and (not service or "/" in service):
        raise ConfigError(f"[store] url = {url!r}: name the service that the Sentinels watch; write {_MANY}")
    if parts.scheme == "cluster" and (service or db):
        raise ConfigError(f"[store] url = {url!r}: a Cluster has no service and no database but 0; write {_MANY}")
    places = parts.netloc.rpartition("@")[2].split(",")
    nodes = tuple(_place(url, text.strip(), _PORTS[parts.scheme]) for text in places)
    return Address(parts.scheme, db=db, username=username, nodes=nodes, service=service, tls=tls == "true")


def _place(url: str, text: str, port: int) -> Node:
    found = _PLACE.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 65536:
        raise ConfigError(f"[store] url = {url!r}: {text!r} is not host:port; write {_MANY}")
    return Node(found["six"] or found["name"], int(found["port"] or port))


def _database(parts: SplitResult, text: str | None = None) -> int:
    if text is None:
        text = parse_qs(parts.query).get("db", [""])[0]
        if not text and parts.scheme != "unix":
            text = parts.path.strip("/")
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigError(f"[store] url: {text!r} is not a database number; write {_ALLOWED}")
    return int(text or 0)

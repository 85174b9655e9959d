"""The admin API, as the commands call it: one small HTTP client on the standard library, TCP or unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

import click
import msgspec

from flashd.cli.terminal import shown


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


_LISTS = {  # where one sees what there is
    "orders": "flashd orders list",
    "dead": "flashd dead list",
    "quarantine": "flashd quarantine list",
    "demands": "flashd demands list",
    "backends": "flashd backend list",
    "stock": "flashd stock show",
    "channels": "flashd channel list",
    "kits": "flashd stock kits",
    "sales": "flashd sale list",
    "alerts": "flashd alerts list",
}


class ApiError(click.ClickException):
    """The daemon answered no; its own words are shown."""

    def __init__(self, status: int, problem: dict[str, Any], path: str = "") -> None:
        self.status = status
        self.problem = problem
        words = str(problem.get("detail") or problem.get("title") or "no reason given")
        root = path.removeprefix("/admin/v1/").partition("/")[0]
        hint = {
            401: "set FLASHD_TOKEN to an admin token of this daemon",
            403: "set FLASHD_TOKEN to a token that has the scope named above",
            503: "`flashd status` says why; then the same again",
            421: "name the daemon as its [admin] hosts do: --url 127.0.0.1:PORT on its own machine",
        }.get(status, "")
        if "?pool=" in words:
            words, hint = words.replace("?pool=", ""), "write --pool NAME"
        if status == 404:
            hint = (
                f"see `{_LISTS.get(root, 'flashd status')}`"
                if "type" in problem and not words.startswith(path)  # a path that flashd has not at all
                else "is this flashd's admin listener?"
            )
        super().__init__(f"{shown(str(words))} ({status})" + (f"\n  {hint}" if hint else ""))


class AdminClient:
    """
    Speaks to the admin listener of a running daemon.

    Args:
        listen: ``host:port``, ``unix:/path`` or a full ``http://`` or ``https://`` address.
        token: An admin token, or "" where the daemon has none configured.
    """

    def __init__(self, listen: str, token: str = "") -> None:
        self.listen = listen
        self._token = token

    def get(self, path: str, **query: object) -> Any:
        """Return the decoded answer of a GET."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict[str, object] | None = None,
        media: str = "application/json",
        timeout: float = 30,
    ) -> Any:
        """
        Return the decoded answer. Bytes go as they are, with *media* as their type; anything else goes as JSON.

        Raises:
            ApiError: The daemon refused.
            click.ClickException: No daemon answers there.
        """
        with closing(self._open(timeout)) as connection:
            headers = {} if body is None else {"Content-Type": media}
            answer = self._send(connection, method, _target(path, query), body, headers)
            data = answer.read()
            if answer.status >= 400:
                raise ApiError(answer.status, _decoded(data), path)
            return _decoded(data) if data else None

    def lines(
        self,
        path: str,
        *,
        query: dict[str, object] | None = None,
        last_event_id: str = "",
        method: str = "GET",
        body: bytes | None = None,
        media: str = "",
    ) -> Iterator[str]:
        """Hand out the lines of an answer as they come: NDJSON exports, event streams, long work that tells how far."""
        with closing(self._open(None)) as connection:
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            headers |= {"Content-Type": media} if media else {}
            answer = self._send(connection, method, _target(path, query), body, headers)
            if answer.status >= 400:
                raise ApiError(answer.status, _decoded(answer.read()), path)
            for raw in answer:
                yield raw.decode("utf-8").rstrip("\r\n")

    def _open(self, timeout: float | None) -> http.client.HTTPConnection:
        if self.listen.startswith("unix:"):
            return UnixConnection(self.listen.removeprefix("unix:").removeprefix("//"), timeout or 3600)
        parts = urlsplit(self.listen if "://" in self.listen else f"http://{self.listen}")
        host = reachable(parts.hostname or "127.0.0.1")
        try:
            port = parts.port
        except ValueError:
            raise click.ClickException(f"{self.listen!r} is no address: write host:port or unix:/path") from None
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, port or 443, timeout=timeout)
        return http.client.HTTPConnection(host, port or 8788, timeout=timeout)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: object,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        sent = {"Accept": "application/json"} | (headers or {})
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        data: bytes | None = None
        if isinstance(body, bytes):
            data = body
        elif body is not None:
            data = json.dumps(body).encode()
        try:
            connection.request(method, target, body=data, headers=sent)
            return connection.getresponse()
        except ssl.SSLError as error:
            raise click.ClickException(
                f"no TLS with {self.listen}: {error}.\n  Trust its authority with SSL_CERT_FILE=FILE, or call the"
                " daemon on its own machine."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise click.ClickException(
                f"no daemon answers at {self.listen} ({error}).\n  Start it with `flashd run`, or name another address"
                " with --url or a configuration with -c."
            ) from None


def reachable(host: str) -> str:
    """Return where a listener on *host* is reached from its own machine: one on every address, over loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # they are replaced


def _target(path: str, query: dict[str, object] | None) -> str:
    """Return path and query. A part that is empty was a name: often that of a shell variable that is not set."""
    if "//" in path or path.endswith("/"):
        raise click.UsageError('an empty name was given: ""')
    given = {key: value for key, value in (query or {}).items() if value not in (None, "", ())}
    return path + ("?" + urlencode(given, doseq=True) if given else "")


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {"detail": data[:500].decode("utf-8", "replace")}

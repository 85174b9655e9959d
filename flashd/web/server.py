"""
Listeners: bind, serve, and stop in time.

The order of stopping: no new connection, idle ones closed, streams ended, requests finished or cut off at a bound.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from contextlib import suppress
from pathlib import Path

import aiohttp
import structlog
from aiohttp import http_parser, web

from flashd.config import TlsConfig
from flashd.errors import ConfigError
from flashd.web.connection import Guard
from flashd.web.express import EXPRESS
from flashd.web.limits import ClientLimits

log = structlog.get_logger()

LEAST_AIOHTTP = (3, 14, 5)
_UNIX = "unix:"


def check_parser() -> None:
    """
    Refuse to serve with an HTTP parser that is known to be too lenient or too slow.

    Raises:
        ConfigError: aiohttp is too old, or its C parser is missing.
    """
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:3] if part.isdigit())
    if version < LEAST_AIOHTTP:
        least = ".".join(map(str, LEAST_AIOHTTP))
        raise ConfigError(
            f"aiohttp {aiohttp.__version__} is installed; flashd needs {least} or newer: pip install -U aiohttp"
        )
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ConfigError(
            "aiohttp's C parser is missing (AIOHTTP_NO_EXTENSIONS is set, or it was built without): install the wheel"
        )


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """
    Load certificate and key.

    Raises:
        ConfigError: A file is missing, unreadable or does not fit the other.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.cert, config.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[intake] tls: {config.cert} and {config.key}: {error}") from error
    return context


def open_socket(listen: str) -> socket.socket:
    """
    Bind ``host:port``, ``[v6]:port`` or ``unix:/path``; a unix socket is for its owner and group only.

    Raises:
        ConfigError: The address is none, or is taken.
    """
    if listen.startswith(_UNIX):
        return _open_unix(listen.removeprefix(_UNIX))
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"listen = {listen!r}: write host:port, [v6 address]:port or unix:/path")
    bare = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((bare, int(port)))
    except OSError as error:
        opened.close()
        mend = "stop who listens there, or write an address of this machine that is free"
        raise ConfigError(f"listen = {listen!r}: {error.strerror or error}; {mend}") from error
    return opened


def _clear(path: str) -> None:
    """Remove a socket that a killed process left behind. Raises ConfigError for what is not ours to remove."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise ConfigError(f"listen = unix:{path}: there is a file of another kind; write another path")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                raise ConfigError(f"listen = unix:{path}: another process serves it; stop it, or write another path")
        Path(path).unlink()


def _open_unix(path: str) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        _clear(path)
        opened.bind(path)
    except ConfigError:
        opened.close()
        raise
    except OSError as error:
        opened.close()
        mend = "write a path in a folder that flashd may write to"
        raise ConfigError(f"listen = unix:{path}: {error.strerror or error}; {mend}") from error
    finally:
        os.umask(before)
    return opened


class Listener:
    """One application behind one or several sockets. Stopping twice, or what never started, is fine."""

    def __init__(
        self, name: str, app: web.Application, limits: ClientLimits, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self.limits = limits
        self.guard: Guard | None = None
        self._tls = tls
        self._app = app
        self._runner = web.AppRunner(app, shutdown_timeout=limits.stop_s)
        self._servers: list[asyncio.Server] = []
        self._paths: list[Path] = []

    async def start(self, *sockets: socket.socket, own_paths: bool = True) -> None:
        """
        Serve on bound sockets, such as those of `open_socket` or of systemd.

        Args:
            sockets: Bound, TCP or unix.
            own_paths: Whether the files of unix sockets go when this stops; not where systemd made them.
        """
        loop = asyncio.get_running_loop()
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101  # setup() made it
        self.guard = Guard(self._runner.server, self.limits, self._app.get(EXPRESS))
        for opened in sockets:
            opened.setblocking(False)
            unix = opened.family == socket.AF_UNIX
            if unix and own_paths:
                self._paths.append(Path(opened.getsockname()))
            make = loop.create_unix_server if unix else loop.create_server
            handshake_s = self.limits.header_timeout_s if self._tls is not None else None
            server = await make(self.guard, sock=opened, ssl=self._tls, backlog=1024, ssl_handshake_timeout=handshake_s)
            self._servers.append(server)
            log.info("listener.started", listener=self.name, address=_address(opened))

    @property
    def port(self) -> int:
        """The port of the first TCP socket, or 0."""
        for server in self._servers:
            for opened in server.sockets:
                if opened.family != socket.AF_UNIX:
                    return int(opened.getsockname()[1])
        return 0

    async def stop(self) -> None:
        """Stop accepting, end streams, let requests finish until the bound, close."""
        for server in self._servers:
            server.close()
        if self._servers:
            log.info("listener.stopped", listener=self.name)
        self._servers.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.stop_s * 2 + 1):
                await self._runner.cleanup()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._paths.clear()


def _address(opened: socket.socket) -> str:
    name = opened.getsockname()
    return f"unix:{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"

"""Endpoints: one table of routes from which the listeners, the authorisation and the OpenAPI document are made."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from flashd.web.limits import Connection
from flashd.web.problem import HeadTooLarge, Malformed, answer_error
from flashd.web.tokens import Caller, Scope

T = TypeVar("T")
_PLACE = re.compile(r"\{(\w+)\}")
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    One method of one path.

    *scope* None is open to everybody; on intake READ means "a channel's token". *answers* names the body of each
    success; problems need not be listed.
    """

    method: str
    path: str
    name: str  # unique; the operationId
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    scope: Scope | None = Scope.READ
    takes: Any = None
    takes_media: str = "application/json"
    answers: Mapping[int, Any] = field(default_factory=dict)
    media: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)  # name -> what it says


def mount(app: web.Application, endpoints: Sequence[Endpoint]) -> None:
    """Add all of them to *app*. An id in a path may hold braces, which aiohttp leaves out by default."""
    for endpoint in endpoints:
        path = _PLACE.sub(r"{\1:[^/]+}", endpoint.path)
        app.router.add_route(endpoint.method, path, endpoint.handler, name=None)


def find(request: web.Request, endpoints: Mapping[tuple[str, str], Endpoint]) -> Endpoint | None:
    """Return the endpoint that *request* was routed to, or None for what is answered 404 or 405."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    return endpoints.get((request.method, resource.canonical))


@web.middleware
async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection where its request stands, and refuse a head that is too large as a whole."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    connection.begin(request)
    try:
        check_head(request, connection)
        return await handler(request)
    finally:
        connection.finish()


def check_head(request: web.Request, connection: Connection) -> None:
    """
    Refuse a head that is too large as a whole.

    Raises:
        HeadTooLarge: Request line and headers together are over the limit.
    """
    limit = connection.limits.head_bytes
    if connection.last_chunk_bytes <= limit and request.content.is_eof():
        return  # the whole request came in less than that
    head = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    if head > limit:
        raise HeadTooLarge(f"request line and headers have {head} bytes; the limit is {limit}")


class Express:
    """
    Answers paths that stand as they are, without aiohttp's router, match info and middlewares.

    Those cost a third of what a bare aiohttp takes for a request. Everything else goes on to the application.
    """

    def __init__(
        self,
        handlers: Mapping[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]],
        broken: Callable[[BaseException], None] | None,
    ) -> None:
        self._handlers = handlers
        self._broken = broken

    def before(
        self, application: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return what a server calls for each request: this, and *application* for what is not listed here."""
        handlers, broken = self._handlers, self._broken

        async def handle(request: web.Request) -> web.StreamResponse:
            handler = handlers.get((request.method, request.raw_path))
            connection = request.protocol
            if handler is None or not isinstance(connection, Connection):
                return await application(request)
            connection.begin(request)
            try:
                check_head(request, connection)
                return await handler(request)
            except ConnectionError:
                raise  # the client went away: there is nobody to answer
            except Exception as error:  # noqa: BLE001  # each becomes an answer; a bug is logged there
                return answer_error(request, error, request.raw_path, broken)
            finally:
                connection.finish()

        return handle


EXPRESS: web.AppKey[Express] = web.AppKey("express", Express)


def number(request: web.Request, name: str, default: int, *, least: int = 0, most: int) -> int:
    """
    Read a whole number from the query.

    Raises:
        Malformed: It is none, or out of bounds.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and least <= int(text) <= most):
        raise Malformed(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    """Read a yes or no from the query: `?dry_run`, `?dry_run=1` and `?dry_run=true` are a yes."""
    text = request.query.get(name)
    if text is None or text.lower() in {"0", "false", "no"}:
        return False
    if text.lower() in {"", "1", "true", "yes"}:
        return True
    raise Malformed(f"{name} must be true or false")


def decode(body: bytes, shape: type[T]) -> T:
    """Read a JSON body; an empty one is an empty object. Errors become 400 or 422."""
    return msgspec.json.decode(body or b"{}", type=shape)

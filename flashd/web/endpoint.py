"""Endpoints: one table of routes from which the listeners, the authorisation and the OpenAPI document are made."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from flashd.web.connection import Connection
from flashd.web.crowd import Crowd
from flashd.web.problem import Malformed
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
    crowd: Crowd | None = None  # which its POSTs join that are whole when they arrive, on the express way


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
    connection.begin(request.content)
    try:
        connection.check_head(request.raw_path, request.raw_headers)
        return await handler(request)
    finally:
        connection.finish()


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

"""The admin listener: health, metrics, feed, and everything that the commands do. Loopback or a unix socket."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from flashd.config import AdminConfig, IntakeConfig
from flashd.errors import Forbidden
from flashd.web.admin_alerts import AdminAlerts
from flashd.web.admin_backends import AdminBackends
from flashd.web.admin_channels import AdminChannels
from flashd.web.admin_dead import AdminDead
from flashd.web.admin_desk import AdminDesk
from flashd.web.admin_exposure import AdminExposure
from flashd.web.admin_kits import AdminKits
from flashd.web.admin_map import AdminMap
from flashd.web.admin_map_import import AdminMapImport
from flashd.web.admin_orders import AdminOrders
from flashd.web.admin_preflight import AdminPreflight
from flashd.web.admin_privacy import AdminPrivacy
from flashd.web.admin_quarantine import AdminQuarantine
from flashd.web.admin_sales import AdminSales
from flashd.web.admin_stock import AdminStock
from flashd.web.admin_stockroom import AdminStockroom
from flashd.web.admin_triage import AdminTriage
from flashd.web.admin_watch import AdminWatch
from flashd.web.doors import Doors
from flashd.web.endpoint import CALLER, Endpoint, bounded, find, mount
from flashd.web.health import Healthy
from flashd.web.intake import intake_endpoints
from flashd.web.openapi import document
from flashd.web.problem import Misdirected, problems
from flashd.web.sse import Streams
from flashd.web.tokens import Caller, Scope, demand

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED = ("forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip")
_LOCAL = Caller("local", Scope.ADMIN)
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def admin_endpoints(doors: Doors, streams: Streams) -> list[Endpoint]:
    """List every route of the listener but the document of them all."""
    desk = AdminDesk(doors)
    orders = AdminOrders(desk)
    backends, channels = AdminBackends(desk), AdminChannels(desk)
    healthy = Healthy(doors)
    return [
        *healthy.endpoints(),
        *AdminWatch(desk, healthy, backends, channels, streams).endpoints(),
        *AdminStock(desk).endpoints(),
        *AdminStockroom(desk).endpoints(),
        *AdminTriage(desk).endpoints(),
        *AdminExposure(desk).endpoints(),
        *AdminKits(desk).endpoints(),
        *channels.endpoints(),
        *AdminMap(desk).endpoints(),
        *AdminMapImport(desk).endpoints(),
        *AdminSales(desk).endpoints(),
        *AdminPreflight(desk).endpoints(),
        *AdminAlerts(desk).endpoints(),
        *orders.endpoints(),
        *AdminDead(desk, orders).endpoints(),
        *AdminQuarantine(desk).endpoints(),
        *AdminPrivacy(desk).endpoints(),
        *backends.endpoints(),
    ]


def admin_app(doors: Doors, config: AdminConfig, *, heartbeat_s: float = 15.0) -> web.Application:
    """Build the admin listener's application."""
    streams = Streams(heartbeat_s=heartbeat_s)
    endpoints = admin_endpoints(doors, streams)
    described: list[bytes] = []

    async def openapi(_: web.Request) -> web.Response:
        if not described:
            intake = intake_endpoints(doors, IntakeConfig())
            described.append(msgspec.json.encode(document({"intake": intake, "admin": endpoints})))
        return web.Response(body=described[0], content_type="application/json")

    endpoints.append(
        Endpoint(
            method="GET",
            path="/openapi.json",
            name="openapi",
            summary="This document: both listeners",
            handler=openapi,
            answers={200: dict[str, Any]},
        )
    )
    app = web.Application(middlewares=[problems(doors.broken), bounded, guarded(endpoints, doors, hosts=config.hosts)])
    mount(app, endpoints)
    app.on_response_prepare.append(_harden)
    app.on_shutdown.append(streams.stop)
    return app


def guarded(endpoints: Sequence[Endpoint], doors: Doors, *, hosts: Sequence[str]) -> Middleware:
    """Let a request pass that came to the right host, from no foreign page, with a token of the right scope."""
    by_route: Mapping[tuple[str, str], Endpoint] = {(each.method, each.path): each for each in endpoints}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        endpoint = find(request, by_route)
        _check_host(request, hosts)
        if request.method not in _SAFE:
            _check_origin(request)
        if endpoint is not None and endpoint.scope is not None:
            caller = doors.admin_tokens.caller(request.headers) if len(doors.admin_tokens) else _local(request)
            demand(caller, endpoint.scope)
            request[CALLER] = caller
        return await handler(request)

    return middleware


def _local(request: web.Request) -> Caller:
    """
    Let everybody on this host do everything, while no token is configured.

    Raises:
        Forbidden: It comes from another host.
    """
    if any(name.lower().startswith(("x-forwarded-", *_FORWARDED)) for name in request.headers):
        raise Forbidden("a proxy stands in front, so everybody looks like this host: configure admin tokens")
    peer = peer_of(request)
    if isinstance(peer, tuple) and not _is_loopback(str(peer[0])):
        raise Forbidden("no admin token is configured, so only this host may call")
    return _LOCAL


def peer_of(request: web.Request) -> object:
    """Return the caller's address: a tuple for TCP, anything else for a unix socket."""
    return request.transport.get_extra_info("peername") if request.transport is not None else ("0.0.0.0", 0)  # noqa: S104  # nobody: it has gone


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _is_unix(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and not isinstance(transport.get_extra_info("sockname"), tuple)


def _check_host(request: web.Request, hosts: Sequence[str]) -> None:
    """
    Answer only to names that are ours: a foreign page whose name was re-bound to this address keeps its own.

    Raises:
        Misdirected: The Host header is another.
    """
    if _is_unix(request):
        return  # no browser gets here
    host = request.headers.get(hdrs.HOST, "").lower()
    name = host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name not in {each.lower() for each in hosts}:
        raise Misdirected("this name is not answered here; see [admin] hosts")


def _check_origin(request: web.Request) -> None:
    """
    Refuse a change that a foreign page sends through an operator's browser.

    Raises:
        Forbidden: The browser says that the page is another's.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        raise Forbidden("a page of another site may change nothing here")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get(hdrs.HOST, "").lower():
        raise Forbidden("a page of another origin may change nothing here")


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")

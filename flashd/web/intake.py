"""The intake listener: signed webhooks, and the native API."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Mapping
from typing import Self

from aiohttp import web

from flashd.config import IntakeConfig
from flashd.domain.order import AcceptCode
from flashd.errors import Busy, Transient, Unauthenticated
from flashd.ports import Receipt
from flashd.web.answer import Answer, Take, encode
from flashd.web.doors import Doors
from flashd.web.endpoint import Endpoint, bounded, mount
from flashd.web.express import EXPRESS, Express
from flashd.web.intake_batch import Batch
from flashd.web.intake_holds import Holds
from flashd.web.intake_orders import Orders
from flashd.web.limits import Budget, read_body
from flashd.web.native import Native
from flashd.web.problem import problems, understand
from flashd.web.view import ReceiptView

_NOBODYS_KEY = bytes(32)
_DIGESTS = 3  # as many as a channel makes before it refuses, however many secrets it has
_DUPLICATES = frozenset({AcceptCode.REPEAT, AcceptCode.STALE})


class Webhooks:
    """``POST /webhooks/{channel}``: read the bytes, let the channel's intake prove and keep them, answer."""

    def __init__(self, doors: Doors, config: IntakeConfig, budget: Budget) -> None:
        self._doors = doors
        self._config = config
        self._budget = budget

    def endpoints(self) -> list[Endpoint]:
        """List the route."""
        return [
            Endpoint(
                method="POST",
                path="/webhooks/{channel}",
                name="webhook",
                summary="A platform's signed webhook; 200 also for a duplicate and for what is quarantined",
                handler=self.receive,
                scope=None,  # the signature is the proof
                takes_media="*/*",
                takes=bytes,
                answers={200: ReceiptView},
            )
        ]

    def take_for(self, name: str) -> Take:
        """Return what answers for a channel, also for one that is unknown."""
        return functools.partial(self._take_whole, name)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Read the body within its limits, and answer."""
        limit, timeout_s = self._config.webhook_bytes, self._config.body_timeout_s
        with self._budget.share() as share, _Told(self._doors, request.match_info["channel"]) as told:
            body = await read_body(request, share, limit=limit, timeout_s=timeout_s)
            return (await self._answer(told, request.headers, body)).response()

    async def _take_whole(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with _Told(self._doors, name) as told:
            length = self._budget.take_whole(body, self._config.webhook_bytes)
            try:
                return await self._answer(told, headers, body)
            finally:
                self._budget.give(length)

    async def _answer(self, told: _Told, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer 200 once the webhook's effect is durable; an error leaves the platform to send it again."""
        receipt = await self._take(told.name, headers, body)
        told.result = _result_of(receipt)
        view = ReceiptView(
            state=receipt.state,
            code=receipt.code,
            order=receipt.order,
            reason=receipt.reason,
            short=dict(receipt.short),
        )
        return encode(200, view)

    async def _take(self, name: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        channel = self._doors.channels.get(name)
        if channel is None:
            # The same work and the same answer as for a bad signature: nobody learns which channels exist.
            for _ in range(_DIGESTS):
                hmac.digest(_NOBODYS_KEY, body, "sha256")
            raise Unauthenticated("the signature is missing or wrong")
        try:
            return await channel.intake.webhook(headers, body)
        except Unauthenticated:
            raise Unauthenticated("the signature is missing or wrong") from None


class _Told:
    """Counts one webhook by what becomes of it, from the head to the answer."""

    __slots__ = ("_doors", "_started_s", "name", "result")

    def __init__(self, doors: Doors, name: str) -> None:
        self.name = name
        self.result = ""
        self._doors = doors
        self._started_s = doors.clock.monotonic_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        clock = self._doors.clock
        result = self.result or (_failure(error) if isinstance(error, Exception) else "failed")
        label = self.name if self.name in self._doors.channels else "unknown"
        self._doors.metrics.intake.webhook(label, result, clock.monotonic_s() - self._started_s, now_ms=clock.now_ms())


def _result_of(receipt: Receipt) -> str:
    if receipt.code in _DUPLICATES:
        return "duplicate"
    return receipt.state if receipt.state in {"quarantined", "unrelated", "pong"} else "accepted"


def _failure(error: Exception) -> str:
    if isinstance(error, Busy):
        return "busy"
    if isinstance(error, Transient):
        return "unavailable"
    found = understand(error)
    return found.title if found is not None else "failed"


def intake_endpoints(doors: Doors, config: IntakeConfig) -> list[Endpoint]:
    """List every route of the listener."""
    return _routes(doors, config)[1]


def intake_app(doors: Doors, config: IntakeConfig) -> web.Application:
    """Build the intake listener's application, and the express way to what its load is made of."""
    webhooks, endpoints = _routes(doors, config)
    app = web.Application(middlewares=[problems(doors.broken), bounded])
    mount(app, endpoints)
    takes = {one.path: one.take for one in endpoints if one.take is not None}
    app[EXPRESS] = Express(takes, ("/webhooks/", webhooks.take_for), doors.broken)
    return app


def _routes(doors: Doors, config: IntakeConfig) -> tuple[Webhooks, list[Endpoint]]:
    budget = Budget(config.budget_bytes)
    native, webhooks = Native(doors, config, budget), Webhooks(doors, config, budget)
    parts = (webhooks, Holds(native), Orders(native), Batch(native))
    return webhooks, [endpoint for part in parts for endpoint in part.endpoints()]

"""The intake listener: signed webhooks, and the native API."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from aiohttp import web

from flashd.config import IntakeConfig
from flashd.domain.order import AcceptCode
from flashd.domain.seal import NOBODYS
from flashd.errors import Busy, Transient, Unauthenticated
from flashd.ports import Receipt, Soon
from flashd.web.answer import Answer, encode
from flashd.web.doors import Doors
from flashd.web.endpoint import Endpoint, bounded, mount
from flashd.web.express import EXPRESS, Express, Hot
from flashd.web.intake_batch import Batch
from flashd.web.intake_holds import Holds
from flashd.web.intake_orders import Orders
from flashd.web.limits import Budget, read_body
from flashd.web.native import Native
from flashd.web.problem import problems, understand
from flashd.web.view import ReceiptView

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

    def hot(self, name: str) -> Hot:
        """Return what takes the webhooks of a channel, also of one that is unknown."""
        take, refused = functools.partial(self._take, name, None), functools.partial(self._refuse, name)
        return Hot(f"/webhooks/{name}", take, self._config.webhook_bytes, refused)

    def _refuse(self, name: str, error: Exception) -> None:
        self._count(name, self._doors.clock.monotonic_s(), _failure(error))

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Read the body within its limits, and answer."""
        limit, timeout_s = self._config.webhook_bytes, self._config.body_timeout_s
        name, started_s = request.match_info["channel"], self._doors.clock.monotonic_s()
        with self._budget.share() as share:
            try:
                body = await read_body(request, share, limit=limit, timeout_s=timeout_s)
            except BaseException as error:
                self._count(name, started_s, _failure(error))
                raise
            return (await self._take(name, started_s, request.headers, body)).response()

    def _take(self, name: str, head_s: float | None, headers: Mapping[str, str], body: bytes) -> Soon[Answer]:
        """
        Answer 200 once the webhook's effect is durable; an error leaves the platform to send it again.

        Each is counted by what becomes of it, from the head (at *head_s*; None: it came with the body) to the answer.
        """
        started_s = self._doors.clock.monotonic_s() if head_s is None else head_s

        def answer(soon: Soon[Receipt]) -> Answer:
            try:
                receipt = soon.result()
            except BaseException as error:
                self._count(name, started_s, _failure(error))
                _tell_strangers_nothing(error)
                raise
            self._count(name, started_s, _result_of(receipt))
            return encode(200, _view_of(receipt))

        try:
            soon = self._ask(name, headers, body)
        except Exception as error:
            self._count(name, started_s, _failure(error))
            _tell_strangers_nothing(error)
            raise
        return soon.then(answer)

    def _count(self, name: str, started_s: float, result: str) -> None:
        clock = self._doors.clock
        label = name if name in self._doors.channels else "unknown"
        self._doors.metrics.intake.webhook(label, result, clock.monotonic_s() - started_s, now_ms=clock.now_ms())

    def _ask(self, name: str, headers: Mapping[str, str], body: bytes) -> Soon[Receipt]:
        channel = self._doors.channels.get(name)
        if channel is None:
            # The same work and the same answer as for a bad signature: nobody learns which channels exist.
            for _ in range(_DIGESTS):
                NOBODYS.digest(body)
            raise Unauthenticated("there is no such channel")
        return channel.intake.webhook(headers, body)


def _tell_strangers_nothing(error: BaseException) -> None:
    if isinstance(error, Unauthenticated):
        raise Unauthenticated("the signature is missing or wrong") from None


def _result_of(receipt: Receipt) -> str:
    if receipt.code in _DUPLICATES:
        return "duplicate"
    return receipt.state if receipt.state in {"quarantined", "demanded", "unrelated", "pong"} else "accepted"


def _view_of(receipt: Receipt) -> ReceiptView:
    return ReceiptView(
        state=receipt.state,
        code=receipt.code,
        order=receipt.order,
        reason=receipt.reason,
        short=dict(receipt.short) if receipt.short else {},
    )


def _failure(error: BaseException) -> str:
    if isinstance(error, Busy):
        return "busy"
    if isinstance(error, Transient):
        return "unavailable"
    found = understand(error) if isinstance(error, Exception) else None
    return found.title if found is not None else "failed"


def intake_endpoints(doors: Doors, config: IntakeConfig) -> list[Endpoint]:
    """List every route of the listener."""
    return _routes(doors, config, Budget(config.budget_bytes))[1]


def intake_app(doors: Doors, config: IntakeConfig) -> web.Application:
    """Build the intake listener's application, and the express way to what its load is made of."""
    budget = Budget(config.budget_bytes)
    webhooks, endpoints = _routes(doors, config, budget)
    app = web.Application(middlewares=[problems(doors.broken), bounded])
    mount(app, endpoints)
    hots = [Hot(one.path, one.take, config.body_bytes) for one in endpoints if one.take is not None]
    app[EXPRESS] = Express(hots, ("/webhooks/", webhooks.hot), budget, doors.broken)
    return app


def _routes(doors: Doors, config: IntakeConfig, budget: Budget) -> tuple[Webhooks, list[Endpoint]]:
    native, webhooks = Native(doors, config, budget), Webhooks(doors, config, budget)
    parts = (webhooks, Holds(native), Orders(native), Batch(native))
    return webhooks, [endpoint for part in parts for endpoint in part.endpoints()]

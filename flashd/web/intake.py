"""The intake listener: signed webhooks, and the native API."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web

from flashd.config import IntakeConfig
from flashd.domain.order import AcceptCode, Accepted, Incoming
from flashd.domain.seal import NOBODYS
from flashd.errors import Busy, Transient, Unauthenticated
from flashd.ports import Receipt, Soon
from flashd.web.answer import Answer, encode
from flashd.web.crowd import Crowd, Post, fail_all
from flashd.web.doors import ChannelDoor, Doors
from flashd.web.endpoint import Endpoint, bounded, mount
from flashd.web.express import EXPRESS, Express, Hot
from flashd.web.intake_batch import Batch
from flashd.web.intake_holds import Holds
from flashd.web.intake_orders import Orders
from flashd.web.limits import Budget, read_body
from flashd.web.native import Native
from flashd.web.party import Parties, Party
from flashd.web.problem import problems, understand
from flashd.web.view import ReceiptView

_DIGESTS = 3  # as many as a channel makes before it refuses, however many secrets it has
_DUPLICATES = frozenset({AcceptCode.REPEAT, AcceptCode.STALE})


class _Began(NamedTuple):
    """When a crowd was taken."""

    at_s: float  # on the monotonic clock
    at_ms: int  # since 1970


class Webhooks:
    """``POST /webhooks/{channel}``: let the channel's intake prove, read and keep the bytes, and answer."""

    def __init__(self, doors: Doors, config: IntakeConfig, budget: Budget) -> None:
        self._doors = doors
        self._config = config
        self._budget = budget
        self._crowd = Crowd(self.take)

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

        def refused(error: Exception) -> None:
            self._count(name, _failure(error), self._now())

        return Hot(f"/webhooks/{name}", self._crowd, self._config.webhook_bytes, name, refused)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Read the body within its limits, and answer."""
        limit, timeout_s = self._config.webhook_bytes, self._config.body_timeout_s
        name, began = request.match_info["channel"], self._now()
        with self._budget.share() as share:
            try:
                body = await read_body(request, share, limit=limit, timeout_s=timeout_s)
            except BaseException as error:
                self._count(name, _failure(error), began)
                raise
            return (await self._crowd.ask(name, request.headers, body)).response()

    def take(self, posts: Sequence[Post]) -> None:
        """Answer each with 200 once its effect is durable; an error leaves the platform to send it again."""
        began = self._now()
        proven = [(post, door) for post in posts if (door := self._prove(post, began)) is not None]
        parties: Parties[Incoming] = Parties()
        for post, door in proven:
            try:
                found = door.intake.read(post.headers, post.body)
            except Exception as error:  # noqa: BLE001  # it is this one's answer
                self._fail((post,), error, began)
            else:
                if isinstance(found, Soon):
                    found.tell(functools.partial(self._tell, post, began))
                else:
                    parties.add(door, post, found)
        for party in parties:
            self._admit(party, began)

    def _prove(self, post: Post, began: _Began) -> ChannelDoor | None:
        """Return the door of a webhook that is to be read; None where it is answered."""
        door = self._doors.channels.get(post.name)
        if door is None:
            # The same work and the same answer as for a bad signature: nobody learns which channels exist.
            for _ in range(_DIGESTS):
                NOBODYS.digest(post.body)
            self._fail((post,), Unauthenticated("there is no such channel"), began)
            return None
        try:
            is_to_be_read = door.intake.prove(post.headers, post.body)
        except Exception as error:  # noqa: BLE001  # it is this one's answer
            self._fail((post,), error, began)
            return None
        if not is_to_be_read:
            self._receive(post, Receipt(state="pong"), began)
            return None
        return door

    def _admit(self, party: Party[Incoming], began: _Began) -> None:
        """Let the orders of one channel be made durable together."""

        def heard(replies: Sequence[Accepted]) -> None:
            known = sum([accepted.code in _DUPLICATES for accepted in replies])
            if known:
                self._count(party.door.name, "duplicate", began, known)
            if known < len(replies):
                self._count(party.door.name, "accepted", began, len(replies) - known)

        failed = functools.partial(self._fail, began=began)
        party.ask(party.door.intake.admit, _answer_of, heard=heard, failed=failed)

    def _tell(self, post: Post, began: _Began, soon: Soon[Receipt]) -> None:
        try:
            receipt = soon.result()
        except BaseException as error:  # noqa: BLE001  # it is this one's answer
            self._fail((post,), error, began)
        else:
            self._receive(post, receipt, began)

    def _receive(self, post: Post, receipt: Receipt, began: _Began) -> None:
        """Answer what is no order."""
        self._count(post.name, receipt.state, began)
        post.answer(encode(200, ReceiptView(state=receipt.state, reason=receipt.reason)))

    def _fail(self, posts: Sequence[Post], error: BaseException, began: _Began) -> None:
        """Answer with an error; a stranger learns no more than that it did not pass."""
        for post in posts:
            self._count(post.name, _failure(error), began)
        fail_all(
            posts, Unauthenticated("the signature is missing or wrong") if isinstance(error, Unauthenticated) else error
        )

    def _now(self) -> _Began:
        return _Began(self._doors.clock.monotonic_s(), self._doors.clock.now_ms())

    def _count(self, name: str, result: str, began: _Began, count: int = 1) -> None:
        label = name if name in self._doors.channels else "unknown"
        seconds = self._doors.clock.monotonic_s() - began.at_s
        self._doors.metrics.intake.webhooks(count, label, result, seconds, now_ms=began.at_ms)


def _answer_of(incoming: Incoming, accepted: Accepted) -> Answer:
    order = incoming.order
    view = ReceiptView(
        state=accepted.state,
        code=accepted.code,
        order=f"{order.channel}:{order.id}",
        reason=incoming.reason,
        short=dict(accepted.short) if accepted.short else {},
    )
    return encode(200, view)


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
    hots = [Hot(one.path, one.crowd, config.body_bytes) for one in endpoints if one.crowd is not None]
    app[EXPRESS] = Express(hots, ("/webhooks/", webhooks.hot), budget, doors.broken)
    return app


def _routes(doors: Doors, config: IntakeConfig, budget: Budget) -> tuple[Webhooks, list[Endpoint]]:
    native, webhooks = Native(doors, config, budget), Webhooks(doors, config, budget)
    parts = (webhooks, Holds(native), Orders(native), Batch(native))
    return webhooks, [endpoint for part in parts for endpoint in part.endpoints()]

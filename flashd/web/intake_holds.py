"""Holds over HTTP: set stock aside, let it live longer, give it back."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest
from flashd.errors import Conflict, InvariantBroken, NotFound
from flashd.web.answer import Answer
from flashd.web.answer import encode as encode_answer
from flashd.web.crowd import Crowd, Post
from flashd.web.endpoint import Endpoint, decode
from flashd.web.native import Native, adapter_of, checked_id, own_channel
from flashd.web.party import Parties
from flashd.web.problem import encode
from flashd.web.view import Extension, HoldView, NewHold, at


class Short(Conflict):
    """There is not enough; *left* says how much there is."""

    title = "short"


class Limit(Conflict):
    """The customer has, or would have, more than a sale allows; *had* and *may* say how many."""

    title = "limit"


class Closed(Conflict):
    """Its sale is not open now, or was stopped; *starts_at* and *ends_at* say when its window is."""

    title = "closed"


class UnknownSku(NotFound):
    """The pool has no such SKU."""

    title = "unknown_sku"


class Gone(NotFound):
    """There is no such hold, or it is no longer held."""

    title = "gone"


class Holds:
    """``/v1/holds``."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._metrics = native.doors.metrics.intake

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        crowd = Crowd(self.hold)
        return [
            Endpoint(
                method="POST",
                path="/v1/holds",
                name="hold",
                summary="Set stock aside for all lines, or say what is short; the same id twice is one hold",
                handler=self._native.ordinary(crowd),
                crowd=crowd,
                takes=NewHold,
                answers={201: HoldView, 200: HoldView},
            ),
            Endpoint(
                method="DELETE",
                path="/v1/holds/{id}",
                name="release_hold",
                summary="Give a hold's stock back",
                handler=self.release,
                answers={200: HoldView},
            ),
            Endpoint(
                method="POST",
                path="/v1/holds/{id}/extend",
                name="extend_hold",
                summary="Let a hold live longer, up to the pool's bound; never shortens it",
                handler=self.extend,
                takes=Extension,
                answers={200: HoldView},
            ),
        ]

    def hold(self, posts: Sequence[Post]) -> None:
        """Answer 201 for a new hold and 200 for a repeat."""
        parties: Parties[HoldRequest] = Parties()
        for post in posts:
            try:
                channel, pool = self._native.seat(post.headers)
                read = adapter_of(channel).decode_hold
                request = read(post.body, default_ttl_ms=pool.hold_ttl_ms, max_ttl_ms=pool.hold_max_ms)
                own_channel(channel, request.channel)
                parties.add(channel, post, request)
            except Exception as error:  # noqa: BLE001  # it is this one's answer
                post.fail(error)
        for party in parties:
            party.ask(party.door.intake.hold, self._answer_of)

    def _answer_of(self, request: HoldRequest, reply: HoldReply) -> Answer:
        self._metrics.reservation(reply.code.value)
        refuse(reply)
        return encode_answer(201 if reply.code is HoldCode.HELD else 200, HoldView.of(request.id, reply))

    async def release(self, request: web.Request) -> web.Response:
        """Answer 200, also where it was released before and that is still known."""
        _, pool = self._native.seat(request.headers)
        hold_id = checked_id(request.match_info["id"], "the hold's id")
        reply = await pool.ledger.release(hold_id, "released by the caller")
        refuse(reply)
        return encode(200, HoldView.of(hold_id, reply))

    async def extend(self, request: web.Request) -> web.Response:
        """Answer 200 with the new end, which may be sooner than asked for: the extension is bounded."""
        _, pool = self._native.seat(request.headers)
        hold_id = checked_id(request.match_info["id"], "the hold's id")
        with self._native.budget.share() as share:
            wish = decode(await self._native.body(request, share), Extension)
        reply = await pool.ledger.extend(hold_id, wish.ttl_ms, max_total_ms=pool.hold_max_ms)
        refuse(reply)
        return encode(200, HoldView.of(hold_id, reply))


def refuse(reply: HoldReply) -> None:
    """
    Raise the refusal that a reply stands for, if it is one.

    Raises:
        Refused: 409 short, limit, closed or conflict, 404 unknown_sku or gone.
        InvariantBroken: A code without words: it must not pass for a hold.
    """
    left = dict(reply.left)
    if reply.code is HoldCode.SHORT:
        raise Short("not enough is left", left=left)
    if reply.code is HoldCode.UNKNOWN_SKU:
        raise UnknownSku("the pool does not have " + ", ".join(sorted(left)), skus=sorted(left))
    if reply.code is HoldCode.CONFLICT:
        raise Conflict("this id holds something else already")
    if reply.code is HoldCode.GONE:
        raise Gone("there is no such hold, or it is no longer held", state=str(reply.state or ""))
    if reply.code is HoldCode.LIMIT:
        raise Limit(
            f"{reply.sku}: the customer has {reply.had}, and sale {reply.sale} allows {reply.may}",
            sale=reply.sale,
            sku=reply.sku,
            had=reply.had,
            may=reply.may,
        )
    if reply.code is HoldCode.CLOSED:
        raise Closed(
            f"{reply.sku} is not for sale now: sale {reply.sale}",
            sale=reply.sale,
            sku=reply.sku,
            starts_at=at(reply.start_ms),
            ends_at=at(reply.end_ms),
        )
    if reply.code not in _FINE:
        raise InvariantBroken(f"a hold was answered {reply.code}, and nobody says what that means")


_FINE = frozenset({HoldCode.HELD, HoldCode.REPEAT, HoldCode.RELEASED})

"""Orders and stock over the native HTTP API."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from flashd.domain.order import AcceptCode, Accepted, Incoming, OrderRecord, OrderRef, OrderState
from flashd.errors import Conflict, Forbidden, NotFound
from flashd.web.answer import Answer
from flashd.web.answer import encode as encode_answer
from flashd.web.crowd import Crowd, Post
from flashd.web.doors import ChannelDoor, PoolDoor
from flashd.web.endpoint import Endpoint
from flashd.web.intake_holds import UnknownSku
from flashd.web.native import Native, adapter_of, checked_id, own_channel
from flashd.web.offers import Offers
from flashd.web.party import Parties
from flashd.web.problem import Malformed, encode
from flashd.web.view import NewOrder, OrderReceipt, OrderStatus, StockList, StockView, order_status

SKUS_AT_ONCE = 200
_ACCEPTED, _QUEUED = AcceptCode.ACCEPTED, OrderState.QUEUED  # CPython 3.11 takes 50 ns to look one up


def status_of(accepted: Accepted) -> int:
    """
    Return the HTTP status of an accepted order: 202 where the paid units could not all be covered, or it must wait.

    Raises:
        Conflict: The same id was known with other content.
        UnknownSku: The pool lacks a SKU; nothing was written.
    """
    if accepted.code is _ACCEPTED and accepted.state is _QUEUED:
        return 201  # nearly all of them
    if accepted.code is AcceptCode.UNKNOWN_SKU:
        skus = sorted(sku for sku, _ in accepted.short)
        raise UnknownSku("the pool does not have " + ", ".join(skus), skus=skus)
    if accepted.code is AcceptCode.CONFLICT:
        raise Conflict("this order id is known with other content", state=str(accepted.state))
    if accepted.code in {AcceptCode.REPEAT, AcceptCode.STALE} or accepted.state is OrderState.IGNORED:
        return 200  # nothing came into being
    if accepted.state is OrderState.SHORTFALL or accepted.code is AcceptCode.LATER:
        return 202
    return 201 if accepted.code is AcceptCode.ACCEPTED else 200


def read_order(channel: ChannelDoor, body: bytes) -> Incoming:
    """Decode one order of the channel's own. Raises Refused."""
    incoming = adapter_of(channel).decode_order(body)
    own_channel(channel, incoming.order.channel)
    return incoming


def _answer_of(incoming: Incoming, accepted: Accepted) -> Answer:
    return encode_answer(status_of(accepted), OrderReceipt.of(incoming, accepted))


class Orders:
    """``/v1/orders`` and ``/v1/stock``."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._offers = {name: Offers(native.doors, name) for name in native.doors.pools}

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        order = "/v1/orders/{channel}/{id}"
        crowd = Crowd(self.place)
        return [
            Endpoint(
                method="POST",
                path="/v1/orders",
                name="place_order",
                summary="Take a paid order; 202 with title shortfall where its units cannot all be covered",
                handler=self._native.ordinary(crowd),
                crowd=crowd,
                takes=NewOrder,
                answers={201: OrderReceipt, 200: OrderReceipt, 202: OrderReceipt},
            ),
            Endpoint(
                method="GET",
                path=order,
                name="order_status",
                summary="Where an order stands: state, position, ETA",
                handler=self.show,
                answers={200: OrderStatus},
            ),
            Endpoint(
                method="DELETE",
                path=order,
                name="withdraw_order",
                summary="Cancel an order before it left for the backend",
                handler=self.cancel,
                answers={200: OrderStatus},
                query={"reason": "why, in a few words"},
            ),
            Endpoint(
                method="GET",
                path="/v1/stock/{sku}",
                name="stock_of",
                summary="What of one SKU, or kit, may be sold, per channel",
                handler=self.stock,
                answers={200: StockView},
            ),
            Endpoint(
                method="GET",
                path="/v1/stock",
                name="stock",
                summary="What of several SKUs may be sold, per channel",
                handler=self.stocks,
                answers={200: StockList},
                query={"sku": f"give it once for each SKU, up to {SKUS_AT_ONCE} times"},
            ),
        ]

    def place(self, posts: Sequence[Post]) -> None:
        """Answer each once its order is durable."""
        parties: Parties[Incoming] = Parties()
        for post in posts:
            try:
                channel, _ = self._native.seat(post.headers)
                parties.add(channel, post, read_order(channel, post.body))
            except Exception as error:  # noqa: BLE001  # it is this one's answer
                post.fail(error)
        for party in parties:
            party.ask(party.door.intake.admit, _answer_of)

    async def show(self, request: web.Request) -> web.Response:
        """Show an order of the token's pool."""
        _, pool = self._native.seat(request.headers)
        return encode(200, await self._status(pool, await self._record(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        """
        Cancel an order of the token's own channel; one that is cancelled already is answered the same.

        A manual order is not for a program to cancel: it takes a human's word that the backend lacks it.
        """
        channel, pool = self._native.seat(request.headers)
        record = await self._record(request)
        if record.ref.channel != channel.name:
            raise Forbidden(f"this token belongs to channel {channel.name!r}: it cannot cancel another's orders")
        if record.state is OrderState.MANUAL:
            raise Conflict("a human must say first whether the backend has it", state=str(record.state))
        reason = request.query.get("reason", "cancelled by the channel")[:200]
        # Also where it is found cancelled: that was read of one server, and what it alone knows a fail-over forgets.
        await pool.ledger.cancel(record.ref, by=f"channel {channel.name}", reason=reason)
        return encode(200, await self._status(pool, await self._record(request)))

    async def stock(self, request: web.Request) -> web.Response:
        """Show one SKU, or 404 unknown_sku."""
        channel, _ = self._native.seat(request.headers)
        sku = checked_id(request.match_info["sku"], "the SKU")
        views = await self._offers[channel.pool].views([sku])
        if sku not in views:
            raise UnknownSku(f"the pool does not have {sku}", skus=[sku])
        return encode(200, views[sku])

    async def stocks(self, request: web.Request) -> web.Response:
        """Show several SKUs; those that are unknown are named, and no error."""
        channel, _ = self._native.seat(request.headers)
        skus = list(dict.fromkeys(checked_id(sku, "the SKU") for sku in request.query.getall("sku", [])))
        if not 1 <= len(skus) <= SKUS_AT_ONCE:
            raise Malformed(f"ask for 1 to {SKUS_AT_ONCE} SKUs: ?sku=a&sku=b")
        views = await self._offers[channel.pool].views(skus)
        unknown = tuple(sku for sku in skus if sku not in views)
        return encode(200, StockList(stock=tuple(views.values()), unknown=unknown))

    async def _record(self, request: web.Request) -> OrderRecord:
        """
        Find the order of the path.

        Raises:
            NotFound: It is unknown, or of another pool: the answer does not tell which.
        """
        channel, pool = self._native.seat(request.headers)
        order_id = checked_id(request.match_info["id"], "the order's id")
        other = self._native.doors.channels.get(request.match_info["channel"])
        record = None
        if other is not None and other.pool == channel.pool:
            record = await pool.book.get(OrderRef(other.name, order_id))
        if record is None:
            raise NotFound("there is no such order")
        return record

    async def _status(self, pool: PoolDoor, record: OrderRecord) -> OrderStatus:
        position = await pool.book.position(record.ref)
        count = None if position is None else position + 1
        return order_status(record, position, await self._native.doors.eta_s(record.backend, count))

"""What the scripts answer to orders and holds, in the words of the domain."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from flashd.domain.order import AcceptCode, Accepted, Effect, Incoming, OrderState
from flashd.domain.reservation import HoldCode, HoldReply, HoldState

# What the scripts say, by their bytes: looking it up costs a tenth of calling the enumeration.
_HOLD_CODES = {code.value.encode(): code for code in HoldCode}
_HOLD_STATES: dict[bytes, HoldState | None] = {state.value.encode(): state for state in HoldState} | {b"": None}
_ACCEPT_CODES = {code.value.encode(): code for code in AcceptCode}
_ORDER_STATES = {state.value.encode(): state for state in OrderState} | {b"": OrderState.IGNORED}


def _pairs(values: Sequence[bytes]) -> tuple[tuple[str, int], ...]:
    if not values:
        return ()
    return tuple((sku.decode(), int(units)) for sku, units in zip(values[::2], values[1::2], strict=True))


def hold_reply(reply: Sequence[bytes] | int) -> HoldReply:
    """Return what hold.lua says of one request, and what the others say of one hold."""
    if isinstance(reply, int):  # as most are
        return HoldReply(code=HoldCode.HELD, state=HoldState.HELD, expires_ms=reply)
    code, state = _HOLD_CODES[reply[0]], _HOLD_STATES[reply[1]]
    if code in (HoldCode.LIMIT, HoldCode.CLOSED):
        _, _, _, sale, first, second, sku = reply
        refusal = HoldReply(code=code, sale=sale.decode(), sku=sku.decode())
        if refusal.code is HoldCode.LIMIT:
            return replace(refusal, had=int(first), may=int(second))
        return replace(refusal, start_ms=int(first), end_ms=int(second))
    return HoldReply(code=code, state=state, expires_ms=int(reply[2]), left=_pairs(reply[3:]))


_QUEUED = Accepted(AcceptCode.ACCEPTED, OrderState.QUEUED)
_USUAL = {Effect.WAIT: Accepted(AcceptCode.ACCEPTED, OrderState.WAITING)}


def accepted(replies: Sequence[Sequence[bytes] | int], orders: Sequence[Incoming]) -> list[Accepted]:
    """Return what accept.lua says of each order: of most a number, for all went as usual."""
    return [
        _USUAL.get(incoming.effect, _QUEUED) if isinstance(reply, int) else _said(reply)
        for reply, incoming in zip(replies, orders, strict=True)
    ]


def _said(reply: Sequence[bytes]) -> Accepted:
    return Accepted(_ACCEPT_CODES[reply[0]], _ORDER_STATES[reply[1]], _pairs(reply[2:]))

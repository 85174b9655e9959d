"""
The last question before a request is written: may it leave now?

The flow lets a request go at its moment. Where a connection must be opened first, for a second over a slow line, it
would leave late, and together with those behind it: more than the rate in one window. So an adapter asks again when
all it has to do is write. An adapter that never asks is held to the moment at which it was called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

Gate = Callable[[], Awaitable[bool]]

_gate: ContextVar[Gate | None] = ContextVar("departure", default=None)


class MomentPassedError(Exception):
    """The request must not leave any more; nothing of it was written. An adapter lets it through."""


def before_departure(gate: Gate) -> None:
    """Have *gate* asked by the next request of this task: it returns when the request may leave, False if never."""
    _gate.set(gate)


async def depart(is_ready: Callable[[], bool] = lambda: True) -> None:
    """
    Return when the request may be written; the next line writes it.

    Only the first request of a delivery asks: an order that has begun is finished (ADR 12). Where *is_ready* says
    afterwards that it cannot be written after all, as its connection ended meanwhile, it is still the first one.

    Raises:
        MomentPassedError: It must not leave: another leads by now, or the backend wants to be left alone.
    """
    gate = _gate.get()
    if gate is None:
        return
    _gate.set(None)
    if not await gate():
        raise MomentPassedError("its moment passed before it was written")
    if not is_ready():
        _gate.set(gate)

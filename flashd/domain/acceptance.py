"""
What becomes of one version of an order: the tables of docs/lifecycle.md as functions.

This is the executable specification of lua/includes/decide.lua; a random-sequence test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from flashd.domain.order import Effect, Incoming, OrderRecord, OrderState

OPEN = frozenset({OrderState.WAITING, OrderState.QUEUED, OrderState.SHORTFALL, OrderState.BACKORDER, OrderState.PARKED})
UNSETTLED = frozenset({OrderState.SENDING, OrderState.IN_DOUBT, OrderState.MANUAL})
SETTLED = frozenset({OrderState.DELIVERED, OrderState.CANCELLED, OrderState.IGNORED})
CLAIMING = frozenset({OrderState.SHORTFALL, OrderState.BACKORDER})  # what they lack is nobody else's
IN_FLIGHT = frozenset({OrderState.SENDING, OrderState.IN_DOUBT})

CANCELLABLE = OPEN | {OrderState.DEAD, OrderState.MANUAL, OrderState.CANCELLED}
REQUEUABLE = frozenset(
    {
        OrderState.WAITING,
        OrderState.SHORTFALL,
        OrderState.BACKORDER,
        OrderState.PARKED,
        OrderState.DEAD,
        OrderState.MANUAL,
    }
)
SETTLEABLE = frozenset({OrderState.DEAD, OrderState.MANUAL})


class Verdict(StrEnum):
    """Which cell of the table applies."""

    REPEAT = "repeat"
    STALE = "stale"
    CONFLICT = "conflict"
    NOTE = "note"  # the version is remembered, nothing else
    IGNORE = "ignore"  # IGNORED: takes no stock, goes nowhere
    TOMBSTONE = "tombstone"  # CANCELLED before anything took stock
    TAKE = "take"  # stock is taken, through the hold if there is one
    EDIT = "edit"  # what it reduced goes back, what it added is taken
    CORRECT = "correct"  # the same, and it stays a dead letter
    CANCEL = "cancel"  # all goes back
    LATER = "later"  # kept until the outcome of the sending is known
    AMEND = "amend"  # delivered: a follow-up tells the backend of the edit
    REVOKE = "revoke"  # delivered: a follow-up tells the backend of the cancel


ANSWERS = frozenset({Verdict.REPEAT, Verdict.STALE, Verdict.CONFLICT})
"""Verdicts that write nothing."""


class Version(msgspec.Struct, frozen=True):
    """A version that is known: how far it is, and its content's fingerprint."""

    version: int
    digest: str


def decide(record: OrderRecord | None, waiting: Version | None, incoming: Incoming, *, admit: bool) -> Verdict:
    """
    Say what becomes of *incoming*.

    Args:
        record: What is known of the order.
        waiting: The newer version that waits for an outcome, if one does: then that is the newest known.
        incoming: What the channel tells now.
        admit: Whether the order was placed after the channel's cut-over.
    """
    if record is None:
        return _afresh(incoming, admit=admit)
    digest = incoming.order.digest
    known = waiting or Version(record.version, record.digest)
    if incoming.strict:
        return Verdict.REPEAT if digest == known.digest else Verdict.CONFLICT
    if incoming.version < known.version:
        return Verdict.STALE
    if incoming.version == known.version and digest <= known.digest:
        return Verdict.REPEAT
    return _newer(record, waiting, incoming, admit=admit)


def _afresh(incoming: Incoming, *, admit: bool) -> Verdict:
    if incoming.effect is Effect.CANCEL:
        return Verdict.TOMBSTONE
    if incoming.effect is Effect.IGNORE or not admit:
        return Verdict.IGNORE
    return Verdict.TAKE


def _newer(record: OrderRecord, waiting: Version | None, incoming: Incoming, *, admit: bool) -> Verdict:
    state, cancel, same = record.state, incoming.effect is Effect.CANCEL, incoming.order.digest == record.digest
    if record.erased and not (cancel and state is OrderState.DELIVERED):
        verdict = Verdict.NOTE  # nothing brings its customer back; that it was cancelled, its backend is still told
    elif state is OrderState.IGNORED:
        verdict = _afresh(incoming, admit=admit)
    elif incoming.effect is Effect.IGNORE:
        verdict = Verdict.NOTE
    elif state in UNSETTLED:
        verdict = Verdict.NOTE if same and not cancel and waiting is None else Verdict.LATER
    elif state is OrderState.CANCELLED:
        verdict = Verdict.NOTE if cancel or record.final else _afresh(incoming, admit=admit)
    elif state is OrderState.DELIVERED:
        verdict = Verdict.REVOKE if cancel else Verdict.NOTE if same else Verdict.AMEND
    elif cancel:
        verdict = Verdict.CANCEL
    elif same and incoming.effect is (Effect.WAIT if record.waits else Effect.DELIVER):
        verdict = Verdict.NOTE
    else:
        verdict = Verdict.CORRECT if state is OrderState.DEAD else Verdict.EDIT
    return verdict


def place(*, short: bool, doubtful: bool, released: bool, waits: bool, backorder: bool = False) -> OrderState:
    """Say where an order stands whose stock was taken as far as it went."""
    if short:
        return OrderState.BACKORDER if backorder else OrderState.SHORTFALL
    if doubtful and not released:
        return OrderState.PARKED
    return OrderState.WAITING if waits else OrderState.QUEUED


def explain(reason: str, short: Sequence[tuple[str, int]] = (), unknown: Sequence[str] = ()) -> str:
    """Say why a human must look: the channel's reason, what is short, what is unknown."""
    parts = [reason] if reason else []
    if short:
        parts.append("short: " + ", ".join(f"{units} of {sku}" for sku, units in short))
    if unknown:
        parts.append("unknown SKU: " + ", ".join(unknown))
    return "; ".join(parts)

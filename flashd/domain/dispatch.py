"""
What a leader's words do to an outbox item: the executable specification of lua/{claim,finish,recover}.lua.

Pure: a record and its score in its index go in, and come out changed.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from flashd.domain.acceptance import IN_FLIGHT
from flashd.domain.delivery import ClaimCode, FinishCode, Result, ResultKind
from flashd.domain.order import Kind, OrderRecord, OrderState
from flashd.domain.stock import Move

ABSENCES = 2  # look-ups in a row, a settling time apart, that prove an absence

# From where a fact may come late: the lease ended, the item was looked up, queued again or given up meanwhile.
_MAY_ARRIVE = IN_FLIGHT | {OrderState.QUEUED, OrderState.DEAD, OrderState.MANUAL}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An item after a decision: its record, its score in the index of its state, and what is announced."""

    record: OrderRecord
    score_ms: int
    events: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    forget_raw: bool = False


def is_stale(epoch: int, fence: int) -> bool:
    """Say whether a newer term has acted for the backend."""
    return epoch < fence


def claim(
    record: OrderRecord | None, due_ms: int, *, backend: str, epoch: int, now_ms: int, lease_ms: int
) -> tuple[ClaimCode, Change | None]:
    """Take one queued item into flight, for a term that is not stale."""
    if record is None or record.state is not OrderState.QUEUED or record.backend != backend:
        return ClaimCode.NOT_QUEUED, None
    if due_ms > now_ms:
        return ClaimCode.NOT_DUE, None
    if record.has_next:
        return ClaimCode.CHANGED, None
    taken = _stand(replace(record, sends=record.sends + 1, epoch=epoch), OrderState.SENDING, now_ms, "sending")
    return ClaimCode.CLAIMED, Change(record=taken, score_ms=now_ms + lease_ms)


def recover(record: OrderRecord | None, due_ms: int, *, backend: str, now_ms: int, delay_ms: int) -> Change | None:
    """Turn an item whose in-flight lease ended into in doubt; None where it is none."""
    if record is None or record.state is not OrderState.SENDING or record.backend != backend or due_ms > now_ms:
        return None
    doubted = replace(record, absences=0, reason="lease ended")
    return Change(
        record=_stand(doubted, OrderState.IN_DOUBT, now_ms, "in_doubt: lease ended"),
        score_ms=now_ms + delay_ms,
        events=("order.doubted",),
    )


def finish(
    record: OrderRecord | None, due_ms: int, result: Result, *, backend: str, stale: bool, now_ms: int
) -> tuple[FinishCode, Change | None]:
    """Settle one result; None where nothing changes."""
    fact = result.kind is ResultKind.DELIVERED
    if stale and not fact:
        return FinishCode.FENCED, None
    if record is None:
        return FinishCode.UNKNOWN_ORDER, None
    late = fact and record.state in _MAY_ARRIVE and record.sends > 0
    if record.backend != backend or not (record.state in IN_FLIGHT or late):
        return FinishCode.NOT_IN_FLIGHT, None
    if not fact and result.sends not in {0, record.sends}:
        return FinishCode.NOT_IN_FLIGHT, None  # it speaks of an earlier attempt
    if result.kind is ResultKind.ABSENT and due_ms > now_ms:
        return FinishCode.DONE, None  # a repeated call must not count one absence twice
    return FinishCode.DONE, _settle(record, result, now_ms)


def _settle(record: OrderRecord, result: Result, now_ms: int) -> Change:
    settled = replace(record, reason=result.reason)
    match result.kind:
        case ResultKind.DELIVERED:
            return _deliver(settled, result, now_ms)
        case ResultKind.LATER:
            return _requeue(replace(settled, absences=0), now_ms, result.delay_ms)
        case ResultKind.DOUBT | ResultKind.UNKNOWN:
            fresh = record.state is OrderState.SENDING
            doubted = replace(settled, absences=0 if fresh else record.absences)
            return Change(
                record=_stand(doubted, OrderState.IN_DOUBT, now_ms, _note("in_doubt", result.reason)),
                score_ms=now_ms + result.delay_ms,
                events=("order.doubted",) if fresh else (),
            )
        case ResultKind.ABSENT:
            return _count_absence(settled, result, now_ms)
        case ResultKind.DECLINED:
            return _bury(replace(settled, refusals=record.refusals + 1), now_ms)
        case ResultKind.MANUAL:
            return Change(
                record=_stand(
                    replace(settled, backend_ref=result.backend_ref or record.backend_ref),
                    OrderState.MANUAL,
                    now_ms,
                    _note("manual", result.reason),
                ),
                score_ms=now_ms,
                events=("order.left_to_human",),
            )


def _deliver(record: OrderRecord, result: Result, now_ms: int) -> Change:
    items, moves = record.items, []
    if record.ref.kind is not Kind.CREATE:  # its units travelled with it; the backend knows, so they may be sold again
        moves = [Move(item.sku, item.location, sold=-item.taken) for item in items if item.taken]
        items = tuple(replace(item, taken=0, counted=0) for item in items)
    delivered = replace(
        record, absences=0, items=items, reason="", backend_ref=result.backend_ref or record.backend_ref
    )
    return Change(
        record=_stand(delivered, OrderState.DELIVERED, now_ms, "delivered"),
        score_ms=now_ms,
        events=("order.delivered",),
        moves=tuple(moves),
        forget_raw=True,
    )


def _count_absence(record: OrderRecord, result: Result, now_ms: int) -> Change:
    if record.absences + 1 < ABSENCES:
        absent = replace(record, absences=record.absences + 1)
        return Change(
            record=_stand(absent, OrderState.IN_DOUBT, now_ms, _note("absent", result.reason)),
            score_ms=now_ms + result.delay_ms,
        )
    proven = replace(record, absences=0, refusals=record.refusals + result.count_refusal)
    if proven.refusals >= result.max_refusals:
        return _bury(proven, now_ms)
    return _requeue(proven, now_ms, 0)


def _requeue(record: OrderRecord, now_ms: int, delay_ms: int) -> Change:
    """Queue it again: at its old place where it need not wait, behind those that are due where it must."""
    queued = _stand(record, OrderState.QUEUED, now_ms, _note("queued", record.reason))
    score_ms = now_ms + delay_ms if delay_ms else min(record.accepted_ms, now_ms)
    return Change(record=queued, score_ms=score_ms, events=("order.requeued",))


def _bury(record: OrderRecord, now_ms: int) -> Change:
    dead = _stand(record, OrderState.DEAD, now_ms, _note("dead", record.reason))
    return Change(record=dead, score_ms=now_ms, events=("order.buried",))


def _stand(record: OrderRecord, state: OrderState, now_ms: int, note: str) -> OrderRecord:
    changes: dict[str, Any] = {"state": state, "changed_ms": now_ms, "timeline": (*record.timeline, (now_ms, note))}
    return replace(record, **changes)


def _note(word: str, reason: str) -> str:
    return f"{word}: {_CONTROL.sub(' ', reason)}" if reason else word

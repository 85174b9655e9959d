"""From what a backend answered to what the outbox is told: the tables of docs/lifecycle.md, "Delivering"."""

from __future__ import annotations

from typing import assert_never

import msgspec

from flashd.domain.delivery import (
    Absent,
    Away,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Finding,
    Found,
    Later,
    Mismatch,
    NoLookup,
    Outcome,
    Result,
    ResultKind,
    Sunk,
    Throttled,
    Unknown,
    Unsupported,
)


class DoubtRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be concluded from silence: the adapter's promise and the operator's choice."""

    idempotent: bool
    lookup: bool
    at_least_once: bool = False
    settle_ms: int = 60_000
    max_refusals: int = 5

    @property
    def may_repeat(self) -> bool:
        """Whether sending the same key again without having looked is allowed."""
        return self.idempotent or self.at_least_once


class Suspicion(msgspec.Struct, frozen=True):
    """What speaks against an item in doubt: the backend answered others."""

    meanwhile: bool = False  # since this doubt
    total: int = 0  # in how many doubts


def judge_outcome(outcome: Outcome, delivery: Delivery, rules: DoubtRules, *, wait_ms: int) -> Result:
    """
    Say what a sent item's outcome means for it.

    Args:
        outcome: What the adapter answered.
        delivery: What was sent.
        rules: What may be concluded.
        wait_ms: How long the backend is left alone: an item that goes back queues behind those that wait already.
    """
    match outcome:
        case Delivered():
            return Result(
                ref=delivery.ref, sends=delivery.sends, kind=ResultKind.DELIVERED, backend_ref=outcome.backend_ref
            )
        case Later() | Throttled() | Away() | Sunk():
            delay_ms = 0 if isinstance(outcome, Sunk) else wait_ms  # a backend that refused a batch is not away
            return Result(
                ref=delivery.ref, sends=delivery.sends, kind=ResultKind.LATER, reason=outcome.reason, delay_ms=delay_ms
            )
        case Declined():
            return Result(ref=delivery.ref, sends=delivery.sends, kind=ResultKind.DECLINED, reason=outcome.reason)
        case Doubtful():
            if not rules.lookup and not rules.may_repeat:
                return _ask_human(delivery, f"no look-up and not idempotent: {outcome.reason}")
            return Result(
                ref=delivery.ref,
                sends=delivery.sends,
                kind=ResultKind.DOUBT,
                reason=outcome.reason,
                delay_ms=max(wait_ms, rules.settle_ms),
            )
        case Unsupported():
            return _ask_human(delivery, outcome.reason)
        case _:
            assert_never(outcome)


def judge_finding(
    finding: Finding, delivery: Delivery, rules: DoubtRules, *, suspicion: Suspicion, wait_ms: int
) -> Result:
    """
    Say what a look-up (or that there is none) means for an item in doubt.

    Args:
        finding: What the adapter found.
        delivery: What was looked up.
        rules: What may be concluded.
        suspicion: What speaks against the item itself.
        wait_ms: How long to wait before the next look-up, where this one failed.
    """
    match finding:
        case Found():
            return Result(
                ref=delivery.ref, sends=delivery.sends, kind=ResultKind.DELIVERED, backend_ref=finding.backend_ref
            )
        case Absent():
            return Result(
                ref=delivery.ref,
                sends=delivery.sends,
                kind=ResultKind.ABSENT,
                reason="looked up: only a part is there" if finding.half_done else "looked up: not there",
                delay_ms=rules.settle_ms,
                count_refusal=suspicion.meanwhile,
                max_refusals=rules.max_refusals,
            )
        case Mismatch():
            return _ask_human(delivery, f"the backend has something else under this key: {finding.reason}", finding)
        case Unknown():
            return Result(
                ref=delivery.ref, sends=delivery.sends, kind=ResultKind.UNKNOWN, reason=finding.reason, delay_ms=wait_ms
            )
        case NoLookup():
            return _judge_silence(delivery, rules, suspicion)
        case _:
            assert_never(finding)


def _judge_silence(delivery: Delivery, rules: DoubtRules, suspicion: Suspicion) -> Result:
    if not rules.may_repeat:
        return _ask_human(delivery, "no look-up and not idempotent: only the backend knows")
    if suspicion.total >= rules.max_refusals:
        return _ask_human(delivery, f"sent {delivery.sends} times without an answer, while others got theirs")
    return Result(
        ref=delivery.ref, sends=delivery.sends, kind=ResultKind.LATER, reason="no answer: sent again under the same key"
    )


def _ask_human(delivery: Delivery, reason: str, finding: Mismatch | None = None) -> Result:
    backend_ref = finding.backend_ref if finding is not None else ""
    return Result(
        ref=delivery.ref, sends=delivery.sends, kind=ResultKind.MANUAL, reason=reason, backend_ref=backend_ref
    )

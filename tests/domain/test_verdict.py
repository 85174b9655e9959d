from __future__ import annotations

import pytest

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
    Throttled,
    Unknown,
    Unsupported,
)
from flashd.domain.order import Order, OrderRef
from flashd.domain.verdict import DoubtRules, Suspicion, judge_finding, judge_outcome

ORDER = Order(channel="shop", id="1", placed_ms=1, currency="EUR", lines=(), total=0)
DELIVERY = Delivery(ref=OrderRef("shop", "1"), key="k", order=ORDER, sends=7)
BOTH = DoubtRules(idempotent=True, lookup=True, settle_ms=5000)
LOOKUP = DoubtRules(idempotent=False, lookup=True, settle_ms=5000)
IDEMPOTENT = DoubtRules(idempotent=True, lookup=False, settle_ms=5000)
NEITHER = DoubtRules(idempotent=False, lookup=False, settle_ms=5000)
CHOSEN = DoubtRules(idempotent=False, lookup=False, settle_ms=5000, at_least_once=True)


@pytest.mark.parametrize(
    ("outcome", "rules", "kind", "delay_ms"),
    [
        (Delivered("SO1"), NEITHER, "delivered", 0),
        (Later("refused"), NEITHER, "later", 700),
        (Throttled("429", 3.0), NEITHER, "later", 700),
        (Away("401"), NEITHER, "later", 700),
        (Declined("no"), BOTH, "declined", 0),
        (Unsupported("no edits"), BOTH, "manual", 0),
        (Doubtful("reset"), BOTH, "doubt", 5000),
        (Doubtful("reset"), LOOKUP, "doubt", 5000),
        (Doubtful("reset"), IDEMPOTENT, "doubt", 5000),
        (Doubtful("reset"), NEITHER, "manual", 0),
        (Doubtful("reset"), CHOSEN, "doubt", 5000),
    ],
)
def test_what_an_outcome_means(outcome: Outcome, rules: DoubtRules, kind: str, delay_ms: int) -> None:
    result = judge_outcome(outcome, DELIVERY, rules, wait_ms=700)
    assert (result.kind, result.delay_ms, result.ref) == (kind, delay_ms, DELIVERY.ref)


@pytest.mark.parametrize(
    ("finding", "rules", "kind", "delay_ms"),
    [
        (Found("SO1"), LOOKUP, "delivered", 0),
        (Absent(), LOOKUP, "absent", 5000),
        (Absent(half_done="SO1"), LOOKUP, "absent", 5000),
        (Mismatch("another total", "SO9"), BOTH, "manual", 0),
        (Unknown("500"), LOOKUP, "unknown", 700),
        (NoLookup(), IDEMPOTENT, "later", 0),
        (NoLookup(), NEITHER, "manual", 0),
        (NoLookup(), CHOSEN, "later", 0),
    ],
)
def test_what_a_finding_means(finding: Finding, rules: DoubtRules, kind: str, delay_ms: int) -> None:
    result = judge_finding(finding, DELIVERY, rules, suspicion=Suspicion(), wait_ms=700)
    assert (result.kind, result.delay_ms, result.count_refusal) == (kind, delay_ms, False)


def test_an_absence_is_a_refusal_only_if_others_were_answered_meanwhile() -> None:
    assert judge_finding(Absent(), DELIVERY, BOTH, suspicion=Suspicion(True, 1), wait_ms=0).count_refusal
    assert not judge_finding(Absent(), DELIVERY, BOTH, suspicion=Suspicion(False, 3), wait_ms=0).count_refusal


def test_without_a_look_up_the_suspect_goes_to_a_human_at_last() -> None:
    result = judge_finding(NoLookup(), DELIVERY, IDEMPOTENT, suspicion=Suspicion(True, 5), wait_ms=0)
    assert result.kind == "manual"
    assert "7 times" in result.reason

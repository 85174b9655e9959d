"""The table "What accept decides" of docs/lifecycle.md, cell by cell."""

from __future__ import annotations

import pytest

from flashd.domain.acceptance import Verdict, Version, decide, explain, place
from flashd.domain.order import Effect, Incoming, Line, Order, OrderRecord, OrderRef
from flashd.domain.order import OrderState as State

OTHER = Order(channel="shop", id="1", placed_ms=1, currency="EUR", lines=(Line("mug", 1),), total=0)
KNOWN = Order(channel="shop", id="1", placed_ms=1, currency="EUR", lines=(Line("tee", 1),), total=0)
OPEN = (State.WAITING, State.QUEUED, State.SHORTFALL, State.PARKED)
UNSETTLED = (State.SENDING, State.IN_DOUBT, State.MANUAL)


def known(state: State, **more: bool) -> OrderRecord:
    return OrderRecord(ref=OrderRef("shop", "1"), state=state, version=5, digest=KNOWN.digest, **more)  # type: ignore[arg-type]  # by name


def newer(effect: Effect = Effect.DELIVER, order: Order = OTHER, version: int = 6) -> Incoming:
    return Incoming(order=order, version=version, effect=effect)


TABLE = [
    *[((state,), Effect.DELIVER, OTHER, Verdict.TAKE) for state in (None, State.IGNORED, State.CANCELLED)],
    *[((state,), Effect.CANCEL, OTHER, Verdict.TOMBSTONE) for state in (None, State.IGNORED)],
    *[((state,), Effect.IGNORE, OTHER, Verdict.IGNORE) for state in (None, State.IGNORED)],
    (OPEN, Effect.DELIVER, OTHER, Verdict.EDIT),
    (OPEN, Effect.DELIVER, KNOWN, Verdict.NOTE),
    (OPEN, Effect.WAIT, KNOWN, Verdict.EDIT),
    (OPEN, Effect.CANCEL, KNOWN, Verdict.CANCEL),
    (OPEN, Effect.IGNORE, OTHER, Verdict.NOTE),
    ((State.CANCELLED,), Effect.CANCEL, OTHER, Verdict.NOTE),
    ((State.CANCELLED,), Effect.IGNORE, OTHER, Verdict.NOTE),
    ((State.DEAD,), Effect.DELIVER, OTHER, Verdict.CORRECT),
    ((State.DEAD,), Effect.CANCEL, OTHER, Verdict.CANCEL),
    ((State.DEAD,), Effect.IGNORE, OTHER, Verdict.NOTE),
    (UNSETTLED, Effect.DELIVER, OTHER, Verdict.LATER),
    (UNSETTLED, Effect.DELIVER, KNOWN, Verdict.NOTE),
    (UNSETTLED, Effect.CANCEL, KNOWN, Verdict.LATER),
    (UNSETTLED, Effect.IGNORE, OTHER, Verdict.NOTE),
    ((State.DELIVERED,), Effect.DELIVER, OTHER, Verdict.AMEND),
    ((State.DELIVERED,), Effect.WAIT, KNOWN, Verdict.NOTE),
    ((State.DELIVERED,), Effect.CANCEL, KNOWN, Verdict.REVOKE),
    ((State.DELIVERED,), Effect.IGNORE, OTHER, Verdict.NOTE),
]


@pytest.mark.parametrize(
    ("state", "effect", "order", "verdict"),
    [(state, effect, order, verdict) for states, effect, order, verdict in TABLE for state in states],
)
def test_each_cell_of_the_table(state: State | None, effect: Effect, order: Order, verdict: Verdict) -> None:
    record = known(state) if state else None
    assert decide(record, None, newer(effect, order), admit=True) is verdict


@pytest.mark.parametrize("state", list(State))
def test_lower_is_stale_and_equal_is_a_repeat_unless_its_digest_is_greater(state: State) -> None:
    low, high = sorted((KNOWN, OTHER), key=lambda order: order.digest)
    record = known(state)
    assert decide(record, None, newer(version=4), admit=True) is Verdict.STALE
    assert decide(record, None, newer(order=KNOWN, version=5), admit=True) is Verdict.REPEAT
    there = decide(record, None, newer(order=low if low is OTHER else high, version=5), admit=True)
    assert (there is Verdict.REPEAT) == (low is OTHER)


@pytest.mark.parametrize("state", UNSETTLED)
def test_the_version_that_waits_is_the_newest_known(state: State) -> None:
    waiting = Version(8, OTHER.digest)
    assert decide(known(state), waiting, newer(version=7), admit=True) is Verdict.STALE
    assert decide(known(state), waiting, newer(version=8), admit=True) is Verdict.REPEAT
    assert decide(known(state), waiting, newer(order=KNOWN, version=9), admit=True) is Verdict.LATER


@pytest.mark.parametrize("state", [None, State.IGNORED, State.CANCELLED])
def test_before_the_cut_over_nothing_takes_stock(state: State | None) -> None:
    record = known(state) if state else None
    assert decide(record, None, newer(), admit=False) is Verdict.IGNORE


def test_a_final_cancellation_stays() -> None:
    assert decide(known(State.CANCELLED, final=True), None, newer(), admit=True) is Verdict.NOTE


@pytest.mark.parametrize("state", list(State))
def test_strict_knows_content_only(state: State) -> None:
    for version in (1, 5, 9):
        same = Incoming(order=KNOWN, version=version, effect=Effect.DELIVER, strict=True)
        other = Incoming(order=OTHER, version=version, effect=Effect.DELIVER, strict=True)
        assert decide(known(state), None, same, admit=True) is Verdict.REPEAT
        assert decide(known(state), None, other, admit=True) is Verdict.CONFLICT


@pytest.mark.parametrize(
    ("short", "doubtful", "released", "waits", "state"),
    [
        (True, True, True, True, State.SHORTFALL),
        (False, True, False, True, State.PARKED),
        (False, True, True, True, State.WAITING),
        (False, True, True, False, State.QUEUED),
        (False, False, False, True, State.WAITING),
        (False, False, False, False, State.QUEUED),
    ],
)
def test_place(*, short: bool, doubtful: bool, released: bool, waits: bool, state: State) -> None:
    assert place(short=short, doubtful=doubtful, released=released, waits=waits) is state


def test_a_human_is_told_all_that_is_wrong() -> None:
    assert explain("odd", [("tee", 2), ("mug", 1)], ["x"]) == "odd; short: 2 of tee, 1 of mug; unknown SKU: x"
    assert explain("") == ""

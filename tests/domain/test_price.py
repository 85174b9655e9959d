"""The price of a SKU during a sale: whatever is lost or crashes, ours goes back and theirs is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flashd.domain.price import (
    OVER,
    PriceRow,
    PriceState,
    Tag,
    aims,
    push,
    pushed,
    restore,
    restored,
    same,
    wants_push,
)
from flashd.domain.sale import Sale, SaleProduct, SaleRecord, SaleState

BEFORE, OURS, THEIRS = Tag("19.90"), Tag("9.90", "19.90"), Tag("12.00")
ASKED = OURS
DOUBT_MS = 30_000


def row(state: PriceState = PriceState.PUSHED, **more: object) -> PriceRow:
    kept = PriceRow(sale="friday", sku="TEE", state=state, before=BEFORE, wish=OURS, ours=(OURS,))
    return replace(kept, **more)


def push_now(
    kept: PriceRow | None, seen: Tag, asked: Tag = ASKED, now_ms: int = 100_000
) -> tuple[PriceRow, Tag | None]:
    step = push(kept, seen, asked, sale="friday", sku="TEE", now_ms=now_ms)
    return step.row, step.tag


def restore_now(kept: PriceRow, seen: Tag, now_ms: int = 100_000) -> tuple[PriceRow, Tag | None]:
    step = restore(kept, seen, now_ms=now_ms, doubt_ms=DOUBT_MS)
    return step.row, step.tag


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (Tag("9.90"), Tag("9.9"), True),
        (Tag("9.90", "0.00"), Tag("9.90"), True),
        (Tag("9.90", "19.90"), Tag("9.90", "19.9000"), True),
        (Tag("9.90"), Tag("9.91"), False),
        (Tag("9.90", "19.90"), Tag("9.90"), False),
        (Tag(""), Tag("0"), False),
        (Tag("on request"), Tag("on request"), True),
    ],
)
def test_tags_are_the_same_when_they_ask_the_same(one: Tag, other: Tag, *, is_same: bool) -> None:
    assert same(one, other) is is_same


def test_the_pre_image_is_kept_before_our_price_is_written() -> None:
    kept, tag = push_now(None, BEFORE)
    assert (kept.state, kept.before, kept.ours, tag) == (PriceState.PUSHING, BEFORE, (OURS,), OURS)


def test_a_price_that_stands_there_already_is_not_written_again() -> None:
    kept, tag = push_now(None, OURS)
    assert (kept.state, kept.before, tag) == (PriceState.PUSHED, OURS, None)
    assert restore_now(kept, OURS) == (replace(kept, state=PriceState.RESTORED), None)


def test_a_compare_at_price_that_the_sale_does_not_name_is_left() -> None:
    kept, tag = push_now(None, Tag("19.90", "24.90"), Tag("9.90"))
    assert tag == Tag("9.90", "24.90")
    assert not wants_push(replace(kept, state=PriceState.PUSHED), Tag("9.90"))


def test_ours_is_pushed_only_once_it_was_read_back() -> None:
    kept, _ = push_now(None, BEFORE)
    assert pushed(kept, None, OURS).state is PriceState.PUSHING
    assert pushed(kept, OURS, None).state is PriceState.PUSHING
    assert pushed(kept, OURS, BEFORE).state is PriceState.PUSHING
    assert pushed(kept, OURS, Tag("9.9", "19.9")).state is PriceState.PUSHED


def test_what_the_platform_made_of_our_price_is_ours_too() -> None:
    kept, _ = push_now(None, BEFORE)
    made = pushed(kept, Tag("9.90"), Tag("9.90"))
    assert (made.state, made.ours) == (PriceState.PUSHED, (OURS, Tag("9.90")))
    assert made.reason == "the channel made 9.90 of 9.90 (19.90)"
    assert not wants_push(made, ASKED)
    assert restore_now(made, Tag("9.90"))[1] == BEFORE


def test_after_a_crash_between_keeping_and_writing_it_is_written() -> None:
    kept, _ = push_now(None, BEFORE)
    assert push_now(kept, BEFORE)[1] == OURS


def test_after_a_lost_answer_the_price_is_recognised_as_ours() -> None:
    kept, _ = push_now(None, BEFORE)
    again, tag = push_now(kept, OURS)
    assert (again.state, tag) == (PriceState.PUSHED, None)


def test_a_human_s_edit_while_pushing_is_left_alone() -> None:
    kept, _ = push_now(None, BEFORE)
    again, tag = push_now(kept, THEIRS)
    assert (again.state, tag) == (PriceState.KEPT, None)
    assert again.reason == "somebody changed it to 12.00; before the sale it was 19.90"


def test_what_is_kept_is_pushed_again_only_when_the_document_asks_another_price() -> None:
    kept = row(PriceState.KEPT)
    assert not wants_push(kept, ASKED)
    assert push_now(kept, THEIRS) == (kept, None)
    assert wants_push(kept, Tag("8.00"))
    again, tag = push_now(kept, THEIRS, Tag("8.00"))
    assert (again.before, tag) == (THEIRS, Tag("8.00"))


def test_a_new_version_of_the_document_changes_our_price_and_not_the_pre_image() -> None:
    assert wants_push(row(), Tag("8.00", "19.90"))
    again, tag = push_now(row(), OURS, Tag("8.00", "19.90"))
    assert (again.before, again.ours) == (BEFORE, (OURS, Tag("8.00", "19.90")))
    assert tag == Tag("8.00", "19.90")
    assert restore_now(again, OURS)[1] == BEFORE  # it crashed before the write


def test_a_price_goes_back_only_while_it_is_ours() -> None:
    going, tag = restore_now(row(), OURS)
    assert (going.state, tag) == (PriceState.RESTORING, BEFORE)
    assert restored(going, BEFORE, BEFORE).state is PriceState.RESTORED
    assert restored(going, None, BEFORE).state is PriceState.RESTORING
    assert restore_now(going, BEFORE)[0].state is PriceState.RESTORED


@pytest.mark.parametrize("theirs", [THEIRS, Tag("9.90"), Tag("19.90", "9.90")])
@pytest.mark.parametrize("state", [PriceState.PUSHING, PriceState.PUSHED, PriceState.RESTORING])
def test_a_human_s_edit_is_left_alone_and_told(state: PriceState, theirs: Tag) -> None:
    kept, tag = restore_now(row(state), theirs)
    assert (kept.state, tag) == (PriceState.KEPT, None)
    assert kept.reason.startswith("somebody changed it to")


def test_a_write_whose_answer_was_lost_may_still_land_so_the_pre_image_is_not_believed_at_once() -> None:
    kept = row(PriceState.PUSHING, wrote_ms=90_000)
    assert restore_now(kept, BEFORE, 90_000 + DOUBT_MS - 1)[0] is kept
    assert restore_now(kept, BEFORE, 90_000 + DOUBT_MS)[0].state is PriceState.RESTORED


def test_what_is_over_stays_over() -> None:
    for state in OVER:
        assert restore_now(row(state), OURS) == (row(state), None)


def test_a_sale_asks_prices_in_its_window_on_its_channels_and_none_otherwise() -> None:
    start = datetime(2026, 11, 27, 8, tzinfo=UTC)
    products = (SaleProduct(sku="TEE", price="9.90"), SaleProduct(sku="CAP"))
    sale = Sale(name="friday", start=start, end=start + timedelta(hours=1), products=products, channels=("shop",))
    ready = SaleRecord(sale=sale, version=1, state=SaleState.READY, by="ann", changed_ms=1)
    start_ms = round(start.timestamp() * 1000)
    end_ms = start_ms + 3_600_000
    assert aims(ready, "shop", start_ms) == {"TEE": Tag("9.90")}
    assert aims(ready, "shop", start_ms - 1) == aims(ready, "shop", end_ms) == {}
    assert aims(ready, "till", start_ms) == {}
    assert aims(replace(ready, state=SaleState.STOPPED), "shop", start_ms) is None
    assert aims(replace(ready, state=SaleState.STOPPED), "shop", end_ms) == {}
    assert aims(replace(ready, state=SaleState.ENDED), "shop", start_ms) == {}


FATES = ("fine", "fine", "lost", "vanished", "crash before the write", "crash after it")


@given(
    fates=st.lists(st.sampled_from(FATES), max_size=8),
    edit_at=st.one_of(st.none(), st.integers(0, 8)),
    pushes=st.integers(1, 4),
)
def test_whatever_crashes_ours_goes_back_and_theirs_stays(fates: list[str], edit_at: int | None, pushes: int) -> None:
    """The window is open for *pushes* looks; then everything is looked at until it is over."""
    shop, kept, edited, now_ms = BEFORE, None, False, 0
    for look in range(40):
        now_ms += 10_000
        if look == edit_at and not (kept is not None and kept.state in OVER):
            shop, edited = THEIRS, kept is not None  # before the first look it is simply the ordinary price
        fate = fates[look] if look < len(fates) else "fine"
        if look < pushes:
            step = push(kept, shop, ASKED, sale="friday", sku="TEE", now_ms=now_ms)
        else:
            if kept is None or kept.state in OVER:
                break
            step = restore(kept, shop, now_ms=now_ms, doubt_ms=DOUBT_MS)
        kept = step.row
        if step.tag is None or fate == "crash before the write":
            continue
        if fate != "vanished":
            shop = step.tag
        if fate in {"lost", "vanished", "crash after it"}:
            continue
        kept = (pushed if look < pushes else restored)(kept, shop, shop)
    assert kept is not None
    assert kept.state in OVER
    ordinary = THEIRS if edit_at == 0 else BEFORE
    if edited:
        assert shop == THEIRS
        assert kept.state is PriceState.KEPT
    else:
        assert (shop, kept.state) == (ordinary, PriceState.RESTORED)

"""
The price of a SKU on a channel during a sale: pushed, read back, and restored only where it is still ours.

The drawing and its reasons stand in docs/adr/0022-prices-keep-their-pre-image.md. Every function is handed what the
platform shows *now*, and says what to keep before anything is written, and what to write then.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from flashd.domain.instant import to_ms
from flashd.domain.sale import SaleRecord, SaleState


class PriceState(StrEnum):
    """Where the price of one SKU stands, on one channel and in one sale."""

    PUSHING = "pushing"  # the pre-image is kept; ours may or may not be on the platform
    PUSHED = "pushed"  # ours was read back
    RESTORING = "restoring"  # the pre-image may or may not be on the platform again
    RESTORED = "restored"  # the pre-image was read back
    KEPT = "kept"  # somebody else changed it: theirs is left alone


OVER = frozenset({PriceState.RESTORED, PriceState.KEPT})


class Tag(msgspec.Struct, frozen=True):
    """What a platform asks for a SKU, as decimal text; *compare_at* is crossed out beside it, "" none."""

    price: str
    compare_at: str = ""


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is kept of one price of ours.

    Args:
        before: The pre-image: what the platform asked before we touched it, as it wrote it.
        wish: What we want it to ask.
        ours: Everything that may stand there by our doing.
        wrote_ms: When a write of ours may last have left, by the store's clock.
        reason: Why it is not as it should be.
    """

    sale: str
    sku: str
    state: PriceState
    before: Tag
    wish: Tag
    ours: tuple[Tag, ...]
    wrote_ms: int = 0
    reason: str = ""


class Step(msgspec.Struct, frozen=True):
    """Keep *row* first; then, where there is one, write *tag* to the platform."""

    row: PriceRow
    tag: Tag | None = None


def same(one: Tag, other: Tag) -> bool:
    """Say whether two tags ask the same, however they write it: 9.9 is 9.90, and a crossed-out 0 is none."""
    return _amount(one.price) == _amount(other.price) and _crossed(one.compare_at) == _crossed(other.compare_at)


def _amount(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _crossed(text: str) -> Decimal | str:
    amount = _amount(text)
    return "" if amount == 0 else amount


def aims(record: SaleRecord, channel: str, now_ms: int) -> dict[str, Tag] | None:
    """
    Return what a sale asks for its SKUs on a channel right now; None where prices stay as they are.

    A SKU that is missing in the answer is to be restored. A sale that was stopped within its window keeps its prices:
    nothing is sold, and it may be resumed.
    """
    sale = record.sale
    if record.state is SaleState.ENDED or not to_ms(sale.start) <= now_ms < to_ms(sale.end):
        return {}
    if record.state is SaleState.STOPPED:
        return None
    if sale.channels and channel not in sale.channels:
        return {}
    return {one.sku: Tag(one.price, one.compare_at) for one in sale.products if one.price}


def wants_push(row: PriceRow | None, asked: Tag) -> bool:
    """Say whether there is something to do so that the platform asks *asked*."""
    if row is None or row.state not in {PriceState.PUSHED, PriceState.KEPT}:
        return True
    return _is_new(row, asked)


def push(row: PriceRow | None, seen: Tag, asked: Tag, *, sale: str, sku: str, now_ms: int) -> Step:
    """
    Say what to keep and to write so that the platform asks *asked*.

    Args:
        row: What is kept of this price, if anything.
        seen: What the platform asks now.
        asked: What the sale's document asks; without a compare-at price the one before is left.
        sale: The sale's name.
        sku: Of which SKU.
        now_ms: The store's clock.
    """
    if row is None or row.state is PriceState.RESTORED or (row.state is PriceState.KEPT and _is_new(row, asked)):
        wish = Tag(asked.price, asked.compare_at or seen.compare_at)
        row = PriceRow(sale=sale, sku=sku, state=PriceState.PUSHING, before=seen, wish=wish, ours=(wish,))
    if row.state is PriceState.KEPT:
        return Step(row)
    if row.state is PriceState.PUSHED and not _is_new(row, asked):
        return Step(row)
    wish = Tag(asked.price, asked.compare_at or row.before.compare_at)
    if same(seen, wish):
        return Step(replace(row, state=PriceState.PUSHED, wish=wish, ours=_with(row.ours, wish), reason=""))
    if not same(seen, row.before) and not _is_ours(row, seen):
        return Step(_kept(row, seen))
    row = replace(row, state=PriceState.PUSHING, wish=wish, ours=_with(row.ours, wish), wrote_ms=now_ms)
    return Step(row, wish)


def pushed(row: PriceRow, said: Tag | None, seen: Tag | None) -> PriceRow:
    """
    Say where a price stands after it was written.

    Args:
        row: As it was kept before the write.
        said: What the platform answered that it asks now; None where the answer is lost, or no.
        seen: What it was read to ask after that; None where it could not be read.
    """
    if said is None or seen is None:
        return row  # the next look decides
    ours = row if same(said, row.wish) else replace(row, ours=_with(row.ours, said), reason=_made_of(row.wish, said))
    return replace(ours, state=PriceState.PUSHED) if same(seen, said) else ours


def restore(row: PriceRow, seen: Tag, *, now_ms: int, doubt_ms: int) -> Step:
    """
    Say what to keep and to write so that the platform asks what it did before, if what it asks is still ours.

    Args:
        row: What is kept.
        seen: What the platform asks now.
        now_ms: The store's clock.
        doubt_ms: So long may a write of ours whose answer was lost still land.
    """
    if row.state in OVER:
        return Step(row)
    if same(seen, row.before):
        if row.state is PriceState.PUSHING and now_ms - row.wrote_ms < doubt_ms:
            return Step(row)  # our own price may still be on its way
        return Step(replace(row, state=PriceState.RESTORED, reason=""))
    if not _is_ours(row, seen):
        return Step(_kept(row, seen))
    return Step(replace(row, state=PriceState.RESTORING, wrote_ms=now_ms), row.before)


def restored(row: PriceRow, said: Tag | None, seen: Tag | None) -> PriceRow:
    """Say where a price stands after the pre-image was written; the arguments are those of `pushed`."""
    if said is None or seen is None or not same(seen, said):
        return row
    reason = "" if same(said, row.before) else _made_of(row.before, said)
    return replace(row, state=PriceState.RESTORED, reason=reason)


def _is_new(row: PriceRow, asked: Tag) -> bool:
    wish = Tag(asked.price, asked.compare_at or row.before.compare_at)
    return not same(wish, row.wish)


def _is_ours(row: PriceRow, seen: Tag) -> bool:
    return any(same(seen, one) for one in row.ours)


def _with(ours: tuple[Tag, ...], tag: Tag) -> tuple[Tag, ...]:
    return ours if any(same(tag, one) for one in ours) else (*ours, tag)


def _kept(row: PriceRow, seen: Tag) -> PriceRow:
    reason = f"somebody changed it to {_told(seen)}; before the sale it was {_told(row.before)}"
    return replace(row, state=PriceState.KEPT, reason=reason)


def _made_of(wish: Tag, said: Tag) -> str:
    return f"the channel made {_told(said)} of {_told(wish)}"


def _told(tag: Tag) -> str:
    return f"{tag.price} ({tag.compare_at})" if tag.compare_at else tag.price or "nothing"

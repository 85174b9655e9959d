"""
What the REST API's answers mean, and where a listing of orders goes on. No I/O.

A figure that was answered with the product it now shows was written. A lost reply, a server error and a 200 without
such a list may have written some, all or nothing of a batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import msgspec

from flashd.channels.exchange import Answer, Lost, plain, write_code
from flashd.channels.woocommerce.catalogue import Item, Refusal, Shown, Target, price_of
from flashd.domain.instant import parse_ms
from flashd.ports import FigureWrite, FigureWritten, Price, PriceWrite, WriteCode

_CURSOR = re.compile(r"([0-9]{1,12})\.([0-9]{1,9})\.([0-9]{0,20})")
_HINTS = {
    401: "the consumer key or secret was refused, or may not do this",
    403: "the shop, or a firewall before it, does not allow this",
    404: "no REST API answers there: is url right, is WooCommerce active, are permalinks other than Plain?",
}


class Place(msgspec.Struct, frozen=True):
    """
    Where a page of orders begins, in the order of their change.

    Pages go on behind a *second*, not behind a number of orders: an order that changes meanwhile moves to the end, and
    would pull another one over the edge of a numbered page. Only within the last second orders are counted, and then
    *anchor*, the last one seen, must still stand before the next.
    """

    after_s: int  # changed after this second
    offset: int = 0  # so many of them were seen
    anchor: str = ""  # the last of these

    @classmethod
    def parse(cls, text: str) -> Place:
        """
        Read a cursor.

        Raises:
            ValueError: It is none of ours.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no cursor of this channel")
        return cls(int(match[1]), int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.after_s}.{self.offset}.{self.anchor}"

    @property
    def query(self) -> dict[str, str]:
        """The part of a query; a time without an offset, which alone is compared as it stands."""
        written = datetime.fromtimestamp(self.after_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        where = {"modified_after": written, "dates_are_gmt": "true", "orderby": "modified", "order": "asc"}
        return where | ({"offset": str(self.offset - 1)} if self.offset else {})


class Row(msgspec.Struct):
    """What paging reads of an order."""

    id: int | str
    date_modified_gmt: str | None = None

    @property
    def changed_s(self) -> int | None:
        """The second of its change; None where it says none."""
        try:
            return parse_ms(self.date_modified_gmt or "", utc=True) // 1000
        except ValueError:
            return None


def follow(place: Place, rows: Sequence[Row], size: int) -> tuple[int, Place | None]:
    """
    Say how many of *rows* were seen before, and where the next page begins; None after the last.

    Args:
        place: Where this page began.
        rows: What it holds.
        size: How many it could hold.
    """
    known = 0
    if place.offset:
        if not rows or str(rows[0].id) != place.anchor:
            return len(rows), Place(place.after_s)  # the second moved under our feet: it is read again
        known = 1
    if len(rows) < size:
        return known, None
    last_s = rows[-1].changed_s
    anchor = str(rows[-1].id)
    if last_s is not None and last_s - 1 > place.after_s:
        shared = sum(1 for _ in takewhile(lambda row: row.changed_s == last_s, reversed(rows)))
        return known, Place(last_s - 1, shared, anchor)
    return known, Place(place.after_s, place.offset + len(rows) - known, anchor)


# ------------------------------------------------------------------------------------------------------------- writes


def written(answer: Answer | Lost, group: Sequence[tuple[Target, FigureWrite]]) -> list[FigureWritten]:
    """Conclude what became of the figures of one batch."""
    code, reason = verdict(answer)
    if code is not WriteCode.APPLIED or isinstance(answer, Lost):
        return [FigureWritten(sku=write.entry.sku, code=code, reason=reason) for _, write in group]
    found = members(answer)
    return [_figure_written(found.get(target.id), write.entry.sku, answer.latest_ms) for target, write in group]


def _figure_written(found: Shown | Refusal | None, sku: str, at_ms: int | None) -> FigureWritten:
    if isinstance(found, Refusal):
        return FigureWritten(sku=sku, code=WriteCode.REFUSED, reason=found.reason)
    if found is None:
        return FigureWritten(sku=sku, code=WriteCode.UNKNOWN, reason="the answer does not speak of it")
    if found.units is None:
        reason = "WooCommerce counts no stock: switch on stock management under Settings > Products > Inventory"
        return FigureWritten(sku=sku, code=WriteCode.REFUSED, reason=reason)
    if at_ms is None:
        return FigureWritten(
            sku=sku, code=WriteCode.UNKNOWN, reason="the answer has no Date, so nothing says since when"
        )
    return FigureWritten(sku=sku, code=WriteCode.APPLIED, at_ms=at_ms)


def repriced(answer: Answer | Lost, group: Sequence[tuple[Target, PriceWrite]]) -> list[Price]:
    """Conclude what became of the prices of one batch."""
    code, reason = verdict(answer)
    if code is not WriteCode.APPLIED or isinstance(answer, Lost):
        return [Price(sku=write.entry.sku, price="", reason=reason) for _, write in group]
    found = members(answer)
    return [_repriced(found.get(target.id), write.entry.sku) for target, write in group]


def _repriced(found: Shown | Refusal | None, sku: str) -> Price:
    if isinstance(found, Refusal):
        return Price(sku=sku, price="", reason=found.reason)
    if found is None:
        return Price(sku=sku, price="", reason="the answer does not speak of it")
    return price_of(sku, found)


def verdict(answer: Answer | Lost) -> tuple[WriteCode, str]:
    """Say what the end of a write means for all of its batch; APPLIED: look at each member."""
    code = write_code(answer)
    if isinstance(answer, Lost):
        return code, answer.reason
    if code is WriteCode.APPLIED:
        if isinstance(answer.json, dict) and isinstance(answer.json.get("update"), list):
            return code, ""
        code = WriteCode.UNKNOWN
    return code, trouble(answer)


def members(answer: Answer) -> dict[int, Shown | Refusal]:
    """Return what a batch says of each id; what cannot be read is left out."""
    found: dict[int, Shown | Refusal] = {}
    for member in answer.json["update"]:
        try:
            item = msgspec.convert(member, Item)
            found[item.id] = item.error or msgspec.convert(member, Shown)
        except msgspec.ValidationError:
            continue
    return found


def trouble(answer: Answer) -> str:
    """Say in one line what is wrong with an answer, with WordPress's own words where it has some."""
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: a redirect, and none is followed; write the address behind it into url"
    hint = _HINTS.get(answer.status, "")
    body: Any = answer.json
    said = plain(str(body["message"])) if isinstance(body, dict) and isinstance(body.get("message"), str) else ""
    if not said and answer.status == 200:
        said = f"{len(answer.body)} bytes that are no answer of WooCommerce's"
    return ": ".join(filter(None, (f"HTTP {answer.status}", hint, said)))

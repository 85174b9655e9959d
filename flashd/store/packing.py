"""How records, items and raw bodies are packed into Redis; the Lua side stands in lua/includes/record.lua."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from flashd.domain.catalogue import Bundle, Component
from flashd.domain.order import Item, Line, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.publication import Threshold
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import InvariantBroken
from flashd.store.compression import pack, unpack

RECORD_FIELDS = ("s", "i", "o", "t", "x", "r", "h", "d", "p", "k", "u")
"""The fields that `unpack_record` wants, in this order; b (raw body) and n (a waiting version) are asked for apart."""

_ITEM, _FIELD = "\x1e", "\x1f"
_OPENING = b"{"  # of an order that an older version wrote, as plain JSON
_ORDER = msgspec.json.Decoder(Order)
_encode = msgspec.json.Encoder().encode  # msgspec.json.encode makes one each time


def pack_items(items: Iterable[Item]) -> str:
    """Pack items as ``<sku> 0x1f <location> 0x1f <quantity> 0x1f <taken>``, by 0x1e; ``0x1f <counted>`` behind."""
    return _ITEM.join(_FIELD.join(_parts(item)) for item in items)


def _parts(item: Item) -> tuple[str, ...]:
    parts = (item.sku, item.location, str(item.quantity), str(item.taken))
    return (*parts, str(item.counted)) if item.counted else parts


def unpack_items(packed: bytes) -> tuple[Item, ...]:
    """Read what `pack_items` or the scripts wrote."""
    if not packed:
        return ()
    items: list[Item] = []
    for text in packed.decode().split(_ITEM):
        sku, location, *numbers = text.split(_FIELD)
        items.append(Item(sku, location, *map(int, numbers)))
    return tuple(items)


def pack_terms(terms: SellingTerms) -> str:
    """Pack what scripts must know of a channel's terms, for includes/terms.lua."""
    return _FIELD.join((f"{int(terms.split)} {int(terms.restocks)} {terms.mode}", *terms.locations))


def pack_thresholds(thresholds: Sequence[Threshold]) -> str:
    """Pack what is kept from sight of each SKU of a hold, for includes/threshold.lua; "" where nothing is."""
    if not any(thresholds):
        return ""
    return _ITEM.join(f"{one.percent} {one.buffer} {one.floor} {one.cap}" for one in thresholds)


def pack_bundles(bundles: Iterable[Bundle]) -> str:
    """Pack the kits of a hold or an order, for includes/kit.lua."""
    return _ITEM.join(
        _FIELD.join((bundle.sku, str(bundle.quantity), *(text for part in bundle.components for text in _pair(part))))
        for bundle in bundles
    )


def _pair(part: Component) -> tuple[str, str]:
    return part.sku, str(part.quantity)


def unpack_bundles(packed: bytes) -> tuple[Bundle, ...]:
    """Read what the scripts wrote."""
    bundles: list[Bundle] = []
    for text in packed.decode().split(_ITEM) if packed else ():
        sku, quantity, *parts = text.split(_FIELD)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        bundles.append(Bundle(sku, int(quantity), tuple(Component(part, int(units)) for part, units in pairs)))
    return tuple(bundles)


def unpack_uses(packed: bytes) -> dict[str, int]:
    """Read what includes/uses.lua wrote."""
    parts = packed.decode().split(_ITEM) if packed else []
    return {field: int(units) for field, units in zip(parts[::2], parts[1::2], strict=True)}


def items_of(lines: Iterable[Line], location: str) -> tuple[Item, ...]:
    """Sum lines to items: one per SKU, in the order of their first line; lines of no units want nothing."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    return tuple(Item(sku, location, quantity) for sku, quantity in wanted.items() if quantity > 0)


def pack_raw(body: bytes) -> bytes:
    """Compress a raw body; none stays none."""
    return pack(body) if body else b""


def unpack_raw(packed: bytes) -> bytes:
    """
    Return the body that `pack_raw` was given, by this version or an older one.

    Raises:
        InvariantBroken: It is damaged.
    """
    try:
        return unpack(packed) if packed else b""
    except ValueError as error:
        raise InvariantBroken(str(error)) from error


def pack_order(order: Order) -> bytes:
    """Write the canonical order as JSON, compressed: to the scripts it is opaque."""
    return pack(write_order(order))


def write_order(order: Order) -> bytes:
    """Write the canonical order as JSON."""
    return _encode(order)


def repack_order(order: Order, kept: bytes | None) -> bytes:
    """
    Write the order as it is kept, if it says the same: the scripts see by its bytes whether a human mended it.

    Another version of flashd, or of zstd, may have packed the same order into other bytes.
    """
    return kept if kept and unpack_order(kept) == order else pack_order(order)


def read_order(packed: bytes) -> bytes:
    """
    Return the canonical order as it is written, not decoded: enough to see whether a word is in it.

    Raises:
        InvariantBroken: It is damaged.
    """
    return packed if packed[:1] == _OPENING else unpack_raw(packed)


def unpack_order(packed: bytes) -> Order:
    """
    Read the canonical order, as this version or an older one wrote it.

    Raises:
        InvariantBroken: It is damaged.
    """
    try:
        return _ORDER.decode(packed if packed[:1] == _OPENING else unpack(packed))
    except ValueError as error:  # msgspec.DecodeError is one
        raise InvariantBroken(f"an order is damaged: {error}") from error


def clean(text: str, limit: int = 500) -> str:
    """Make a human text fit for one line of a timeline: no control characters, at most *limit* characters."""
    return "".join(max(sign, " ") for sign in text[:limit])


def accepted_ms_of(head: bytes) -> int:
    """Return when the record with this head was accepted, in ms since 1970."""
    return int(head.split(b" ", 11)[10])


def unpack_record(ref: OrderRef, values: Sequence[bytes | None], *, has_next: bool = False) -> OrderRecord | None:
    """
    Read one outbox item from its RECORD_FIELDS, or None where there is no such record.

    Raises:
        InvariantBroken: The head is damaged.
    """
    head, items, order, timeline, reason, backend_ref, hold_id, delivered_ms, shipped_ms, bundles, uses = values
    if head is None:
        return None
    parts = head.decode().split(" ")
    if len(parts) != 13:  # the head of includes/record.lua
        raise InvariantBroken(f"the head of {ref} is damaged: {head!r}")
    sends, refusals, epoch, revision, absences, accepted_ms, changed_ms = (int(part) for part in parts[5:12])
    return OrderRecord(
        ref=ref,
        state=OrderState(parts[0]),
        version=int(parts[1]),
        digest=parts[2],
        backend="" if parts[4] == "-" else parts[4],
        sends=sends,
        refusals=refusals,
        epoch=epoch,
        revision=revision,
        absences=absences,
        accepted_ms=accepted_ms,
        changed_ms=changed_ms,
        released="r" in parts[12],
        final="f" in parts[12],
        waits="w" in parts[12],
        revoked="v" in parts[12],
        erased="e" in parts[12],
        items=unpack_items(items or b""),
        bundles=unpack_bundles(bundles or b""),
        uses=unpack_uses(uses or b""),
        order=unpack_order(order) if order else None,
        backend_ref=(backend_ref or b"").decode(),
        reason=(reason or b"").decode(),
        hold_id=(hold_id or b"").decode(),
        delivered_ms=int(delivered_ms or 0),
        shipped_ms=int(shipped_ms or 0),
        timeline=_unpack_timeline(timeline or b""),
        has_next=has_next,
    )


def _unpack_timeline(packed: bytes) -> tuple[tuple[int, str], ...]:
    pairs = (line.partition(" ") for line in packed.decode().split("\n") if line)
    return tuple((int(ms), text) for ms, _, text in pairs)


def unpack_level(sku: str, location: str, counters: Sequence[bytes]) -> StockLevel:
    """Read the counters of one SKU at one location, as the scripts pack or answer them."""
    on_hand, held, sold, exposed, safety, seq, owed = (*map(int, counters), 0)[
        :7
    ]  # owed is written where there is some
    return StockLevel(
        sku=sku,
        location=location,
        on_hand=on_hand,
        held=held,
        sold=sold,
        exposed=exposed,
        safety=safety,
        seq=seq,
        owed=owed,
    )

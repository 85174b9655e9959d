"""What one call of accept or hold carries: what is alike for many orders or requests goes once, as their group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from flashd.domain.order import Effect, Incoming, Kind, Line
from flashd.domain.reservation import HoldRequest
from flashd.domain.terms import SellingTerms
from flashd.store.compression import pack
from flashd.store.keys import pool_key
from flashd.store.packing import clean, pack_raw, pack_terms, pack_thresholds, write_order

Argument = str | bytes | int
TermsOf = Callable[[str], SellingTerms]

_CANCEL, _AMEND = (f"\x1f{kind}" for kind in (Kind.CANCEL, Kind.AMEND))  # behind the key of the order itself

_encode = msgspec.msgpack.Encoder().encode


def _pack_values(values: Sequence[str | int]) -> bytes:
    """Pack values as cmsgpack.unpack_limit reads them: one behind the other, without the list around them."""
    return _encode(values)[1 if len(values) < 0x10 else 3 if len(values) < 0x10000 else 5 :]


def _sum(lines: Iterable[Line]) -> dict[str, int]:
    """Return the units of each SKU that is wanted, as `items_of` does."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    return {sku: units for sku, units in wanted.items() if units > 0}


def _pack_wanted(wanted: dict[str, int], location: str) -> str:
    """Pack as `pack_items` does, without the items: nothing is taken yet."""
    return "\x1e".join([f"{sku}\x1f{location}\x1f{units}\x1f0" for sku, units in wanted.items()])


def _pack_lines(lines: Sequence[Line], location: str) -> str:
    if len(lines) == 1 and lines[0].quantity > 0:  # most orders of a flash sale
        return f"{lines[0].sku}\x1f{location}\x1f{lines[0].quantity}\x1f0"
    return _pack_wanted(_sum(lines), location)


class Source(msgspec.Struct, frozen=True):
    """What is alike in all orders of a channel; made once, for a hundred channels may sell in one call."""

    location: str  # where its orders are to take their units
    terms: str
    shelf: str  # key of what it shows
    records: str  # what the keys of its orders begin with

    @classmethod
    def of(cls, pool: str, channel: str, terms: SellingTerms) -> Source:
        """Return what a channel's orders have in common while it sells on *terms*."""
        return cls(
            terms.locations[0], pack_terms(terms), pool_key(pool, f"exp:{channel}"), pool_key(pool, f"ord:{channel}:")
        )


def pack_orders(
    orders: Iterable[tuple[Incoming, int, int]], source_of: Callable[[str], Source]
) -> tuple[list[str], list[Argument]]:
    """Return keys and arguments of orders, each with its backend's number and cut-over, as accept.lua wants them."""
    groups: dict[tuple[Effect, bool, bool, str, str], int] = {}
    shelves: dict[str, int] = {}
    records: list[str] = []
    facts: list[str | int] = []
    texts: list[Argument] = []
    for incoming, backend, since_ms in orders:
        order = incoming.order
        source = source_of(order.channel)
        group = (incoming.effect, incoming.strict, order.placed_after(since_ms), incoming.reason, source.terms)
        record = source.records + order.id
        records += (record,) if incoming.strict else (record, record + _CANCEL, record + _AMEND)
        written = write_order(order)
        facts += (
            groups.setdefault(group, len(groups) + 1),
            shelves.setdefault(source.shelf, len(shelves) + 1),
            str(incoming.version),
            order.digest_of(written),
            incoming.hold_id,
            _pack_lines(order.lines, source.location),
            max(0, order.placed_ms),
            incoming.customer,
            backend,
        )
        texts += (pack(written), pack_raw(incoming.raw))
    alike: list[str | int] = []
    for effect, strict, admit, reason, terms in groups:
        alike += (effect, strict, admit, clean(reason) if reason else "", terms)
    return [*shelves, *records], [len(shelves), _pack_values(alike), _pack_values(facts), *texts]


def pack_holds(requests: Sequence[HoldRequest], terms_of: TermsOf) -> list[Argument]:
    """Return the arguments of requests, as hold.lua wants them."""
    groups: dict[tuple[int, str, str], int] = {}
    texts: dict[tuple[str, str], tuple[SellingTerms, str]] = {}
    entries: list[Argument] = []
    for request in requests:
        known = texts.get((request.channel, request.location))
        if known is None:
            terms = terms_of(request.channel)
            if request.location:
                terms = replace(terms, locations=(request.location,))
            known = texts[request.channel, request.location] = (terms, pack_terms(terms))
        terms, text = known
        wanted = _sum(request.lines)
        group = (request.ttl_ms, request.channel, text)
        values = (
            groups.setdefault(group, len(groups) + 1),
            request.id,
            request.digest,
            request.customer,
            _pack_wanted(wanted, terms.locations[0]),
            pack_thresholds([terms.threshold_of(sku) for sku in wanted]),
        )
        entries.append(_pack_values(values))
    return [len(groups), *(value for group in groups for value in group), *entries]

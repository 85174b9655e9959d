"""What the outside sees of sales: one Struct a body; OpenAPI is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from flashd.domain.listing import UNKNOWN, Listing, ListingState
from flashd.domain.price import PriceRow, PriceState
from flashd.domain.publication import Threshold
from flashd.domain.sale import Sale, SaleRecord, unsold
from flashd.domain.standing import phase_of
from flashd.web.view import at

SHOWN = 20  # of what is wrong


class SaleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One sale in a list; *phase* is where its window stands by the store's clock, *state* what a human said."""

    name: str
    pool: str
    title: str
    phase: str
    state: str
    version: int
    start: str
    end: str
    products: int
    channels: tuple[str, ...]
    by: str
    changed_at: str

    @classmethod
    def of(cls, record: SaleRecord, now_ms: int) -> SaleRow:
        """Show a version of a sale."""
        sale = record.sale
        return cls(
            name=sale.name,
            pool=sale.pool,
            title=sale.title,
            phase=str(phase_of(record, now_ms)),
            state=str(record.state),
            version=record.version,
            start=sale.start.isoformat(),
            end=sale.end.isoformat(),
            products=len(sale.products),
            channels=sale.channels,
            by=record.by,
            changed_at=at(record.changed_ms),
        )


class SaleList(msgspec.Struct, frozen=True, kw_only=True):
    """The sales of a pool, by start; or the versions of one, newest first."""

    pool: str
    sales: tuple[SaleRow, ...]


class ProductView(msgspec.Struct, frozen=True, kw_only=True):
    """One SKU of a sale; *left* is what the sale may still sell of it, None where it has no quota."""

    sku: str
    quota: int
    used: int
    left: int | None
    limit: int
    price: str
    compare_at: str
    threshold: Threshold | None


class ChannelPrices(msgspec.Struct, frozen=True, kw_only=True):
    """How the sale's prices stand on one channel; *wrong* says which are not as they should be, a part of them."""

    channel: str
    pushing: int
    pushed: int
    restoring: int
    restored: int
    kept: int
    wrong: dict[str, str]

    @classmethod
    def of(cls, channel: str, rows: Collection[PriceRow]) -> ChannelPrices:
        """Count the rows of one sale."""
        states = Counter(row.state for row in rows)
        wrong = {row.sku: row.reason for row in rows if row.reason}
        counts = {str(state): states[state] for state in PriceState}
        return cls(channel=channel, **counts, wrong=dict(list(wrong.items())[:SHOWN]))


class SaleView(SaleRow, frozen=True, kw_only=True):
    """
    One sale: its document, and how it goes.

    *unknown* are SKUs that the pool neither counts nor puts together; *changed* whether the document was (or, in a dry
    run, would be) a new version.
    """

    document: Sale
    items: tuple[ProductView, ...]
    prices: tuple[ChannelPrices, ...] = ()
    unknown: tuple[str, ...] = ()
    changed: bool = False

    @classmethod
    def build(
        cls,
        record: SaleRecord,
        now_ms: int,
        used: Mapping[str, int],
        *,
        prices: Mapping[str, Iterable[PriceRow]],
        unknown: Collection[str],
        changed: bool,
    ) -> SaleView:
        """Show a sale with what is used of its quotas and how its prices stand."""
        row = SaleRow.of(record, now_ms)
        items = tuple(
            ProductView(
                sku=one.sku,
                quota=one.quota,
                used=used.get(one.sku, 0),
                left=unsold(one.quota, used.get(one.sku, 0)),
                limit=one.limit,
                price=one.price,
                compare_at=one.compare_at,
                threshold=one.threshold or record.sale.threshold,
            )
            for one in record.sale.products
        )
        own = {
            channel: [one for one in rows if one.sale == record.sale.name] for channel, rows in sorted(prices.items())
        }
        return cls(
            **msgspec.structs.asdict(row),
            document=record.sale,
            items=items,
            prices=tuple(ChannelPrices.of(channel, rows) for channel, rows in own.items() if rows),
            unknown=tuple(sorted(unknown)[:SHOWN]),
            changed=changed,
        )


class ChannelZero(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far one channel is on its way to zero.

    *shows* False: it shows no figure that flashd writes. Then it is closed already if it *asks* before it sells; else
    it goes on selling what it shows, and only a human can stop it over there.
    """

    channel: str
    shows: bool
    asks: bool
    skus: int  # of the sale, that it shows
    open: int  # of these, that are not surely at zero on the platform yet
    first: dict[str, str]  # a part of these, with what is known

    @classmethod
    def of(
        cls, channel: str, rows: Iterable[Listing], mapped: Collection[str], *, shows: bool, asks: bool
    ) -> ChannelZero:
        """Judge the listings of a sale's SKUs; what was never mapped nor shown is not there."""
        watched = [row for row in rows if row.sku in mapped or row.figure not in (UNKNOWN, 0)] if shows else []
        late = {row.sku: _told(row) for row in watched if not _at_zero(row)}
        first = dict(list(late.items())[:SHOWN])
        return cls(channel=channel, shows=shows, asks=asks, skus=len(watched), open=len(late), first=first)


class SaleZero(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sale's SKUs are on their way to zero, on every channel; *since_s* is since the last human's word."""

    name: str
    state: str
    since_s: float
    zero: bool
    skus: int  # of the sale
    channels: tuple[ChannelZero, ...]


def _at_zero(row: Listing) -> bool:
    """Say whether the platform surely shows none: a write that is on its way, or in doubt, proves nothing."""
    return row.figure == 0 and row.state in {ListingState.IDLE, ListingState.SETTLING}


def _told(row: Listing) -> str:
    figure = "an unknown figure" if row.figure == UNKNOWN else f"{row.figure}"
    return f"{figure}, {row.state.replace('_', ' ')}"

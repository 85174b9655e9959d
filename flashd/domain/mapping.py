"""Filling a channel's map: what of a platform's catalogue becomes an entry or a count, and what there is to mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from flashd.domain.catalogue import Entry, Product
from flashd.domain.event import rfc3339
from flashd.domain.listing import Listing

SKU_BYTES = 255


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps SKUs from being published, or published rightly; each by SKU but the first."""

    nameless: tuple[str, ...] = ()  # products of the platform without a usable SKU, by their title
    doubled: tuple[str, ...] = ()  # several products carry it there, so none of them is mapped
    strange: tuple[str, ...] = ()  # the platform sells it, the pool does not know it: not mapped
    unmapped: tuple[str, ...] = ()  # the pool sells it, the channel's map lacks it: never published
    orphaned: tuple[str, ...] = ()  # mapped, and the pool does not know it: shown as 0
    shared: tuple[str, ...] = ()  # mapped to the same ids as another SKU
    gone: tuple[str, ...] = ()  # mapped, and the platform lists no such product any more
    uncounted: tuple[str, ...] = ()  # the platform does not count its stock
    overselling: tuple[str, ...] = ()  # the platform sells it below its own figure


class Counting(msgspec.Struct, frozen=True):
    """A first count: so many units of one SKU, as the platform shows them."""

    sku: str
    units: int


class MapPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an import would write. Doing it again afterwards writes nothing."""

    places: tuple[Entry, ...] = ()
    counts: tuple[Counting, ...] = ()  # to be written before the entries: what is mapped is published
    unchanged: int = 0
    kept: dict[str, str] = {}  # SKU -> why its entry, or its count, is left as it is
    gaps: Gaps = Gaps()


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before an import: the channel's map, its listings, the pool's stock and kits."""

    entries: Mapping[str, Entry]
    listings: Mapping[str, Listing]
    stocked: Collection[str]
    busy: Collection[str] = ()  # of these units are held or sold: a new count must know which orders it contains
    kits: Collection[str] = ()

    @property
    def sold_here(self) -> set[str]:
        """All that the pool sells."""
        return {*self.stocked, *self.kits}


class CutOver(msgspec.Struct, frozen=True, kw_only=True):
    """From when on a channel's orders are flashd's business, as it is and as it should be."""

    configured: str  # RFC 3339, "" where none is
    wanted: str
    ok: bool
    said: str


def judge_cut_over(configured_ms: int, wanted_ms: int, *, counted: bool) -> CutOver:
    """
    Compare the configured cut-over with the instant just before the platform's figures were read.

    Args:
        configured_ms: As it stands in the configuration; 0: none.
        wanted_ms: Orders placed from then on are not in the figures that were read.
        counted: Those figures become the first counts.
    """
    wanted_ms -= wanted_ms % 1000  # rather a second too early: that sells too little, and never too much
    configured, wanted = (rfc3339(ms).replace(".000Z", "Z") if ms else "" for ms in (configured_ms, wanted_ms))
    ok = False
    if not configured_ms:
        said = f"write since = {wanted}: without it, every order that is listed takes stock, however old it is"
    elif not counted or configured_ms == wanted_ms:
        ok, wanted, said = True, configured, "as configured"
    elif configured_ms < wanted_ms:
        said = f"write since = {wanted}: orders placed before it are in these figures already, and would count twice"
    else:
        said = f"write since = {wanted}: orders placed between it and {configured} would take no stock"
    return CutOver(configured=configured, wanted=wanted, ok=ok, said=said)


def shows(row: Listing | None) -> bool:
    """Say whether the platform may still sell by this listing."""
    return row is not None and (row.exposed > 0 or row.figure > 0)


def is_sku(text: str) -> bool:
    """Say whether *text* can be a SKU here."""
    return 1 <= len(text.encode(errors="replace")) <= SKU_BYTES and all(ord(character) >= 32 for character in text)


def plan_import(products: Sequence[Product], known: Known, *, stock: bool = False, overwrite: bool = False) -> MapPlan:
    """
    Plan what of a platform's catalogue is taken over.

    Only what the pool sells is mapped, for whatever is mapped is published: a SKU that nobody counted would be shown
    as 0.

    Args:
        products: All that the platform lists.
        known: What there is.
        stock: Take the platform's figures as first counts, of what was never counted.
        overwrite: Also put entries in place of those made by hand, and count again what was counted.
    """
    times = Counter(product.sku for product in products)
    usable = [product for product in products if is_sku(product.sku) and times[product.sku] == 1]
    kept: dict[str, str] = {}
    counts = _counts(usable, known, kept, overwrite=overwrite) if stock else ()
    sold = known.sold_here | {count.sku for count in counts}
    places: list[Entry] = []
    unchanged = 0
    for product in usable:
        if product.sku not in sold:
            continue
        entry = Entry(sku=product.sku, ids=product.ids, title=product.title, source="import")
        before = known.entries.get(product.sku)
        why = why_kept(before, entry, known.listings.get(product.sku), by_hand=not overwrite)
        if before is not None and (before.ids, before.title) == (entry.ids, entry.title):
            unchanged += 1
        elif why:
            kept[product.sku] = why
        else:
            places.append(entry)
    after = {**known.entries, **{entry.sku: entry for entry in places}}
    gaps = map_gaps(after, sold)
    return MapPlan(
        places=tuple(places),
        counts=counts,
        unchanged=unchanged,
        kept=kept,
        gaps=msgspec.structs.replace(gaps, **_platform_gaps(products, times, usable, sold, after)),
    )


def plan_entries(entries: Sequence[Entry], known: Known, *, force: bool = False) -> MapPlan:
    """Plan what of *entries* that a human wrote is taken over: all, but what would leave a figure alone over there."""
    places: list[Entry] = []
    kept: dict[str, str] = {}
    unchanged = 0
    for entry in entries:
        before = known.entries.get(entry.sku)
        why = "" if force else why_kept(before, entry, known.listings.get(entry.sku), by_hand=False)
        if before is not None and (before.ids, before.title) == (entry.ids, entry.title):
            unchanged += 1
        elif why:
            kept[entry.sku] = why
        else:
            places.append(entry)
    after = {**known.entries, **{entry.sku: entry for entry in places}}
    return MapPlan(places=tuple(places), unchanged=unchanged, kept=kept, gaps=map_gaps(after, known.sold_here))


def why_kept(before: Entry | None, after: Entry, row: Listing | None, *, by_hand: bool) -> str:
    """
    Say why an entry is not put in the place of another, or "".

    Args:
        before: The entry that there is.
        after: The one to put in its place.
        row: What the channel shows of the SKU.
        by_hand: Leave entries alone that were made by hand.
    """
    if before is None or before.ids == after.ids:
        return ""
    if by_hand and before.source == "hand":
        return "its entry was made by hand"
    if shows(row):
        return "units are on sale under its former ids: take it to zero there first"
    return ""


def map_gaps(entries: Mapping[str, Entry], sold: Collection[str]) -> Gaps:
    """Return what a map alone lacks, against what the pool sells."""
    ids = Counter(_ids(entry) for entry in entries.values() if entry.ids)
    return Gaps(
        unmapped=tuple(sorted(set(sold) - entries.keys())),
        orphaned=tuple(sorted(entries.keys() - set(sold))),
        shared=tuple(sorted(entry.sku for entry in entries.values() if entry.ids and ids[_ids(entry)] > 1)),
    )


def _ids(entry: Entry) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(entry.ids.items()))


def _counts(
    products: Iterable[Product], known: Known, kept: dict[str, str], *, overwrite: bool
) -> tuple[Counting, ...]:
    found: list[Counting] = []
    for product in products:
        if product.sku in known.kits or not product.tracked or product.units is None:
            continue  # told among the gaps; a kit has no stock of its own
        row = known.listings.get(product.sku)
        if product.sku in known.stocked and not overwrite:
            kept[product.sku] = "it is counted already"
        elif product.sku in known.busy:
            kept[product.sku] = "units of it are held or sold: count it with `flashd stock recount`"
        elif row is not None and (row.exposed > 0 or row.key):
            kept[product.sku] = "flashd itself writes its figure there: count it with `flashd stock set`"
        else:
            found.append(Counting(product.sku, max(0, product.units)))
    return tuple(found)


def _platform_gaps(
    products: Sequence[Product],
    times: Counter[str],
    usable: Sequence[Product],
    sold: Collection[str],
    entries: Mapping[str, Entry],
) -> dict[str, tuple[str, ...]]:
    return {
        "nameless": tuple(sorted(product.title or "?" for product in products if not is_sku(product.sku))),
        "doubled": tuple(sorted(sku for sku, count in times.items() if count > 1 and is_sku(sku))),
        "strange": tuple(sorted(product.sku for product in usable if product.sku not in sold)),
        "gone": tuple(sorted(sku for sku in entries if sku not in times)),
        "uncounted": _skus(product for product in usable if product.sku in sold and not product.tracked),
        "overselling": _skus(product for product in usable if product.sku in sold and product.oversells),
    }


def _skus(products: Iterable[Product]) -> tuple[str, ...]:
    return tuple(sorted(product.sku for product in products))

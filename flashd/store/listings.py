"""What the channels of one pool show, in Redis: listings, what is dirty, the map, kits. Every verb is one script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.catalogue import Component, Entry, Kit
from flashd.domain.listing import UNKNOWN, Begin, BeginCode, Begun, Ended, Listing, ListingState, WriteMode
from flashd.domain.stock import DEFAULT_LOCATION
from flashd.domain.terms import SellingTerms
from flashd.errors import Conflict, InvariantBroken
from flashd.ports import Dirty
from flashd.store.faults import store_faults
from flashd.store.keys import pool_key
from flashd.store.packing import clean
from flashd.store.scripts import load

_PART, _FIELD = "\x1e", "\x1f"
_ENTRY = msgspec.json.Decoder(Entry)
_ROW = 13  # parts of a packed listing
_PAGE = 500
_WHY = {
    "exposed": "units of it are exposed on a channel: take it to zero there first",
    "nested": "it is a component of a kit, or one of its components is a kit",
    "stocked": "it has stock of its own: count that to zero first",
}


class RedisListings:
    """
    The port Listings; see `flashd.ports`.

    Args:
        location: Where channels without terms take their units.
        terms: The terms of each channel: a listing takes its units at the channel's first location.
    """

    def __init__(
        self,
        client: Redis,
        pool: str,
        *,
        location: str = DEFAULT_LOCATION,
        terms: Mapping[str, SellingTerms] | None = None,
    ) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._location = location
        self._spread: tuple[str, ...] = ()
        self._spread_s = float("-inf")  # when that began last
        self._spreading = asyncio.Lock()
        self._waiting: set[str] = set()  # channels
        self.adopt(terms or {})

    def adopt(self, terms: Mapping[str, SellingTerms]) -> None:
        """Go by these terms from now on; what is exposed already stays where it is."""
        self._places = {channel: of.locations for channel, of in terms.items() if of.locations}

    def _location_of(self, channel: str) -> str:
        return self._places.get(channel, (self._location,))[0]

    def _keys(self, *names: str) -> list[str]:
        return [pool_key(self.pool, name) for name in names]

    async def _call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        with store_faults(name):
            return await load(name).call(self._client, keys, args)

    # ---------------------------------------------------------------------------------------------------- what is dirty

    async def spread(self, channels: Sequence[str], *, within_s: float = 0.0) -> int:
        """Hand what became dirty in the pool to each channel's own dirty set; return how many SKUs."""
        spread, now_s = tuple(channels), time.monotonic()
        async with self._spreading:  # who is spread for by another asks `waits` next, and must not before that is done
            if spread == self._spread and now_s - self._spread_s < within_s:
                return 0
            self._spread, self._spread_s = spread, time.monotonic()
            try:
                return await self._spread_all(channels)
            except BaseException:
                self._spread_s = float("-inf")
                raise

    async def _spread_all(self, channels: Sequence[str]) -> int:
        keys = self._keys("dirty", "kit", *(f"dirty:{channel}" for channel in channels))
        count = 0
        while True:
            handed, *waiting = await self._call("spread", keys, [_PAGE])
            count += int(handed)
            if int(handed) < _PAGE:
                self._waiting.difference_update(channels)
                self._waiting.update(channel for channel, units in zip(channels, waiting, strict=True) if units)
                return count

    def waits(self, channel: str) -> bool:
        """Say whether the channel must look at anything, as far as this process knows since it spread; costs no I/O."""
        return channel in self._waiting

    async def dirty(self, channel: str, limit: int = 1000) -> list[Dirty]:
        """Return what a channel must look at, longest dirty first; a peek."""
        found = await self._call("survey", self._keys(f"dirty:{channel}"), [limit])
        return [Dirty(sku.decode(), int(since)) for sku, since in zip(found[::2], found[1::2], strict=True)]

    async def clean(self, channel: str, seen: Sequence[Dirty]) -> None:
        """Take SKUs out of the channel's dirty set, unless they became dirty again after the instant seen."""
        if seen:
            args = [part for one in seen for part in (one.sku, one.since_ms)]
            await self._call("clean", self._keys(f"dirty:{channel}"), args)

    async def mark(self, channel: str, skus: Sequence[str]) -> None:
        """Make SKUs dirty for one channel."""
        if skus:
            await self._call("mark", self._keys(f"dirty:{channel}"), skus)
            self._waiting.add(channel)  # not before: a spread under way has not seen it

    # --------------------------------------------------------------------------------------------------------- listings

    async def get(self, channel: str, skus: Sequence[str] = ()) -> list[Listing]:
        """Return the listings of these SKUs (an idle one of unknown figure where there is none), or all there are."""
        [shelf] = self._keys(f"exp:{channel}")
        with store_faults("listings"):
            if skus:
                found = await self._client.hmget(shelf, list(skus))
                pairs = dict(zip(skus, found, strict=True))
            else:
                pairs = {sku.decode(): packed async for sku, packed in self._client.hscan_iter(shelf, count=_PAGE)}
        names = skus or sorted(pairs)
        location = self._location_of(channel)
        return [unpack_listing(sku, pairs[sku]) or Listing(sku=sku, location=location) for sku in names]

    async def begin(self, channel: str, begins: Sequence[Begin]) -> list[Begun]:
        """Grant each figure as far as free stock backs it, and note that a write is on its way."""
        if not begins:
            return []
        keys = self._keys("stock", "j", "dirty", "kit", "rule", f"exp:{channel}", f"settling:{channel}")
        args: list[str | bytes | int] = [channel, self._location_of(channel)]
        for wanted in begins:
            args += [wanted.sku, wanted.units, wanted.mode, wanted.key, _known(wanted.was), int(wanted.backed)]
        replies = await self._call("begin", keys, args)
        return [
            Begun(BeginCode(code.decode()), int(units), _listing(wanted.sku, packed))
            for wanted, (code, units, packed) in zip(begins, replies, strict=True)
        ]

    def _of_channel(self, channel: str) -> list[str]:
        self._waiting.add(channel)  # what is done with these keys may leave it something to look at
        own = (f"exp:{channel}", f"settling:{channel}", f"dirty:{channel}")
        return self._keys("stock", "j", "dirty", "kit", *own)

    async def end(self, channel: str, ends: Sequence[Ended]) -> list[Listing]:
        """Settle what is known of writes; an end whose key is not the listing's newest changes nothing."""
        if not ends:
            return []
        args: list[str | bytes | int] = [channel]
        for ended in ends:
            args += [ended.sku, ended.key, ended.outcome, _known(ended.figure), ended.at_ms]
        rows = await self._call("end_write", self._of_channel(channel), args)
        location = self._location_of(channel)
        return [
            unpack_listing(ended.sku, packed) or Listing(sku=ended.sku, location=location)
            for ended, packed in zip(ends, rows, strict=True)
        ]

    async def observe(self, channel: str, known: Listing, figure: int, *, at_ms: int) -> Listing:
        """Note what the platform shows, at that instant of its clock: exposure becomes exact when that settles."""
        keys = self._keys(f"exp:{channel}", f"settling:{channel}")
        packed = await self._call("observe", keys, [known.sku, pack_listing(known), max(0, figure), at_ms])
        return _listing(known.sku, packed)

    async def settle(self, channel: str, *, seen_ms: int) -> list[Listing]:
        """Close what was written or observed before *seen_ms*, up to which all of the channel's orders were seen."""
        settled: list[Listing] = []
        while True:
            found = await self._call("settle_listings", self._of_channel(channel), [channel, seen_ms, _PAGE])
            settled += [_listing(sku.decode(), row) for sku, row in zip(found[::2], found[1::2], strict=True)]
            if len(found) < 2 * _PAGE:
                return settled

    # -------------------------------------------------------------------------------------------------------- catalogue

    async def place(self, channel: str, entries: Sequence[Entry], *, by: str) -> int:
        """Put entries into the channel's map, in place of former ones of the same SKU; return how many changed."""
        self._waiting.add(channel)
        args: list[str | bytes | int] = [channel, clean(by)]
        for entry in entries:
            args += [entry.sku, msgspec.json.encode(entry, order="deterministic")]
        return int(await self._call("place", self._keys(f"map:{channel}", f"dirty:{channel}", "j"), args))

    async def displace(self, channel: str, skus: Sequence[str], *, by: str) -> int:
        """Take SKUs out of the channel's map; their listings stay until they are zero."""
        self._waiting.add(channel)
        keys = self._keys(f"map:{channel}", f"dirty:{channel}", "j")
        return int(await self._call("displace", keys, [channel, clean(by), *skus]))

    async def entries(self, channel: str, skus: Sequence[str] = ()) -> dict[str, Entry]:
        """Return the channel's map, whole or of these SKUs."""
        [key] = self._keys(f"map:{channel}")
        with store_faults("entries"):
            if skus:
                found = dict(zip(skus, await self._client.hmget(key, list(skus)), strict=True))
            else:
                found = {sku.decode(): packed for sku, packed in (await self._client.hgetall(key)).items()}
        return {sku: _ENTRY.decode(packed) for sku, packed in sorted(found.items()) if packed is not None}

    async def mapped(self, channel: str, cursor: int, *, limit: int) -> tuple[list[str], int]:
        """Return some SKUs of the channel's map and the cursor of the next: a large map at once holds everybody up."""
        [key] = self._keys(f"map:{channel}")
        with store_faults("mapped"):
            after, page = await self._client.hscan(key, cursor, count=limit)
        return [sku.decode() for sku in page], int(after)

    async def put_kits(self, kits: Sequence[Kit], *, by: str) -> None:
        """
        Define kits; one without components is no longer a kit.

        Raises:
            Conflict: Units of it are exposed on a channel, a component is a kit itself, or it has stock of its own.
        """
        pattern = pool_key(self.pool, "exp:*")
        with store_faults("put_kits"):
            shelves = [key async for key in self._client.scan_iter(match=pattern, count=1000)]
        places = dict.fromkeys((self._location, *(place for places in self._places.values() for place in places)))
        args: list[str | bytes | int] = [clean(by), _FIELD.join(places)]
        for kit in {kit.sku: kit for kit in kits}.values():
            args += [kit.sku, pack_parts(kit.components)]
        code, sku = await self._call("put_kits", [*self._keys("kit", "stock", "j", "dirty"), *sorted(shelves)], args)
        if code != b"put":
            raise Conflict(f"kit {sku.decode()}: {_WHY[code.decode()]}", sku=sku.decode())

    async def kits(self) -> Mapping[str, Kit]:
        """Return all kits by SKU."""
        [key] = self._keys("kit")
        with store_faults("kits"):
            found = await self._client.hgetall(key)
        return {sku.decode(): Kit(sku.decode(), unpack_parts(packed)) for sku, packed in sorted(found.items())}


def _known(figure: int) -> int | str:
    return "" if figure == UNKNOWN else figure


def pack_parts(parts: Sequence[Component]) -> str:
    """Pack a kit's components as includes/kit.lua does."""
    return _PART.join(f"{part.sku}{_FIELD}{part.quantity}" for part in parts)


def unpack_parts(packed: bytes) -> tuple[Component, ...]:
    """Read what `pack_parts` wrote."""
    pairs = (text.split(_FIELD) for text in packed.decode().split(_PART) if text)
    return tuple(Component(sku, int(quantity)) for sku, quantity in pairs)


def pack_listing(row: Listing) -> str:
    """Pack a row as includes/listing.lua does."""
    numbers = (row.was, row.to, row.key or "-", row.began_ms, row.written_ms, row.later, row.seen)
    head = (int(row.backed), row.exposed, row.figure, row.state.value, row.mode.value)
    return " ".join(map(str, (*head, *numbers, row.location)))


def unpack_listing(sku: str, packed: bytes | None) -> Listing | None:
    """
    Read a row of a shelf, or None where there is none.

    Raises:
        InvariantBroken: It is damaged.
    """
    if not packed:
        return None
    parts = packed.decode().split(" ", _ROW - 1)
    if len(parts) != _ROW:
        raise InvariantBroken(f"the listing of {sku} is damaged: {packed!r}")
    backed, exposed, figure, state, mode, was, to, key, began, written, later, seen, location = parts
    return Listing(
        sku=sku,
        location=location,
        backed=backed == "1",
        exposed=int(exposed),
        figure=int(figure),
        state=ListingState(state),
        mode=WriteMode(mode),
        was=int(was),
        to=int(to),
        key="" if key == "-" else key,
        began_ms=int(began),
        written_ms=int(written),
        later=int(later),
        seen=int(seen),
    )


def _listing(sku: str, packed: bytes) -> Listing:
    row = unpack_listing(sku, packed)
    if row is None:
        raise InvariantBroken(f"the listing of {sku} was not told")
    return row

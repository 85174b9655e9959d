"""The exposure meter: how many units channels may have sold unseen or may still sell, and how many of them twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flashd.domain.catalogue import Kit
from flashd.domain.exposure import parts_of
from flashd.domain.listing import Listing
from flashd.domain.stock import StockLevel


class ChannelExposure(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel may have sold unseen, or may still sell, of one SKU; kits count as their components."""

    channel: str
    units: int
    backed: bool


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """The meter's reading of one SKU."""

    sku: str
    channels: tuple[ChannelExposure, ...] = ()
    free: int = 0  # what backs the exposure of mirror channels, over all locations

    @property
    def backed(self) -> int:
        """Units that were taken out of free stock for it: nobody else sells them."""
        return sum(one.units for one in self.channels if one.backed)

    @property
    def unbacked(self) -> int:
        """Units that mirror channels show of the same stock."""
        return sum(one.units for one in self.channels if not one.backed)

    @property
    def twice(self) -> int:
        """How many units could be sold twice, were all that mirror channels show sold at once."""
        return max(0, self.unbacked - self.free)


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """The reading of a whole pool."""

    skus: tuple[Exposure, ...] = ()  # those that are exposed, by SKU

    @property
    def twice(self) -> int:
        """How many units could be sold twice, over all SKUs."""
        return sum(one.twice for one in self.skus)

    @property
    def backed(self) -> int:
        """Units that lie with escrow channels."""
        return sum(one.backed for one in self.skus)

    @property
    def unbacked(self) -> int:
        """Units that mirror channels show."""
        return sum(one.unbacked for one in self.skus)


def read_meter(
    levels: Iterable[StockLevel], listings: Mapping[str, Sequence[Listing]], kits: Mapping[str, Kit]
) -> Meter:
    """
    Read the meter.

    Args:
        levels: The counters of all SKUs at all locations.
        listings: What each channel shows, by its name.
        kits: All kits: a listing of one exposes its components.
    """
    free: dict[str, int] = {}
    for level in levels:
        free[level.sku] = free.get(level.sku, 0) + level.free
    found: dict[str, dict[tuple[str, bool], int]] = {}
    for channel, rows in listings.items():
        for row in (row for row in rows if row.exposed > 0):
            for part in parts_of(row.sku, kits):
                units = found.setdefault(part.sku, {})
                key = (channel, row.backed)
                units[key] = units.get(key, 0) + row.exposed * part.quantity
    return Meter(skus=tuple(_read(sku, found[sku], free.get(sku, 0)) for sku in sorted(found)))


def _read(sku: str, units: Mapping[tuple[str, bool], int], free: int) -> Exposure:
    channels = tuple(
        ChannelExposure(channel=channel, units=count, backed=backed)
        for (channel, backed), count in sorted(units.items())
    )
    return Exposure(sku=sku, channels=channels, free=free)

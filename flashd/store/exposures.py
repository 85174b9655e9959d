"""What the backed listings of a pool take out of free stock, counted row by row for the audit."""

from __future__ import annotations

from collections.abc import Mapping

from flashd.domain.catalogue import Kit
from flashd.domain.exposure import parts_of
from flashd.errors import InvariantBroken
from flashd.store.census import Report, Units
from flashd.store.listings import unpack_listing, unpack_parts


def backed_units(kits: Mapping[bytes, bytes], shelves: Mapping[bytes, Mapping[bytes, bytes]], report: Report) -> Units:
    """
    Return the units that backed listings take, by SKU and location; kits take their components.

    Args:
        kits: The HASH kit.
        shelves: Every HASH exp:<channel>, by its key.
        report: Is told of rows that cannot be read.
    """
    known = {sku.decode(): Kit(sku.decode(), unpack_parts(packed)) for sku, packed in kits.items()}
    units: Units = {}
    for shelf, rows in shelves.items():
        for sku, packed in rows.items():
            try:
                row = unpack_listing(sku.decode(), packed)
            except (InvariantBroken, ValueError):
                where = f"{sku.decode()} of {shelf.decode()}"
                mend = "restore it from a backup; HDEL it and count again if there is none"
                report.add("listing damaged", where, "a row of 13 parts", repr(packed), mend)
                continue
            if row is None or not row.backed or not row.exposed:
                continue
            for part in parts_of(row.sku, known):
                place = (part.sku, row.location)
                units[place] = units.get(place, 0) + row.exposed * part.quantity
    return units

"""
Figures of stock: what Shopify shows at one location, and how a compare-and-set ended.

Facts: shopify.dev/docs/api/admin-graphql/2026-10/mutations/inventorySetQuantities: a call is applied as a whole or not
at all; ``changeFromQuantity`` names what must stand there; errors carry a code and the place of the quantity in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flashd.channels.exchange import plain
from flashd.channels.shopify.admin import Error, Told
from flashd.domain.listing import UNKNOWN
from flashd.ports.channel_api import Figure, FigureWrite, FigureWritten, WriteCode

_KEYS = uuid.UUID("5f1c2a52-6a0f-4d0b-9d43-2f4f0f1e5a11")  # the space of flashd's keys; never changes
_AVAILABLE = "available"
_STALE = "CHANGE_FROM_QUANTITY_STALE"
_BUSY = "IDEMPOTENCY_CONCURRENT_REQUEST"
_OTHER = "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"
_FAILED = "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"


class UserError(msgspec.Struct, frozen=True):
    """Why a mutation did nothing."""

    message: str = ""
    code: str | None = None
    field: list[str] | None = None

    @property
    def place(self) -> int | None:
        """Which quantity of the call it speaks of."""
        return next((int(part) for part in self.field or () if part.isdigit()), None)


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    user_errors: list[UserError]


class _Quantity(msgspec.Struct, frozen=True):
    quantity: int
    name: str = _AVAILABLE


class Level(msgspec.Struct, frozen=True):
    """An inventory level."""

    quantities: list[_Quantity]


class Item(msgspec.Struct, frozen=True, rename="camel"):
    """An inventory item with its level at the channel's location."""

    id: str
    tracked: bool
    inventory_level: Level | None = None

    @property
    def units(self) -> int | None:
        """What can be sold; None where nothing is counted here."""
        return None if self.standing is None else max(0, self.standing)

    @property
    def standing(self) -> int | None:
        """What is available, below zero where more was sold than there was."""
        if not self.tracked or self.inventory_level is None:
            return None
        return next((one.quantity for one in self.inventory_level.quantities if one.name == _AVAILABLE), None)


def gid(kind: str, text: str) -> str:
    """Return a global id of *kind*, from one or from the number that people see in an address."""
    return text if text.startswith("gid://") or not text else f"gid://shopify/{kind}/{text}"


def figure(sku: str, item: Item | None, *, at_ms: int) -> Figure:
    """Return what is shown of one SKU."""
    units = None if item is None else item.units
    if units is not None:
        return Figure(sku=sku, units=units, at_ms=at_ms)
    if item is None:
        reason = "Shopify has no such inventory item"
    elif not item.tracked:
        reason = "Shopify does not track its quantity"
    else:
        reason = "it is not stocked at this location"
    return Figure(sku=sku, at_ms=at_ms, reason=reason)


def groups_of(writes: Sequence[FigureWrite], together: int) -> list[Sequence[FigureWrite]]:
    """Cut a call into groups; the same call is always cut alike, so that a repeat has the same keys."""
    return [writes[start : start + together] for start in range(0, len(writes), together)]


def variables_of(
    groups: Sequence[Sequence[FigureWrite]], location: str, below: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """
    Return the variables of the mutation that sets *groups*.

    Args:
        groups: Cut by `groups_of`.
        location: Whose stock it is.
        below: Inventory items that were seen below zero, and where they stood: for flashd that is zero.
    """
    below = below or {}
    found: dict[str, Any] = {}
    for number, group in enumerate(groups):
        found[f"key{number}"] = str(uuid.uuid5(_KEYS, f"{group[0].key}\n{number}"))
        found[f"input{number}"] = {
            "name": _AVAILABLE,
            "reason": "correction",
            "quantities": [
                {
                    "inventoryItemId": (item := gid("InventoryItem", write.entry.ids["inventory_item"])),
                    "locationId": location,
                    "quantity": write.units,
                    "changeFromQuantity": write.was or below.get(item, 0),
                }
                for write in group
            ],
        }
    return found


def unfit(write: FigureWrite) -> str:
    """Return why a write must not go out, "" where it may."""
    if not write.entry.ids.get("inventory_item"):
        return "the map has no inventory_item for it: import the map again"
    if write.was == UNKNOWN:
        return "the figure that stands there is not known: read it first"
    return "" if write.units >= 0 else "a figure below zero"


def all_ended(writes: Sequence[FigureWrite], code: WriteCode, reason: str, **more: int) -> list[FigureWritten]:
    """Say the same of all writes."""
    return [FigureWritten(sku=write.entry.sku, code=code, reason=reason, **more) for write in writes]


def group_ended(group: Sequence[FigureWrite], told: Told, alias: str, *, at_ms: int) -> list[FigureWritten]:
    """Say what became of one group of a call that ran."""
    payload = told.data.get(alias)
    if payload is None:
        error = next((one for one in told.errors if one.path and one.path[0] == alias), None)
        return all_ended(group, *_not_run(error))
    try:
        errors = msgspec.convert(payload, _Payload).user_errors
    except msgspec.ValidationError as error:
        return all_ended(group, WriteCode.UNKNOWN, plain(f"the answer is not understood: {error}"))
    if not errors:
        return all_ended(group, WriteCode.APPLIED, "", at_ms=at_ms)
    return _refused(group, errors)


def _not_run(error: Error | None) -> tuple[WriteCode, str]:
    if error is not None and error.code == "ACCESS_DENIED":
        return WriteCode.LATER, plain(f"ACCESS_DENIED: {error.message}")
    return WriteCode.UNKNOWN, plain(error.message) if error else "the answer does not speak of it"


def _refused(group: Sequence[FigureWrite], errors: Sequence[UserError]) -> list[FigureWritten]:
    whole = next((error for error in errors if error.code in {_BUSY, _OTHER, _FAILED}), None)
    if whole is not None:
        # An attempt under this key failed: it changed nothing, and what stands there has to be read. The other two
        # speak of this call alone: an earlier one may still be running, or have been applied.
        code = WriteCode.STALE if whole.code == _FAILED else WriteCode.UNKNOWN
        return all_ended(group, code, plain(f"{whole.code}: {whole.message}"))
    by_place = {error.place: error for error in errors if error.place is not None}
    if not by_place:
        return all_ended(group, WriteCode.REFUSED, plain(f"{errors[0].code}: {errors[0].message}"))
    found = []
    for place, write in enumerate(group):
        error = by_place.get(place)
        if error is None:
            code, reason = WriteCode.LATER, "another figure of the same group was refused"
        else:
            code = WriteCode.STALE if error.code == _STALE else WriteCode.REFUSED
            reason = plain(f"{error.code}: {error.message}")
        found.append(FigureWritten(sku=write.entry.sku, code=code, reason=reason))
    return found

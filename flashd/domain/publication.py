"""What a channel may show of what there is: buffer, floor, cap and percent, each applied once, in this order."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PublishMode = Literal["mirror", "escrow", "none"]
_Units = Annotated[int, Meta(ge=0)]


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is kept from a channel's sight.

    It acts on what is published and on new holds; never on accepting a hold that lives.
    """

    percent: Annotated[int, Meta(ge=0, le=100)] = 100  # of what there is, rounded down
    buffer: _Units = 0  # units subtracted
    floor: _Units = 0  # at most so many left: show none
    cap: _Units = 0  # never show more than so many; 0: no cap

    def __bool__(self) -> bool:
        """Say whether it keeps anything back."""
        return self != OPEN


OPEN = Threshold()
"""Everything is shown."""


def shown(units: int, threshold: Threshold) -> int:
    """
    Return what a channel may show of *units*.

    The executable specification of lua/includes/threshold.lua.
    """
    left = max(0, units) * threshold.percent // 100 - threshold.buffer
    if left <= threshold.floor:
        return 0
    return min(left, threshold.cap) if threshold.cap else left

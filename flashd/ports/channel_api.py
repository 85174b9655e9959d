"""
A sales channel's own API: where stock is written back, and orders are polled that no webhook told of.

An adapter module that has one exports ``connect_api(name, config, reveal) -> ChannelApi`` beside ``connect``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import UNKNOWN, WriteMode
from flashd.domain.order import Incoming
from flashd.ports.channel import Unreadable


class ApiTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform's API can do."""

    mode: WriteMode  # how it takes a figure
    batch: int = 1  # figures in one call
    idempotent: bool = False  # a write repeated under the same key answers as the first did
    oversells: bool = False  # it may sell below its own figure under load: only the hold API helps there
    lists_webhooks: bool = True  # it can say which webhooks it sends; else none listed means nothing
    polls: bool = True  # it can list orders by the time of their change
    reads: bool = True  # it can say what it shows; else it takes absolute figures, is idempotent, and is a mirror
    prices: bool = False  # it can read and write prices
    lag_ms: int = 2000  # a change may take so long to appear in a listing of orders


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform shows of one SKU right now."""

    sku: str
    units: int = UNKNOWN  # UNKNOWN: no such thing there, or it does not count its stock; the reason says
    at_ms: int = 0  # platform's clock: not before the answer was made
    reason: str = ""


class FigureWrite(msgspec.Struct, frozen=True, kw_only=True):
    """The wish that the platform show *units*."""

    entry: Entry
    units: int
    key: str  # idempotency key; all writes of one call share it, and a repeat sends the same call under the same key
    was: int = UNKNOWN  # compare: the figure that must still be there


class WriteCode(StrEnum):
    """What the platform made of one figure."""

    APPLIED = "applied"
    STALE = "stale"  # compare: another figure stands there; nothing was changed
    REFUSED = "refused"  # surely not applied; the reason says what to mend
    LATER = "later"  # surely not applied: throttled, or nothing reached the wire; try again
    UNKNOWN = "unknown"  # the reply was lost or not understood: it may have been applied


class FigureWritten(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one write."""

    sku: str
    code: WriteCode
    figure: int = UNKNOWN  # stale: what stands there, if the answer told
    at_ms: int = 0  # applied: platform's clock at which the figure was surely in force (round up)
    reason: str = ""


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """One order as the API lists it: exactly the version, and the canonical order, that its webhook would bring."""

    found: Incoming | Unreadable
    raw: bytes  # kept if it cannot be read


class OrderPage(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that changed, oldest change first."""

    orders: tuple[Polled, ...]
    cursor: str  # opaque; where the next page begins, "" after the last
    upto_ms: int  # platform's clock when the page was made: the next poll starts there, less an overlap


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook that the platform sends (or no longer sends) to flashd."""

    topic: str
    address: str
    alive: bool
    reason: str = ""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """The price of one SKU on the platform, as decimal text in the shop's currency; "" is none."""

    sku: str
    price: str
    compare_at: str = ""
    reason: str = ""  # why it could not be read or written


class PriceWrite(msgspec.Struct, frozen=True, kw_only=True):
    """The wish that the platform ask this price."""

    entry: Entry
    price: str
    compare_at: str = ""


class ChannelApi(Protocol):
    """
    One channel's API. Outcomes are values; only what concerns the whole channel is raised.

    Every method waits by itself for the platform's own budget (throttle status, rate) before it sends, sends once, and
    never repeats a write. All raise ChannelUnavailable where the channel did not answer or refused the login, but
    `write` and `write_prices`, which answer with values even then.
    """

    name: str

    @property
    def traits(self) -> ApiTraits:
        """What it can do."""

    @property
    def calls(self) -> int:
        """Requests sent since the start, for metrics."""

    async def read(self, entries: Sequence[Entry]) -> list[Figure]:
        """Return what the platform shows, in the order of *entries* (any number of them)."""

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        """Write at most ``traits.batch`` figures in one call; the answers are in the order of *writes*."""

    async def orders(self, changed_since_ms: int, *, cursor: str = "", limit: int = 100) -> OrderPage:
        """Return a page of orders changed at or after that instant of the platform's clock."""

    def products(self) -> AsyncIterator[Product]:
        """Hand out everything that the platform sells, variant by variant."""

    async def subscriptions(self) -> list[Subscription]:
        """Return the webhooks for orders that point to anybody."""

    async def read_prices(self, entries: Sequence[Entry]) -> list[Price]:
        """Return prices in the order of *entries*."""

    async def write_prices(self, writes: Sequence[PriceWrite]) -> list[Price]:
        """Write prices and return what the platform says they are now; a reason where one was not written."""

    async def now_ms(self) -> int:
        """Return the platform's clock, for comparison with ours."""

    async def check(self) -> str:
        """
        Log in and say who answered.

        Raises:
            ChannelUnavailable: It did not answer, or refused the login; the message says what to mend.
        """

    async def close(self) -> None:
        """Close connections; fine to call twice."""


@runtime_checkable
class RestoringApi(ChannelApi, Protocol):
    """One that can put webhooks back which its platform deleted or switched off."""

    async def restore(self) -> list[Subscription]:
        """
        Put back every webhook that is needed and dead, and return these; a reason where the platform refused.

        Only what its section says: where webhooks go, and none that a human has paused. Doing it twice does it once.
        """

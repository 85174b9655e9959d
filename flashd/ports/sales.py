"""Sales of one pool, and the prices that they push, as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from flashd.domain.price import PriceRow
from flashd.domain.sale import Sale, SaleRecord, SaleState


class Sales(Protocol):
    """The sales of one pool. All raise StoreUnavailable: nothing is known, repeat it."""

    pool: str

    async def put(self, sale: Sale, *, by: str, version: int = 0) -> SaleRecord:
        """
        Write a sale, and the rules that the scripts decide by, in one step. The same document again changes nothing.

        Args:
            version: The version that it replaces; 0 does not ask.

        Raises:
            Conflict: Another version stands there, or two sales of one SKU overlap in time.
        """

    async def set_state(self, name: str, state: SaleState, *, by: str) -> SaleRecord:
        """
        Stop, resume or end a sale. From then on the scripts decide by it; its SKUs are dirty on every channel.

        Raises:
            NotFound: There is no such sale.
            Conflict: It ended.
        """

    async def get(self, name: str, *, version: int = 0) -> SaleRecord | None:
        """Return a sale: its newest version, or that one."""

    async def all(self) -> list[SaleRecord]:
        """Return the newest version of every sale, by start."""

    async def used(self, name: str, skus: Sequence[str] = ()) -> dict[str, int]:
        """Return how many units of each SKU were held or sold under the sale's quota."""

    async def history(self, name: str, *, limit: int = 50) -> list[SaleRecord]:
        """Return the versions of a sale, newest first."""

    async def clock_ms(self) -> int:
        """Return the clock that decides whether a window is open: the server's."""

    async def boundary(self, record: SaleRecord, kind: Literal["opened", "over"]) -> bool:
        """
        Say that a window opened or is over, once over all processes; its SKUs are dirty on every channel then.

        Return whether it was said now: not where it was said before, where the server's clock is not there yet, or
        where the sale stands there in another version.
        """


class PriceBook(Protocol):
    """What is kept of the prices that sales push to channels. All raise StoreUnavailable: nothing is known."""

    pool: str

    async def rows(self, channel: str) -> list[PriceRow]:
        """Return what is kept of a channel's prices, by sale and SKU."""

    async def change(self, channel: str, changes: Sequence[tuple[PriceRow | None, PriceRow]]) -> list[bool]:
        """
        Put each new row in place of the one that must still be there (None: none); durable when this returns.

        Return which were put; another process was faster with the rest. Repeating it is safe: a row that stands there
        already counts as put.
        """

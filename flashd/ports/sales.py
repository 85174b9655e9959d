"""Sales of one pool, as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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

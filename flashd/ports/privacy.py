"""Forgetting customers: where their data stands in one pool, and what platforms demand of it."""

from __future__ import annotations

from typing import Protocol

from flashd.domain.privacy import Demand, Forgotten, Person, Scrubbed


class Eraser(Protocol):
    """What is kept of the customers of one pool, and its end. Doing any of it twice does it once."""

    pool: str

    async def forget(
        self, person: Person, *, by: str, dry_run: bool = False, journal: bool = True, bodies: bool = True
    ) -> Forgotten:
        """
        Erase what is kept of *person*; orders that are not settled are noted, and erased as soon as they are.

        The order itself stays known, so that a webhook that comes again does not bring it back.

        Args:
            person: By what it is found; without a flaw.
            by: Who asks, for the timeline and the event.
            dry_run: Only say what would be done.
            journal: Also count the events that name them, which reads all of it.
            bodies: Also drop quarantined bodies that name them; else these are told and kept, for one may be a paid
                order that no human has looked at.

        Raises:
            StoreUnavailable: Some may have been erased; ask again.
        """

    async def sweep(self, after_ms: int) -> int:
        """
        Erase what was noted and is settled now, and orders settled more than *after_ms* ago; return how many.

        Raises:
            StoreUnavailable: Some may have been erased; sweep again.
        """

    async def scrub(self, *, wait_s: float = 0.0, least_ms: int = 0) -> Scrubbed | None:
        """
        Let the server write its files anew, if anything was erased since it last did, so that the bytes are gone.

        Args:
            wait_s: How long to wait until it is done.
            least_ms: Not before so long after the last time.

        Returns:
            What became of it, or None where nothing is due.

        Raises:
            StoreUnavailable: Nothing is known; ask again.
        """

    async def demand(self, demand: Demand, body: bytes) -> str:
        """
        Keep what a platform demands; return its id. The same body twice is kept once, until a week after it was met.

        Raises:
            StoreUnavailable: Nothing is known; ask again.
        """

    async def demands(self) -> list[Demand]:
        """Return all that was demanded, oldest first; those that were met name nobody any more."""

    async def meet(self, demand_id: str, *, by: str, outcome: str) -> Demand:
        """
        Note that a demand was met; its person goes.

        Raises:
            NotFound: There is no such demand.
        """

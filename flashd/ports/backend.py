"""Backends: the systems that must get every order."""

from __future__ import annotations

from typing import ClassVar, Protocol

from flashd.domain.delivery import BackendTraits, Delivery, Finding, Outcome


class Backend(Protocol):
    """The system that must get every order. No exception of a library leaves an adapter: outcomes are values."""

    name: str
    kind: ClassVar[str]
    traits: BackendTraits

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Send one item under its key, once: never repeats by itself."""

    async def find(self, delivery: Delivery) -> Finding:
        """Look the item up by its key."""

    async def check(self) -> str:
        """
        Log in and say who answered.

        Raises:
            BackendUnavailable: It did not answer, or refused the login; the message says what to mend.
        """

    async def close(self) -> None:
        """Close connections; fine to call twice."""

"""Backends: the systems that must get every order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from flashd.domain.count import Count
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


@runtime_checkable
class BatchingBackend(Protocol):
    """
    A backend that takes several new orders in one request; it does where `traits.batch` is above 1.

    Beside these two, `deliver` and `find` of `Backend` stay what they are: a batch of one, a cancel, a probe.
    """

    traits: BackendTraits

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """
        Send at most `traits.batch` creates in one request, each under its own key; answer in their order.

        `Sunk` for all says that the request was refused because of one member and that *nothing* of it was recorded.
        Whatever cannot be told of a member for sure is `Doubtful` for it: the others keep their own outcomes.
        """

    async def find_many(self, deliveries: Sequence[Delivery]) -> Sequence[Finding]:
        """Look at most `traits.batch` of them up by their keys, in one request; answer in their order."""


@runtime_checkable
class CountingBackend(Protocol):
    """A backend that may tell its stock; it does where `traits.counts` says so."""

    name: str
    traits: BackendTraits

    async def counts(self, now_ms: int) -> list[Count]:
        """
        Return how much of each SKU there is, of which kind and as of when; location "" is the pool's own.

        Args:
            now_ms: The instant before it is asked: what an answer is as of that does not say it itself.

        Raises:
            BackendUnavailable: It did not answer, or not all of it could be read: then none of it may be used.
        """

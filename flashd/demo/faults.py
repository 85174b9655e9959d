"""
The faults of the simulated ERP, dealt from a seeded deck.

A deck rather than a chance per request: every fault of the deck is certain to happen once it was dealt through, so a
run can end with a counter above zero for each fault that it claims to have caused.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum


class Fault(StrEnum):
    """What may go wrong with one POST."""

    DROP_REPLY = "drop_reply"  # commits, then closes the connection without an answer
    SLOW = "slow"  # commits, and answers late
    ERROR_BEFORE = "error_before"  # 500, nothing committed
    ERROR_AFTER = "error_after"  # 500, although it was committed
    UNAVAILABLE = "unavailable"  # 503 with Retry-After, nothing committed
    HANG = "hang"  # never answers, nothing committed
    GARBAGE = "garbage"  # 200 with something that is no answer; committed
    RESET = "reset"  # connection reset, nothing committed


class FaultDeck:
    """Deals one card per request: a fault or none. The same seed deals the same order of cards."""

    def __init__(self, faults: Mapping[Fault, int], *, size: int, seed: int) -> None:
        """
        Prepare a deck.

        Args:
            faults: How many cards of each fault lie in one deck.
            size: Cards in one deck; the rest are blank. A deck that was dealt is shuffled anew.
            seed: Two decks of one seed deal the same.
        """
        if sum(faults.values()) > size:
            raise ValueError(f"{sum(faults.values())} faults do not fit into a deck of {size} cards")
        blanks = size - sum(faults.values())
        self._cards: list[Fault | None] = [fault for fault, count in faults.items() for _ in range(count)]
        self._cards += [None] * blanks
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose
        self._dealt: list[Fault | None] = []

    def deal(self) -> Fault | None:
        """Return the next card."""
        if not self._dealt:
            self._dealt = self._random.sample(self._cards, len(self._cards))
        return self._dealt.pop() if self._dealt else None

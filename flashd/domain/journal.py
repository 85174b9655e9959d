"""
Folding the journal: every change of a counter stands in exactly one event, so all moves together are the counters.

What was trimmed from the journal is kept as a checkpoint of the same shape; checkpoint and tail add up.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flashd.domain.event import Event
from flashd.domain.stock import Move

RECOUNTED = "stock.recounted"
DRIFTED = "stock.drifted"


class Tally(msgspec.Struct):
    """The sum of all moves of one SKU at one location, in units."""

    on_hand: int = 0
    held: int = 0
    sold: int = 0
    exposed: int = 0
    safety: int = 0
    lacked: int = 0  # sold units that recounts took out, since the count lacks them already

    def add(self, move: Move, *, recounted: bool = False) -> None:
        """Add one move; a recount's change of sold is not an order's."""
        self.on_hand += move.on_hand
        self.held += move.held
        self.sold += move.sold
        self.exposed += move.exposed
        self.safety += move.safety
        if recounted:
            self.lacked -= move.sold

    @property
    def spare(self) -> int:
        """What is not promised to anybody; below zero is a deficit."""
        return self.on_hand - self.held - self.sold - self.safety - self.exposed

    @property
    def numbers(self) -> tuple[int, int, int, int, int, int]:
        """All six, in the order of the checkpoint."""
        return (self.on_hand, self.held, self.sold, self.exposed, self.safety, self.lacked)


Tallies = dict[tuple[str, str], Tally]  # by SKU and location


def moves_of(event: Event) -> list[Move]:
    """Return the moves that an event tells; most tell none."""
    return msgspec.convert(event.data.get("moves", []), list[Move])


class _Moving(msgspec.Struct):
    moves: list[Move] = []


_MOVING = msgspec.json.Decoder(_Moving)


def moves_in(members: bytes) -> list[Move]:
    """Return the moves in an entry's members, JSON text without its braces; nothing else of it is made an object."""
    if b'"moves":' not in members:  # half of all, and reading them would cost as much as the others
        return []
    return _MOVING.decode(b"{" + members + b"}").moves


def fold(events: Iterable[Event], tallies: Tallies | None = None) -> Tallies:
    """Add the moves of *events* to *tallies* (none by default) and return them."""
    tallies = {} if tallies is None else tallies
    for event in events:
        add_moves(tallies, event.kind, moves_of(event))
    return tallies


def add_moves(tallies: Tallies, kind: str, moves: Iterable[Move]) -> None:
    """Add the moves of one event of that kind."""
    for move in moves:
        place = (move.sku, move.location)
        if place not in tallies:
            tallies[place] = Tally()
        tallies[place].add(move, recounted=kind == RECOUNTED)

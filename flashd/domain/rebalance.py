"""
Dealing the units of one SKU at one location out to the escrow channels that show figures of their own.

Grants are credit windows: what a channel sells until the next grant can be there. The rest stays free, for holds and
for the next grant. Where there is not enough for all, those who sell come first, and units are taken from those who do
not; where nobody is known to sell, a unit wanders, so that none ends where nobody wants it. Nothing is rewritten
without need.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from flashd.domain.listing import WriteMode

SHARE = 4  # a channel that sells nothing yet is shown its part of a quarter of what there is
NO_CAP = 10**12


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """One channel at the table."""

    channel: str
    exposed: int  # E
    figure: int  # what it shows, as far as is known
    settled: bool = True  # nothing is being written: its figure may be changed
    mode: WriteMode = WriteMode.COMPARE
    allowed: int = NO_CAP  # so many units may be exposed on all channels together before this one gets none; 0: closed
    cap: int = NO_CAP  # it may never show more
    window: int = 0  # its credit window; 0: it does not sell
    idle_s: float = math.inf  # since its last sale, or since it was given units, if that was later
    zero_s: float = 0.0  # for how long it has shown nothing


class Deal(msgspec.Struct, frozen=True, kw_only=True):
    """What each channel should show, and what could not be given."""

    figures: dict[str, int]
    hungry: dict[str, int]  # channel -> units that it should have and that are not free yet


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a channel may sit on units."""

    idle_s: float = 10.0  # without a sale, before they may go to one that sells
    probe_s: float = 60.0  # showing none, before it is given one to try


def rebalance(free: int, seats: Sequence[Seat], patience: Patience | None = None) -> Deal:
    """
    Decide the figure of each channel.

    All figures together never ask for more units than there are: what a channel gets comes from what is free now, and
    what another gives up is dealt out when it is free. The law itself is kept by the store, which grants less where
    this is wrong.

    Args:
        free: Units that are free now; negative: so many are promised beyond the count, and must come back.
        seats: The escrow channels of this SKU at this location.
        patience: How long a channel may sit on units.
    """
    table = _Table(free, seats, patience or Patience())
    table.take_back()
    table.feed()
    return Deal(figures=table.figures, hungry=table.hungry)


class _Table:
    """The deal as it is made: figures as they are now, changed step by step."""

    def __init__(self, free: int, seats: Sequence[Seat], patience: Patience) -> None:
        self.figures = {seat.channel: max(0, seat.figure) for seat in seats}
        self.hungry: dict[str, int] = {}
        self._seats = sorted(seats, key=lambda seat: seat.channel)
        self._patience = patience
        self._free = free
        self._exposed = {seat.channel: seat.exposed for seat in seats}
        self._total = free + sum(seat.exposed for seat in seats)
        self._due = self._entitlements()

    # ---------------------------------------------------------------------------------------- what each should have

    def _entitlements(self) -> dict[str, int]:
        """Return how many units each should have: its window, if there are enough for all, else its part."""
        open_ = [seat for seat in self._seats if min(seat.allowed, seat.cap) > 0]
        pot = min(max(0, self._total), max((seat.allowed for seat in open_), default=0))
        share = pot // (SHARE * len(open_)) if open_ else 0
        wants = {seat.channel: min(seat.cap, seat.allowed, max(seat.window, share, 1)) for seat in open_}
        if sum(wants.values()) <= pot:
            return wants
        return _deal_out(pot, wants, {seat.channel: self._weight(seat) for seat in open_})

    def _weight(self, seat: Seat) -> tuple[int, float, float]:
        """Rank a channel where there is not enough: who sells before who does not; then who has waited longest."""
        if seat.window and seat.idle_s < self._patience.probe_s:
            return (2, float(seat.window), seat.zero_s)
        if not seat.figure and not seat.exposed and seat.zero_s >= self._patience.probe_s:
            # Nobody can buy what is not shown: it is given one to try. Processes that look differ by moments in who
            # waited longer; after twice the time nobody asks, and the name decides, so that they agree.
            return (1, 1.0, min(seat.zero_s, 2 * self._patience.probe_s))
        return (0, 1.0, float(seat.exposed))  # what lies where nobody sells may as well stay there

    # ------------------------------------------------------------------------------------------------ taking back

    def take_back(self) -> None:
        """
        Lower who must not show so much: it is closed, or more is out than may be, who has most first.

        The order follows from the store alone, so that several processes never each wait for the other's channel.
        """
        for seat in sorted(self._seats, key=lambda seat: (-seat.exposed, seat.channel)):
            out = sum(self._exposed.values())
            over = max(out - min(seat.allowed, max(0, self._total)), self.figures[seat.channel] - seat.cap, 0)
            if seat.allowed <= 0:
                over = seat.exposed
            self._lower(seat, over, forced=True)

    def feed(self) -> None:
        """Give what is free to those who have less than half of their due, and ask the others for the rest."""
        unmet = 0
        for seat in sorted(self._seats, key=self._turn):
            lack = self._lack(seat)
            given = self._raise(seat, lack) if lack and seat.settled else 0
            if lack > given:
                self.hungry[seat.channel] = lack - given
                # what is free, and may be shown, is theirs as soon as their writes are settled
                unmet += max(0, lack - given - max(0, self._room(seat)))
        for seat in self._donors():
            if unmet <= 0:
                break
            unmet -= self._lower(seat, min(unmet, self._surplus(seat)), forced=False)

    def _turn(self, seat: Seat) -> tuple[object, ...]:
        rank, window, waited = self._weight(seat)
        return (-rank, -window, -waited, seat.channel)

    def _lack(self, seat: Seat) -> int:
        """Return what it should be given now: nothing before half of its due is gone."""
        due, has = self._due.get(seat.channel, 0), seat.exposed
        if has >= due or (self.figures[seat.channel] and has * 2 > due):
            return 0
        return max(0, min(due - has, seat.cap - self.figures[seat.channel]))

    def _surplus(self, seat: Seat) -> int:
        due = self._due.get(seat.channel, 0)
        idle = seat.idle_s >= self._patience.idle_s
        return seat.exposed - due if idle or seat.exposed >= 4 * (due + 1) else 0

    def _donors(self) -> Iterator[Seat]:
        """Who has most beyond its due first, in an order that all processes agree on; nobody who is hungry himself."""
        able = [seat for seat in self._seats if self._surplus(seat) > 0 and seat.channel not in self.hungry]
        yield from sorted(able, key=lambda seat: (-self._surplus(seat), seat.channel))

    # ------------------------------------------------------------------------------------------------- two movements

    def _room(self, seat: Seat) -> int:
        return min(self._free, seat.allowed - sum(self._exposed.values()))

    def _raise(self, seat: Seat, units: int) -> int:
        """Show more: units that are free. An absolute write needs the whole figure in hand, or an empty shelf."""
        shows = self.figures[seat.channel]
        given = min(units, self._room(seat))
        if given <= 0 or (seat.mode is WriteMode.ABSOLUTE and shows and self._free < shows + given):
            return 0
        self.figures[seat.channel] = shows + given
        self._exposed[seat.channel] += given
        self._free -= given
        return given

    def _lower(self, seat: Seat, units: int, *, forced: bool) -> int:
        """Show less; what comes back is free once the platform confirmed it, so it is not dealt out now."""
        shows = self.figures[seat.channel]
        units = min(units, shows)
        if units <= 0 or not seat.settled:
            return 0
        left = shows - units
        if seat.mode is WriteMode.ABSOLUTE and left and (forced or self._free < left):
            left = 0  # the cheap way down: to zero, settle, grant
        self.figures[seat.channel] = left
        self._exposed[seat.channel] -= shows - left
        return shows - left


def _deal_out(pot: int, wants: Mapping[str, int], weights: Mapping[str, tuple[int, float, float]]) -> dict[str, int]:
    """Give the pot to the highest rank first; within a rank by weight, the odd units to who waited longest."""
    due = dict.fromkeys(wants, 0)
    for rank in sorted({weight[0] for weight in weights.values()}, reverse=True):
        group = [name for name in sorted(wants) if weights[name][0] == rank]
        total = sum(weights[name][1] for name in group)
        given = {name: min(wants[name], math.floor(pot * weights[name][1] / total)) for name in group}
        odd = pot - sum(given.values())
        for name in sorted(group, key=lambda name: (-weights[name][2], -weights[name][1], name)):
            more = min(odd, wants[name] - given[name])
            given[name] += more
            odd -= more
        due |= given
        pot = odd
    return due

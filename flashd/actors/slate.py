"""What a publisher remembers between two looks: all of it may be lost, and the next full sweep finds it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flashd.actors.outlook import Sighting
from flashd.domain.flow import Lag
from flashd.domain.listing import UNKNOWN, Listing, ListingState
from flashd.domain.pace import LagWindow
from flashd.domain.stale import Suspicion
from flashd.ports import Clock, Dirty

GAPS = 1000  # so many are remembered by name
REST_S = 45.0
CHECK_S = 5.0
REFUSED_S = 60.0
REFUSED_MAX_S = 3600.0


@dataclass
class Slate:
    """One channel's figures, as this process sees them."""

    clock: Clock
    in_hand: set[str] = field(default_factory=set)  # being read or written
    until_s: dict[str, float] = field(default_factory=dict)  # SKUs that are not looked at before
    again_s: dict[str, tuple[float, bool]] = field(default_factory=dict)  # looked at again then; True: partners too
    since_ms: dict[str, int] = field(default_factory=dict)  # when what is not published yet changed first
    shows: dict[str, Sighting] = field(default_factory=dict)  # figures seen there, against what is believed
    suspects: dict[str, Suspicion] = field(default_factory=dict)
    doubts_s: dict[str, float] = field(default_factory=dict)  # in doubt: read again then
    to_read: set[str] = field(default_factory=set)
    to_observe: set[str] = field(default_factory=set)  # whatever they show is the truth from now on
    unclear: set[str] = field(default_factory=set)  # the figure may lack more of what was sold than is believed
    read_s: float = float("-inf")  # when figures were read last
    settling_ms: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # in a row
    gaps: dict[str, str] = field(default_factory=dict)
    stale: Counter[str] = field(default_factory=Counter)
    lag: LagWindow = field(default_factory=LagWindow)
    zero_lag: LagWindow = field(default_factory=LagWindow)
    written: int = 0
    most_used: int = 0  # revisions of the listing that has used most
    skew_ms: int = 0  # the platform's clock is ahead of ours by so much, as it last told

    def forget(self) -> None:
        """Begin a term of leadership: others may have written meanwhile."""
        for kept in (self.until_s, self.again_s, self.since_ms, self.shows, self.suspects, self.doubts_s, self.refused):
            kept.clear()
        self.refusals.clear()
        self.to_read.clear()
        self.to_observe.clear()
        self.unclear.clear()
        self.settling_ms.clear()
        self.gaps.clear()

    def note_dirty(self, found: Sequence[Dirty]) -> list[Dirty]:
        """Remember since when they are dirty; return those that may be looked at now."""
        now_s = self.clock.monotonic_s()
        self.until_s = {sku: until_s for sku, until_s in self.until_s.items() if until_s > now_s}
        for one in found:
            self.since_ms.setdefault(one.sku, one.since_ms)
        return [one for one in found if one.sku not in self.in_hand and one.sku not in self.until_s]

    def defer(self, sku: str, seconds: float) -> None:
        """Do not look at a SKU for a while; it stays dirty."""
        self.until_s[sku] = self.clock.monotonic_s() + seconds

    def resting(self, found: Sequence[Dirty]) -> list[Dirty]:
        """
        Return those that are not looked at for long: they need not stay dirty, for they are looked at again then.

        Whoever asks what is dirty gets the oldest first, and would get tens of thousands of these every time.
        """
        now_s = self.clock.monotonic_s()
        rest = [one for one in found if self.until_s.get(one.sku, 0.0) - now_s > REST_S]
        for one in rest:
            self.look_again(one.sku, self.until_s[one.sku] - now_s)
        return rest

    def note_refused(self, sku: str, reason: str) -> None:
        """Remember why the platform does not take a figure; it is tried again later, and ever later."""
        self.refused[sku] = reason
        self.refusals[sku] += 1
        self.defer(sku, min(REFUSED_MAX_S, REFUSED_S * 2.0 ** (self.refusals[sku] - 1)))

    def look_again(self, sku: str, seconds: float, *, partners: bool = False) -> None:
        """Make a SKU dirty after a while, for the *partners* too: they may have units to give."""
        self.again_s[sku] = (self.clock.monotonic_s() + seconds, partners)

    def due_again(self) -> dict[str, bool]:
        """Take out what is to be looked at again now: SKU -> partners too."""
        now_s = self.clock.monotonic_s()
        due = {sku: partners for sku, (at_s, partners) in self.again_s.items() if at_s <= now_s}
        for sku in due:
            del self.again_s[sku]
        return due

    def published(self, sku: str, *, crossed: bool) -> None:
        """Take note of a figure that was applied."""
        now_s = self.clock.monotonic_s()
        self.written += 1
        self.refused.pop(sku, None)
        self.refusals.pop(sku, None)
        self.gaps.pop(sku, None)
        self.shows.pop(sku, None)
        self.unclear.discard(sku)
        since_ms = self.since_ms.pop(sku, None)
        if since_ms is None:
            return
        lag_s = (self.clock.now_ms() - since_ms) / 1000
        self.lag.note(lag_s, now_s)
        if crossed:
            self.zero_lag.note(lag_s, now_s)

    def note_missing(self, row: Listing, shows: int, at_ms: int) -> None:
        """Remember that the platform shows less than believed: orders must explain it, and a mirror not undo it."""
        left = self.suspects[row.sku].missing if row.sku in self.suspects else 0
        missing = max(0, min(row.exposed, max(0, row.figure) + left) - shows)
        if missing:
            self.suspects[row.sku] = Suspicion(at_ms=at_ms, missing=missing, figure=shows)
        self.shows[row.sku] = Sighting(shows, row)

    def explain(self, sold: Mapping[str, int]) -> None:
        """Count orders that came, in units by SKU, against what the platform was seen to lack."""
        for sku in sold.keys() & self.suspects.keys():
            rest = self.suspects[sku].seen(sold[sku])
            if rest.missing:
                self.suspects[sku] = rest
            else:
                del self.suspects[sku]

    def note_unclear(self, sku: str, *, unclear: bool) -> None:
        """Remember whether units were sold of which nobody knows if the figure that was written lacks them."""
        if unclear:
            self.unclear.add(sku)
        else:
            self.unclear.discard(sku)

    def clear_up(self, row: Listing, shows: int) -> bool:
        """
        Take note of what the platform shows, and say whether an unclear figure lacks units.

        It is unclear then until it has settled again, and is not raised: an order may still be on its way.
        """
        lacks = row.sku in self.unclear and row.state is ListingState.IDLE and UNKNOWN < shows < row.figure
        self.note_unclear(row.sku, unclear=lacks)
        return lacks

    def check_in_s(self) -> float:
        """Return how long until figures are read that are unclear: what becomes so meanwhile is read with them."""
        return max(0.0, self.read_s + CHECK_S - self.clock.monotonic_s())

    def is_right(self, sku: str) -> None:
        """Take note of a SKU that shows what it should."""
        self.since_ms.pop(sku, None)
        self.until_s.pop(sku, None)

    def note_gap(self, sku: str, reason: str) -> None:
        """Remember a SKU that cannot be published."""
        if len(self.gaps) < GAPS or sku in self.gaps:
            self.gaps[sku] = reason

    def note_platform_ms(self, at_ms: int) -> None:
        """Learn the platform's clock."""
        if at_ms > 0:
            self.skew_ms = at_ms - self.clock.now_ms()

    def platform_ms(self) -> int:
        """Return the platform's clock as far as is known, rather later than earlier."""
        return self.clock.now_ms() + self.skew_ms + 1000

    def lag_of(self, window: LagWindow) -> Lag:
        """Return what a window tells."""
        now_s = self.clock.monotonic_s()
        return Lag(
            p50_s=window.percentile(0.5, now_s),
            p99_s=window.percentile(0.99, now_s),
            count=window.count,
            sum_s=window.sum_s,
            buckets=tuple(window.buckets),
        )

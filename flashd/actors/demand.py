"""How each SKU sells on each channel, as the listings tell it: every process that looks comes to the same view."""

from __future__ import annotations

from flashd.domain.listing import Listing
from flashd.domain.pace import SellRate


class Pulse:
    """One SKU on one channel."""

    def __init__(self, now_s: float) -> None:
        self.rate = SellRate()
        self.first_s = now_s
        self._stamp: tuple[object, ...] | None = None
        self._seen = 0
        self._given_s = now_s
        self._shown_s = now_s

    def note(self, row: Listing, now_s: float) -> int:
        """Take note of a listing; return how many units were seen to be sold since the last look."""
        stamp = (row.key, row.began_ms, row.written_ms)
        first, fresh = self._stamp is None, stamp != self._stamp
        units = 0 if first else max(0, row.seen if fresh else row.seen - self._seen)
        if fresh and not first and row.to > max(0, row.was):
            self._given_s = now_s
        if row.figure > 0:
            self._shown_s = now_s
        self._stamp, self._seen = stamp, row.seen
        self.rate.note(units, now_s)
        return units

    def idle_s(self, now_s: float) -> float:
        """Return how long it has neither sold anything nor been given any."""
        return min(self.rate.idle_s(now_s), now_s - self._given_s)

    def zero_s(self, now_s: float) -> float:
        """Return for how long it has shown nothing."""
        return now_s - self._shown_s


class Demand:
    """The pulses of all SKUs that were looked at, and how fast their stock goes over all channels together."""

    def __init__(self) -> None:
        self.sales = 0  # units seen to be sold on the watched channel
        self.watched = ""
        self._pulses: dict[tuple[str, str], Pulse] = {}
        self._taken: dict[str, tuple[int, SellRate]] = {}
        self._fresh: dict[str, int] = {}

    def note(self, channel: str, row: Listing, now_s: float) -> None:
        """Take note of a listing."""
        pulse = self._pulses.get((channel, row.sku))
        if pulse is None:
            pulse = self._pulses[channel, row.sku] = Pulse(now_s)
        units = pulse.note(row, now_s)
        if channel == self.watched and units:
            self.sales += units
            self._fresh[row.sku] = self._fresh.get(row.sku, 0) + units

    def note_stock(self, sku: str, taken: int, now_s: float) -> None:
        """Take note of how many units of a SKU are held or sold."""
        before, rate = self._taken.get(sku, (taken, SellRate()))
        rate.note(taken - before, now_s)
        self._taken[sku] = (taken, rate)

    def stock_rate(self, sku: str, now_s: float) -> float:
        """Return units a second that leave over all channels."""
        found = self._taken.get(sku)
        return found[1].per_s(now_s) if found else 0.0

    def pulse(self, channel: str, sku: str) -> Pulse:
        """Return the pulse of a SKU that was looked at."""
        return self._pulses[channel, sku]

    def quiet_s(self, channel: str, sku: str, now_s: float) -> float:
        """Return for how long it has not sold, counted from the first look at most."""
        pulse = self._pulses[channel, sku]
        return min(pulse.rate.idle_s(now_s), now_s - pulse.first_s)

    def take_fresh(self) -> dict[str, int]:
        """Return the units sold on the watched channel since this was asked last, by SKU."""
        fresh, self._fresh = self._fresh, {}
        return fresh

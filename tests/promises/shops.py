"""
Platforms that sell from a stock of their own, tell late, twice, in any order or not at all, and lose replies.

They know nothing of flashd: no code of it is imported here. A shop never sells below its own figure.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Told:
    """One version of an order, as the shop tells it."""

    order: str
    units: int
    version: int
    placed_ms: int
    cancelled: bool


@dataclass
class Purchase:
    """What the shop itself knows of an order."""

    told: Told
    changed_ms: int
    reduced: bool  # its units have left the figure; until then they are reserved


@dataclass
class Write:
    """A request that is on its way to the shop."""

    to: int
    key: str
    was: int | None  # None: overwrites whatever it is
    until_ms: int  # it lands before this, or never
    lost: bool = False  # it never reaches the shop
    deaf: bool = False  # the shop's answer never comes back
    landed: bool = False
    answer: tuple[bool, int, int] | None = None  # applied, the figure then, at ms of the shop's clock


@dataclass
class Shop:
    """One shop with one SKU."""

    name: str
    compares: bool  # takes a figure only in place of another that must be named
    honours_keys: bool = False  # a write repeated under its key answers as the first did
    reduces_late: bool = False  # takes stock when the order is paid, and reserves it until then
    restocks: bool = True  # a cancelled order's units are on sale again at once
    offset_ms: int = 0  # of its clock
    grain_ms: int = 1  # its clock tells no finer than this
    figure: int = 0
    added: int = 0  # by human hands
    sold: int = 0  # net, units that buyers have bought
    purchases: dict[str, Purchase] = field(default_factory=dict)
    mail: list[Told] = field(default_factory=list)
    answers: dict[str, tuple[bool, int, int]] = field(default_factory=dict)
    serial: int = 0

    @property
    def reserved(self) -> int:
        return sum(p.told.units for p in self.purchases.values() if not p.reduced and not p.told.cancelled)

    @property
    def available(self) -> int:
        return self.figure - self.reserved

    def stamp(self, now_ms: int) -> int:
        """The shop's clock as it writes it: rounded down."""
        now_ms += self.offset_ms
        return now_ms - now_ms % self.grain_ms

    def surely_by(self, now_ms: int) -> int:
        """An instant by which what is true now was true: rounded up."""
        return self.stamp(now_ms) + (self.grain_ms if self.grain_ms > 1 else 0)

    # ----------------------------------------------------------------------------------------------------- what it does

    def buy(self, units: int, now_ms: int) -> str | None:
        """Sell, if there is enough; return the order's id."""
        if units < 1 or self.available < units:
            return None
        self.serial += 1
        order = f"{self.name}-{self.serial}"
        told = Told(order, units, 1, self.stamp(now_ms), cancelled=False)
        self.purchases[order] = Purchase(told, self.stamp(now_ms), reduced=not self.reduces_late)
        if not self.reduces_late:
            self.figure -= units
        self.sold += units
        self.mail.append(told)
        return order

    def _tell(self, order: str, now_ms: int, *, cancelled: bool) -> None:
        purchase = self.purchases[order]
        purchase.told = replace(purchase.told, version=purchase.told.version + 1, cancelled=cancelled)
        purchase.changed_ms = self.stamp(now_ms)
        self.mail.append(purchase.told)

    def pay(self, order: str, now_ms: int) -> None:
        """Take the stock of an order that was placed before."""
        purchase = self.purchases[order]
        if not purchase.reduced and not purchase.told.cancelled:
            purchase.reduced = True
            self.figure -= purchase.told.units
            self._tell(order, now_ms, cancelled=False)

    def cancel(self, order: str, now_ms: int) -> None:
        purchase = self.purchases[order]
        if purchase.told.cancelled:
            return
        if purchase.reduced and self.restocks:
            self.figure += purchase.told.units
        self.sold -= purchase.told.units
        self._tell(order, now_ms, cancelled=True)

    def edit(self, delta: int) -> None:
        """A human changes the figure in the shop's own pages."""
        to = max(0, self.figure + delta)
        self.added += max(0, to - self.figure)
        self.figure = to

    # ---------------------------------------------------------------------------------------------------------- its API

    def land(self, write: Write, now_ms: int) -> None:
        """The request arrives."""
        if write.landed or write.lost or now_ms >= write.until_ms:
            return
        write.landed = True
        write.answer = self.take(write.to, write.key, write.was, now_ms)

    def take(self, to: int, key: str, was: int | None, now_ms: int) -> tuple[bool, int, int]:
        if self.honours_keys and key in self.answers:
            return self.answers[key]
        applied = was is None or was == self.figure
        if applied:
            self.figure = to
        self.answers[key] = (applied, self.figure, self.surely_by(now_ms))
        return self.answers[key]

    def read(self, now_ms: int) -> tuple[int, int]:
        return self.figure, self.surely_by(now_ms)

    def changed_since(self, since_ms: int) -> list[Told]:
        return [p.told for p in self.purchases.values() if p.changed_ms >= since_ms]

    def deliver(self, dice: random.Random) -> Told | None:
        """Some webhook arrives: any of those on their way, perhaps for a second time, perhaps never."""
        if not self.mail:
            return None
        told = self.mail.pop(dice.randrange(len(self.mail)))
        fate = dice.random()
        if fate < 0.1:
            return None
        if fate < 0.2:
            self.mail.append(told)
        return told

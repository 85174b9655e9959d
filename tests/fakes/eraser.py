"""Forgetting without a store: orders are names, and what is erased of them is remembered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from msgspec.structs import replace

from flashd.domain.privacy import Demand, Forgotten, Person, Scrubbed, ScrubCode
from flashd.errors import NotFound, StoreUnavailable
from tests.fakes.clock import FakeClock


@dataclass
class FakeEraser:
    """*kept* is what a person's orders are, by e-mail address, and *quarantined* what their bodies are."""

    clock: FakeClock
    pool: str = "main"
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    quarantined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    forgotten: list[tuple[Person, str]] = field(default_factory=list)
    book: dict[str, Demand] = field(default_factory=dict)
    swept: list[int] = field(default_factory=list)
    due: int = 0  # orders that the next sweep erases
    scrubs: list[tuple[float, int]] = field(default_factory=list)
    scrubbed: Scrubbed | None = field(default_factory=lambda: Scrubbed(code=ScrubCode.CLEAN, mend=("backups",)))
    down: bool = False

    def _ask(self) -> None:
        if self.down:
            raise StoreUnavailable("away")

    async def forget(
        self, person: Person, *, by: str, dry_run: bool = False, journal: bool = True, bodies: bool = True
    ) -> Forgotten:
        self._ask()
        named = tuple(f"{person.channel}:{order_id}" for order_id in person.orders)
        done = Forgotten(
            erased=named + self.kept.get(person.email, ()), quarantined=self.quarantined.get(person.email, ())
        )
        if not dry_run:
            self.forgotten.append((person, by))
            self.kept.pop(person.email, None)
            if bodies:
                self.quarantined.pop(person.email, None)
        return done

    async def sweep(self, after_ms: int) -> int:
        self._ask()
        self.swept.append(after_ms)
        gone, self.due = self.due, 0
        return gone

    async def scrub(self, *, wait_s: float = 0.0, least_ms: int = 0) -> Scrubbed | None:
        self._ask()
        self.scrubs.append((wait_s, least_ms))
        return self.scrubbed

    async def demand(self, demand: Demand, body: bytes) -> str:
        self._ask()
        demand_id = hashlib.sha256(body).hexdigest()[:8]
        self.book.setdefault(demand_id, replace(demand, id=demand_id, at_ms=self.clock.now_ms()))
        return demand_id

    async def demands(self) -> list[Demand]:
        self._ask()
        return list(self.book.values())

    async def meet(self, demand_id: str, *, by: str, outcome: str) -> Demand:
        self._ask()
        if demand_id not in self.book:
            raise NotFound("there is no such demand")
        known = self.book[demand_id]
        if not known.met_ms:
            nobody = Person(channel=known.person.channel)
            known = replace(known, person=nobody, met_ms=self.clock.now_ms(), by=by, outcome=outcome)
            self.book[demand_id] = known
        return known

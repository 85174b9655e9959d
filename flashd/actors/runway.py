"""Flights that are under way and those that wait for a place: one that landed lets the next one go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from flashd.actors.delivery import Courier
from flashd.actors.flight import Flight
from flashd.actors.settler import Spawn


class Runway:
    """
    Lets no more requests be under way than there are places.

    Args:
        landed: Called with each flight that ended; what it carried is concluded, or was a look-up that did not leave.
    """

    def __init__(self, courier: Courier, *, spawn: Spawn, landed: Callable[[Flight], None]) -> None:
        self.flights: set[Flight] = set()
        self.places = 1  # how many may be under way
        self._courier = courier
        self._spawn = spawn
        self._landed = landed
        self._waiting: deque[Flight] = deque()
        self._under_way = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    def clear(self) -> None:
        """Forget all: a new life of the actor begins."""
        self.flights.clear()
        self._waiting.clear()
        self._under_way = 0

    def fly(self, flight: Flight) -> None:
        """Let it go, or wait for a place."""
        self.flights.add(flight)
        self._waiting.append(flight)
        if self._under_way < self.places:
            self._under_way += 1
            self._spawn(self._carry(self._waiting.popleft()), name="flight")

    async def _carry(self, flight: Flight) -> None:
        """Carry one flight after the other, in one task: a task for each costs a tenth of what a request does."""
        while True:
            await self._courier.carry(flight)
            self.flights.discard(flight)
            self._landed(flight)
            if not self._waiting or self._under_way > self.places:
                break
            flight = self._waiting.popleft()
        self._under_way -= 1

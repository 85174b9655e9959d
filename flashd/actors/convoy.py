"""
What the channels of a pool wish for at the same time travels as one call.

Each channel has a row of its own, where its wishes wait; whenever a call may leave, it takes from all rows in turn, so
that a flood in one row holds up the others by its share of a call and no more. Nothing waits for company: a call leaves
in the turn of the loop after the one in which it was asked for, with all that came by then, or at once when ENOUGH have
come and the store is not BUSY; and more gathers only while as many calls as may be are under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flashd.actors.row import Row
from flashd.actors.wish import Wish
from flashd.domain.order import OrderState
from flashd.errors import Busy, FlashdError, Transient
from flashd.ports import Soon, StockLedger

CALLS_IN_FLIGHT = 8
ITEMS = 96  # of one call, but for a wish that is larger by itself: the store works on it while the next is read
ENOUGH = 16  # of them leave without waiting for the end of the turn: the store works on them while the rest is read,
BUSY = 2  # unless as many calls are under way: it has enough to do, and what a call costs by itself is saved

_Group = list[tuple[Row, list[Wish]]]  # whose, and what
_Ask = Callable[[_Group], Soon[Sequence[Any]]]


class _Trip:
    """What left together, and how many of its calls are not answered yet."""

    __slots__ = ("calls", "group")

    def __init__(self, group: _Group) -> None:
        self.group = group
        self.calls = 0

    def of(self, *, holds: bool) -> _Group:
        """Return the part that is holds, or orders."""
        return [(row, found) for row, taken in self.group if (found := [one for one in taken if one.is_hold is holds])]


class Convoy:
    """
    The ledger of one pool, as its channels' wishes reach it.

    Args:
        ledger: The pool's.
        wake: Told which backend has something new to deliver.
        moved: Told that stock may have moved.
    """

    def __init__(
        self,
        ledger: StockLedger,
        *,
        wake: Callable[[str], object] = lambda _backend: None,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        self.ledger = ledger
        self._wake = wake
        self._moved = moved
        self._called: deque[Row] = deque()
        self._under_way = 0  # trips
        self._came = 0  # orders and holds since the last call left
        self._is_due = self._is_leaving = False

    def call(self, row: Row, came: int) -> None:
        """Take what waits in *row*, as soon as a call may leave; *came* is how many orders or holds have just come."""
        if not row.is_called:
            row.is_called = True
            self._called.append(row)
        self._came += came
        if self._is_leaving or self._under_way >= CALLS_IN_FLIGHT:
            return
        if self._came >= ENOUGH and self._under_way < BUSY:
            self._leave()
        elif not self._is_due:
            self._leave_soon()

    def _leave_soon(self) -> None:
        self._is_due = True
        asyncio.get_running_loop().call_soon(self._leave_in_time)

    def _leave_in_time(self) -> None:
        self._is_due = False
        self._leave()

    def _leave(self) -> None:
        self._is_leaving = True  # whoever is told meanwhile may wish for more
        try:
            while self._called and self._under_way < CALLS_IN_FLIGHT:
                self._came = 0
                group = self._gather()
                if group:
                    self._under_way += 1
                    self._travel(_Trip(group))
        finally:
            self._is_leaving = False

    def _gather(self) -> _Group:
        """Take from each row its share of one call; what is left there waits for the next."""
        if sum([row.waits for row in self._called]) <= ITEMS:
            return self._gather_all()
        group: _Group = []
        room, before = ITEMS, 0
        while self._called and room > 0 and room != before:
            before = room
            for rows_left in range(len(self._called), 0, -1):
                row = self._called.popleft()
                taken = row.take(room // rows_left, at_least_one=not group)
                if taken:
                    group.append((row, taken))
                    room -= sum([len(wish.items) for wish in taken])
                row.is_called = row.waits > 0
                if row.is_called:
                    self._called.append(row)
        self._called.rotate(-1)  # else who stands first would stay so, and a wish larger than its share never would
        return group

    def _gather_all(self) -> _Group:
        called, self._called = self._called, deque()
        for row in called:
            row.is_called = False  # whoever is refused in his turn may wish for more
        return [(row, taken) for row in called if (taken := row.take_all())]

    def _travel(self, trip: _Trip) -> None:
        """Make one call of the orders and one of the holds, at once."""
        kinds = {wish.is_hold for _, taken in trip.group for wish in taken}
        trip.calls = len(kinds)
        for is_hold in sorted(kinds):
            part = trip.group if len(kinds) == 1 else trip.of(holds=is_hold)
            self._ask(trip, part, self._hold if is_hold else self._accept)

    def _ask(self, trip: _Trip, group: _Group, ask: _Ask) -> None:
        try:
            soon = ask(group)
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes to the askers
            self._fail(trip, group, ask, error)
        else:
            soon.tell(lambda answered: self._hear(trip, group, ask, answered))

    def _hear(self, trip: _Trip, group: _Group, ask: _Ask, answered: Soon[Sequence[Any]]) -> None:
        """Hand the replies over; whatever happens, nobody is left unanswered."""
        try:
            replies = answered.result()
        except asyncio.CancelledError:
            self._fail(trip, group, ask, Transient("cut off in the middle"))
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(trip, group, ask, error)
        else:
            at = 0
            for _, taken in group:
                for wish in taken:
                    end = at + len(wish.items)
                    wish.answer(replies[at:end])
                    at = end
            self._arrive(trip)

    def _fail(self, trip: _Trip, group: _Group, ask: _Ask, error: Exception) -> None:
        """Answer with an error; a call that is refused as a whole is made again for each channel alone."""
        if len(group) > 1 and not isinstance(error, Transient | Busy):
            trip.calls += len(group) - 1
            for part in group:  # asking again is safe by the ids, and nobody answers for another channel's orders
                self._ask(trip, [part], ask)
            return
        for row, taken in group:
            for wish in taken:
                wish.fail(error)
            if not isinstance(error, FlashdError):
                row.broke(error)
        self._arrive(trip)

    def _arrive(self, trip: _Trip) -> None:
        trip.calls -= 1
        if trip.calls:
            return
        self._under_way -= 1
        for row, taken in trip.group:
            row.settle(taken)
        try:
            self._moved()
        except Exception as error:  # noqa: BLE001  # of who is told, not of the ledger
            context = {"message": "what follows a call failed; its orders are answered", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        if self._called and not self._is_due:  # there was no room for one more call
            self._leave_soon()

    def _accept(self, group: _Group) -> Soon[Sequence[Any]]:
        orders: list[Any] = []
        backends: list[str] = []
        since_ms: list[int] = []
        for row, taken in group:
            for wish in taken:
                orders += wish.items
                backends += wish.backends
            since_ms += [row.since_ms()] * (len(orders) - len(since_ms))

        def wake(answered: Soon[Any]) -> Sequence[Any]:
            replies: Sequence[Any] = answered.result()
            for name in {name for name, one in zip(backends, replies, strict=True) if one.state is OrderState.QUEUED}:
                self._wake(name)
            return replies

        return self.ledger.accept(orders, backends, since_ms=since_ms).then(wake)

    def _hold(self, group: _Group) -> Soon[Sequence[Any]]:
        requests: list[Any] = []
        for _, taken in group:
            for wish in taken:
                requests += wish.items
        return self.ledger.hold(requests)

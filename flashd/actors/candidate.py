"""What could go out next: peeked from the outboxes, in turns, and taken by name, as many as may share a request."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from flashd.actors.company import Companies, Key
from flashd.actors.roll_call import RollCall
from flashd.actors.settler import Spawn
from flashd.domain.delivery import Delivery
from flashd.domain.order import Kind, OrderRef
from flashd.errors import StoreUnavailable
from flashd.ports import Outbox

LOOK_S = 0.25  # doubts are rare: asking for them with every send would cost a round trip each
_PEEK = 32


@dataclass(slots=True, eq=False)
class Candidate:
    """One item that may be sent, or looked up: *delivery* is known then, and of a send once it is claimed."""

    outbox: Outbox
    ref: OrderRef
    is_lookup: bool = False
    delivery: Delivery | None = None

    @property
    def key(self) -> Key:
        """Its name over all pools."""
        return self.outbox.pool, self.ref


class Candidates:
    """
    Items to send and items to look up, by turns, so that neither starves the other; pools take turns as well.

    A request may carry items of several pools: the backend knows no pools, and many small ones would fill none.

    Args:
        in_hand: What is under way already: left out.
        companies: Who may share a request.
        spawn: Runs what the flow need not wait for.
        stir: Called when there is something that was not there before.
    """

    def __init__(
        self,
        outboxes: Sequence[Outbox],
        in_hand: Container[Key],
        companies: Companies,
        *,
        spawn: Spawn,
        stir: Callable[[], None],
    ) -> None:
        self._spawn = spawn
        self._stir = stir
        self._pools = RollCall(outboxes)
        self._in_hand = in_hand
        self._companies = companies
        self._due: deque[Candidate] = deque()
        self._doubtful: deque[Candidate] = deque()
        self._held: set[Key] = set()
        self._exhausted = False  # nothing more was due, in this round
        self._lookup_next = True
        self._looked_s = -LOOK_S

    def begin(self) -> None:
        """Begin a round: what the last one took is under way now, or may be taken again."""
        self._held.clear()
        self._exhausted = False

    def clear(self) -> None:
        """Forget what was peeked."""
        self._due.clear()
        self._doubtful.clear()
        self._looked_s = -LOOK_S

    def leave_out(self, pool: str, now_s: float) -> None:
        """Take nothing of a pool that did not answer, for a while."""
        self._pools.leave_out(pool, now_s)
        for queue in (self._due, self._doubtful):
            others = [candidate for candidate in queue if candidate.outbox.pool != pool]
            queue.clear()
            queue.extend(others)

    def give_back(self, group: Sequence[Candidate]) -> None:
        """Put these back in front: there was no drop for them, and it is their turn still."""
        self._lookup_next = group[0].is_lookup
        for candidate in reversed(group):
            self._held.discard(candidate.key)
            (self._doubtful if candidate.is_lookup else self._due).appendleft(candidate)

    async def take(
        self, now_s: float, *, lookups: bool, prefer_lookup: bool = False, most: int = 1, ahead: int = 1
    ) -> list[Candidate]:
        """
        Return the next candidate and those that go with it; none where nothing is due, none twice in a round.

        Args:
            now_s: The time, by a clock that never goes back.
            lookups: Look-ups are requests and take turns with sends; otherwise they cost nothing and come first.
            prefer_lookup: Probe by a look-up where one is due: it adds no new doubt.
            most: How many may share a request.
            ahead: How many items to peek at once: what will be taken soon.
        """
        if not self._doubtful and now_s >= self._looked_s + LOOK_S:
            self._looked_s = now_s
            if prefer_lookup:
                await self._look(most)
            else:  # they are rare: a flow that waited for them four times a second would lose that time
                self._spawn(self._look(most), name="look")
        if len(self._due) < most and not self._exhausted:
            wanted = max(_PEEK, ahead)
            self._due = deque(await self._peek_due(wanted, now_s))
            self._exhausted = len(self._due) < most
        self._drop_in_hand()
        first = self._doubtful if self._lookup_next or prefer_lookup or not lookups else self._due
        queue = first or self._due or self._doubtful
        if not queue:
            return []
        self._lookup_next = queue is self._due
        return self._gather(queue, most)

    def _gather(self, queue: deque[Candidate], most: int) -> list[Candidate]:
        """Take the first, and those behind it that may share its request: new orders of one company."""
        group = [queue.popleft()]
        first = group[0]
        self._held.add(first.key)
        if most == 1 or first.ref.kind is not Kind.CREATE:
            return group
        company = self._companies.of(first.key, lookup=first.is_lookup)
        while queue and len(group) < most:
            candidate = queue[0]
            if not self._is_free(candidate.key):
                queue.popleft()
            elif (
                candidate.ref.kind is Kind.CREATE
                and self._companies.of(candidate.key, lookup=candidate.is_lookup) == company
            ):
                group.append(queue.popleft())
                self._held.add(candidate.key)
            else:
                break
        return group

    def _is_free(self, key: Key) -> bool:
        return key not in self._in_hand and key not in self._held

    def _drop_in_hand(self) -> None:
        for queue in (self._due, self._doubtful):
            while queue and not self._is_free(queue[0].key):
                queue.popleft()

    async def _peek_due(self, limit: int, now_s: float) -> list[Candidate]:
        found = await self._pools.ask(lambda outbox: outbox.due(limit), now_s)
        return _by_turns(
            [[Candidate(outbox, ref) for ref in refs if self._is_free((outbox.pool, ref))] for outbox, refs in found]
        )

    async def _look(self, most: int) -> None:
        with contextlib.suppress(StoreUnavailable):  # the flow finds it out by itself
            found = await self._peek_doubtful(most)
            if found and not self._doubtful:
                self._doubtful.extend(found)
                self._stir()

    async def _peek_doubtful(self, most: int) -> list[Candidate]:
        found = await self._pools.ask(lambda outbox: outbox.doubtful(max(_PEEK, most)), self._looked_s)
        return _by_turns(
            [
                [
                    Candidate(outbox, delivery.ref, is_lookup=True, delivery=delivery)
                    for delivery in deliveries
                    if self._is_free((outbox.pool, delivery.ref))
                ]
                for outbox, deliveries in found
            ]
        )


def _by_turns(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    longest = max((len(group) for group in groups), default=0)
    return [group[index] for index in range(longest) for group in groups if index < len(group)]

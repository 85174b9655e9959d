"""What could go out next: peeked from the outboxes, in turns, and taken by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

from flashd.domain.delivery import Delivery
from flashd.domain.order import OrderRef
from flashd.ports import Outbox

LOOK_S = 0.25  # doubts are rare: asking for them with every send would cost a round trip each
_PEEK = 32


@dataclass(frozen=True)
class Wish:
    """One item that may be sent, or (with its *delivery*) looked up."""

    outbox: Outbox
    ref: OrderRef
    delivery: Delivery | None = None


class Candidates:
    """
    Items to send and items to look up, by turns, so that neither starves the other; pools take turns as well.

    Args:
        in_hand: What is under way already: left out.
    """

    def __init__(self, outboxes: Sequence[Outbox], in_hand: Container[tuple[str, OrderRef]]) -> None:
        self._outboxes = outboxes
        self._in_hand = in_hand
        self._due: deque[Wish] = deque()
        self._doubtful: deque[Wish] = deque()
        self._held: set[tuple[str, OrderRef]] = set()
        self._lookup_next = True
        self._looked_s = -LOOK_S

    def begin(self) -> None:
        """Begin a round: what the last one took is under way now, or may be taken again."""
        self._held.clear()

    def clear(self) -> None:
        """Forget what was peeked."""
        self._due.clear()
        self._doubtful.clear()
        self._looked_s = -LOOK_S

    def give_back(self, wish: Wish) -> None:
        """Put one back in front: there was no drop for it."""
        self._held.discard((wish.outbox.pool, wish.ref))
        (self._due if wish.delivery is None else self._doubtful).appendleft(wish)

    async def take(self, now_s: float, *, lookups: bool, prefer_lookup: bool = False) -> Wish | None:
        """
        Return the next candidate, or None where nothing is due; none is returned twice in a round.

        Args:
            now_s: The time, by a clock that never goes back.
            lookups: Look-ups are requests and take turns with sends; otherwise they cost nothing and come first.
            prefer_lookup: Probe by a look-up where one is due: it adds no new doubt.
        """
        self._drop_in_hand()
        if not self._doubtful and now_s >= self._looked_s + LOOK_S:
            self._looked_s = now_s
            self._doubtful.extend(await self._peek_doubtful())
        if not self._due:
            self._due.extend(await self._peek_due())
        first = self._doubtful if self._lookup_next or prefer_lookup or not lookups else self._due
        queue = first or self._due or self._doubtful
        if not queue:
            return None
        self._lookup_next = queue is self._due
        wish = queue.popleft()
        self._held.add((wish.outbox.pool, wish.ref))
        return wish

    def _is_free(self, outbox: Outbox, ref: OrderRef) -> bool:
        return (outbox.pool, ref) not in self._in_hand and (outbox.pool, ref) not in self._held

    def _drop_in_hand(self) -> None:
        for queue in (self._due, self._doubtful):
            while queue and not self._is_free(queue[0].outbox, queue[0].ref):
                queue.popleft()

    async def _peek_due(self) -> list[Wish]:
        found = [
            [Wish(outbox, ref) for ref in await outbox.due(_PEEK) if self._is_free(outbox, ref)]
            for outbox in self._outboxes
        ]
        return _by_turns(found)

    async def _peek_doubtful(self) -> list[Wish]:
        found = [
            [
                Wish(outbox, delivery.ref, delivery)
                for delivery in await outbox.doubtful(_PEEK)
                if self._is_free(outbox, delivery.ref)
            ]
            for outbox in self._outboxes
        ]
        return _by_turns(found)


def _by_turns(groups: Sequence[Sequence[Wish]]) -> list[Wish]:
    longest = max((len(group) for group in groups), default=0)
    return [group[index] for index in range(longest) for group in groups if index < len(group)]

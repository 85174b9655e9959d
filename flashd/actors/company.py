"""Who may share a request, after one that carried several was refused as a whole or was not answered."""

from __future__ import annotations

from collections.abc import Sequence

from flashd.domain.order import OrderRef

_REMEMBERED = 10_000  # items; one that is forgotten travels with anybody, which costs requests and no order

Key = tuple[str, OrderRef]  # a pool and an item of it


class Companies:
    """
    Halves of requests that went wrong: their members travel with each other and with nobody else.

    So whoever was the reason is alone after as many requests as the company can be halved, and nobody whose request
    went well is drawn in. It is the leader's memory: lost with it.
    """

    def __init__(self) -> None:
        self._half_of: dict[tuple[bool, Key], int] = {}
        self._last = 0

    def of(self, key: Key, *, lookup: bool = False) -> int:
        """Return the half that the item is sent (or looked up) in, 0 where with anybody else who has none."""
        return self._half_of.get((lookup, key), 0)

    def split(self, members: Sequence[Key], *, lookup: bool = False) -> None:
        """Let *members* be sent (or looked up) in two halves from now on; one alone goes alone."""
        middle = (len(members) + 1) // 2
        for half in (members[:middle], members[middle:]):
            self._last += 1
            for key in half:
                self._half_of.pop((lookup, key), None)  # the newest stand last
                self._half_of[lookup, key] = self._last
        while len(self._half_of) > _REMEMBERED:
            del self._half_of[next(iter(self._half_of))]

    def leave(self, key: Key) -> None:
        """Forget an item that is settled."""
        self._half_of.pop((False, key), None)
        self._half_of.pop((True, key), None)

    def clear(self) -> None:
        """Forget all."""
        self._half_of.clear()

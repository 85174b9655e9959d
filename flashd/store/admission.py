"""What a server that was located must answer before it is used: who was elected may lack what the contract asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flashd.store import settings
from flashd.store.keys import generation_key
from flashd.store.line import Command


class Primacy:
    """
    An Admission: the server is a primary, keeps what is promised, and has the data of these pools.

    Before the start-up contract was found to hold, only the role is asked for.
    """

    def __init__(self) -> None:
        self._durability = ""
        self._generations: dict[str, str] = {}

    def expect(self, durability: str, generations: Mapping[str, str]) -> None:
        """From now on refuse a server that keeps less than *durability*, or holds another life of these pools."""
        self._durability = durability
        self._generations |= generations

    def questions(self) -> Sequence[Command]:
        """Return what to ask."""
        asked: list[Command] = [("ROLE",)]
        if self._durability:
            asked.append(("CONFIG", "GET", *settings.NAMES))
            asked += [("HGET", generation_key(pool), "generation") for pool in self._generations]
        return asked

    def refuse(self, replies: Sequence[Any]) -> str:
        """Say what is wrong with the server that answered so, or ""."""
        (role, *_), *rest = replies
        wrong = settings.refuse_role(_text(role))
        if rest and not wrong:
            wrong += settings.refuse_settings(_pairs(rest[0]), self._durability)
            for (pool, wanted), found in zip(self._generations.items(), rest[1:], strict=True):
                if found is None:
                    wrong.append(f"it does not know pool {pool!r}: it never was a replica of this store, or is empty")
                elif _text(found) != wanted:
                    wrong.append(f"pool {pool!r} is another life of the store (generation {_text(found)})")
        return "; ".join(wrong)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _pairs(reply: Any) -> dict[str, str]:
    """Read names and values, which come as a map by RESP3 and in turn by RESP2."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}

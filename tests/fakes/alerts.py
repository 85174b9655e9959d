"""Alerts without a store and without a network: a book in memory, and a messenger that answers what it is told to."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flashd.domain.alert import Quota, Standing
from flashd.domain.event import Event, Gap, members_of
from flashd.errors import StoreUnavailable
from flashd.ports import AlertChange, AlertPage, Sent, SentCode, Skimmed


@dataclass
class FakeAlertBook:
    """*faults* loses the reply of the next call that changes (True: it was done) or does not do it (False)."""

    pool: str = "main"
    down: bool = False
    faults: deque[bool | None] = field(default_factory=deque)
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    cursor: str = ""
    quota: Quota = field(default_factory=Quota)
    epoch: int = 0
    token: str = ""

    async def load(self) -> AlertPage:
        if self.down:
            raise StoreUnavailable("away")
        standing = [msgspec.json.decode(one, type=Standing) for one in self.kept.values()]
        standing.sort(key=lambda one: (one.first_ms, one.key))
        return AlertPage(cursor=self.cursor, standing=tuple(standing), quota=self.quota)

    async def change(self, change: AlertChange, *, epoch: int) -> bool:
        fault = self.faults.popleft() if self.faults else None
        if self.down or fault is False:
            raise StoreUnavailable("not done")
        if epoch < self.epoch:
            return False
        if change.token != self.token:
            self._take(change, epoch)
        if fault is True:
            raise StoreUnavailable("done, and the reply is lost")
        return True

    def _take(self, change: AlertChange, epoch: int) -> None:
        self.epoch, self.token, self.cursor = epoch, change.token, change.cursor
        self.quota = self.quota if change.quota is None else change.quota
        for one in change.keep:
            self.kept[one.key] = msgspec.json.encode(one)
        for key in change.drop:
            self.kept.pop(key, None)
        for kind, members in change.say:
            members_of(kind, members)  # refuses what is no fact, as the store does
            self.said.append((kind, dict(members)))

    @property
    def keys(self) -> set[str]:
        return set(self.kept)


@dataclass
class FakeMessenger:
    """Takes every message, unless a test says what it answers instead."""

    answers: deque[Sent] = field(default_factory=deque)
    always: Sent | None = None
    tried: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (id, body), every attempt
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    closed: bool = False

    async def send(self, message_id: str, body: bytes) -> Sent:
        message = (message_id, json.loads(body))
        self.tried.append(message)
        sent = self.answers.popleft() if self.answers else self.always or Sent(code=SentCode.TAKEN)
        if sent.code is SentCode.TAKEN:
            self.taken.append(message)
        return sent

    async def close(self) -> None:
        self.closed = True

    @property
    def told(self) -> list[tuple[str, str]]:
        """Return (type, key) of what was taken."""
        return [(body["type"], body["data"].get("key", "")) for _, body in self.taken]


@dataclass
class FakeJournal:
    """A pool's journal as its feed reads it; `happen` writes."""

    pool: str = "main"
    events: list[Event | Gap] = field(default_factory=list)
    down: bool = False
    reads: int = 0

    def happen(self, kind: str, **data: Any) -> str:
        number = len(self.events) + 1
        self.events.append(Event(id=f"{number}-0", at_ms=number, kind=kind, pool=self.pool, data=data))
        return f"{number}-0"

    async def skim(self, after: str, kinds: Collection[str], *, limit: int = 500) -> Skimmed:
        self.reads += 1
        if self.down:
            raise StoreUnavailable("away")
        first = int(after.partition("-")[0])
        page = self.events[first : first + limit]
        return Skimmed(
            events=tuple(event for event in page if isinstance(event, Gap) or event.kind in kinds),
            upto=(page[-1].first if isinstance(page[-1], Gap) else page[-1].id) if page else after,
            looked=len(page),
        )

    async def last_id(self) -> str:
        if self.down:
            raise StoreUnavailable("away")
        last = self.events[-1] if self.events else None
        return (last.first if isinstance(last, Gap) else last.id) if last is not None else "0"

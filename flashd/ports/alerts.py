"""Telling a person: the way out for messages, and what must outlive a process of the alerts that stand."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from flashd.domain.alert import Quota, Standing


class SentCode(StrEnum):
    """What became of one attempt."""

    TAKEN = "taken"
    AGAIN = "again"  # nobody took it, or nobody knows: the same message again, later
    GONE = "gone"  # the receiver wants nothing more, ever


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one message."""

    code: SentCode
    reason: str = ""
    wait_s: float | None = None  # the receiver asked to be left alone for so long


class Messenger(Protocol):
    """Carries messages to whoever is told. It sends once; repeating is the caller's."""

    async def send(self, message_id: str, body: bytes) -> Sent:
        """Send one message; never raises for what the other side does."""

    async def close(self) -> None:
        """Close connections; fine to call twice."""


class AlertPage(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of one pool's alerts."""

    cursor: str = ""  # up to which event of the pool's journal they were made; "": none yet
    standing: tuple[Standing, ...] = ()
    quota: Quota = Quota()


class AlertChange(msgspec.Struct, frozen=True, kw_only=True):
    """One step: what stands after it, what is said of it in the journal, and the cursor, all or nothing."""

    token: str  # the same change repeated under it changes and says nothing more
    cursor: str
    keep: tuple[Standing, ...] = ()
    drop: tuple[str, ...] = ()  # keys of alerts
    say: tuple[tuple[str, Mapping[str, Any]], ...] = ()  # (kind, members)
    quota: Quota | None = None  # None: as it was


class AlertBook(Protocol):
    """The alerts of one pool. All raise StoreUnavailable: nothing is known, repeat it."""

    pool: str

    async def load(self) -> AlertPage:
        """Return all that is kept."""

    async def change(self, change: AlertChange, *, epoch: int) -> bool:
        """Take one step; False where a later term has taken one: nothing was changed."""

"""The alerts of one pool as their leader keeps them: changed in memory, and durable with the next step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog
from msgspec.structs import replace

from flashd.domain.alarm import Raise, Signal
from flashd.domain.alert import (
    Quota,
    Standing,
    end_alert,
    event_of,
    go_on,
    raise_alert,
    told,
    with_room,
)
from flashd.errors import StoreUnavailable
from flashd.ports import AlertBook, AlertChange

log = structlog.get_logger()


class Fenced(Exception):  # noqa: N818  # not an error: another leads
    """A later term has taken a step: what is in memory here is not the truth any more."""


class StandingAlerts:
    """One pool's alerts in one term. A step whose reply was lost is taken again, as it was, before any other."""

    def __init__(self, book: AlertBook) -> None:
        self.pool = book.pool
        self.known: dict[str, Standing] = {}
        self.cursor = ""
        self.quota = Quota()
        self.being_told: set[str] = set()
        self._book = book
        self.epoch = 0
        self._steps = 0
        self._changed: set[str] = set()
        self._say: list[tuple[str, dict[str, Any]]] = []
        self._pending: AlertChange | None = None
        self._kept = ("", Quota())
        self._lock = asyncio.Lock()

    async def load(self, epoch: int) -> None:
        """Begin a term with what the store keeps. Raises StoreUnavailable."""
        async with self._lock:
            page = await self._book.load()
            self.known = {one.key: one for one in page.standing}
            self.cursor, self.quota = page.cursor, page.quota
            self._kept = (page.cursor, page.quota)
            self.epoch = epoch
            self._changed.clear()
            self._say.clear()
            self._pending = None

    def take(self, signals: Iterable[Signal], now_ms: int) -> None:
        """Raise and end alerts."""
        for signal in signals:
            if isinstance(signal, Raise):
                self._raise(signal, now_ms)
            else:
                self.end(signal.key, now_ms)

    def _raise(self, signal: Raise, now_ms: int) -> None:
        alert = with_room(self.known, signal.alert)
        known = self.known.get(alert.key)
        if signal.lasting and known is not None and known.is_open:
            after = go_on(known, alert, now_ms)
        else:
            after = raise_alert(known, alert, pool=self.pool, now_ms=now_ms, patience_ms=signal.patience_ms)
        if known is not None and not known.is_open and after.is_open:
            self._tell(after, "alert.raised")
        self._put(alert.key, after)

    def end(self, key: str, now_ms: int) -> None:
        """End an alert, if it stands."""
        known = self.known.get(key)
        if known is None or not known.is_open:
            return
        if known.said:
            self._tell(known, "alert.cleared")
        self._put(key, end_alert(known, now_ms, being_told=key in self.being_told))

    def ripen(self, now_ms: int) -> None:
        """Say what has lasted longer than was to be waited for."""
        for one in list(self.known.values()):
            if one.is_open and not one.said and now_ms >= one.due_ms:
                self._tell(one, "alert.raised")
                self._put(one.key, replace(one, said=True))

    def told(self, key: str, message: str, now_ms: int) -> None:
        """Note that the message of that id was taken."""
        known = self.known.get(key)
        if known is not None:
            self._put(key, told(known, message, now_ms))

    def used(self, now_ms: int) -> None:
        """Note that a message left."""
        self.quota = self.quota.used(now_ms)

    def _tell(self, one: Standing, kind: str) -> None:
        say = log.warning if kind == "alert.raised" else log.info
        alert = one.alert
        say(
            kind,
            alert=one.id,
            trouble=str(alert.kind),
            subject=alert.subject,
            pool=self.pool,
            severity=str(alert.severity),
            text=alert.text,
            mend=alert.mend,
        )
        self._say.append((kind, event_of(one)))

    def _put(self, key: str, after: Standing | None) -> None:
        if after == self.known.get(key):
            return
        if after is None:
            self.known.pop(key, None)
        else:
            self.known[key] = after
        self._changed.add(key)

    @property
    def is_changed(self) -> bool:
        """Whether alerts changed since the last step, or a step is not known to be taken."""
        return bool(self._pending or self._changed or self._say or self.quota != self._kept[1])

    async def commit(self) -> None:
        """
        Make durable what changed, and how far the journal was read.

        Raises:
            StoreUnavailable: Nothing is known; the same step is taken again with the next call.
            Fenced: Another leads.
        """
        async with self._lock:
            while self._pending is not None or self.is_changed or self.cursor != self._kept[0]:
                step = self._pending = self._pending or self._step()
                if not await self._book.change(step, epoch=self.epoch):
                    raise Fenced
                self._kept = (step.cursor, self._kept[1] if step.quota is None else step.quota)
                self._pending = None

    def _step(self) -> AlertChange:
        self._steps += 1
        changed, say = sorted(self._changed), tuple(self._say)
        self._changed.clear()
        self._say.clear()
        return AlertChange(
            token=f"{self.epoch}-{self._steps}",
            cursor=self.cursor,
            keep=tuple(self.known[key] for key in changed if key in self.known),
            drop=tuple(key for key in changed if key not in self.known),
            say=say,
            quota=None if self.quota == self._kept[1] else self.quota,
        )


async def committed(pools: Iterable[StandingAlerts]) -> bool:
    """Take the steps of all; say whether all are durable. Raises Fenced."""
    done = True
    for pool in pools:
        try:
            await pool.commit()
        except StoreUnavailable as error:
            log.warning("alerts.not_kept", pool=pool.pool, reason=str(error))
            done = False
    return done

"""
Alerts: what a person is told when a human is needed, how often, and how it ends.

An alert stands under its key from the first sign of trouble until no sign is left, and what was told of it stands with
it: the list of standing alerts is all that is left to be told. No customer data is in any of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from flashd.domain.event import rfc3339

HOUR_MS = 3_600_000
REMIND_AT_MOST_MS = 24 * HOUR_MS  # a trouble without news is told again ever more rarely, and at least so often
STANDING_AT_MOST = 500  # of one pool; what is over shares one alert of its kind
FACTS_AT_MOST = 20  # entries of one list among the facts
SUMMED_AT_MOST = 50  # alerts that a summary names one by one
MANY = "*"  # the subject of those that share one
_OVER = ".over"

Verb = Literal["raised", "cleared"]


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"  # customers or stock are harmed while nobody looks
    WARNING = "warning"


class AlertKind(StrEnum):
    """What is wrong; receivers may sort by it."""

    SHORTFALL = "shortfall"
    DEFICIT = "deficit"
    OVEREXPOSED = "overexposed"
    BACKEND_AWAY = "backend_away"
    BACKEND_PAUSED = "backend_paused"
    CHANNEL_AWAY = "channel_away"
    WEBHOOKS_SILENT = "webhooks_silent"
    IN_DOUBT = "in_doubt"
    NOT_DURABLE = "not_durable"
    DEAD_LETTER = "dead_letter"
    MANUAL = "manual"
    PARKED = "parked"
    QUARANTINED = "quarantined"
    DATA_REQUESTED = "data_requested"
    UNINSTALLED = "uninstalled"
    UNMAPPED = "unmapped"
    REFUSED_FIGURE = "refused_figure"
    PRICE = "price"
    EVENTS_MISSED = "events_missed"
    TEST = "test"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One trouble, in words for whoever is woken by it."""

    kind: AlertKind
    subject: str  # what it is about: a backend, a channel, a SKU ...; with the kind it is the key
    severity: Severity
    text: str
    mend: str  # what to do
    facts: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """Under which it stands: the same trouble is the same alert."""
        return f"{self.kind}:{self.subject}"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is not over, or whose end has not been told yet."""

    alert: Alert
    pool: str
    id: str  # the same from its beginning to its end
    first_ms: int
    last_ms: int  # when the trouble was last seen
    count: int = 1  # how often it happened
    due_ms: int = 0  # nobody hears of it before: it may mend itself
    said: bool = False  # it is in the journal and in the log
    told_ms: int = 0  # when it was last told; 0: never
    told_count: int = 0  # how often it had happened by then
    tellings: int = 0
    over_ms: int = 0  # since when it is over; 0: it is not

    @property
    def key(self) -> str:
        """Under which it stands."""
        return self.alert.key

    @property
    def is_open(self) -> bool:
        """Whether the trouble lasts."""
        return self.over_ms == 0


def raise_alert(known: Standing | None, alert: Alert, *, pool: str, now_ms: int, patience_ms: int = 0) -> Standing:
    """Return what stands after *alert* happened (again)."""
    if known is None:
        digest = hashlib.blake2b(f"{pool}\x1f{alert.key}\x1f{now_ms}".encode(), digest_size=8).hexdigest()
        return Standing(
            alert=alert,
            pool=pool,
            id=f"alert_{digest}",
            first_ms=now_ms,
            last_ms=now_ms,
            due_ms=now_ms + patience_ms,
        )
    facts = _together(known.alert.facts, alert.facts) if known.is_open else alert.facts
    return replace(
        known,
        alert=replace(alert, facts=facts),
        last_ms=max(known.last_ms, now_ms),
        count=known.count + 1,
        over_ms=0,
        due_ms=known.due_ms if known.told_ms else min(known.due_ms, now_ms + patience_ms),
    )


def go_on(known: Standing, alert: Alert, now_ms: int) -> Standing:
    """Return what stands after a trouble was seen to last, in its words of now."""
    return known if alert == known.alert else replace(known, alert=alert, last_ms=max(known.last_ms, now_ms))


def end_alert(known: Standing, now_ms: int, *, being_told: bool = False) -> Standing | None:
    """Return what stands after the trouble ended: nothing, if nobody was told of it, or is being told."""
    if not known.told_ms and not being_told:
        return None
    return known if known.over_ms else replace(known, over_ms=now_ms)


def told(known: Standing, message: str, now_ms: int) -> Standing | None:
    """Return what stands after the message of that id was taken: nothing after its end was told."""
    end_was_told = message.endswith(_OVER)
    if end_was_told and known.over_ms:
        return None
    at_ms = 0 if end_was_told else now_ms  # it began anew while its end was told
    return replace(known, told_ms=at_ms, told_count=known.count, tellings=known.tellings + 1)


def is_due(one: Standing, now_ms: int, repeat_ms: int) -> bool:
    """
    Say whether it is to be told now: for the first time, its end, or again.

    What happened again is told again after *repeat_ms*; what merely lasts after ever longer, a day at most.
    """
    if one.over_ms:
        return True
    if not one.told_ms:
        return now_ms >= one.due_ms
    wait_ms = repeat_ms
    if one.count == one.told_count:
        wait_ms = max(repeat_ms, min(REMIND_AT_MOST_MS, repeat_ms << min(20, one.tellings - 1)))
    return now_ms - one.told_ms >= wait_ms


def with_room(open_keys: Collection[str], alert: Alert) -> Alert:
    """Return the alert, or the one that its kind shares where too many stand already."""
    if alert.key in open_keys or len(open_keys) < STANDING_AT_MOST:
        return alert
    return replace(alert, subject=MANY, facts={"subjects": [alert.subject]})


class Quota(msgspec.Struct, frozen=True):
    """When messages left lately, oldest first: at most so many in any hour."""

    sent: tuple[int, ...] = ()

    def left(self, now_ms: int, per_hour: int) -> int:
        """Return how many messages may leave now."""
        return max(0, per_hour - len(self._recent(now_ms)))

    def used(self, now_ms: int) -> Quota:
        """Return the quota after one message left."""
        return Quota((*self._recent(now_ms), now_ms))

    def _recent(self, now_ms: int) -> tuple[int, ...]:
        """Return those of the last hour; a clock that went back makes none of them younger than now."""
        return tuple(min(at_ms, now_ms) for at_ms in self.sent if now_ms - at_ms < HOUR_MS)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say: *id* is the same however often it is tried, and another for another thing."""

    id: str
    body: bytes
    covers: tuple[tuple[str, str, str], ...] = ()  # (pool, key, id of the telling) of the alerts that it tells of


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes with whoever is told, as one process sees it."""

    configured: bool
    leading: bool = False  # this process tells
    off: str = ""  # it wants nothing more, in its words; "" while it does
    failures: int = 0  # attempts in a row that nobody took
    last_error: str = ""
    messages: int = 0  # taken since the start


def next_message(
    standing: Collection[Standing], quota: Quota, *, now_ms: int, repeat_ms: int, per_hour: int
) -> Message | None:
    """
    Return what is to be said now, worst and oldest first; None where nothing is due, or may leave.

    The last message that an hour has room for sums up all that is due by then, so nothing is held back unsaid for more
    than an hour.
    """
    due = sorted((one for one in standing if is_due(one, now_ms, repeat_ms)), key=_urgency)
    left = quota.left(now_ms, per_hour)
    if not due or not left:
        return None
    if left == 1 and len(due) > 1:
        return _summary(due, now_ms)
    return _single(due[0], now_ms)


def _urgency(one: Standing) -> tuple[bool, bool, int, str]:
    return (not one.is_open, one.alert.severity is not Severity.CRITICAL, one.first_ms, one.key)


def message_id(one: Standing) -> str:
    """Return the id under which its next telling goes out."""
    return f"{one.id}{_OVER}" if one.over_ms else f"{one.id}.{one.tellings + 1}"


def _single(one: Standing, now_ms: int) -> Message:
    verb: Verb = "cleared" if one.over_ms else "raised"
    body = {"type": f"alert.{verb}", "timestamp": rfc3339(now_ms), "data": view_of(one)}
    return Message(id=message_id(one), body=msgspec.json.encode(body), covers=((one.pool, one.key, message_id(one)),))


def _summary(due: list[Standing], now_ms: int) -> Message:
    ids = "\x1f".join(sorted(map(message_id, due)))
    data = {
        "text": f"{len(due)} alerts in one: more were due than an hour may bring",
        "mend": "see all that stand with flashd alerts list",
        "raised": dict(Counter(str(one.alert.kind) for one in due if one.is_open)),
        "cleared": dict(Counter(str(one.alert.kind) for one in due if not one.is_open)),
        "alerts": [
            {"id": one.id, "key": one.key, "pool": one.pool, "open": one.is_open, "text": one.alert.text}
            for one in due[:SUMMED_AT_MOST]
        ],
    }
    return Message(
        id=f"alert_summary_{hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()}",
        body=msgspec.json.encode({"type": "alert.summed_up", "timestamp": rfc3339(now_ms), "data": data}),
        covers=tuple((one.pool, one.key, message_id(one)) for one in due),
    )


def view_of(one: Standing) -> dict[str, Any]:
    """Return an alert as receivers, subscribers and operators see it."""
    return {
        "id": one.id,
        "key": one.key,
        "kind": str(one.alert.kind),
        "subject": one.alert.subject,
        "pool": one.pool,
        "severity": str(one.alert.severity),
        "text": one.alert.text,
        "mend": one.alert.mend,
        "since": rfc3339(one.first_ms),
        "last": rfc3339(one.last_ms),
        "count": one.count,
        "over": rfc3339(one.over_ms) if one.over_ms else None,
        "facts": one.alert.facts,
    }


def event_of(one: Standing) -> dict[str, Any]:
    """Return the members of the event that says it."""
    alert = one.alert
    return {
        "alert_id": one.id,
        "trouble": str(alert.kind),
        "subject": alert.subject,
        "severity": str(alert.severity),
        "text": alert.text,
        "mend": alert.mend,
        "since_ms": one.first_ms,
        "facts": alert.facts,
    }


def _together(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts with lists put together, the newest entries kept; of anything else the newer one counts."""
    merged = {**old, **new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, list) and isinstance(before, list):
            merged[name] = [*(one for one in before if one not in value), *value][-FACTS_AT_MOST:]
    return merged

"""What raises an alert and what ends it, as the events of the journal tell. What no event tells: `condition`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flashd.domain.alert import FACTS_AT_MOST, Alert, AlertKind, Severity
from flashd.domain.event import Event, Gap
from flashd.domain.privacy import alert_of

AWAY_PATIENCE_MS = 60_000  # an outage without an alert of its own may be over soon
PAUSED_PATIENCE_MS = 900_000  # whoever paused it knows; after so long it may be forgotten

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


class Raise(msgspec.Struct, frozen=True):
    """A trouble happened; it is told after *patience_ms*, if it has not ended by then."""

    alert: Alert
    patience_ms: int = 0
    lasting: bool = False  # a condition that was looked at: seen twice, it is still one trouble


class End(msgspec.Struct, frozen=True):
    """A trouble is over."""

    kind: AlertKind
    subject: str

    @property
    def key(self) -> str:
        """Under which the alert stands."""
        return f"{self.kind}:{self.subject}"


Signal = Raise | End


def heard(event: Event | Gap, *, home: bool) -> list[Signal]:
    """
    Return what an entry of a pool's journal raises or ends.

    Args:
        home: The pool is the one whose journal speaks for backends, which every journal tells of.
    """
    if isinstance(event, Gap):
        return [Raise(_missed(event))]
    if event.kind.startswith("backend.") and not home:
        return []
    if event.kind in _ENDED_BY:
        kinds, members = _ENDED_BY[event.kind]
        subject = "/".join(str(event.data.get(member, "")) for member in members)
        return [End(kind, subject) for kind in kinds]
    rule = _RAISED_BY.get(event.kind)
    alert = rule(event.pool, event.data) if rule else None
    return [] if alert is None else [Raise(alert, _patience_ms(event))]


def _patience_ms(event: Event) -> int:
    if event.kind == "backend.paused":
        return PAUSED_PATIENCE_MS
    if event.kind == "backend.went_away" and not event.data.get("alert"):
        return AWAY_PATIENCE_MS
    return 0


def _missed(gap: Gap) -> Alert:
    return Alert(
        kind=AlertKind.EVENTS_MISSED,
        subject=gap.pool,
        severity=WARNING,
        text=f"events of pool {gap.pool} were trimmed before alerts could be made of them",
        mend="look at flashd status, and raise [store] journal_entries",
        facts={"after": gap.after, "first": gap.first},
    )


def _order(data: Mapping[str, Any]) -> str:
    order = data.get("order") or {}
    return f"{order.get('channel', '')}:{order.get('id', '')}"


def _fell_short(pool: str, data: Mapping[str, Any]) -> Alert:
    return Alert(
        kind=AlertKind.SHORTFALL,
        subject=pool,
        severity=CRITICAL,
        text=f"paid orders of pool {pool} cannot be covered, the last is {_order(data)}",
        mend="decide with flashd orders triage: cancel, split, backorder or substitute",
        facts={"orders": [_order(data)]},
    )


def _fell_negative(pool: str, data: Mapping[str, Any]) -> Alert:
    sku, location = str(data.get("sku", "")), str(data.get("location", ""))
    return Alert(
        kind=AlertKind.DEFICIT,
        subject=sku,
        severity=CRITICAL,
        text=f"{sku} at {location} is {data.get('deficit')} units short of what is promised in pool {pool}",
        mend="count it again, or cancel what cannot be delivered",
        facts={"sku": sku, "location": location, "deficit": data.get("deficit")},
    )


def _drifted(pool: str, data: Mapping[str, Any]) -> Alert:
    channel = str(data.get("channel", ""))
    skus = [str(one[0]) for one in data.get("exposures") or () if one]
    return Alert(
        kind=AlertKind.OVEREXPOSED,
        subject=channel,
        severity=CRITICAL,
        text=f"{channel} shows more of {', '.join(skus[:3])} than flashd gave it in pool {pool}",
        mend="somebody edits stock on the platform: let flashd write it, and look at flashd status",
        facts={"skus": skus[:FACTS_AT_MOST]},
    )


def _buried(_pool: str, data: Mapping[str, Any]) -> Alert:
    backend = str(data.get("backend", ""))
    return Alert(
        kind=AlertKind.DEAD_LETTER,
        subject=backend,
        severity=WARNING,
        text=f"{backend} refused an order for good: {_order(data)}",
        mend="see why with flashd dead list, mend it, then flashd dead replay",
        facts={"orders": [_order(data)]},
    )


def _left_to_human(_pool: str, data: Mapping[str, Any]) -> Alert:
    backend = str(data.get("backend", ""))
    return Alert(
        kind=AlertKind.MANUAL,
        subject=backend,
        severity=WARNING,
        text=f"nobody but a human can say whether {backend} has {_order(data)}",
        mend="look it up there, then decide: flashd orders list --state manual",
        facts={"orders": [_order(data)]},
    )


def _parked(pool: str, data: Mapping[str, Any]) -> Alert:
    return Alert(
        kind=AlertKind.PARKED,
        subject=pool,
        severity=WARNING,
        text=f"an order is parked until a human looks at it: {_order(data)}",
        mend="see why with flashd orders list --state parked",
        facts={"orders": [_order(data)]},
    )


def _quarantined(pool: str, data: Mapping[str, Any]) -> Alert:
    channel = str(data.get("channel", ""))
    return Alert(
        kind=AlertKind.QUARANTINED,
        subject=pool,
        severity=WARNING,
        text=f"a proven message of {channel} was not understood, so an order may be missing",
        mend="see flashd quarantine list",
        facts={"channels": [channel]},
    )


def _webhooks_silent(_pool: str, data: Mapping[str, Any]) -> Alert:
    channel = str(data.get("channel", ""))
    return Alert(
        kind=AlertKind.WEBHOOKS_SILENT,
        subject=channel,
        severity=CRITICAL,
        text=f"webhooks of {channel} do not come any more: {data.get('reason', '')}",
        mend="switch them on again on the platform; until then its orders are found by polling only",
    )


def _demanded(_pool: str, data: Mapping[str, Any]) -> Alert | None:
    told = (str(data.get(member, "")) for member in ("channel", "demand", "demand_id"))
    return alert_of(*told)


def _channel_away(_pool: str, data: Mapping[str, Any]) -> Alert:
    channel = str(data.get("channel", ""))
    return Alert(
        kind=AlertKind.CHANNEL_AWAY,
        subject=channel,
        severity=CRITICAL,
        text=f"{channel} does not take figures any more: {data.get('reason', '')}",
        mend="see whether the platform is up and its login is right; until then units may be sold twice",
    )


def _backend_away(_pool: str, data: Mapping[str, Any]) -> Alert:
    backend = str(data.get("backend", ""))
    return Alert(
        kind=AlertKind.BACKEND_AWAY,
        subject=backend,
        severity=CRITICAL,
        text=f"{backend} is away: {data.get('reason', '')}",
        mend="see whether it is up and its login is right; orders wait in flashd, none is lost",
    )


def _backend_paused(_pool: str, data: Mapping[str, Any]) -> Alert:
    backend, by = str(data.get("backend", "")), data.get("by", "")
    return Alert(
        kind=AlertKind.BACKEND_PAUSED,
        subject=backend,
        severity=WARNING,
        text=f"{backend} is paused for long, by {by}",
        mend=f"let it flow again with flashd backend resume {backend}",
    )


def _price_failed(_pool: str, data: Mapping[str, Any]) -> Alert:
    sale, channel = str(data.get("sale", "")), str(data.get("channel", ""))
    skus = [str(sku) for sku in data.get("skus") or ()]
    return Alert(
        kind=AlertKind.PRICE,
        subject=f"{sale}/{channel}",
        severity=CRITICAL,
        text=f"prices of sale {sale} on {channel} are not what they should be: {data.get('reason', '')}",
        mend="look at the prices on the platform",
        facts={"skus": skus[:FACTS_AT_MOST]},
    )


_RAISED_BY: dict[str, Callable[[str, Mapping[str, Any]], Alert | None]] = {
    "order.fell_short": _fell_short,
    "order.buried": _buried,
    "order.left_to_human": _left_to_human,
    "order.parked": _parked,
    "stock.fell_negative": _fell_negative,
    "stock.drifted": _drifted,
    "channel.quarantined": _quarantined,
    "channel.webhooks_silent": _webhooks_silent,
    "channel.demanded": _demanded,
    "channel.went_away": _channel_away,
    "backend.went_away": _backend_away,
    "backend.paused": _backend_paused,
    "sale.price_failed": _price_failed,
}

# By event: which kinds of alerts it ends, and the members of the event that spell their subject.
_ENDED_BY: dict[str, tuple[tuple[AlertKind, ...], tuple[str, ...]]] = {
    "channel.webhooks_returned": ((AlertKind.WEBHOOKS_SILENT,), ("channel",)),
    "channel.demand_met": ((AlertKind.DATA_REQUESTED, AlertKind.UNINSTALLED), ("channel", "demand_id")),
    "channel.came_back": ((AlertKind.CHANNEL_AWAY,), ("channel",)),
    "backend.came_back": ((AlertKind.BACKEND_AWAY,), ("backend",)),
    "backend.resumed": ((AlertKind.BACKEND_PAUSED,), ("backend",)),
    "sale.price_pushed": ((AlertKind.PRICE,), ("sale", "channel")),
    "sale.price_restored": ((AlertKind.PRICE,), ("sale", "channel")),
    "sale.price_kept": ((AlertKind.PRICE,), ("sale", "channel")),
}

HEARD = frozenset(_RAISED_BY.keys() | _ENDED_BY.keys())
"""The kinds of events that anything is made of; the others need not be read."""


def trial(by: str) -> Alert:
    """Return what `flashd alerts test` sends."""
    return Alert(
        kind=AlertKind.TEST,
        subject=by,
        severity=WARNING,
        text=f"a test, asked for by {by}: alerts arrive here",
        mend="nothing is to be done",
    )

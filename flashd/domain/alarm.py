"""What raises an alert and what ends it: events of the journal, and conditions that are looked at now and then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from flashd.domain.alert import FACTS_AT_MOST, Alert, AlertKind, Severity
from flashd.domain.event import Event, Gap
from flashd.domain.order import OrderRecord, OrderState
from flashd.domain.privacy import alert_of
from flashd.domain.stock import StockLevel

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
        return [_missed(event)]
    rule = _RULES.get(event.kind)
    if rule is None or (event.kind.startswith("backend.") and not home):
        return []
    return rule(event.pool, event.data)


def _missed(gap: Gap) -> Raise:
    return Raise(
        Alert(
            kind=AlertKind.EVENTS_MISSED,
            subject=gap.pool,
            severity=WARNING,
            text=f"events of pool {gap.pool} were trimmed before alerts could be made of them",
            mend="look at flashd status, and raise [store] journal_entries",
            facts={"after": gap.after, "first": gap.first},
        )
    )


def _order(data: Mapping[str, Any]) -> str:
    order = data.get("order") or {}
    return f"{order.get('channel', '')}:{order.get('id', '')}"


def _fell_short(pool: str, data: Mapping[str, Any]) -> list[Signal]:
    return [
        Raise(
            Alert(
                kind=AlertKind.SHORTFALL,
                subject=pool,
                severity=CRITICAL,
                text=f"paid orders of pool {pool} cannot be covered, the last is {_order(data)}",
                mend="decide with flashd orders triage: cancel, split, backorder or substitute",
                facts={"orders": [_order(data)]},
            )
        )
    ]


def _fell_negative(pool: str, data: Mapping[str, Any]) -> list[Signal]:
    sku, location = str(data.get("sku", "")), str(data.get("location", ""))
    return [
        Raise(
            Alert(
                kind=AlertKind.DEFICIT,
                subject=sku,
                severity=CRITICAL,
                text=f"{sku} at {location} is {data.get('deficit')} units short of what is promised in pool {pool}",
                mend="count it again, or cancel what cannot be delivered",
                facts={"sku": sku, "location": location, "deficit": data.get("deficit")},
            )
        )
    ]


def _drifted(pool: str, data: Mapping[str, Any]) -> list[Signal]:
    channel = str(data.get("channel", ""))
    skus = [str(one[0]) for one in data.get("exposures") or () if one]
    return [
        Raise(
            Alert(
                kind=AlertKind.OVEREXPOSED,
                subject=channel,
                severity=CRITICAL,
                text=f"{channel} shows more of {', '.join(skus[:3])} than flashd gave it in pool {pool}",
                mend="somebody edits stock on the platform: let flashd write it, and look at flashd status",
                facts={"skus": skus[:FACTS_AT_MOST]},
            )
        )
    ]


def _buried(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    backend = str(data.get("backend", ""))
    return [
        Raise(
            Alert(
                kind=AlertKind.DEAD_LETTER,
                subject=backend,
                severity=WARNING,
                text=f"{backend} refused an order for good: {_order(data)}",
                mend="see why with flashd dead list, mend it, then flashd dead replay",
                facts={"orders": [_order(data)]},
            )
        )
    ]


def _left_to_human(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    backend = str(data.get("backend", ""))
    return [
        Raise(
            Alert(
                kind=AlertKind.MANUAL,
                subject=backend,
                severity=WARNING,
                text=f"nobody but a human can say whether {backend} has {_order(data)}",
                mend="look it up there, then decide: flashd orders list --state manual",
                facts={"orders": [_order(data)]},
            )
        )
    ]


def _parked(pool: str, data: Mapping[str, Any]) -> list[Signal]:
    return [
        Raise(
            Alert(
                kind=AlertKind.PARKED,
                subject=pool,
                severity=WARNING,
                text=f"an order is parked until a human looks at it: {_order(data)}",
                mend="see why with flashd orders list --state parked",
                facts={"orders": [_order(data)]},
            )
        )
    ]


def _quarantined(pool: str, data: Mapping[str, Any]) -> list[Signal]:
    channel = str(data.get("channel", ""))
    return [
        Raise(
            Alert(
                kind=AlertKind.QUARANTINED,
                subject=pool,
                severity=WARNING,
                text=f"a proven message of {channel} was not understood, so an order may be missing",
                mend="see flashd quarantine list",
                facts={"channels": [channel]},
            )
        )
    ]


def _webhooks_silent(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    channel = str(data.get("channel", ""))
    return [
        Raise(
            Alert(
                kind=AlertKind.WEBHOOKS_SILENT,
                subject=channel,
                severity=CRITICAL,
                text=f"webhooks of {channel} do not come any more: {data.get('reason', '')}",
                mend="switch them on again on the platform; until then its orders are found by polling only",
            )
        )
    ]


def _demanded(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    told = (str(data.get(member, "")) for member in ("channel", "demand", "demand_id"))
    alert = alert_of(*told)
    return [] if alert is None else [Raise(alert)]


def _demand_met(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    subject = f"{data.get('channel', '')}/{data.get('demand_id', '')}"
    return [End(kind, subject) for kind in (AlertKind.DATA_REQUESTED, AlertKind.UNINSTALLED)]


def _channel_away(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    channel = str(data.get("channel", ""))
    return [
        Raise(
            Alert(
                kind=AlertKind.CHANNEL_AWAY,
                subject=channel,
                severity=CRITICAL,
                text=f"{channel} does not take figures any more: {data.get('reason', '')}",
                mend="see whether the platform is up and its login is right; until then units may be sold twice",
            )
        )
    ]


def _backend_away(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    backend = str(data.get("backend", ""))
    patience_ms = 0 if data.get("alert") else AWAY_PATIENCE_MS
    alert = Alert(
        kind=AlertKind.BACKEND_AWAY,
        subject=backend,
        severity=CRITICAL,
        text=f"{backend} is away: {data.get('reason', '')}",
        mend="see whether it is up and its login is right; orders wait in flashd, none is lost",
    )
    return [Raise(alert, patience_ms)]


def _backend_paused(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    backend, by = str(data.get("backend", "")), data.get("by", "")
    alert = Alert(
        kind=AlertKind.BACKEND_PAUSED,
        subject=backend,
        severity=WARNING,
        text=f"{backend} is paused for long, by {by}",
        mend=f"let it flow again with flashd backend resume {backend}",
    )
    return [Raise(alert, PAUSED_PATIENCE_MS)]


def _price_failed(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
    sale, channel = str(data.get("sale", "")), str(data.get("channel", ""))
    skus = [str(sku) for sku in data.get("skus") or ()]
    return [
        Raise(
            Alert(
                kind=AlertKind.PRICE,
                subject=f"{sale}/{channel}",
                severity=CRITICAL,
                text=f"prices of sale {sale} on {channel} are not what they should be: {data.get('reason', '')}",
                mend="look at the prices on the platform",
                facts={"skus": skus[:FACTS_AT_MOST]},
            )
        )
    ]


def _ends(kind: AlertKind, *members: str) -> Callable[[str, Mapping[str, Any]], list[Signal]]:
    def rule(_pool: str, data: Mapping[str, Any]) -> list[Signal]:
        return [End(kind, "/".join(str(data.get(member, "")) for member in members))]

    return rule


_RULES: dict[str, Callable[[str, Mapping[str, Any]], list[Signal]]] = {
    "order.fell_short": _fell_short,
    "order.buried": _buried,
    "order.left_to_human": _left_to_human,
    "order.parked": _parked,
    "stock.fell_negative": _fell_negative,
    "stock.drifted": _drifted,
    "channel.quarantined": _quarantined,
    "channel.webhooks_silent": _webhooks_silent,
    "channel.webhooks_returned": _ends(AlertKind.WEBHOOKS_SILENT, "channel"),
    "channel.demanded": _demanded,
    "channel.demand_met": _demand_met,
    "channel.went_away": _channel_away,
    "channel.came_back": _ends(AlertKind.CHANNEL_AWAY, "channel"),
    "backend.went_away": _backend_away,
    "backend.came_back": _ends(AlertKind.BACKEND_AWAY, "backend"),
    "backend.paused": _backend_paused,
    "backend.resumed": _ends(AlertKind.BACKEND_PAUSED, "backend"),
    "sale.price_failed": _price_failed,
    "sale.price_pushed": _ends(AlertKind.PRICE, "sale", "channel"),
    "sale.price_restored": _ends(AlertKind.PRICE, "sale", "channel"),
    "sale.price_kept": _ends(AlertKind.PRICE, "sale", "channel"),
}

HEARD = frozenset(_RULES)
"""The kinds of events that anything is made of; the others need not be read."""

# Alerts that end when no order stands in that state any more; those in BY_BACKEND have a backend as their subject.
ENDS_WITHOUT: dict[AlertKind, OrderState] = {
    AlertKind.SHORTFALL: OrderState.SHORTFALL,
    AlertKind.PARKED: OrderState.PARKED,
    AlertKind.DEAD_LETTER: OrderState.DEAD,
    AlertKind.MANUAL: OrderState.MANUAL,
}
BY_BACKEND = frozenset({AlertKind.DEAD_LETTER, AlertKind.MANUAL})


def in_doubt(records: Sequence[OrderRecord], backends: Collection[str], *, now_ms: int, after_ms: int) -> list[Signal]:
    """Return for each backend whether orders have been in doubt for too long, of all that are in doubt."""
    late: dict[str, list[str]] = {}
    for record in records:
        if now_ms - _sent_ms(record) >= after_ms:
            late.setdefault(record.backend, []).append(str(record.ref).partition("\x1f")[0])
    found: list[Signal] = [End(AlertKind.IN_DOUBT, name) for name in sorted({*backends} - late.keys())]
    found += [
        Raise(
            Alert(
                kind=AlertKind.IN_DOUBT,
                subject=name,
                severity=CRITICAL,
                text=f"{name} has not said for long whether it has {len(orders)} orders, such as {orders[0]}",
                mend="see whether it answers look-ups; flashd orders list --state in_doubt names them",
                facts={"orders": orders[:FACTS_AT_MOST], "at_least": len(orders)},
            ),
            lasting=True,
        )
        for name, orders in sorted(late.items())
    ]
    return found


def _sent_ms(record: OrderRecord) -> int:
    return max((at_ms for at_ms, what in record.timeline if what == "sending"), default=record.changed_ms)


def is_covered(levels: Sequence[StockLevel]) -> bool:
    """Say whether nothing is promised or exposed of these that is not there."""
    return all(level.atp >= max(0, level.exposed) for level in levels)


def figures(
    channel: str, *, gaps: Collection[str], refused: Mapping[str, str], on_sale: Collection[str]
) -> list[Signal]:
    """Return whether SKUs of a running sale are not shown on a channel: unmapped, or refused by the platform."""
    lacking, wrong = sorted({*gaps} & {*on_sale}), sorted(refused.keys() & {*on_sale})
    found: list[Signal] = []
    if lacking:
        alert = Alert(
            kind=AlertKind.UNMAPPED,
            subject=channel,
            severity=CRITICAL,
            text=f"SKUs of a running sale are not mapped on {channel}: {', '.join(lacking[:3])}",
            mend="map them, or take the channel out of the sale",
            facts={"skus": lacking[:FACTS_AT_MOST]},
        )
        found.append(Raise(alert, lasting=True))
    if wrong:
        alert = Alert(
            kind=AlertKind.REFUSED_FIGURE,
            subject=channel,
            severity=CRITICAL,
            text=f"{channel} does not take the figure of {wrong[0]}, which is on sale: {refused[wrong[0]]}",
            mend="mend it on the platform; until then it may show too much",
            facts={"skus": wrong[:FACTS_AT_MOST]},
        )
        found.append(Raise(alert, lasting=True))
    found += [] if lacking else [End(AlertKind.UNMAPPED, channel)]
    found += [] if wrong else [End(AlertKind.REFUSED_FIGURE, channel)]
    return found


def not_durable(reason: str, owner: str, *, pools: Collection[str] = ()) -> Alert:
    """Return the alert of a store that keeps nothing durably now, or nothing of *pools*: it is told without it."""
    which = f"order of {', '.join(sorted(pools))}" if pools else "order"
    return Alert(
        kind=AlertKind.NOT_DURABLE,
        subject=owner,
        severity=CRITICAL,
        text=f"no {which} can be made durable, so none is taken: {reason}",
        mend="see to the store's server, its disk and its memory",
    )


def trial(by: str) -> Alert:
    """Return what `flashd alerts test` sends."""
    return Alert(
        kind=AlertKind.TEST,
        subject=by,
        severity=WARNING,
        text=f"a test, asked for by {by}: alerts arrive here",
        mend="nothing is to be done",
    )

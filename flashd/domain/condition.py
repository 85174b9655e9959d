"""What raises an alert and what ends it, as whoever looks now and then finds it. What events tell: `alarm`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from flashd.domain.alarm import CRITICAL, End, Raise, Signal
from flashd.domain.alert import FACTS_AT_MOST, Alert, AlertKind
from flashd.domain.order import OrderRecord, OrderState
from flashd.domain.stock import StockLevel

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

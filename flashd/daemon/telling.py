"""Who tells a person, and who asks everybody before a sale: both see the whole house."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flashd.actors.alerter import Alerter, AlertRules
from flashd.actors.inquiry import InquiredChannel, InquiredHouse, InquiredPool, Inquiry
from flashd.actors.leadership import Election
from flashd.actors.lookout import Flow, Lookout, PoolSources, Sights
from flashd.actors.teller import Teller
from flashd.alerts.webhook import connect
from flashd.config import AlertsConfig, Loaded
from flashd.daemon.adapters import reveal_of
from flashd.daemon.terms import terms_of
from flashd.ports import Messenger
from flashd.web.doors import AlertDoor

if TYPE_CHECKING:
    from flashd.daemon.assembly import Assembly


def connect_messenger(loaded: Loaded) -> Messenger | None:
    """Return the way out for alerts, or None where nobody is told. Raises ConfigError."""
    return connect(loaded.config.alerts, reveal_of(loaded))


def alert_rules(config: AlertsConfig) -> AlertRules:
    """Return how often a person may be told."""
    return AlertRules(repeat_s=config.repeat_s, per_hour=config.per_hour)


def build_alerter(house: Assembly, messenger: Messenger | None, *, owner: str) -> Alerter:
    """Return the actor that tells; nothing is started. The first pool of the configuration is its home."""
    pools = list(house.store.pools.values())

    def flows() -> list[Flow]:
        channels = house.loaded.config.channels
        return [
            Flow(pool=channels[name].pool, figures=outlet.flow(), polls=outlet.poll_flow())
            for name, outlet in house.outlets.items()
        ]

    sights = Sights(flows=flows, backends=lambda: [actor.snapshot() for actor in house.backends.values()])
    return Alerter(
        [
            PoolSources(
                feed=pool.feed,
                book=pool.alerts,
                orders=pool.book,
                ledger=pool.ledger,
                listings=pool.listings,
                sales=pool.sales,
            )
            for pool in pools
        ],
        Lookout(sights, clock=house.clock, in_doubt_ms=lambda: round(house.loaded.config.alerts.in_doubt_s * 1000)),
        Teller(messenger, clock=house.clock),
        alert_rules(house.loaded.config.alerts),
        Election(gate=pools[0].alert_gate, owner=owner),
        clock=house.clock,
        health=lambda: house.sentry.health,
    )


def alert_door(alerter: Alerter) -> AlertDoor:
    """Return what the admin API may reach of it."""
    return AlertDoor(standing=alerter.standing, receiver=alerter.receiver, test=alerter.test)


def build_inquiry(house: Assembly, alerter: Alerter) -> Inquiry:
    """Return who asks before a sale."""

    def why_nobody_is_told() -> str:
        receiver = alerter.receiver()
        if not receiver.configured:
            return "nobody is told of trouble: [alerts] url is empty"
        if receiver.off:
            return f"nobody is told any more: {receiver.off}"
        if receiver.failures:
            return f"the receiver of alerts did not take the last {receiver.failures}: {receiver.last_error}"
        return ""

    return Inquiry(
        {name: _inquired_pool(house, name) for name in house.store.pools},
        InquiredHouse(
            health=lambda: house.sentry.health,
            backends=lambda: [actor.snapshot() for actor in house.backends.values()],
            gates=dict(house.store.gates),
            alerts=why_nobody_is_told,
        ),
        clock=house.clock,
    )


def _inquired_pool(house: Assembly, name: str) -> InquiredPool:
    pool = house.store.pools[name]
    return InquiredPool(
        ledger=pool.ledger,
        listings=pool.listings,
        sales=pool.sales,
        prices=pool.prices,
        book=pool.channel_book,
        counted=pool.counts.counted,
        channels=lambda: [
            _inquired_channel(house, channel)
            for channel, section in house.loaded.config.channels.items()
            if section.pool == name
        ],
        customer_key=pool.config.customer_key is not None,
    )


def _inquired_channel(house: Assembly, name: str) -> InquiredChannel:
    config = house.loaded.config
    section = config.channels[name]
    terms = terms_of(section, config.pools[section.pool], published=name in house.apis)
    outlet = house.outlets.get(name)
    if outlet is None:
        return InquiredChannel(name=name, terms=terms)
    return InquiredChannel(
        name=name,
        terms=terms,
        api=outlet.api,
        gate=house.store.channel_gates[name],
        poll_ms=round(section.poll_s * 1000) if outlet.poller is not None else 0,
        polling=outlet.poll_flow,
        ready_to_send=outlet.line.ready_to_send,
    )

"""
The outlets of the house: for each sales channel with an API of its own, the line to it, its publisher and its poller.

A channel that only calls flashd (the native API) has none: its figures are heard by pub/sub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flashd.actors.channel_line import ChannelLine
from flashd.actors.channel_rules import Display, PollerRules, PoolBooks, PublisherRules, publish_rate
from flashd.actors.intake import ChannelIntake, cut_over_ms
from flashd.actors.leadership import Election
from flashd.actors.poller import Poller
from flashd.actors.publisher import Publisher
from flashd.actors.sale_clock import SaleBooks, SaleClock
from flashd.config import ChannelConfig, Config, Loaded
from flashd.daemon.adapters import connect_api
from flashd.daemon.terms import terms_of
from flashd.domain.flow import ChannelFlow, PollFlow
from flashd.ports import ChannelApi, Clock
from flashd.runtime.actor import Actor
from flashd.store.opening import Store


@dataclass(kw_only=True)
class Outlet:
    """One channel's API and the actors that use it."""

    api: ChannelApi
    line: ChannelLine
    publisher: Publisher
    poller: Poller | None

    @property
    def actors(self) -> list[Actor[Any]]:
        """Return them in the order of their start."""
        return [self.line, self.publisher, *([self.poller] if self.poller else [])]

    async def stop(self, timeout_s: float) -> None:
        """Stop polling, let writes under way end, then give the lead away, all within *timeout_s*."""
        if self.poller is not None:
            await self.poller.stop(timeout_s / 4)
        await self.publisher.stop(timeout_s / 2)
        await self.line.stop(timeout_s / 4)

    def wake(self) -> None:
        """Say that stock has changed; never waits."""
        self.publisher.wake()

    def look_back(self) -> None:
        """Say that the store may have forgotten the newest orders; never waits."""
        if self.poller is not None:
            self.poller.look_back()

    def flow(self) -> ChannelFlow:
        """Say how publishing goes."""
        return self.publisher.snapshot()

    def poll_flow(self) -> PollFlow | None:
        """Say how polling goes, if the channel is polled."""
        return self.poller.snapshot() if self.poller else None


def connect_apis(loaded: Loaded) -> dict[str, ChannelApi]:
    """Return the API of every channel that has one. Raises ConfigError."""
    found = {name: connect_api(name, section, loaded) for name, section in loaded.config.channels.items()}
    return {name: api for name, api in found.items() if api is not None}


def table_of(config: Config, apis: Mapping[str, ChannelApi], pool: str) -> tuple[Display, ...]:
    """Return how each channel of a pool shows stock, of those that are told figures."""
    return tuple(
        Display(channel=name, write=apis[name].traits.mode, terms=terms_of(section, config.pools[pool]))
        for name, section in config.channels.items()
        if section.pool == pool and section.publish.mode != "none" and name in apis
    )


def publisher_rules(config: Config, apis: Mapping[str, ChannelApi], name: str) -> PublisherRules:
    """Return what the publisher of a channel goes by; one that publishes nothing sits at the table alone."""
    section, traits = config.channels[name], apis[name].traits
    table = table_of(config, apis, section.pool)
    if section.publish.mode == "none":
        terms = terms_of(section, config.pools[section.pool])
        table = (*table, Display(channel=name, write=traits.mode, terms=terms))
    return PublisherRules.of(name, section, table, polls=traits.polls)


def poller_rules(section: ChannelConfig) -> PollerRules:
    """Return what the poller of a channel goes by."""
    return PollerRules(poll_s=section.poll_s, since_ms=cut_over_ms(section.since))


def build_outlet(
    name: str,
    config: Config,
    store: Store,
    apis: Mapping[str, ChannelApi],
    intake: ChannelIntake,
    *,
    clock: Clock,
    owner: str,
) -> Outlet:
    """Return the line to one channel and what uses it; nothing is started."""
    section, api = config.channels[name], apis[name]
    pool, rate = store.pools[section.pool], publish_rate(section)
    line = ChannelLine(
        name,
        section.pool,
        store.channel_gates[name],
        clock=clock,
        announcer=store.announcer,
        rate=lambda: rate,
        owner=owner,
    )
    books = PoolBooks(listings=pool.listings, ledger=pool.ledger, sales=pool.sales, book=pool.channel_book)
    poller: Poller | None = None

    def ask_poll(seen_ms: int) -> None:
        if poller is not None:
            poller.want(seen_ms)

    publisher = Publisher(api, publisher_rules(config, apis, name), books, line, clock=clock, ask_poll=ask_poll)
    if api.traits.polls and section.poll_s > 0:
        poller = Poller(api, poller_rules(section), intake, books, line, clock=clock, seen=publisher.seen)
    return Outlet(api=api, line=line, publisher=publisher, poller=poller)


def build_sale_clock(
    pool: str,
    config: Config,
    store: Store,
    apis: Mapping[str, ChannelApi],
    outlets: Mapping[str, Outlet],
    *,
    clock: Clock,
    owner: str,
) -> SaleClock:
    """Return the clock of a pool's sales; it asks the channels at the pace of their lines. Nothing is started."""
    opened = store.pools[pool]

    async def ready_to_send(channel: str) -> None:
        await outlets[channel].line.ready_to_send()

    return SaleClock(
        SaleBooks(sales=opened.sales, prices=opened.prices, listings=opened.listings),
        {name: api for name, api in apis.items() if config.channels[name].pool == pool},
        Election(gate=opened.sale_gate, owner=owner),
        clock=clock,
        announcer=store.announcer,
        ready_to_send=ready_to_send,
    )

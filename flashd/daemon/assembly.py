"""
Putting the house together: from a checked configuration and an open store to actors and doors.

Nothing here decides; it only connects. What a reload may change is exchanged in place by `Assembly.adopt`.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from flashd.actors.alerter import Alerter
from flashd.actors.backend import BackendActor
from flashd.actors.backend_rules import BackendRules
from flashd.actors.clerk import Clerk
from flashd.actors.convoy import Convoy
from flashd.actors.counter import Counter
from flashd.actors.intake import ChannelIntake, IntakeRules, cut_over_ms
from flashd.actors.reaper import Reaper
from flashd.actors.sale_clock import SaleClock
from flashd.actors.sentry import StoreSentry
from flashd.actors.triage import Triage
from flashd.config import BackendConfig, ChannelConfig, Config, Loaded, Token
from flashd.daemon.adapters import connect_channel, named, reveal_of
from flashd.daemon.outlet import Outlet, build_outlet, build_sale_clock
from flashd.daemon.privacy import clerk_of, take_demand
from flashd.daemon.stockkeeping import counter_of, counts_stock, triage_of
from flashd.daemon.telling import build_alerter
from flashd.daemon.terms import terms_in
from flashd.domain.identity import buyer_of, customer_hash
from flashd.domain.order import Kind, Order
from flashd.domain.routing import Choice, Route, choose, router_of
from flashd.errors import StoreUnavailable
from flashd.ports import Backend, ChannelApi, Clock, Messenger
from flashd.store.opening import PoolStore, Store
from flashd.web.metrics import Metrics
from flashd.web.tokens import Caller, Scope, TokenTable

_DAY_MS = 86_400_000
_ROUTES_KNOWN = 4096  # kinds of order whose way is remembered


def kinds_of(backends: Mapping[str, Backend]) -> dict[str, Collection[Kind]]:
    """Return which items each backend takes."""
    return {name: backend.traits.kinds for name, backend in backends.items()}


def owner() -> str:
    """Return who this process is among others: leases and the operator's eye tell processes apart by it."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Router:
    """The routes in force; a reload replaces them."""

    def __init__(self, config: Config) -> None:
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Take over the routes of *config*."""
        self._routes = tuple(
            Route(backend=one.backend, channel=one.channel, sku=one.sku, country=one.country, tag=one.tag)
            for one in config.routes
        )
        self._find = router_of(self._routes)
        asked = self._routes
        self._asks_channel = any(route.channel for route in asked)
        self._asks_sku = any(route.sku for route in asked)
        self._asks_country = any(route.country for route in asked)
        self._asks_tag = any(route.tag for route in asked)
        self._known: dict[tuple[str, ...], str] = {}

    def explain(self, order: Order) -> Choice:
        """Say where an order goes, and why."""
        return choose(order, self._routes)

    def backend_of(self, order: Order) -> str:
        """Say where an order goes; orders that no route tells apart are asked about once."""
        told = (
            order.channel if self._asks_channel else "",
            order.ship_to.country if self._asks_country else "",
            "\x1f".join(order.tags) if self._asks_tag else "",
            *([line.sku for line in order.lines] if self._asks_sku else ()),
        )
        backend = self._known.get(told)
        if backend is None:
            backend = self._find(order)
            if len(self._known) >= _ROUTES_KNOWN:
                self._known.clear()  # what sells now comes again at once, what sold in the morning does not
            self._known[told] = backend
        return backend


@dataclass(kw_only=True)
class Assembly:
    """All that lives in the process."""

    loaded: Loaded
    store: Store
    clock: Clock
    adapters: dict[str, Backend]
    apis: dict[str, ChannelApi]
    router: Router
    sentry: StoreSentry = field(init=False)  # it has the others look again, so it is built after the house
    alerter: Alerter = field(init=False)  # it sees the whole house, so it is built last
    metrics: Metrics = field(default_factory=Metrics)
    channel_tokens: TokenTable = field(default_factory=TokenTable)
    admin_tokens: TokenTable = field(default_factory=TokenTable)
    intakes: dict[str, ChannelIntake] = field(default_factory=dict)
    outlets: dict[str, Outlet] = field(default_factory=dict)  # of channels with an API of their own
    sale_clocks: dict[str, SaleClock] = field(default_factory=dict)  # by pool
    triages: dict[str, Triage] = field(default_factory=dict)  # by pool
    clerks: dict[str, Clerk] = field(default_factory=dict)  # by pool
    counters: dict[str, Counter] = field(default_factory=dict)  # of backends that tell their stock
    backends: dict[str, BackendActor] = field(default_factory=dict)
    reapers: dict[str, Reaper] = field(default_factory=dict)
    unasked: set[str] = field(default_factory=set)  # pools that may have forgotten something

    def wake(self, backend: str) -> None:
        """Tell a backend's actor that there is work; a lost word only delays."""
        actor = self.backends.get(backend)
        if actor is not None:
            actor.wake()

    def wake_all(self) -> None:
        """Tell every backend's actor."""
        for name in self.backends:
            self.wake(name)

    def wake_outlets(self, pool: str) -> None:
        """Tell the publishers of a pool that its stock has changed; a lost word only delays."""
        for name, outlet in self.outlets.items():
            if self.loaded.config.channels[name].pool == pool:
                outlet.wake()

    def wake_sales(self, pool: str) -> None:
        """Tell a pool's clock and publishers that a sale was changed."""
        self.sale_clocks[pool].wake()
        self.wake_outlets(pool)

    async def recollect(self, *, again: bool) -> None:
        """
        Look for what was acknowledged and is gone, and have every shop asked again that can be.

        Raises:
            StoreUnavailable: Not all pools could be asked: the others are, *again*.
        """
        if not again:
            self.unasked = set(self.store.pools)
            for outlet in self.outlets.values():
                outlet.look_back()
        fault: StoreUnavailable | None = None
        for name in sorted(self.unasked):
            try:
                await self.store.pools[name].ledger.recollect()
                self.unasked.discard(name)
            except StoreUnavailable as error:
                fault = error
        if fault is not None:
            raise fault

    def rules_of(self, config: ChannelConfig) -> IntakeRules:
        """Return what a channel's intake goes by. Raises ConfigError."""
        cut_over = cut_over_ms(config.since)
        key = self.loaded.config.pools[config.pool].customer_key
        hashed = customer_hash(str(reveal_of(self.loaded)(key)).encode()) if key is not None else None
        return IntakeRules(
            since_ms=lambda: max(cut_over, self.oldest_ms()),
            route=self.router.backend_of,
            closed=functools.partial(self.sentry.closed, pool=config.pool),
            identify=None if hashed is None else functools.partial(buyer_of, hash_customer=hashed),
            demanded=functools.partial(take_demand, self, config.pool),
        )

    def oldest_ms(self) -> int:
        """Return before which no unknown order is taken: its tombstone may be gone, so it may be a late repeat."""
        return self.clock.now_ms() - self.loaded.config.store.retention_days * _DAY_MS

    def adopt_terms(self) -> None:
        """Hand the terms of every channel, and what every backend takes, to the pools."""
        for name, pool in self.store.pools.items():
            terms = terms_in(self.loaded.config, name, self.apis)
            pool.ledger.adopt(kinds_of(self.adapters), terms)
            pool.listings.adopt(terms)

    def adopt_tokens(self) -> None:
        """Read every token again. Raises ConfigError, and then the old ones stay."""
        config = self.loaded.config
        callers = TokenTable()
        for name, channel in config.channels.items():
            _add(callers, channel.tokens, self.loaded, subject=name)
        admins = TokenTable()
        _add(admins, config.admin.tokens, self.loaded)
        self.channel_tokens.replace(callers)
        self.admin_tokens.replace(admins)


def _add(table: TokenTable, tokens: Collection[Token], loaded: Loaded, *, subject: str = "") -> None:
    for token in tokens:
        scope = Scope.widest(token.scopes)
        with named(loaded):
            table.add(reveal_of(loaded)(token.secret), Caller(token.name, scope, subject))


def assemble(
    loaded: Loaded,
    store: Store,
    adapters: dict[str, Backend],
    apis: dict[str, ChannelApi],
    messenger: Messenger | None,
    clock: Clock,
) -> Assembly:
    """Build every actor; none is started. Raises ConfigError."""
    config = loaded.config
    house = Assembly(
        loaded=loaded,
        store=store,
        clock=clock,
        adapters=adapters,
        apis=apis,
        router=Router(config),
    )
    house.sentry = StoreSentry(store.watch, clock=clock, revive=store.revive, recollect=house.recollect)
    house.adopt_tokens()
    house.adopt_terms()
    store.observe(house.metrics.script)
    for name, pool in store.pools.items():
        house.reapers[name] = Reaper(
            pool.ledger, clock=clock, trim=functools.partial(trim, pool, config), applied=house.wake_all
        )
        house.triages[name] = triage_of(house, name)
        house.clerks[name] = clerk_of(house, name)
    for name, section in config.backends.items():
        house.backends[name] = build_backend(house, name, section)
        if counts_stock(house, name):
            house.counters[name] = counter_of(house, name)
    convoys = {
        name: Convoy(pool.ledger, wake=house.wake, moved=functools.partial(house.wake_outlets, name))
        for name, pool in store.pools.items()
    }
    for name, channel in config.channels.items():
        house.intakes[name] = ChannelIntake(
            connect_channel(name, channel, loaded),
            convoys[channel.pool],
            house.rules_of(channel),
            clock=clock,
        )
    for name in apis:
        house.outlets[name] = outlet_of(house, name)
    for name in store.pools:
        house.sale_clocks[name] = sale_clock_of(house, name)
    house.alerter = build_alerter(house, messenger, owner=owner())
    return house


def outlet_of(house: Assembly, name: str) -> Outlet:
    """Return the actors around one channel's API, not started."""
    intake, config = house.intakes[name], house.loaded.config
    return build_outlet(name, config, house.store, house.apis, intake, clock=house.clock, owner=owner())


def sale_clock_of(house: Assembly, pool: str) -> SaleClock:
    """Return the clock of a pool's sales, not started."""
    config, store = house.loaded.config, house.store
    return build_sale_clock(pool, config, store, house.apis, house.outlets, clock=house.clock, owner=owner())


async def trim(pool: PoolStore, config: Config) -> int:
    """Shorten a pool's journal and let orders go whose retention ended; return how much went."""
    gone = await pool.journal.trim(config.store.journal_entries)
    return gone + await pool.journal.purge(config.store.retention_days)


def build_backend(house: Assembly, name: str, config: BackendConfig) -> BackendActor:
    """Return the actor that feeds one backend from all pools."""
    store = house.store

    async def apply_next(pool: str) -> object:
        return await store.pools[pool].ledger.apply_next()

    actor = BackendActor(
        house.adapters[name],
        BackendRules.of(config),
        [pool.outboxes[name] for pool in store.pools.values()],
        store.gates[name],
        clock=house.clock,
        announcer=store.announcer,
        owner=owner(),
        apply_next=apply_next,
    )
    actor.courier.observe = functools.partial(house.metrics.backend_request, name)
    return actor

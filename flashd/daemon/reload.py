"""
SIGHUP: what may change while the daemon goes on, and what needs a restart.

In place: routes, log level, tokens, and of channels and backends that stay everything but their kind and pool. A
backend whose settings changed gets a new actor; sends in flight finish first. A bad file changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterable

import structlog

from flashd import logs
from flashd.config import BackendConfig, ChannelConfig, Config, Loaded
from flashd.daemon.adapters import connect_backend, connect_channel
from flashd.daemon.assembly import Assembly, build_backend, outlet_of, sale_clock_of
from flashd.daemon.outlet import connect_apis, publisher_rules
from flashd.daemon.stockkeeping import triage_of
from flashd.daemon.telling import alert_rules
from flashd.errors import ConfigError
from flashd.ports import Backend, Channel, ChannelApi
from flashd.runtime.supervisor import Supervisor

log = structlog.get_logger()

Reload = Callable[[Assembly, Supervisor], Awaitable[None]]

_STOP_S = 10.0


def reloading(load: Callable[[], Loaded]) -> Reload:
    """Return a reload that reads the configuration with *load*."""

    async def reload(house: Assembly, supervisor: Supervisor) -> None:
        await adopt(house, supervisor, load())

    return reload


async def adopt(house: Assembly, supervisor: Supervisor, new: Loaded) -> None:
    """
    Take over what may change in place; say what needs a restart.

    Raises:
        ConfigError: Something of it cannot be used; nothing was changed.
    """
    old = house.loaded
    refused = needs_restart(old.config, new.config)
    if refused:
        raise ConfigError(f"these need a restart, so nothing of the new file is in force: {', '.join(refused)}")
    channels: dict[str, Channel] = {
        name: connect_channel(name, section, new) for name, section in new.config.channels.items()
    }
    apis = connect_apis(new)
    adapters: dict[str, Backend] = {
        name: connect_backend(name, section, new)
        for name, section in new.config.backends.items()
        if section != old.config.backends[name]
    }
    house.loaded = new
    try:
        rules = {name: house.rules_of(section) for name, section in new.config.channels.items()}  # they read a secret
        house.adopt_tokens()
    except ConfigError:
        house.loaded = old
        raise
    logs.configure(new.config.logs.level, stream=sys.stderr, environ=os.environ)
    house.router.adopt(new.config)
    for name, channel in channels.items():
        house.intakes[name].channel = channel
        house.intakes[name].rules = rules[name]
    for name, adapter in adapters.items():
        await _exchange(house, supervisor, name, adapter)
    house.alerter.rules = alert_rules(new.config.alerts)
    if new.config.triage != old.config.triage:
        for name, former in house.triages.items():
            await former.stop(_STOP_S)
            house.triages[name] = triage_of(house, name)
            await supervisor.replace(former, house.triages[name])
    await _exchange_outlets(house, supervisor, old.config, apis)
    house.adopt_terms()
    log.info("config.reloaded", file=new.path, backends=sorted(adapters))


async def _exchange_outlets(house: Assembly, supervisor: Supervisor, old: Config, apis: dict[str, ChannelApi]) -> None:
    """Put new actors in the place of those of every channel whose section changed; the others learn the new table."""
    config = house.loaded.config
    changed = {
        name
        for name in apis.keys() | house.apis.keys()
        if config.channels[name] != old.channels[name] or (name in apis) != (name in house.apis)
    }
    await _close(api for name, api in apis.items() if name not in changed)  # made only to see that they can be
    former = [house.apis.pop(name) for name in changed if name in house.apis]
    house.apis.update({name: api for name, api in apis.items() if name in changed})
    for name in sorted(changed):
        await _exchange_outlet(house, supervisor, name)
    for name, outlet in house.outlets.items():
        outlet.publisher.rules = publisher_rules(config, house.apis, name)
    for pool, clock in house.sale_clocks.items():
        if any(config.channels[name].pool == pool for name in changed):
            await clock.stop(_STOP_S)
            house.sale_clocks[pool] = sale_clock_of(house, pool)
            await supervisor.replace(clock, house.sale_clocks[pool])
    await _close(former)


async def _exchange_outlet(house: Assembly, supervisor: Supervisor, name: str) -> None:
    outlet = house.outlets.pop(name, None)
    if outlet is not None:
        await outlet.stop(_STOP_S)
        for actor in outlet.actors:
            supervisor.forget(actor)
    if name in house.apis:
        house.outlets[name] = outlet_of(house, name)
        await supervisor.start(house.outlets[name].actors)


async def _close(apis: Iterable[ChannelApi]) -> None:
    for api in apis:
        try:
            await api.close()
        except Exception:
            log.exception("adapter.not_closed", channel=api.name)


async def _exchange(house: Assembly, supervisor: Supervisor, name: str, adapter: Backend) -> None:
    """Put a new actor in the place of the old one, which lets its sends finish first."""
    old, old_adapter = house.backends[name], house.adapters[name]
    house.adapters[name] = adapter
    new = build_backend(house, name, house.loaded.config.backends[name])
    await old.stop(_STOP_S)
    new.courier.follow(old.courier)
    house.backends[name] = new
    await supervisor.replace(old, new)
    try:
        await old_adapter.close()
    except Exception:
        log.exception("adapter.not_closed", backend=name)


def needs_restart(old: Config, new: Config) -> list[str]:
    """Name the keys that differ and cannot change in place."""
    found = [name for name in ("store", "intake", "admin", "pools") if getattr(old, name) != getattr(new, name)]
    if "admin" in found and _only_tokens_differ(old, new):
        found.remove("admin")
    if (old.alerts.url, old.alerts.secret) != (new.alerts.url, new.alerts.secret):
        found.append("alerts.url or alerts.secret")
    for table in ("channels", "backends"):
        before: dict[str, ChannelConfig] | dict[str, BackendConfig] = getattr(old, table)
        after: dict[str, ChannelConfig] | dict[str, BackendConfig] = getattr(new, table)
        found += [f"{table}.{name} (added or removed)" for name in sorted(before.keys() ^ after.keys())]
        found += [
            f"{table}.{name}.{key}"
            for name in sorted(before.keys() & after.keys())
            for key in ("kind", "pool")
            if getattr(before[name], key, None) != getattr(after[name], key, None)
        ]
    return found


def _only_tokens_differ(old: Config, new: Config) -> bool:
    return (old.admin.listen, old.admin.hosts) == (new.admin.listen, new.admin.hosts)

"""
SIGHUP: what may change while the daemon goes on, and what needs a restart.

In place: routes, log level, tokens, and of channels and backends that stay everything but their kind and pool. A
backend whose settings changed gets a new actor; sends in flight finish first. A bad file changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import structlog

from flashd import logs
from flashd.config import BackendConfig, ChannelConfig, Config, Loaded
from flashd.daemon.assembly import Assembly, build_backend, connect_backend, connect_channel, kinds_of
from flashd.errors import ConfigError
from flashd.ports import Backend, Channel
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
    adapters: dict[str, Backend] = {
        name: connect_backend(name, section, new)
        for name, section in new.config.backends.items()
        if section != old.config.backends[name]
    }
    house.loaded = new
    try:
        house.adopt_tokens()
    except ConfigError:
        house.loaded = old
        raise
    logs.configure(new.config.logs.level, stream=sys.stderr, environ=os.environ)
    house.router.adopt(new.config)
    for name, channel in channels.items():
        house.intakes[name].channel = channel
        house.intakes[name].rules = house.rules_of(new.config.channels[name])
    for name, adapter in adapters.items():
        await _exchange(house, supervisor, name, adapter)
    for pool in house.store.pools.values():
        pool.ledger.adopt(kinds_of(house.adapters))
    log.info("config.reloaded", file=new.path, backends=sorted(adapters))


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

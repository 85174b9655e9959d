"""
Adapters, found through the entry points ``flashd.channels`` and ``flashd.backends``, ours like a stranger's.

A plug-in that cannot be loaded is reported, and stops flashd only where the configuration uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import msgspec

from flashd.config import BackendConfig, ChannelConfig
from flashd.config.problem import did_you_mean, one_of
from flashd.errors import ConfigError

CHANNELS = "flashd.channels"
BACKENDS = "flashd.backends"
_SHAPES: dict[str, type[msgspec.Struct]] = {CHANNELS: ChannelConfig, BACKENDS: BackendConfig}


class PluginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter that some installed distribution offers."""

    group: str
    name: str  # the kind, as a configuration names it
    status: Literal["ok", "broken"]
    reason: str = ""  # why it is broken
    source: str = ""  # the distribution and its version
    Config: type[Any] | None = None
    connect: Callable[..., Any] | None = None  # (name, config, reveal) -> the adapter; no I/O
    connect_api: Callable[..., Any] | None = None  # channels: (name, config, reveal) -> a ChannelApi or None; no I/O


def find(group: str, offered: Iterable[EntryPoint] | None = None) -> dict[str, PluginRecord]:
    """
    Load every adapter of a group, by kind.

    Of two with the same name the built-in one counts, else the first by distribution; the choice does not depend on
    the order of installation.
    """
    points = entry_points(group=group) if offered is None else offered
    records: dict[str, PluginRecord] = {}
    for point in sorted(points, key=lambda point: (not _is_ours(point), _source(point))):
        if point.name not in records:
            records[point.name] = _load(point, group)
    return dict(sorted(records.items()))


def pick(group: str, kind: str, records: dict[str, PluginRecord] | None = None) -> PluginRecord:
    """
    Return the adapter of a kind that the configuration uses.

    Raises:
        ConfigError: There is none, or it is broken.
    """
    records = installed(group) if records is None else records
    record = records.get(kind)
    fine = [name for name, known in records.items() if known.status == "ok"]
    if record is None:
        raise ConfigError(f'{group}: there is no kind "{kind}"{did_you_mean(kind, fine)}; there are {one_of(fine)}')
    if record.status == "broken":
        raise ConfigError(f'{group}: the plug-in "{kind}" of {record.source} is broken: {record.reason}')
    return record


@functools.cache
def installed(group: str) -> dict[str, PluginRecord]:
    """Return what is installed; loaded once."""
    return find(group)


def channel_kinds() -> dict[str, type[ChannelConfig]]:
    """Return the Structs of all sound channel kinds, for `config.load`."""
    return _shapes(CHANNELS)


def backend_kinds() -> dict[str, type[BackendConfig]]:
    """Return the Structs of all sound backend kinds, for `config.load`."""
    return _shapes(BACKENDS)


def broken_kinds() -> dict[str, str]:
    """Return why kinds cannot be used, as ``channels.<kind>`` and ``backends.<kind>``, for `config.load`."""
    return {
        f"{group.rpartition('.')[2]}.{name}": f"{record.reason} ({record.source})"
        for group in (CHANNELS, BACKENDS)
        for name, record in installed(group).items()
        if record.status == "broken"
    }


def _shapes(group: str) -> dict[str, Any]:
    return {name: record.Config for name, record in installed(group).items() if record.status == "ok"}


def _load(point: EntryPoint, group: str) -> PluginRecord:
    broken = functools.partial(PluginRecord, group=group, name=point.name, status="broken", source=_source(point))
    try:
        module = point.load()
    except Exception as error:  # noqa: BLE001  # a stranger's module may raise anything; it is reported
        return broken(reason=f"{type(error).__name__}: {error}")
    shape, connect = getattr(module, "Config", None), getattr(module, "connect", None)
    wanted = _SHAPES[group]
    if not (isinstance(shape, type) and issubclass(shape, wanted)):
        return broken(reason=f"{point.value}.Config is no Struct that extends flashd.config.{wanted.__name__}")
    if not callable(connect):
        return broken(reason=f"{point.value} has no function connect(name, config, reveal)")
    connect_api = getattr(module, "connect_api", None)
    if connect_api is not None and not callable(connect_api):
        return broken(reason=f"{point.value}.connect_api is no function (name, config, reveal)")
    return PluginRecord(
        group=group,
        name=point.name,
        status="ok",
        source=_source(point),
        Config=shape,
        connect=connect,
        connect_api=connect_api,
    )


def _source(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed distribution"


def _is_ours(point: EntryPoint) -> bool:
    return point.value.startswith("flashd.")

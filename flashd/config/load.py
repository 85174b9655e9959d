"""From a file and the environment to a checked configuration, or to one error that names all there is to mend."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import fields

from flashd.config import rules
from flashd.config.decode import check_name, unknown_key, walk
from flashd.config.origin import lay_over, leaves, type_at
from flashd.config.problem import Review, did_you_mean, is_under, one_of, shown
from flashd.config.shape import BackendConfig, ChannelConfig, Config, Loaded, PoolConfig, RouteConfig
from flashd.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)
Kinds = Mapping[str, type[S]]

_PLAIN = ("store", "intake", "admin", "logs", "alerts", "triage")


def load(
    path: str | Path,
    *,
    environ: Mapping[str, str],
    channel_kinds: Kinds[ChannelConfig],
    backend_kinds: Kinds[BackendConfig],
    broken_kinds: Mapping[str, str] | None = None,
) -> Loaded:
    """
    Read, override and check a configuration.

    Args:
        path: The TOML file.
        environ: FLASHD__ variables override; CREDENTIALS_DIRECTORY and named variables hold secrets.
        channel_kinds: The Struct of each kind of channel.
        backend_kinds: The Struct of each kind of backend.
        broken_kinds: Why a kind cannot be used although a plug-in offers it.

    Raises:
        ConfigError: With every problem (up to 20): file, key, value, and what is allowed.
    """
    name = str(path)
    data = _read(Path(path))
    origins = dict.fromkeys(leaves(data), name) if data else {}
    kinds: dict[str, Kinds[Any]] = {"channels": channel_kinds, "backends": backend_kinds}
    overrides, misfits = lay_over(
        data, environ, lambda at: type_at(at, Config, lambda table: _kind_at(table, data, kinds))
    )
    origins.update(overrides)
    review = Review(name, origins)
    review.problems.extend(misfits)
    config = _decode(data, kinds, broken_kinds or {}, review)
    review.seal()
    base = Path(path).resolve().parent
    rules.check(config, data, review, base=base, environ=environ)
    review.raise_if_wrong()
    config = _anchored(config, base)
    return Loaded(config=config, path=name, origins=origins, warnings=tuple(review.warnings))


def _anchored(config: Config, base: Path) -> Config:
    """Let the names of PEM files start from the file's folder, wherever the process was started."""

    def at(name: str) -> str:
        return str(base / Path(name).expanduser()) if name else ""

    replace, tls = msgspec.structs.replace, config.intake.tls
    if tls is not None:
        tls = replace(tls, cert=at(tls.cert), key=at(tls.key))
    store = replace(config.store, ca_file=at(config.store.ca_file))
    return replace(config, store=store, intake=replace(config.intake, tls=tls))


def require_runnable(loaded: Loaded) -> None:
    """
    Refuse a configuration that is right and has nothing to do.

    Raises:
        ConfigError: There is no channel or no backend.
    """
    review = Review(loaded.path, loaded.origins)
    if not loaded.config.channels:
        review.report("channels", "(none)", 'orders come from nowhere; add [channels.NAME] with kind = "..."')
    if not loaded.config.backends:
        review.report(
            "backends", "(none)", 'orders go nowhere; add [backends.NAME] with kind = "..." and a catch-all route'
        )
    review.raise_if_wrong()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        mend = "write one with `flashd init`, or name it with -c"
        if isinstance(error, PermissionError):
            mend = "let its group read it, and belong to that; or name another with -c"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {mend}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}; see https://toml.io") from None


def _kind_at(table: tuple[str, ...], data: dict[str, Any], kinds: Mapping[str, Kinds[Any]]) -> Any:
    if len(table) != 2 or table[0] not in kinds:  # such as channels.shop
        return None
    section = data.get(table[0], {}).get(table[1], {})
    kind = section.get("kind") if isinstance(section, dict) else None
    return kinds[table[0]].get(kind) if isinstance(kind, str) else None


def _decode(data: dict[str, Any], kinds: Mapping[str, Kinds[Any]], broken: Mapping[str, str], review: Review) -> Config:
    known = [field.encode_name for field in fields(Config)]
    for name in data:
        if name not in known:
            review.report(name, "", unknown_key(name, known))
    parts: dict[str, Any] = {}
    for field in fields(Config):
        if field.name in _PLAIN and field.name in data:
            section = _section(field.name, data[field.name], field.type, review)
            parts.update({field.name: section} if section is not None else {})
    parts["pools"] = _named("pools", data, lambda _, __: PoolConfig, review)
    for table in kinds:
        parts[table] = _named(table, data, lambda key, raw: _kind(key, raw, kinds, broken, review), review)
    routes = _section("routes", data.get("routes", []), tuple[RouteConfig, ...], review)
    if not data.get("pools"):
        parts["pools"] = {"main": PoolConfig()}
    return Config(**parts, routes=routes or ())


def _section(key: str, raw: object, hint: Any, review: Review) -> Any:
    """Decode what is right of a section, so that the rules still see it; None if it cannot be decoded at all."""
    before = len(review.problems)
    walk(key, raw, hint, review.report)
    wrong = [problem.key.removeprefix(f"{key}.") for problem in review.problems[before:]]
    if wrong and isinstance(raw, dict):
        raw = {name: value for name, value in raw.items() if not any(is_under(part, name) for part in wrong)}
    try:
        return msgspec.convert(raw, hint)
    except msgspec.ValidationError as error:  # if nothing is reported yet, an adapter's own __post_init__ raised it
        if not wrong:
            review.report(key, "", str(error))
        return None


def _named(table: str, data: dict[str, Any], kind_of: Any, review: Review) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    raw = data.get(table, {})
    if not isinstance(raw, dict):
        review.report(table, shown(raw), f"write tables: [{table}.NAME]")
        return sections
    for name, section in raw.items():
        key = f"{table}.{name}"
        check_name(key, name, review.report)
        if not isinstance(section, dict):
            review.report(key, shown(section), f"write a table: [{key}]")
            continue
        kind = kind_of(key, section)
        decoded = _section(key, section, kind, review) if kind is not None else None
        if decoded is not None:
            sections[name] = decoded
    return sections


def _kind(
    key: str, raw: dict[str, Any], kinds: Mapping[str, Kinds[Any]], broken: Mapping[str, str], review: Review
) -> type[msgspec.Struct] | None:
    table = key.partition(".")[0]
    kind, known = raw.get("kind"), kinds[table]
    if isinstance(kind, str) and kind in known:
        return known[kind]
    path, choice = f"{key}.kind", f"write one of {one_of(known)}"
    if kind is None:
        review.report(path, "(missing)", f"is needed; {choice}")
    elif not isinstance(kind, str):
        review.report(path, shown(kind), choice)
    elif f"{table}.{kind}" in broken:
        review.report(path, shown(kind), f"its plug-in is broken: {broken[f'{table}.{kind}']}")
    else:
        review.report(path, shown(kind), f"there is no such kind{did_you_mean(kind, known)}; {choice}")
    return None

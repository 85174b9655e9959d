"""The configuration as people and editors read it: every value with its origin, and the JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from flashd.config.problem import hide_password, is_under
from flashd.config.secret import Secret
from flashd.config.shape import BackendConfig, ChannelConfig, Config, Loaded

_REFERENCE = "#/$defs/{name}"


def show(loaded: Loaded) -> str:
    """Return one line a key: ``backends.erp.rate = "5/s"  # <origin>``; secrets as ``***`` with where they lie."""
    lines = []
    for key, text in _flat(loaded.config):
        lines.append(f"{key} = {text}  # {origin_of(loaded, key)}")
    return "\n".join(lines)


def origin_of(loaded: Loaded, key: str) -> str:
    """Return where the value at a key comes from: the file, a variable, or ``default``."""
    inside = (origin for path, origin in loaded.origins.items() if is_under(path, key))
    return next(inside, "default")


def schema(
    channel_kinds: Mapping[str, type[ChannelConfig]], backend_kinds: Mapping[str, type[BackendConfig]]
) -> dict[str, Any]:
    """Return the JSON Schema of the file, with the keys of these kinds."""
    kinds: dict[str, Mapping[str, type[msgspec.Struct]]] = {"channels": channel_kinds, "backends": backend_kinds}
    every = [Config, *(kinds["channels"][name] for name in sorted(channel_kinds))]
    every += [kinds["backends"][name] for name in sorted(backend_kinds)]
    references, parts = msgspec.json.schema_components(every, ref_template=_REFERENCE)
    definitions = dict(parts)
    names = [reference["$ref"].rpartition("/")[2] for reference in references]
    root = definitions.pop(names[0])
    following = iter(names[1:])
    renamed: dict[str, str] = {}
    for table, members in kinds.items():
        for kind in sorted(members):
            name = next(following)
            title = f"{table}.{kind}"
            part = definitions.pop(name)
            part["title"] = title
            part["properties"]["kind"] = {"const": kind}
            definitions[title] = part
            renamed[name] = title
        root["properties"][table]["additionalProperties"] = {
            "anyOf": [{"$ref": _REFERENCE.format(name=f"{table}.{kind}")} for kind in sorted(members)]
        }
        definitions.pop({"channels": "ChannelConfig", "backends": "BackendConfig"}[table], None)
    definitions["Secret"] |= {"minProperties": 1, "maxProperties": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flashd.toml",
        **{key: value for key, value in root.items() if key != "title"},
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _flat(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Secret):
        yield key, f"*** ({value})"
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _flat(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _flat(member, f"{key}.{name}")
    elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        for number, member in enumerate(value):
            yield from _flat(member, f"{key}[{number}]")
    else:
        yield key, _as_toml(value)


def _as_toml(value: object) -> str:
    if value is None:
        return "(not given)"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return msgspec.json.encode(hide_password(value)).decode()
    return msgspec.json.encode(msgspec.to_builtins(value)).decode()

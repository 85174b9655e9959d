"""Where each value comes from: the file, or a FLASHD__ variable laid over it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec.structs import fields

from flashd.config.decode import bare_type
from flashd.config.problem import Problem

PREFIX = "FLASHD__"

Table = dict[str, Any]
TypeOf = Callable[[tuple[str, ...]], Any]  # the type at a key path, or None


def leaves(value: object, key: str = "") -> list[str]:
    """Return the key paths of all that is not a table or a list, as far as they go."""
    if isinstance(value, dict) and value:
        return [leaf for name, member in value.items() for leaf in leaves(member, f"{key}.{name}" if key else name)]
    if isinstance(value, list) and value:
        return [leaf for number, member in enumerate(value) for leaf in leaves(member, f"{key}[{number}]")]
    return [key]


def lay_over(data: Table, environ: Mapping[str, str], type_of: TypeOf) -> tuple[dict[str, str], list[Problem]]:
    """
    Put every FLASHD__ variable into *data*; return the key paths it set with their variables, and what did not fit.

    ``FLASHD__BACKENDS__ERP__RATE=5/s`` sets backends.erp.rate. What is not a text is written as in TOML.
    """
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    names = [name for name in environ if name.startswith(PREFIX)]
    for name in sorted(names, key=lambda name: (not name.endswith("__KIND"), name)):  # a kind decides the other types
        where = f"environment variable {name}"
        parts = tuple(name.removeprefix(PREFIX).lower().split("__"))
        table, path = _descend(data, parts)
        if table is None or not all(parts):
            allowed = "write FLASHD__ and the keys of tables, joined by two underscores, such as FLASHD__LOGS__LEVEL"
            problems.append(Problem(where, ".".join(parts), "", allowed))
            continue
        last = _spelled(table, parts[-1])
        value = _value(environ[name], type_of((*path, last)))
        table[last] = value
        key = ".".join((*path, last))
        for stale in [known for known in origins if known.startswith((f"{key}.", f"{key}["))]:
            del origins[stale]
        origins.update(dict.fromkeys(leaves(value, key), where))
    return origins, problems


def type_at(path: tuple[str, ...], root: type[msgspec.Struct], kind_of: Callable[[tuple[str, ...]], Any]) -> Any:
    """Return the type at a key path below *root*, or None; *kind_of* knows the Structs of adapters."""
    hint: Any = root
    for number, part in enumerate(path, 1):
        bare = bare_type(hint)
        if get_origin(bare) is dict:
            hint = kind_of(path[:number]) or get_args(bare)[1]
        elif isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            hint = {field.encode_name: field.type for field in fields(bare)}.get(part)
        else:
            return None
    return hint


def _descend(data: Table, parts: tuple[str, ...]) -> tuple[Table | None, tuple[str, ...]]:
    table, path = data, list[str]()
    for part in parts[:-1]:
        name = _spelled(table, part)
        path.append(name)
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return None, ()
    return table, tuple(path)


def _spelled(table: Table, part: str) -> str:
    """Return the key as the file spells it: a shell cannot write a dash in a variable's name."""
    return next((name for name in table if name.lower().replace("-", "_") == part), part)


def _value(text: str, hint: Any) -> Any:
    bare = bare_type(hint)
    if bare is None or bare is str or get_origin(bare) is Literal:
        return text
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text  # of the wrong type, which the check will say
    return table["value"] if len(table) == 1 else text

"""
Walk a section beside its type and collect every problem, not only the first.

msgspec itself ends at the first error and names neither the keys of tables nor what is allowed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from flashd.config.problem import allowed_by, did_you_mean, one_of, shown
from flashd.config.secret import FORM, SOURCES, Secret
from flashd.config.shape import Name

Report = Callable[[str, str, str], None]  # key, value as shown, what is allowed


def walk(key: str, value: object, hint: Any, report: Report) -> None:
    """Report everything in *value*, which stands at *key*, that *hint* does not allow."""
    bare = bare_type(hint)
    if bare is Secret:
        _walk_secret(key, value, report)
    elif isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        if isinstance(value, dict):
            _walk_struct(key, value, bare, report)
        else:
            report(key, shown(value), f"write a table of {one_of(field.encode_name for field in fields(bare))}")
    elif get_origin(bare) is dict:
        _walk_table(key, value, get_args(bare), report)
    elif get_origin(bare) in (tuple, list):
        _walk_list(key, value, hint, bare, report)
    else:
        _check_leaf(key, value, hint, report)


def unknown_key(key: str, known: Mapping[str, object] | list[str]) -> str:
    """Say what is allowed instead of the unknown last part of *key*."""
    name = key.rpartition(".")[2]
    return f"there is no such key{did_you_mean(name, known)}; allowed here: {one_of(known)}"


def bare_type(hint: Any) -> Any:
    """Return the type without its constraints and without None, which TOML does not have."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif get_origin(hint) in (Union, types.UnionType):
            members = [member for member in get_args(hint) if member is not type(None)]
            if len(members) != 1:
                return hint
            hint = members[0]
        else:
            return hint


def _walk_struct(key: str, table: dict[str, object], kind: type[msgspec.Struct], report: Report) -> None:
    known: dict[str, FieldInfo] = {field.encode_name: field for field in fields(kind)}
    for name, value in table.items():
        path = f"{key}.{name}" if key else name
        if name in known:
            walk(path, value, known[name].type, report)
        else:
            report(path, "", unknown_key(path, list(known)))  # its value may be a secret under a wrong name
    for name, field in known.items():
        if field.required and name not in table:
            what = f"a secret: write {FORM}" if bare_type(field.type) is Secret else allowed_by(field.type)
            report(f"{key}.{name}", "(missing)", f"is needed; {what or 'see the reference'}")


def _walk_table(key: str, value: object, parts: tuple[Any, ...], report: Report) -> None:
    if not isinstance(value, dict):
        report(key, shown(value), "write a table")
        return
    for name, member in value.items():
        _check_leaf(f"{key}.{name}", name, parts[0], report)
        walk(f"{key}.{name}", member, parts[1], report)


def _walk_list(key: str, value: object, hint: Any, bare: Any, report: Report) -> None:
    members = get_args(bare)
    if not isinstance(value, list):
        report(key, _without_secret(value, members[0]), f"write a list: [ {_example(members[0])} ]")
        return
    for number, member in enumerate(value):
        walk(f"{key}[{number}]", member, members[0], report)
    for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if meta.max_length is not None and len(value) > meta.max_length:
            report(key, f"[{len(value)} of them]", f"write at most {meta.max_length}")


def _example(hint: Any) -> str:
    return FORM.partition(",")[0] if bare_type(hint) is Secret else "..."


def _without_secret(value: object, hint: Any) -> str:
    return "***" if bare_type(hint) is Secret and not isinstance(value, dict) else shown(value)


def _walk_secret(key: str, value: object, report: Report) -> None:
    if not isinstance(value, dict):
        report(key, "***", f"a secret never stands inline; write {FORM}")
        return
    given = sorted(value)
    unknown = [name for name in given if name not in SOURCES]
    for name in unknown:
        report(f"{key}.{name}", "", unknown_key(f"{key}.{name}", list(SOURCES)))
    if not unknown and len(given) != 1:
        count = f"{{ {', '.join(given)} }}" if given else "{ }"
        report(key, count, f"write exactly one source: {FORM}")
    for name in given:
        if name in SOURCES and (not isinstance(value[name], str) or not value[name]):
            report(f"{key}.{name}", shown(value[name]), "write a text in quotes")


def _check_leaf(key: str, value: object, hint: Any, report: Report) -> None:
    try:
        decoded = msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        report(key, shown(value), allowed_by(hint) or str(error))
    else:
        if isinstance(decoded, datetime) and decoded.tzinfo is None:
            report(key, shown(value), allowed_by(datetime))


def check_name(key: str, name: str, report: Report) -> None:
    """Report a name of a pool, channel or backend that could not stand in keys and addresses."""
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        report(key, shown(name), allowed_by(Name))

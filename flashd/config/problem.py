"""What is wrong with a configuration, in one voice: where, which key, which value, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.inspect import (
    BoolType,
    DateTimeType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    Type,
    UnionType,
    type_info,
)

from flashd.config.secret import SecretText
from flashd.errors import ConfigError

AT_ONCE = 20  # problems in one message
SHOWN = 80  # characters of a value
_USERINFO = re.compile(r"(://[^/@:\s]*):[^/@\s]*@")


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend."""

    where: str  # the file, or the environment variable
    key: str
    value: str  # "" where it must not be shown
    allowed: str

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.where}: {self.key}{value}: {self.allowed}"


class Review:
    """Collects what is wrong and what is only unwise, each with where it was written."""

    def __init__(self, path: str, origins: Mapping[str, str]) -> None:
        self.path = path
        self.origins = origins
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._sealed: list[str] = []

    def report(self, key: str, value: str, allowed: str) -> None:
        """Add a problem; *value* is as it may be shown."""
        if not any(is_under(key, known) or is_under(known, key) for known in self._sealed):
            self.problems.append(Problem(self._where(key), key, value, allowed))

    def seal(self) -> None:
        """From now on, leave out what concerns keys that are reported already: it would only follow from that."""
        self._sealed = [problem.key for problem in self.problems]

    def warn(self, key: str, text: str) -> None:
        """Add what should be known, and does not stop anything."""
        self.warnings.append(f"{self._where(key)}: {key}: {text}")

    def raise_if_wrong(self) -> None:
        """Raise one ConfigError of all problems, up to `AT_ONCE` of them."""
        if not self.problems:
            return
        lines = [str(problem) for problem in self.problems[:AT_ONCE]]
        if len(self.problems) > AT_ONCE:
            lines.append(f"... and {len(self.problems) - AT_ONCE} more")
        raise ConfigError("\n".join(lines))

    def _where(self, key: str) -> str:
        inside = (origin for path, origin in self.origins.items() if is_under(path, key))
        return next((origin for origin in inside if origin != self.path), self.origins.get(key, self.path))


def is_under(path: str, key: str) -> bool:
    """Say whether a key path is *key* itself or something in it."""
    return path == key or path.startswith((f"{key}.", f"{key}["))


def hide_password(url: str) -> str:
    """Return the URL with its password as ``***``."""
    return _USERINFO.sub(r"\1:***@", url)


def shown(value: object) -> str:
    """Return a value as the file would hold it, shortened and without what may be secret."""
    if isinstance(value, SecretText):
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = '"' + hide_password(value).replace('"', '\\"') + '"'
    elif isinstance(value, dict):
        text = "{ " + ", ".join(f"{key} = ..." for key in value) + " }"  # what is in it may be a secret
    elif isinstance(value, list):
        text = "[" + ", ".join(shown(part) for part in value) + "]"
    else:
        text = str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def one_of(names: Iterable[object]) -> str:
    """Return the names as a list to choose from."""
    return ", ".join(str(name) for name in sorted(names, key=str)) or "none"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean "erp"?`` if one of *names* is near, else nothing."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def allowed_by(hint: Any) -> str:
    """Say in words what a leaf of this type may be."""
    return _in_words(type_info(hint))


def _in_words(kind: Type) -> str:  # noqa: PLR0911  # one answer a type reads better than one variable
    match kind:
        case Metadata(type=inner):
            return _in_words(inner)
        case UnionType(types=members):
            words = (_in_words(member) for member in members if not isinstance(member, NoneType))
            return " or ".join(filter(None, words))
        case BoolType():
            return "write true or false"
        case IntType() | FloatType():
            noun = "a whole number" if isinstance(kind, IntType) else "a number"
            return f"write {noun}{_bounds(kind)}"
        case LiteralType(values=values):
            return "write one of " + ", ".join(f'"{value}"' for value in values)
        case StrType():
            return _text_in_words(kind.pattern or "")
        case DateTimeType():
            return "write a time with its time zone, such as 2026-11-01T00:00:00Z"
        case _:
            return ""


def _text_in_words(pattern: str) -> str:
    if pattern.startswith("^[a-z0-9]"):
        return "write a name of 1 to 63 letters a-z, digits, - and _, starting with a letter or digit"
    return f'write a text in quotes that matches "{pattern}"' if pattern else "write a text in quotes"


def _bounds(kind: IntType | FloatType) -> str:
    bounds = {"of at least": kind.ge, "above": kind.gt, "of at most": kind.le, "below": kind.lt}
    given = [f"{word} {bound:_}" for word, bound in bounds.items() if bound is not None]
    return " " + " and ".join(given) if given else ""

"""Numbers, times and rates on the command line: what is none is refused with what was given and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import click

from flashd.domain.instant import parse_ms
from flashd.domain.rate import Rate

MOST = 10**12  # units, orders, versions
MOST_OFFSET = 10**9
A_DAY_S = 86_400
A_WEEK_S = 604_800

_WHOLE = re.compile(r"-?[0-9]{1,15}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_BELOW_ZERO = re.compile(r"-[0-9][0-9.,]*")


class Wrong(click.BadParameter):
    """A value that its parameter does not take."""

    def format_message(self) -> str:
        """Say which parameter, what was given, and what is allowed."""
        name = self.param.get_error_hint(self.ctx).replace("'", "") if self.param is not None else "a value"
        return f"{name}: {self.message}"


class Whole(click.IntRange):
    """A whole number, and nothing that Python would read as one besides, such as blanks and 1_000."""

    name = "number"

    def __init__(self, least: int, most: int) -> None:
        super().__init__(least, most)
        self._bounds = range(least, most + 1)
        self._words = f"from {least:,} to {most:,}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number. Raises Wrong."""
        text = str(value)
        if _WHOLE.fullmatch(text) is None or int(text) not in self._bounds:
            _refuse(text, f"a whole number {self._words}", param, ctx)
        return int(text)

    def _describe_range(self) -> str:
        return self._words


class Seconds(click.FloatRange):
    """A span of time, above zero where it must not be nothing; never one without an end, which Python would read."""

    name = "seconds"

    def __init__(self, most: int, *, above_zero: bool) -> None:
        super().__init__(0, most, min_open=above_zero)
        self._most = most
        self._words = f"above 0 and up to {most:,}" if above_zero else f"from 0 to {most:,}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds. Raises Wrong."""
        text = str(value)
        if _SECONDS.fullmatch(text) is None or float(text) > self._most or (self.min_open and float(text) == 0):
            _refuse(text, f"a number of seconds {self._words}, such as 2.5", param, ctx)
        return float(text)

    def _describe_range(self) -> str:
        return self._words


class Text(click.ParamType[str]):
    """
    A text of a certain form, which goes to the daemon as it was given.

    Args:
        name: What it is, for the help.
        read: Reads it; its ValueError says what is allowed.
        word: What may stand in its place, such as ``now``.
    """

    def __init__(self, name: str, read: Callable[[str], object], word: str) -> None:
        self.name = name
        self._read = read
        self._word = word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text. Raises Wrong."""
        text = str(value)
        if text != self._word:
            try:
                self._read(text)
            except ValueError as error:
                said = str(error).removeprefix(repr(text)).strip()
                raise Wrong(f"{text!r} {said}, or {self._word}", ctx, param) from None
        return text


INSTANT = Text("time", parse_ms, "now")
RATE = Text("rate", Rate.parse, "default")


class Counting(click.Command):
    """A command with a number for an argument: one below zero is refused as such, where click sees an option in it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        below_zero = next(filter(_BELOW_ZERO.fullmatch, args), None)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            if below_zero is None:
                raise
            count = next(one for one in self.params if isinstance(one, click.Argument) and isinstance(one.type, Whole))
            count.type.convert(below_zero, count, ctx)
            raise  # such a number is allowed: it is another word that is no option


def _refuse(text: str, wanted: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
    raise Wrong(f"{text!r} is not allowed: give {wanted}", ctx, param)

"""What every command shares: which configuration, which daemon, and whether to print JSON."""

from __future__ import annotations

import functools
import json
import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console

from flashd.cli.client import AdminClient
from flashd.cli.terminal import say, shown
from flashd.config import Loaded, load
from flashd.errors import ConfigError
from flashd.plugins import backend_kinds, broken_kinds, channel_kinds

R = TypeVar("R")

_WORDS = 24  # columns that the last cell of a table needs to stand beside its row
_INDENT = 4
PLACES = ("flashd.toml", "/etc/flashd/flashd.toml")


def find_config(given: str | None) -> Path:
    """
    Return the configuration to use: the one given, $FLASHD_CONFIG, ./flashd.toml or /etc/flashd/flashd.toml.

    Raises:
        ConfigError: There is none.
    """
    named = given or os.environ.get("FLASHD_CONFIG")
    if named:
        return Path(named)
    for place in PLACES:
        if Path(place).exists():
            return Path(place)
    raise ConfigError(
        f"no configuration: neither {' nor '.join(PLACES)} exists. Write one with `flashd init`, or name it with -c."
    )


def load_config(given: str | None) -> Loaded:
    """Return the checked configuration, with the kinds of all plug-ins known. Raises ConfigError."""
    return load(
        find_config(given),
        environ=os.environ,
        channel_kinds=channel_kinds(),
        backend_kinds=backend_kinds(),
        broken_kinds=broken_kinds(),
    )


def config_option(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``-c FILE``."""
    words = "The configuration [default: $FLASHD_CONFIG, ./flashd.toml, /etc/flashd/flashd.toml]."
    return click.option("-c", "--config", "config", metavar="FILE", help=words)(command)


def json_option(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def pool_option(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``--pool NAME``."""
    return click.option("--pool", metavar="NAME", help="Which pool; needed where there are several.")(command)


def url_option(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``--url ADDRESS``."""
    words = "The daemon's admin listener: host:port or unix:/path [default: $FLASHD_URL, else the configuration's]."
    return click.option("--url", metavar="ADDRESS", help=words)(command)


def admin_at(config: str | None, url: str | None) -> AdminClient:
    """Return the client of the running daemon that the options name. Raises ConfigError."""
    listen = url or os.environ.get("FLASHD_URL") or load_config(config).config.admin.listen
    return AdminClient(listen, os.environ.get("FLASHD_TOKEN", ""))


def remote(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``-c`` and ``--url`` and hand the command an AdminClient as *admin*."""

    @config_option
    @url_option
    @functools.wraps(command)
    def with_admin(*args: Any, config: str | None, url: str | None, **kwargs: Any) -> R:
        return command(*args, admin=admin_at(config, url), **kwargs)

    return with_admin


def order_path(key: str, verb: str = "", *, root: str = "orders") -> str:
    """
    Return the admin path of an order that a person names as ``<channel>:<order id>``.

    Raises:
        click.BadParameter: It is named otherwise.
    """
    channel, colon, order_id = key.partition(":")
    if not colon or not channel or not order_id:
        raise click.BadParameter(f"{key!r} is not an order: write <channel>:<order id>, such as shop:1001")
    return f"/admin/v1/{root}/{quote(channel, safe='')}/{quote(order_id, safe='')}" + (f"/{verb}" if verb else "")


def console() -> Console:
    """Return the terminal, plain where it is not one."""
    return Console(highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print one value as indented JSON."""
    say(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """
    Print rows under columns, or say *empty*; columns that begin with ``#`` are numbers and stand to the right.

    No cell is broken, so that an id can be copied: only the words of the last column are, to the width of a terminal,
    and they go below their row where too little is left beside it. Into a pipe goes one line a row.
    """
    if not rows:
        if empty:
            say(empty)
        return
    cells = [["" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    names = [column.removeprefix("#") for column in columns]
    widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    left = sum(widths[:-1]) + 2 * (len(widths) - 1)
    total = console().width if console().is_terminal else 0
    below = 0 < total < left + min(widths[-1], _WORDS)
    for line, row in enumerate([names, *cells]):
        numbers = zip(row, widths, columns, strict=True)
        aligned = [_aligned(cell, width, right=column.startswith("#")) for cell, width, column in numbers]
        first = "  ".join(aligned[:-1])
        words = [aligned[-1].rstrip()] if total == 0 else textwrap.wrap(row[-1], total - (_INDENT if below else left))
        if line == 0:
            say(first.rstrip() if below else f"{first}  {aligned[-1]}".rstrip(), bold=True)
            continue
        if not below:
            first = f"{first}  {words.pop(0) if words else ''}"
        say(first.rstrip())
        for more in words:
            say(" " * (_INDENT if below else left) + more)


def _aligned(cell: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - cell_len(cell))
    return blanks + cell if right else cell + blanks


def moment(at: str) -> str:
    """Write an RFC 3339 time to the second, as a table has room for; UTC, as everywhere."""
    return at[:19].replace("T", " ")


def duration(seconds: float | None) -> str:
    """Write seconds as people say them; ``never`` where nothing flows."""
    if seconds is None:
        return "never"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"

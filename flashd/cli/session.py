"""What every command shares: which configuration, which daemon, and whether to print JSON."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import msgspec
from rich.console import Console
from rich.table import Table

from flashd.cli.client import AdminClient
from flashd.config import Loaded, load
from flashd.errors import ConfigError
from flashd.plugins import backend_kinds, broken_kinds, channel_kinds

R = TypeVar("R")

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


def remote(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``-c`` and ``--url`` and hand the command an AdminClient as *admin*."""

    @config_option
    @click.option(
        "--url",
        metavar="ADDRESS",
        help="The daemon's admin listener: host:port or unix:/path [default: $FLASHD_URL, else the configuration's].",
    )
    @functools.wraps(command)
    def with_admin(*args: Any, config: str | None, url: str | None, **kwargs: Any) -> R:
        listen = url or os.environ.get("FLASHD_URL") or load_config(config).config.admin.listen
        return command(*args, admin=AdminClient(listen, os.environ.get("FLASHD_TOKEN", "")), **kwargs)

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
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows under columns, or say *empty*; columns that begin with ``#`` are numbers and stand to the right."""
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.removeprefix("#"), justify="right" if column.startswith("#") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(highlight=False, markup=False, width=None if console().is_terminal else 200).print(table)


def duration(seconds: float | None) -> str:
    """Write seconds as people say them; ``never`` where nothing flows."""
    if seconds is None:
        return "never"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"

"""What every command shares: which configuration, which daemon, and whether to print JSON."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console

from flashd.cli.client import AdminClient
from flashd.config import Loaded, load
from flashd.errors import ConfigError
from flashd.plugins import backend_kinds, channel_kinds

P = ParamSpec("P")
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
    return load(find_config(given), environ=os.environ, channel_kinds=channel_kinds(), backend_kinds=backend_kinds())


def config_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``-c FILE``."""
    return click.option(
        "-c",
        "--config",
        "config",
        metavar="FILE",
        help="The configuration [default: ./flashd.toml, /etc/flashd/flashd.toml].",
    )(command)


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def remote(command: Callable[..., R]) -> Callable[..., R]:
    """Add ``-c`` and ``--url`` and hand the command an AdminClient as *admin*."""

    @config_option
    @click.option(
        "--url",
        metavar="ADDRESS",
        help="The daemon's admin listener: host:port or unix:/path [default: from the configuration].",
    )
    @functools.wraps(command)
    def with_admin(*args: Any, config: str | None, url: str | None, **kwargs: Any) -> R:
        listen = url or os.environ.get("FLASHD_URL") or load_config(config).config.admin.listen
        return command(*args, admin=AdminClient(listen, os.environ.get("FLASHD_TOKEN", "")), **kwargs)

    return with_admin


def console() -> Console:
    """Return the terminal, plain where it is not one."""
    return Console(highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print one value as indented JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))

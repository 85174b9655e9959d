"""`flashd run`, `flashd check` and `flashd config`: everything that begins with the configuration file."""

from __future__ import annotations

import asyncio
import sys

import click

from flashd.cli.group import Group
from flashd.cli.preflight import show_preflight
from flashd.cli.session import (
    admin_at,
    config_option,
    json_option,
    load_config,
    pool_option,
    print_json,
    url_option,
)
from flashd.config import Loaded, require_runnable, schema, show
from flashd.plugins import backend_kinds, channel_kinds


@click.command()
@config_option
def run(config: str | None) -> None:
    """Run the daemon until SIGTERM; SIGHUP reloads the configuration."""
    from flashd.daemon import run as live  # noqa: PLC0415  # only here: it imports every room
    from flashd.daemon.reload import reloading  # noqa: PLC0415  # as above

    sys.exit(live(load_config(config), reloading(lambda: load_config(config))))


@click.command()
@config_option
@click.option("--online", is_flag=True, help="Also ask the store, and log in to every channel and backend.")
@click.option("--sale", metavar="NAME", help="Instead, ask the running daemon whether that sale may go: GO or NO-GO.")
@pool_option
@url_option
@json_option
def check(
    config: str | None, sale: str | None, pool: str | None, url: str | None, *, online: bool, as_json: bool
) -> None:
    """
    Check the configuration; exit 78 if it is refused. With --online, exit 1 if something does not answer.

    With --sale, check a sale before it opens, with all that it needs: stock, map, platforms, prices, clocks, backends,
    alerts. Exit 1 on a NO-GO.
    """
    if sale is not None:
        show_preflight(admin_at(config, url), sale, pool, as_json=as_json)
        return
    from flashd.daemon.online import try_adapters  # noqa: PLC0415  # only here, for it imports every room

    loaded = load_config(config)
    require_runnable(loaded)
    try_adapters(loaded)
    findings: list[dict[str, object]] = [{"what": loaded.path, "ok": True, "said": "the configuration is right"}]
    findings += [{"what": loaded.path, "ok": True, "said": f"warning: {text}"} for text in loaded.warnings]
    if online:
        findings += asyncio.run(_ask_all(loaded))
    if as_json:
        print_json({"ok": all(finding["ok"] for finding in findings), "findings": findings})
    else:
        for finding in findings:
            click.echo(_line(str(finding["what"]), str(finding["said"]), ok=bool(finding["ok"])))
    if not all(finding["ok"] for finding in findings):
        raise SystemExit(1)


def _line(what: str, said: str, *, ok: bool) -> str:
    mark = click.style("ok  ", fg="green") if ok else click.style("FAIL", fg="red")
    for word, other in (("warning: ", click.style("warn", fg="yellow")), ("note: ", "note")):
        if said.startswith(word):
            mark, said = other, said.removeprefix(word)
    return f"{mark} {what}: {said.removeprefix(f'{what}: ')}"


async def _ask_all(loaded: Loaded) -> list[dict[str, object]]:
    from flashd.daemon.online import ask_backends, ask_channels, ask_store  # noqa: PLC0415  # as above

    found = [*(await ask_store(loaded)), *(await ask_channels(loaded)), *(await ask_backends(loaded))]
    return [{"what": what, "ok": ok, "said": said} for what, ok, said in found]


@click.group("config", cls=Group)
def config_group() -> None:
    """Show the configuration, or its schema."""


@config_group.command("show")
@config_option
@click.option("--origin", is_flag=True, help="Say of each value where it comes from.")
def show_config(config: str | None, *, origin: bool) -> None:
    """Show every value in force; secrets as ***."""
    for line in show(load_config(config)).splitlines():
        click.echo(line if origin else line.rpartition("  # ")[0])


@config_group.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of flashd.toml, with the keys of every installed adapter."""
    print_json(schema(channel_kinds(), backend_kinds()))

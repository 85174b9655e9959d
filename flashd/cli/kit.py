"""`flashd stock kits` and `flashd stock kit`: SKUs that are put together from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.session import json_option, pool_option, print_json, print_table, remote
from flashd.cli.terminal import say


@click.command("kits")
@json_option
@pool_option
@remote
def kits(admin: AdminClient, pool: str | None, *, as_json: bool) -> None:
    """Show all kits, their components, and how many can be put together."""
    answer = admin.get("/admin/v1/kits", pool=pool)
    if as_json:
        print_json(answer)
        return
    rows = [(one["sku"], one["available"], _parts(one["components"]) + _unknown(one)) for one in answer["kits"]]
    print_table(("KIT", "#AVAILABLE", "COMPONENTS"), rows, empty="no kits: flashd stock kit set SKU COMPONENT=2")


@click.group(cls=Group)
def kit() -> None:
    """Define kits."""


@kit.command("set")
@click.argument("sku")
@click.argument("components", nargs=-1, required=True, metavar="COMPONENT=UNITS...")
@json_option
@pool_option
@remote
def set_(admin: AdminClient, sku: str, components: tuple[str, ...], pool: str | None, *, as_json: bool) -> None:
    """Say what one SKU is put together from: so many UNITS of each COMPONENT."""
    body = {"components": dict(map(_component, components))}
    if len(body["components"]) != len(components):
        raise click.BadParameter("a component stands there twice")
    _say(admin.call("PUT", _path(sku), body, query={"pool": pool}), as_json=as_json)


@kit.command("remove")
@click.argument("sku")
@json_option
@pool_option
@remote
def remove(admin: AdminClient, sku: str, pool: str | None, *, as_json: bool) -> None:
    """Make SKU no kit any more; orders that were taken keep what they had."""
    _say(admin.call("DELETE", _path(sku), query={"pool": pool}), as_json=as_json)


@kit.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@json_option
@pool_option
@remote
def import_(admin: AdminClient, file: Path, pool: str | None, *, as_json: bool, dry_run: bool) -> None:
    """Define the kits of FILE, a CSV with the columns kit,component,quantity: all of them or none."""
    query: dict[str, object] = {"pool": pool, "dry_run": "true" if dry_run else None}
    answer = admin.call("POST", "/admin/v1/kits/import", file.read_bytes(), query=query, media="text/csv", timeout=600)
    if as_json:
        print_json(answer)
        return
    for change in answer["changes"]:
        _tell(change, dry_run=dry_run)
    checked = " checked, nothing written" if dry_run else ""
    say(f"{len(answer['changes'])} kits{checked}, {answer['unchanged']} unchanged")


def _path(sku: str) -> str:
    return f"/admin/v1/kits/{quote(sku, safe='')}"


def _component(text: str) -> tuple[str, int]:
    sku, equals, units = text.rpartition("=")
    if not equals or not sku or not units.isascii() or not units.isdigit() or int(units) < 1:
        raise click.BadParameter(f"{text!r} is no component: write COMPONENT=UNITS, such as TEE-M=2")
    return sku, int(units)


def _parts(components: dict[str, int]) -> str:
    return " + ".join(f"{units} x {sku}" for sku, units in components.items())


def _unknown(one: dict[str, Any]) -> str:
    return f"; not counted yet: {', '.join(one['unknown'])}" if one["unknown"] else ""


def _say(change: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(change)
    else:
        _tell(change)


def _tell(change: dict[str, Any], *, dry_run: bool = False) -> None:
    verb = "would be" if dry_run else "is"
    if not change["after"]:
        say(f"{change['sku']} {verb} no kit any more")
        return
    was = f" (was {_parts(change['before'])})" if change["before"] not in ({}, change["after"]) else ""
    say(f"{change['sku']} {verb} {_parts(change['after'])}{was}{_unknown(change)}")

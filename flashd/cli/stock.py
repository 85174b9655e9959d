"""`flashd stock`: counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.session import json_option, pool_option, print_json, print_table, remote
from flashd.cli.stockroom import receive, recount
from flashd.cli.terminal import say


@click.group()
def stock() -> None:
    """Show and set stock."""


stock.add_command(recount)
stock.add_command(receive)


@stock.command("show")
@click.argument("sku", nargs=-1)
@json_option
@pool_option
@remote
def show(admin: AdminClient, sku: tuple[str, ...], pool: str | None, *, as_json: bool) -> None:
    """Show the counters of all SKUs, or of those named."""
    answer = admin.get("/admin/v1/stock", pool=pool, sku=sku)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("SKU", "LOCATION", "#ON HAND", "#HELD", "#SOLD", "#SAFETY", "#FREE"),
        [
            (row["sku"], row["location"], row["on_hand"], row["held"], row["sold"], row["safety"], row["free"])
            for row in answer["levels"]
        ],
        empty="no such SKU" if sku else "no stock yet: flashd stock set SKU COUNT, or flashd stock import FILE.csv",
    )


@stock.command("set")
@click.argument("sku")
@click.argument("count", type=click.IntRange(0))
@click.option("--location", help="Where it lies [default: the pool's location].")
@click.option("--safety", type=click.IntRange(0), help="Units never promised to anybody.")
@click.option(
    "--seq", type=click.IntRange(1), help="Number of this count; one that is not higher than the last changes nothing."
)
@click.option("--lacks", type=click.IntRange(0), help="Sold units that this count already lacks; needs --seq.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@json_option
@pool_option
@remote
def set_(
    admin: AdminClient, sku: str, count: int, *, as_json: bool, pool: str | None, dry_run: bool, **given: Any
) -> None:
    """Set the units on hand of SKU to COUNT."""
    body = {"on_hand": count} | {key: value for key, value in given.items() if value is not None}
    query: dict[str, object] = {"pool": pool, "dry_run": "true" if dry_run else None}
    answer = admin.call("PUT", f"/admin/v1/stock/{quote(sku, safe='')}", body, query=query)
    if as_json:
        print_json(answer)
        return
    _say(answer, dry_run=dry_run)


@stock.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@json_option
@pool_option
@remote
def import_(admin: AdminClient, file: Path, *, as_json: bool, pool: str | None, dry_run: bool) -> None:
    """Set counts from FILE, a CSV with the columns sku,on_hand and, where wanted, location,safety,seq,lacks."""
    query: dict[str, object] = {"pool": pool, "dry_run": "true" if dry_run else None}
    answer = admin.call("POST", "/admin/v1/stock/import", file.read_bytes(), query=query, media="text/csv", timeout=600)
    if as_json:
        print_json(answer)
        return
    for row in answer["rows"]:
        _say(row, dry_run=dry_run)
    say(f"{len(answer['rows'])} rows{' checked, nothing written' if dry_run else ''}")


def _say(counted: dict[str, Any], *, dry_run: bool) -> None:
    after, before = counted["after"], counted["before"]
    was = "new" if before is None else f"was {before['on_hand']}"
    verb = "would be" if dry_run else "is"
    if not counted["applied"]:
        say(f"{after['sku']}: unchanged, count {after['seq']} or a later one is known")
        return
    say(f"{after['sku']}: on hand {verb} {after['on_hand']} ({was}), free {after['free']}")
    if counted["deficit"]:
        say(f"  DEFICIT: {counted['deficit']} promised units are not there", fg="red", err=True)

"""`flashd stock`: counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.kit import kit, kits
from flashd.cli.parameter import MOST, Counting, Whole
from flashd.cli.session import json_option, pool_option, print_json, print_table, remote
from flashd.cli.stockroom import receive, recount
from flashd.cli.terminal import say, shown


@click.group(cls=Group)
def stock() -> None:
    """Show and set stock, kits, and what channels may have sold of it."""


stock.add_command(kits)
stock.add_command(kit)


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
        _refuse_unknown(sku, answer["levels"])
        return
    print_table(
        ("SKU", "LOCATION", "#ON HAND", "#HELD", "#SOLD", "#EXPOSED", "#SAFETY", "#FREE"),
        [
            tuple(row[name] for name in ("sku", "location", "on_hand", "held", "sold", "exposed", "safety", "free"))
            for row in answer["levels"]
        ],
        empty="" if sku else "no stock yet: flashd stock set SKU COUNT, or flashd stock import FILE.csv",
    )
    _refuse_unknown(sku, answer["levels"])


@stock.command("exposure")
@click.argument("sku", nargs=-1)
@click.option("--limit", type=Whole(1, 1000), default=100, show_default=True, help="How many SKUs at most.")
@json_option
@pool_option
@remote
def exposure(admin: AdminClient, sku: tuple[str, ...], pool: str | None, limit: int, *, as_json: bool) -> None:
    """Show what each channel may have sold unseen or may still sell, and how many units could be sold twice."""
    answer = admin.get("/admin/v1/stock/exposure", pool=pool, sku=sku, limit=limit)
    if as_json:
        print_json(answer)
        _refuse_unknown(sku, answer["skus"])
        return
    print_table(
        ("SKU", "#ON HAND", "#HELD", "#SOLD", "#SAFETY", "#FREE", "#TWICE", "CHANNELS"),
        [
            (
                *(row[name] for name in ("sku", "on_hand", "held", "sold", "safety", "free", "twice")),
                ", ".join(_share(name, share) for name, share in sorted(row["channels"].items())),
            )
            for row in answer["skus"]
        ],
        empty="" if sku else "no stock yet",
    )
    total = answer["total"]
    say(
        f"total: {total['backed']} units lie with escrow channels, {total['unbacked']} are shown by mirrors,"
        f" {total['twice']} could be sold twice"
    )
    if answer["next_offset"] is not None:
        say(f"only the first {len(answer['skus'])} SKUs are shown; see --limit")
        return
    _refuse_unknown(sku, answer["skus"])


def _refuse_unknown(wanted: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """End with 1 where a SKU that was named is not among the rows."""
    missing = [sku for sku in dict.fromkeys(wanted) if all(row["sku"] != sku for row in rows)]
    if missing:
        raise click.ClickException(f"no such SKU: {', '.join(map(shown, missing))}")


def _share(channel: str, share: dict[str, Any]) -> str:
    """Say what one channel shows: `shop 5`, and what more it may have sold unseen."""
    words = f"{channel} {'?' if share['figure'] is None else share['figure']}"
    if share["exposed"] != share["figure"]:
        words += f" (exposed {share['exposed']})"
    return words + (" of its own" if share["backed"] else "")


@stock.command("set", cls=Counting)
@click.argument("sku")
@click.argument("count", type=Whole(0, MOST))
@click.option("--location", help="Where it lies [default: the pool's location].")
@click.option("--safety", type=Whole(0, MOST), help="Units never promised to anybody.")
@click.option(
    "--seq", type=Whole(1, MOST), help="Number of this count; one that is not higher than the last changes nothing."
)
@click.option("--lacks", type=Whole(0, MOST), help="Sold units that this count already lacks; needs --seq.")
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

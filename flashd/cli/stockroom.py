"""`flashd stock recount` and `receive`, `flashd orders ship` and `triage`: what the warehouse says, and who waits."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.parameter import INSTANT, MOST, Counting, Whole
from flashd.cli.session import json_option, order_path, pool_option, print_json, print_table, remote
from flashd.cli.terminal import say

_KINDS = ("physical", "available")
_WAYS = ("backorder", "split", "reduce", "substitute", "cancel")
_WAITING = ("shortfall", "backorder")  # states of an order that waits for units
_DONE = {"set": "set", "stale": "stale: a later count is known", "left": "left: it makes a deficit, say --repair all"}


@click.command("recount")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--sku", help="Count one SKU instead of a file.")
@click.option(
    "--quantity",
    type=Whole(-MOST, MOST),
    help="How many there were; below zero, the backend promised more than it has.",
)
@click.option("--location", help="Where [default: the pool's location].")
@click.option("--kind", type=click.Choice(_KINDS), help="What lies there, or what is not promised yet; of all rows.")
@click.option("--as-of", type=INSTANT, help="When it was counted: RFC 3339, or now; of all rows.")
@click.option("--seq", type=Whole(1, MOST), help="Number of this count [default: its instant].")
@click.option("--dry-run", is_flag=True, help="Only say what would happen: the default.")
@click.option(
    "--repair", type=click.Choice(("safe", "all")), help="Set the counts: only those that make no deficit, or all."
)
@json_option
@pool_option
@remote
def recount(
    admin: AdminClient,
    file: Path | None,
    *,
    pool: str | None,
    repair: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """
    Count again while selling: each count is netted against exactly the orders that it contains already.

    FILE is a CSV with the columns sku,quantity and, where wanted, location,kind,as_of,seq,safety,source.
    """
    if (file is None) == (given["sku"] is None) or (given["sku"] is not None and given["quantity"] is None):
        raise click.UsageError("give a FILE, or --sku and --quantity")
    if repair and dry_run:
        raise click.UsageError("either --dry-run or --repair")
    query: dict[str, object] = {"pool": pool, "repair": repair, "kind": given["kind"], "as_of": given["as_of"]}
    if file is not None:
        body, media = file.read_bytes(), "text/csv"
        answer = admin.call("POST", "/admin/v1/stock/recount", body, query=query, media=media, timeout=600)
    else:
        row = {name: given[name] for name in ("sku", "quantity", "location", "seq") if given[name] is not None}
        answer = admin.call("POST", "/admin/v1/stock/recount", [row], query=query)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("SKU", "LOCATION", "#COUNTED", "#EXPECTED", "#DIFFERENCE", "#ORDERS IN IT", "#DEFICIT", "WHAT"),
        [
            (
                row["sku"],
                row["location"],
                row["counted"],
                row["expected"],
                f"{row['difference']:+d}" if row["difference"] else "",
                row["orders"] or "",
                row["deficit"] or "",
                _DONE[row["action"]] if repair or row["action"] != "set" else "would be set",
            )
            for row in answer["rows"]
        ],
        empty="no rows",
    )
    say(f"{answer['written']} counts set" if repair else "nothing was written: set them with --repair safe or all")


@click.command("receive", cls=Counting)
@click.argument("sku")
@click.argument("units", type=Whole(1, 10**9))
@click.option("--receipt", help="Its id; the same one twice is one [default: a new one].")
@click.option("--location", help="Where [default: the pool's location].")
@json_option
@pool_option
@remote
def receive(
    admin: AdminClient,
    sku: str,
    units: int,
    *,
    receipt: str | None,
    location: str | None,
    pool: str | None,
    as_json: bool,
) -> None:
    """Put UNITS of SKU on hand: who waits for them is served first."""
    body = {"units": units, "receipt": receipt or str(uuid.uuid4())} | ({"location": location} if location else {})
    answer = admin.call("POST", f"/admin/v1/stock/{quote(sku, safe='')}/receive", body, query={"pool": pool})
    if as_json:
        print_json(answer)
        return
    level = answer["level"]
    known = "known already: nothing changed; " if answer["repeat"] else ""
    say(f"{known}{sku}: on hand {level['on_hand']}, owed {level['owed']}, free {level['free']}")
    for order in answer["served"]:
        say(f"  {order} goes on")


@click.command("ship")
@click.argument("key")
@click.option("--at", type=INSTANT, help="When the goods left, RFC 3339 [default: now].")
@json_option
@remote
def ship(admin: AdminClient, key: str, at: str | None, *, as_json: bool) -> None:
    """Say that the goods of a delivered order are gone: physical counts lack them from then on."""
    answer = admin.call("POST", order_path(key, "ship"), {"at": at} if at else {})
    if as_json:
        print_json(answer)
        return
    say(f"{answer['order']} is shipped")


@click.command("triage")
@click.argument("key", required=False)
@click.option("--do", "way", type=click.Choice(_WAYS), help="Do this; without it, only say what may be done.")
@click.option("--with", "swap", multiple=True, metavar="OLD=NEW", help="With --do substitute: a SKU for another.")
@click.option("--reason", help="With --do cancel: stands in the timeline.")
@json_option
@pool_option
@remote
def triage(
    admin: AdminClient,
    key: str | None,
    *,
    way: str | None,
    swap: tuple[str, ...],
    reason: str | None,
    pool: str | None,
    as_json: bool,
) -> None:
    """Show paid orders that cannot be covered and what may be done about each, or decide about one."""
    if key is None:
        if way:
            raise click.UsageError("name the order: flashd orders triage KEY --do ...")
        answer = admin.get("/admin/v1/triage", pool=pool)
        _print_shortages(answer, answer["shortages"], as_json=as_json)
    elif way is None:
        answer = admin.get(order_path(key, "triage"))
        _print_shortages(answer, [answer], as_json=as_json)
    else:
        if not all("=" in pair for pair in swap):
            raise click.UsageError("--with wants OLD=NEW, two SKUs")
        body: dict[str, Any] = {"do": way, "substitutes": dict(pair.split("=", 1) for pair in swap)}
        answer = admin.call("POST", order_path(key, "triage"), body | ({"reason": reason} if reason else {}))
        if as_json:
            print_json(answer)
            return
        say(f"{answer['order']} is {answer['state']}" + (f": {answer['reason']}" if answer["reason"] else ""))


def _print_shortages(answer: dict[str, Any], shortages: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    for shortage in shortages:
        order, short = shortage["order"], shortage["short"]
        missing = ", ".join(f"{units} of {sku}" for sku, units in short.items())
        waits = "goods that come go to it" if shortage["fills_itself"] else "it waits for a decision"
        stands = f"short {missing or 'of nothing'}; {waits}" if order["state"] in _WAITING else "nothing to decide"
        say(f"{order['order']}  {order['state']}, {stands}", bold=True)
        for option in shortage["options"]:
            say(f"  {option['way']:<11} {option['cost']:>9}  {option['why']}")
    if not shortages:
        say("nothing is short")

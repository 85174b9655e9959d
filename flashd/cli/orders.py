"""`flashd orders` and `flashd dead`: what stands where, and what a human may do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.parameter import MOST, MOST_OFFSET, Whole
from flashd.cli.session import (
    duration,
    json_option,
    moment,
    order_path,
    pool_option,
    print_json,
    print_table,
    remote,
)
from flashd.cli.stockroom import ship, triage
from flashd.cli.terminal import say
from flashd.domain.order import OrderState

_COLUMNS = ("ORDER", "NUMBER", "STATE", "BACKEND", "#SENDS", "CHANGED (UTC)", "REASON")
_STATES = tuple(str(state) for state in OrderState)  # as they are printed
_KIND = click.option("--kind", type=click.Choice(("create", "cancel", "amend")), help="A follow-up of the order.")


def _rows(orders: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            row["order"] + ("" if row["kind"] == "create" else f" ({row['kind']})"),
            row["number"],
            row["state"],
            row["backend_ref"] or row["backend"],
            row["sends"],
            moment(row["changed_at"]),
            row["reason"],
        )
        for row in orders
    ]


def _print_page(answer: dict[str, Any], *, as_json: bool, empty: str) -> None:
    if as_json:
        print_json(answer)
        return
    print_table(_COLUMNS, _rows(answer["orders"]), empty=empty)
    if answer["next_offset"] is not None:
        say(f"more: --offset {answer['next_offset']}")


def _print_change(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    say(f"{answer['order']} is {answer['state']}" + (f": {answer['reason']}" if answer["reason"] else ""))


@click.group(cls=Group)
def orders() -> None:
    """List, show and mend orders. KEY is <channel>:<order id>, such as shop:1001."""


orders.add_command(ship)
orders.add_command(triage)


@orders.command("list")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only these states.")
@click.option("--channel", help="Only of this sales channel.")
@click.option("--backend", help="Only for this backend.")
@click.option("--limit", type=Whole(1, 500), default=50, show_default=True, help="At most so many.")
@click.option("--offset", type=Whole(0, MOST_OFFSET), default=0, help="Leave out the first so many.")
@json_option
@pool_option
@remote
def list_(admin: AdminClient, *, as_json: bool, **query: Any) -> None:
    """List orders, oldest first."""
    _print_page(admin.get("/admin/v1/orders", **query), as_json=as_json, empty="no such orders")


@orders.command("show")
@click.argument("key")
@_KIND
@json_option
@remote
def show(admin: AdminClient, key: str, kind: str | None, *, as_json: bool) -> None:
    """Show one order: its whole timeline, its items, why it goes where it goes."""
    answer = admin.get(order_path(key), kind=kind)
    if as_json:
        print_json(answer)
        return
    _print_detail(answer)


def _print_detail(answer: dict[str, Any]) -> None:
    head = answer["summary"]
    say(f"{head['order']}  {head['state']}", bold=True)
    for name, value in (
        ("number", head["number"]),
        ("reason", head["reason"]),
        ("backend", f"{head['backend']} {head['backend_ref']}".strip()),
        ("sends", f"{head['sends']}, refusals {head['refusals']}, key revision {answer['revision']}"),
        ("queue", _place(answer)),
        ("waits", "a newer version, until the outcome of this one is known" if answer["has_next"] else ""),
    ):
        if value:
            say(f"  {name:<9} {value}")
    say("  items")
    for item in answer["items"]:
        short = item["quantity"] - item.get("taken", 0) - item.get("counted", 0)
        say(f"    {item['quantity']} x {item['sku']} from {item['location']}" + (f", {short} short" if short else ""))
    if answer["routing"]:
        say("  routing")
        for line in answer["routing"]["because"]:
            say(f"    {line}")
    say("  timeline")
    for entry in answer["timeline"]:
        say(f"    {entry['at']}  {entry['what']}")


def _place(answer: dict[str, Any]) -> str:
    if answer["position"] is None:
        return ""
    leaves = "nothing leaves now" if answer["eta_s"] is None else f"leaves in {duration(answer['eta_s'])}"
    return f"{answer['position']} before it, {leaves}"


@orders.command("retry")
@click.argument("key")
@_KIND
@json_option
@remote
def retry(admin: AdminClient, key: str, kind: str | None, *, as_json: bool) -> None:
    """Send a parked, waiting, short, manual or dead order (again), under the same key."""
    _print_change(admin.call("POST", order_path(key, "retry"), query={"kind": kind}), as_json=as_json)


@orders.command("cancel")
@click.argument("key")
@click.option("--reason", required=True, help="Stands in the timeline.")
@_KIND
@json_option
@remote
def cancel(admin: AdminClient, key: str, reason: str, kind: str | None, *, as_json: bool) -> None:
    """Cancel for good and give the stock back. Of a manual order you thereby say that the backend lacks it."""
    answer = admin.call("POST", order_path(key, "cancel"), {"reason": reason}, query={"kind": kind})
    _print_change(answer, as_json=as_json)


@orders.command("mend")
@click.argument("key")
@click.option(
    "--order",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The corrected order: the `order` of `flashd orders show KEY --json`, edited.",
)
@click.option("--absent", is_flag=True, help="You have looked: the backend does not have it.")
@_KIND
@json_option
@remote
def mend(admin: AdminClient, key: str, file: Path, kind: str | None, *, absent: bool, as_json: bool) -> None:
    """Replace an order's content and send it under a new key."""
    try:
        order = msgspec.json.decode(file.read_bytes())
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{file} is not JSON: {error}") from None
    body = {"order": order, "absent": absent}
    _print_change(admin.call("POST", order_path(key, "mend"), body, query={"kind": kind}), as_json=as_json)


@orders.command("settle")
@click.argument("key")
@click.argument("backend_ref")
@_KIND
@json_option
@remote
def settle(admin: AdminClient, key: str, backend_ref: str, kind: str | None, *, as_json: bool) -> None:
    """Say that the backend has this manual or dead order, as BACKEND_REF."""
    body = {"backend_ref": backend_ref}
    _print_change(admin.call("POST", order_path(key, "settle"), body, query={"kind": kind}), as_json=as_json)


@orders.command("export")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only these states.")
@click.option("--channel", help="Only of this sales channel.")
@click.option("--backend", help="Only for this backend.")
@click.option("--customers", is_flag=True, help="With customer data; needs a token of scope admin.")
@pool_option
@remote
def export(admin: AdminClient, *, customers: bool, **query: Any) -> None:
    """Print every order that matches, one JSON object a line."""
    for line in admin.lines("/admin/v1/orders/export", query=query | {"customers": "true" if customers else None}):
        say(line)


@click.group(cls=Group)
def dead() -> None:
    """Dead letters: orders that a backend refused for good."""


@dead.command("list")
@click.option("--backend", help="Only of this backend.")
@click.option("--limit", type=Whole(1, 500), default=50, show_default=True, help="At most so many.")
@click.option("--offset", type=Whole(0, MOST_OFFSET), default=0, help="Leave out the first so many.")
@json_option
@pool_option
@remote
def list_dead(admin: AdminClient, *, as_json: bool, **query: Any) -> None:
    """List dead letters, oldest first."""
    _print_page(admin.get("/admin/v1/dead", **query), as_json=as_json, empty="no dead letters")


@dead.command("show")
@click.argument("key")
@_KIND
@json_option
@remote
def show_dead(admin: AdminClient, key: str, kind: str | None, *, as_json: bool) -> None:
    """Show one dead letter."""
    answer = admin.get(order_path(key, root="dead"), kind=kind)
    if as_json:
        print_json(answer)
        return
    _print_detail(answer)


@dead.command("replay")
@click.argument("key", required=False)
@click.option("--backend", default="", help="All of this backend.")
@click.option("--reason", default="", help="All with exactly this reason.")
@click.option("--dry-run", is_flag=True, help="Only count them, by reason.")
@click.option("--confirm", type=Whole(0, MOST), help="The number that --dry-run said.")
@_KIND
@json_option
@pool_option
@remote
def replay(
    admin: AdminClient, key: str | None, *, as_json: bool, pool: str | None, kind: str | None, **wish: Any
) -> None:
    """Send one dead letter again, or all that match: first with --dry-run, then with --confirm NUMBER."""
    if key is not None:
        _print_change(admin.call("POST", order_path(key, "replay", root="dead"), query={"kind": kind}), as_json=as_json)
        return
    answer = admin.call("POST", "/admin/v1/dead/replay", wish, query={"pool": pool}, timeout=600)
    if as_json:
        print_json(answer)
        return
    for reason, count in sorted(answer["reasons"].items(), key=lambda pair: -pair[1]):
        say(f"{count:>7}  {reason}")
    if wish["dry_run"]:
        many = answer["matching"]
        say(f"{many} match; send them with --confirm {many}" if many else "none match, so there is nothing to send")
    else:
        say(f"{answer['replayed']} of {answer['matching']} go again")


@dead.command("discard")
@click.argument("key")
@click.option("--reason", required=True, help="Stands in the timeline.")
@_KIND
@json_option
@remote
def discard(admin: AdminClient, key: str, reason: str, kind: str | None, *, as_json: bool) -> None:
    """Give one dead letter up: it is cancelled and its stock comes back."""
    answer = admin.call("POST", order_path(key, "discard", root="dead"), {"reason": reason}, query={"kind": kind})
    _print_change(answer, as_json=as_json)

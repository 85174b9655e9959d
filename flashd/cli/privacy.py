"""`flashd forget` and `flashd demands`: customers who are to be forgotten, and what platforms demand about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.session import json_option, moment, pool_option, print_json, print_table, remote
from flashd.cli.terminal import say

_LISTED = 10
_WORDS = {
    "clean": "the store's log was written anew: the bytes are gone from its disk",
    "running": "the store's log is being written anew; until that is done the bytes are on its disk",
    "failed": "the store's log was NOT written anew: the bytes are still on its disk",
    "forbidden": "the store's log was NOT written anew: the bytes are still on its disk",
    "none": "the store keeps no log",
}


@click.command()
@click.argument("orders", nargs=-1, metavar="[CHANNEL:ORDER]...")
@click.option("--email", default="", help="Whoever has this e-mail address.")
@click.option("--phone", default="", help="Whoever has this phone number, with or without its country.")
@click.option("--customer-id", default="", help="The platform's own id: finds what has not been delivered yet.")
@click.option("--channel", default="", help="Only on this sales channel.")
@click.option("--everything", is_flag=True, help="All customers of --channel: its merchant has left.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pool_option
@remote
def forget(
    admin: AdminClient,
    orders: tuple[str, ...],
    *,
    pool: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **who: Any,
) -> None:
    """
    Erase what is kept of a customer; the orders stay, with SKUs and amounts.

    Orders that are not settled are erased by themselves as soon as they are: cancel or discard those that shall never
    be delivered. Exit 1 if something is left for a human to do on the store's server.
    """
    if who["everything"] and not who["channel"]:
        raise click.UsageError("--everything erases the customers of one sales channel: name it with --channel")
    wish = {"orders": list(orders), **who}
    if not (yes or dry_run):
        seen = _ask(admin, wish, pool, dry_run=True)
        _print(seen, "would be erased")
        click.confirm("Erase this for good?", abort=True, err=True)
    answer = _ask(admin, wish, pool, dry_run=dry_run)
    if as_json:
        print_json(answer)
    else:
        _print(answer, "would be erased" if dry_run else "erased")
    scrubbed = answer["scrubbed"]
    if scrubbed is not None and scrubbed["code"] in {"failed", "forbidden"}:
        raise SystemExit(1)


def _ask(admin: AdminClient, wish: dict[str, Any], pool: str | None, *, dry_run: bool) -> Any:
    query: dict[str, object] = {"pool": pool, "dry_run": "true" if dry_run else None}
    return admin.call("POST", "/admin/v1/forget", wish, query=query, timeout=600)


def _print(answer: dict[str, Any], word: str) -> None:
    for one in answer["pools"]:
        head = f"pool {one['pool']}: " if len(answer["pools"]) > 1 else ""
        erased = one["forgotten"]["erased"]
        say(f"{head}{len(erased)} orders {word}{_some(erased)}", bold=True)
        for line in _rest(one["forgotten"], word):
            say(f"  {line}")
    scrubbed = answer["scrubbed"]
    if scrubbed is not None:
        say(_WORDS[scrubbed["code"]])
        for mend in scrubbed["mend"]:
            say(f"  {mend}")


def _rest(done: dict[str, Any], word: str) -> Iterator[str]:
    """Say what else was found, and what is not erased."""
    if done["before"]:
        yield f"{done['before']} hold nothing of them any more"
    if done["quarantined"]:
        yield f"{len(done['quarantined'])} quarantined bodies {word}{_some(done['quarantined'])}"
    yield from (
        f"{one['order']} is {one['state']}: erased as soon as it is settled" for one in done["spared"][:_LISTED]
    )
    if len(done["spared"]) > _LISTED:
        yield f"and {len(done['spared']) - _LISTED} more that are not settled"
    yield from (f"{order} is not kept here" for order in done["unknown"])
    if done["journal"]:
        yield f"{done['journal']} events name them, by a human's words: they go when the journal is trimmed"
    if done["backends"]:
        yield f"not ours to erase: the copies in {', '.join(done['backends'])}, on the platform and in exports"


def _some(names: list[str]) -> str:
    if not names:
        return ""
    more = len(names) - _LISTED
    return ": " + ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


@click.group(cls=Group)
def demands() -> None:
    """See what platforms demand about customers: to be told, to be forgotten."""


@demands.command("list")
@json_option
@pool_option
@remote
def list_(admin: AdminClient, pool: str | None, *, as_json: bool) -> None:
    """List every demand, oldest first; what was to be erased, flashd has erased by itself."""
    answer = admin.get("/admin/v1/demands", pool=pool)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            one["id"],
            one["kind"],
            one["channel"],
            moment(one["received_at"]),
            moment(one["met_at"]) or "open",
            f"{one['by']}: {one['outcome']}" if one["met_at"] else "",
        )
        for one in answer["demands"]
    ]
    print_table(("ID", "KIND", "CHANNEL", "RECEIVED (UTC)", "MET (UTC)", "BY"), rows, empty="nothing was demanded")


@demands.command("show")
@click.argument("demand_id", metavar="ID")
@json_option
@pool_option
@remote
def show(admin: AdminClient, demand_id: str, pool: str | None, *, as_json: bool) -> None:
    """Show one demand: who it is about, and which orders are kept of them. It holds customer data."""
    answer = admin.get(f"/admin/v1/demands/{quote(demand_id, safe='')}", pool=pool)
    if as_json:
        print_json(answer)
        return
    demand, person = answer["demand"], answer["person"]
    say(f"{demand['kind']} of {demand['channel']}, {moment(demand['received_at'])} UTC", bold=True)
    if demand["reference"]:
        say(f"  the platform's number: {demand['reference']}")
    for name in ("email", "phone", "customer_id"):
        if person[name]:
            say(f"  {name}: {person[name]}")
    kept = answer["kept"]
    if kept is None:
        say(f"  met {moment(demand['met_at'])} UTC by {demand['by']}: {demand['outcome']}")
        return
    for order in [*kept["erased"], *(spared["order"] for spared in kept["spared"])]:
        say(f"  kept: {order} (flashd orders show {order})")
    for entry in kept["quarantined"]:
        say(f"  kept: flashd quarantine show {entry}")


@demands.command("met")
@click.argument("demand_id", metavar="ID")
@click.option("--reason", required=True, help="How it was met; no customer data, it stays in the audit trail.")
@pool_option
@remote
def met(admin: AdminClient, demand_id: str, reason: str, pool: str | None) -> None:
    """Say that a demand was met: whom it was about is forgotten then."""
    path = f"/admin/v1/demands/{quote(demand_id, safe='')}/met"
    answer = admin.call("POST", path, {"reason": reason}, query={"pool": pool})
    say(f"{answer['id']} is met")

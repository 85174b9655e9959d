"""`flashd quarantine`: what was validly signed and not understood."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.parameter import MOST_OFFSET, Whole
from flashd.cli.session import json_option, moment, pool_option, print_json, print_table, remote
from flashd.cli.terminal import say, shown


@click.group(cls=Group)
def quarantine() -> None:
    """What was validly signed and could not be understood: kept until it is mended or discarded."""


@quarantine.command("list")
@click.option("--limit", type=Whole(1, 500), default=50, show_default=True, help="At most so many.")
@click.option("--offset", type=Whole(0, MOST_OFFSET), default=0, help="Leave out the first so many.")
@json_option
@pool_option
@remote
def list_(admin: AdminClient, *, as_json: bool, **query: Any) -> None:
    """List what is there, oldest first."""
    answer = admin.get("/admin/v1/quarantine", **query)
    if as_json:
        print_json(answer)
        return
    rows = [
        (row["id"], row["channel"], moment(row["received_at"]), row["size"], row["reason"]) for row in answer["entries"]
    ]
    print_table(("ID", "CHANNEL", "RECEIVED (UTC)", "#BYTES", "REASON"), rows, empty="nothing in quarantine")


@quarantine.command("show")
@click.argument("entry_id", metavar="ID")
@click.option("--body", "only_body", is_flag=True, help="Print the body only, to be edited.")
@json_option
@pool_option
@remote
def show(admin: AdminClient, entry_id: str, pool: str | None, *, only_body: bool, as_json: bool) -> None:
    """Show one entry as it came; it may hold customer data."""
    answer = admin.get(f"/admin/v1/quarantine/{quote(entry_id, safe='')}", pool=pool)
    if as_json:
        print_json(answer)
        return
    if not only_body:
        say(f"{answer['entry']['channel']}: {answer['entry']['reason']}", bold=True)
        for name, value in answer["headers"].items():
            say(f"{name}: {value}")
        say()
    # A file gets the body as it came, to be edited.
    click.echo(answer["body"] if only_body and not sys.stdout.isatty() else shown(answer["body"]))


@quarantine.command("mend")
@click.argument("entry_id", metavar="ID")
@click.option(
    "--body",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The corrected body: what `flashd quarantine show ID --body` printed, edited.",
)
@json_option
@pool_option
@remote
def mend(admin: AdminClient, entry_id: str, file: Path, pool: str | None, *, as_json: bool) -> None:
    """Send the corrected body: its channel reads it, the order is accepted, and the entry goes."""
    answer = admin.call(
        "POST", f"/admin/v1/quarantine/{quote(entry_id, safe='')}/mend", file.read_bytes(), query={"pool": pool}
    )
    if as_json:
        print_json(answer)
        return
    say(f"{answer['order']}: {answer['code']}, {answer['state']}")


@quarantine.command("discard")
@click.argument("entry_id", metavar="ID")
@click.option("--reason", required=True, help="Why; stands in the audit trail.")
@pool_option
@remote
def discard(admin: AdminClient, entry_id: str, reason: str, pool: str | None) -> None:
    """Drop one entry."""
    admin.call(
        "POST", f"/admin/v1/quarantine/{quote(entry_id, safe='')}/discard", {"reason": reason}, query={"pool": pool}
    )
    say(f"{entry_id} is gone")

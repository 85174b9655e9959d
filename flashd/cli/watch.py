"""`flashd status`, `flashd events`: looking at a running daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPException

import click
import msgspec

from flashd.cli.backend import COLUMNS, backend_rows
from flashd.cli.channel import BRIEF_COLUMNS, brief_rows
from flashd.cli.client import AdminClient, ApiError
from flashd.cli.session import json_option, pool_option, print_json, print_table, remote
from flashd.cli.terminal import say
from flashd.domain.event import Topic

_AGAIN_S = 1.0
_BY_CTRL_C = 130  # as shells say it
_ALERTS = 5  # named in the status


@click.command()
@json_option
@remote
def status(admin: AdminClient, *, as_json: bool) -> None:
    """Say what an operator asks first: stock, backlog, ETA, channels, alerts, health. Exit 1 unless it is ready."""
    try:
        answer = admin.get("/admin/v1/status")
    except ApiError as error:
        if error.status != 503:
            raise
        _say_why(admin, error, as_json=as_json)
        raise SystemExit(1) from None
    if as_json:
        print_json(answer)
    else:
        store = answer["store"]
        state = "ready" if answer["ready"] else "draining" if answer["draining"] else "NOT READY"
        say(f"flashd {answer['version']}: {state}", bold=True)
        why = "" if store["ok"] else f": {store['reason']}"
        say(f"store    {store['server']}, durability {store['durability']}{why}")
        for name, pool in sorted(answer["pools"].items()):
            say(
                f"pool     {name}: {pool['skus']} SKUs, on hand {pool['on_hand']}, held {pool['held']},"
                f" sold {pool['sold']}, free {pool['free']}"
                + (f", DEFICIT {pool['deficit']}" if pool["deficit"] else "")
            )
            say("orders   " + ", ".join(f"{state} {count}" for state, count in pool["orders"].items()))
        print_table(COLUMNS, backend_rows(answer["backends"]), empty="no backends")
        if answer["channels"]:
            print_table(BRIEF_COLUMNS, brief_rows(answer["channels"]), empty="")
        _say_alerts(admin)
        for name, count in sorted(answer["more"].get("stranded", {}).items()):
            say(f"STRANDED {count} orders wait for backend {name}, which is not configured: configure it again")
    if not answer["ready"]:
        raise SystemExit(1)


def _say_alerts(admin: AdminClient) -> None:
    """Say which troubles stand: none of them may need a second command to be noticed."""
    standing = [one for one in admin.get("/admin/v1/alerts")["alerts"] if one["over"] is None]
    if standing:
        troubles = ", ".join(f"{one['kind']} of {one['subject']}" for one in standing[:_ALERTS])
        more = f", and {len(standing) - _ALERTS} more" if len(standing) > _ALERTS else ""
        say(f"ALERTS   {troubles}{more}: see flashd alerts list", fg="yellow")


def _say_why(admin: AdminClient, error: ApiError, *, as_json: bool) -> None:
    """Say why the daemon is not ready, which it knows without the store; the figures of its status stand there."""
    try:
        admin.get("/readyz")
    except ApiError as found:
        if as_json:
            print_json(found.problem)
        else:
            say("flashd: NOT READY", bold=True)
            for reason in found.problem.get("reasons", [str(found)]):
                say(f"  {reason}")
    else:
        raise error  # it is ready again


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on as events come; resumes after a cut, without a gap.")
@click.option(
    "--from",
    "after",
    default="",
    metavar="ID",
    help="After this event id; 0 for all that is kept [default: all, or from now with --follow].",
)
@click.option(
    "--topic",
    multiple=True,
    type=click.Choice([topic.value for topic in Topic]),
    help="Only this topic; several times for several.",
)
@json_option
@pool_option
@remote
def events(
    admin: AdminClient, after: str, topic: tuple[str, ...], pool: str | None, *, follow: bool, as_json: bool
) -> None:
    """Print the feed. GAP says that events were trimmed before they could be read."""
    texts = _follow(admin, after or "$", topic, pool) if follow else _pages(admin, after or "0", pool, topic)
    try:
        for text in texts:
            _say_event(text, as_json=as_json)
    except KeyboardInterrupt:
        raise SystemExit(_BY_CTRL_C) from None  # how following ends: nothing was aborted


def _say_event(text: str, *, as_json: bool) -> None:
    if as_json:
        say(text)
        return
    event = msgspec.json.decode(text)
    kind = event["kind"]
    if kind == "feed.gap":
        say(f"GAP: events after {event['after']} and before {event['first']} are gone", fg="red")
        return
    rest = {key: value for key, value in event.items() if key not in {"v", "id", "at", "kind", "pool"}}
    say(f"{event['id']}  {event['at']}  {kind:<18} {msgspec.json.encode(rest).decode()}")


def _pages(admin: AdminClient, after: str, pool: str | None, topics: tuple[str, ...]) -> Iterator[str]:
    while True:
        page = admin.get("/admin/v1/events", pool=pool, after=after, limit=500)
        for event in page["events"]:
            if not topics or event["kind"].partition(".")[0] in (*topics, "feed"):
                yield msgspec.json.encode(event).decode()
        if not page["events"] or page["next"] == after:
            return
        after = page["next"]


def _follow(admin: AdminClient, after: str, topics: tuple[str, ...], pool: str | None) -> Iterator[str]:
    """Hand out events; a connection that ends is opened again after the last one that was seen."""
    connected = told = False
    while True:
        query: dict[str, object] = {"pool": pool, "after": after, "topic": topics}
        try:
            for line in admin.lines("/events", query=query):
                connected, told = True, False
                if line.startswith("id:"):
                    after = line.removeprefix("id:").strip()
                elif line.startswith("data:"):
                    yield line.removeprefix("data:").strip()
        except (click.ClickException, OSError, HTTPException) as error:
            if not connected or (isinstance(error, ApiError) and error.status != 503):
                raise
        if not told:
            say(f"the connection ended; trying until it goes on after {after}", fg="yellow", err=True)
            told = True
        time.sleep(_AGAIN_S)

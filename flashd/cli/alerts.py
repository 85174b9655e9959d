"""`flashd alerts`: what a human must see to, and whether somebody is told."""

from __future__ import annotations

from typing import Any

import click

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.session import json_option, moment, print_json, print_table, remote
from flashd.cli.terminal import say

ROOT = "/admin/v1/alerts"


@click.group(cls=Group)
def alerts() -> None:
    """List what a human must see to, and try out who is told."""


@alerts.command("list")
@json_option
@remote
def list_(admin: AdminClient, *, as_json: bool) -> None:
    """List every alert that stands, with what to do."""
    answer = admin.get(ROOT)
    if as_json:
        print_json(answer)
        return
    rows = [
        (one["severity"], one["kind"], one["subject"], moment(one["since"]), one["count"], _told(one), _words(one))
        for one in answer["alerts"]
    ]
    print_table(("SEVERITY", "KIND", "OF", "SINCE", "#TIMES", "TOLD", "WHAT"), rows, empty="no alert stands")
    say(_receiver(answer["receiver"]))


@alerts.command("test")
@json_option
@remote
def test(admin: AdminClient, *, as_json: bool) -> None:
    """Send one alert now and say what the receiver answered; exit 1 if it was not taken."""
    answer = admin.call("POST", f"{ROOT}/test")
    if as_json:
        print_json(answer)
    else:
        say(f"{'taken' if answer['taken'] else 'not taken'}: {answer['said']}")
    if not answer["taken"]:
        raise SystemExit(1)


def _told(one: dict[str, Any]) -> str:
    return moment(one["told"]) if one["told"] else "not yet"


def _words(one: dict[str, Any]) -> str:
    return f"{one['text']}; {one['mend']}" if not one["over"] else f"over since {moment(one['over'])}: {one['text']}"


def _receiver(receiver: dict[str, Any]) -> str:
    if not receiver["configured"]:
        return "nobody is told: [alerts] url is empty"
    if receiver["off"]:
        return f"nobody is told any more: {receiver['off']}"
    if receiver["failures"]:
        return f"the receiver did not take the last {receiver['failures']}: {receiver['last_error']}"
    return f"{receiver['messages']} were told by this process"

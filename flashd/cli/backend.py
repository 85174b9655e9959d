"""`flashd backend`: what must get every order."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.parameter import A_WEEK_S, RATE, Seconds
from flashd.cli.session import duration, json_option, print_json, print_table, remote
from flashd.cli.terminal import say


def backend_rows(backends: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return one line a backend: state, rate, backlog, ETA."""
    return [
        (
            one["name"],
            _state(one),
            one["gate"]["rate"] or one["flow"]["rate"],
            one["flow"]["queued"],
            one["flow"]["in_flight"],
            one["flow"]["in_doubt"],
            duration(one["drain_eta_s"]),
            one["gate"]["leader"],
            _remark(one),
        )
        for one in backends
    ]


COLUMNS = ("BACKEND", "STATE", "#RATE", "#QUEUED", "#FLIGHT", "#DOUBT", "#DRAINED IN", "LEADER", "REMARK")


def _state(one: dict[str, Any]) -> str:
    if one["gate"]["paused"]:
        return "paused"
    if one["gate"].get("asks_first"):
        return "asks first"
    return {"open": "away", "slow": "starting slowly"}.get(one["flow"]["circuit"], "flowing")


def _remark(one: dict[str, Any]) -> str:
    """Say why it is paused, else the last error."""
    gate = one["gate"]
    said: str = gate["reason"] if gate["paused"] else gate.get("asks_first") or one["flow"]["last_error"]
    return said


@click.group(cls=Group)
def backend() -> None:
    """List, pause and pace backends."""


@backend.command("list")
@json_option
@remote
def list_(admin: AdminClient, *, as_json: bool) -> None:
    """Show every backend: state, rate, backlog, when it is drained."""
    answer = admin.get("/admin/v1/backends")
    if as_json:
        print_json(answer)
        return
    print_table(COLUMNS, backend_rows(answer["backends"]), empty="no backends")


@backend.command("pause")
@click.argument("name")
@click.option("--reason", required=True, help="Stands in the status and in the audit trail.")
@click.option(
    "--for",
    "for_s",
    type=Seconds(A_WEEK_S, above_zero=True),
    help="Resume by itself after so long [default: when told to].",
)
@remote
def pause(admin: AdminClient, name: str, reason: str, for_s: float | None) -> None:
    """Let nothing out to NAME; orders still come in and wait."""
    body = {"reason": reason} | ({} if for_s is None else {"for_s": for_s})
    admin.call("POST", f"/admin/v1/backends/{quote(name, safe='')}/pause", body)
    say(f"{name} is paused" + ("" if for_s is None else f" for {duration(for_s)}"))


@backend.command("resume")
@click.argument("name")
@remote
def resume(admin: AdminClient, name: str) -> None:
    """Let it flow again."""
    admin.call("POST", f"/admin/v1/backends/{quote(name, safe='')}/resume")
    say(f"{name} flows")


@backend.command("rate")
@click.argument("name")
@click.argument("rate", type=RATE)
@remote
def rate(admin: AdminClient, name: str, rate: str) -> None:
    """Set the RATE (5/s, 120/min) of NAME for all processes at once; `default` goes back to the configured one."""
    wanted = "" if rate == "default" else rate
    admin.call("POST", f"/admin/v1/backends/{quote(name, safe='')}/rate", {"rate": wanted})
    say(f"{name}: {wanted or 'the configured rate'}")


@backend.command("ask-first")
@click.argument("name")
@click.option("--reason", help="Stands in the status and in the audit trail.")
@click.option("--off", is_flag=True, help="Send again without asking.")
@remote
def ask_first(admin: AdminClient, name: str, reason: str | None, *, off: bool) -> None:
    """
    Look every order up at NAME before it is sent, for the store may have forgotten that it was: see docs/operations.md.

    Each order takes a settling time and two look-ups more until this is taken away.
    """
    if off == bool(reason):
        raise click.UsageError("say --reason TEXT, or --off")
    admin.call("POST", f"/admin/v1/backends/{quote(name, safe='')}/ask-first", {"reason": reason or ""})
    say(f"{name}: sent without asking" if off else f"{name} is asked before anything is sent")

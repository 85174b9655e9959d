"""`flashd channel`: what is published to a sales channel, under which ids, and whether it may be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from flashd.cli.client import AdminClient, ApiError
from flashd.cli.group import Group
from flashd.cli.parameter import A_WEEK_S, INSTANT, Seconds, Whole
from flashd.cli.session import duration, json_option, moment, print_json, print_table, remote
from flashd.cli.terminal import say

_NAMED = 8  # so many SKUs are named in a line on gaps
_GAPS = {
    "nameless": "products without a usable SKU: give them one on the platform",
    "doubled": "SKUs that several products of the platform carry: none of them is mapped",
    "strange": "the pool does not know them: count them first, or import with --stock",
    "unmapped": "the pool sells them and the map lacks them: never published",
    "orphaned": "mapped, and the pool does not know them: shown as 0",
    "shared": "mapped to the same ids as another SKU",
    "gone": "mapped, and the platform lists no such product",
    "uncounted": "the platform does not count their stock: switch that on there, or it sells without end",
    "overselling": "the platform sells them below zero: switch that off (Shopify: deny; WooCommerce: no backorders)",
}


def state_of(one: dict[str, Any]) -> str:
    """Say in a word how publishing goes."""
    flow = one["flow"]
    if flow is None:
        return "native" if one["kind"] == "native" else "not called"
    if one["paused"]:
        return "paused"
    if flow["away"]:
        return "away"
    if one["mode"] == "none":
        return "polled" if one["polling"] else "idle"
    return "publishing" if flow["leading"] else "another leads"


BRIEF_COLUMNS = ("CHANNEL", "MODE", "STATE", "#LAG P99", "#DIRTY", "#DOUBT", "WEBHOOKS", "REMARK")


def brief_rows(channels: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return one line a channel: state, how late its figures are, webhooks."""
    return [
        (
            one["name"],
            one["mode"],
            _brief_state(one),
            "-" if one["lag_p99_s"] is None else late(one["lag_p99_s"]),
            "-" if one["dirty"] is None else one["dirty"],
            "-" if one["in_doubt"] is None else one["in_doubt"],
            "SILENT" if one["webhooks"] not in ("", "alive") else one["webhooks"] or "-",
            one["webhooks"] if one["webhooks"] not in ("", "alive") else one["last_error"],
        )
        for one in channels
    ]


def _brief_state(one: dict[str, Any]) -> str:
    if one["paused"]:
        return "paused"
    if one["away"]:
        return "away"
    if not one["leading"]:
        return f"led by {one['leader']}" if one["leader"] else "nobody leads"
    return "polled" if one["mode"] == "none" else "publishing"


def late(seconds: float) -> str:
    """Write a lag: fractions count here."""
    return f"{seconds:.2f} s" if seconds < 10 else duration(seconds)


@click.group(cls=Group)
def channel() -> None:
    """List, map, pause and resume sales channels."""


@channel.command("list")
@json_option
@remote
def list_(admin: AdminClient, *, as_json: bool) -> None:
    """Show every sales channel: where it calls flashd, what it is shown, and how that goes."""
    answer = admin.get("/admin/v1/channels")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            one["name"],
            one["kind"],
            one["pool"],
            "/v1" if one["kind"] == "native" else one["webhook"],
            one["mode"],
            state_of(one),
            one["mapped"],
            one["unmapped"],
            _remark(one),
        )
        for one in answer["channels"]
    ]
    columns = ("CHANNEL", "KIND", "POOL", "CALLED AT", "MODE", "STATE", "#MAPPED", "#GAPS", "REMARK")
    print_table(columns, rows, empty="no channels")


def _remark(one: dict[str, Any]) -> str:
    gate, flow, webhooks = one["gate"] or {}, one["flow"] or {}, one["webhooks"]
    if webhooks not in ("", "alive"):
        return f"WEBHOOKS SILENT: {webhooks}"
    said = gate.get("reason") or flow.get("last_error") or ""
    return str(said)


@channel.command("show")
@click.argument("name")
@json_option
@remote
def show(admin: AdminClient, name: str, *, as_json: bool) -> None:
    """Show one channel in full: publishing, polling, webhooks, what the platform refused."""
    one = admin.get(_path(name))
    if as_json:
        print_json(one)
        return
    say(f"{one['name']}: {one['kind']}, pool {one['pool']}, {one['mode']}, {state_of(one)}", bold=True)
    called_at = "/v1" if one["kind"] == "native" else one["webhook"]
    say(f"called at   {called_at}, last {moment(one['last_event_at']) or '-'}")
    say(f"cut-over    {one['since'] or 'none: every order counts, however old'}")
    if one["flow"] is None:
        return
    flow, polling, gate = one["flow"], one["polling"], one["gate"]
    say(f"map         {one['mapped']} SKUs, {one['unmapped']} of the pool are not in it")
    say(f"led by      {gate['leader'] or 'nobody'}" + (f", paused: {gate['reason']}" if gate["reason"] else ""))
    if one["mode"] != "none":
        say(
            f"publishing  {flow['written']} figures in {flow['calls']} calls; dirty {flow['dirty']},"
            f" in flight {flow['in_flight']}, in doubt {flow['in_doubt']}, settling {flow['settling']}"
        )
        say(
            f"lag         p50 {late(flow['lag']['p50_s'])}, p99 {late(flow['lag']['p99_s'])};"
            f" to and from zero p99 {late(flow['zero_lag']['p99_s'])}"
        )
    if flow["revisions_left"] >= 0:
        say(f"budget      {flow['revisions_left']} revisions left today, of the listing that used most")
    if polling is not None:
        found, missed = polling["found"], polling["missed"]
        say(f"polling     {polling['polls']} polls, {found} orders, {missed} of them missed by webhooks")
        say(f"webhooks    {one['webhooks'] or 'not known yet'}")
    for what, count in sorted(flow["stale"].items()):
        say(f"stale       {what}: {count}")
    for sku, reason in sorted(flow["refused"].items()):
        say(f"REFUSED     {sku}: {reason}", fg="red")
    for error in dict.fromkeys(filter(None, (flow["last_error"], (polling or {}).get("last_error")))):
        say(f"last error  {error}")


@channel.command("pause")
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
    """Send NAME nothing, neither figures nor polls; webhooks still come in, and it goes on selling what it shows."""
    body = {"reason": reason} | ({} if for_s is None else {"for_s": for_s})
    admin.call("POST", _path(name, "pause"), body)
    say(f"{name} is paused" + ("" if for_s is None else f" for {duration(for_s)}"))


@channel.command("resume")
@click.argument("name")
@remote
def resume(admin: AdminClient, name: str) -> None:
    """Publish to NAME and poll it again."""
    admin.call("POST", _path(name, "resume"))
    say(f"{name} is published and polled again")


@channel.command("map")
@click.argument("name")
@click.argument("sku", required=False)
@click.option("--set", "ids", multiple=True, metavar="ID=VALUE", help="Map SKU to these ids, such as product=17.")
@click.option("--title", default="", help="With --set: what people call it.")
@click.option("--remove", is_flag=True, help="Take SKU out of the map; its figure there is left as it is.")
@click.option("--force", is_flag=True, help="Also where the platform still sells units under the former ids.")
@click.option("--limit", type=Whole(1, 1000), default=100, show_default=True, help="How many SKUs at most.")
@json_option
@remote
def map_(  # noqa: PLR0913  # one option each
    admin: AdminClient,
    name: str,
    sku: str | None,
    ids: tuple[str, ...],
    title: str,
    limit: int,
    *,
    remove: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Show under which ids NAME knows its SKUs, and the gaps; or set, or remove, those of one SKU by hand."""
    if (ids or remove) and sku is None:
        raise click.UsageError("name the SKU: flashd channel map NAME SKU ...")
    if ids and remove:
        raise click.UsageError("either --set or --remove")
    if sku is not None and (ids or remove):
        path = _path(name, f"map/{quote(sku, safe='')}")
        query: dict[str, object] = {"force": "true" if force else None}
        body = {"ids": dict(map(_id, ids)), "title": title}
        answer = admin.call("PUT", path, body, query=query) if ids else admin.call("DELETE", path, query=query)
        _say_mapped(name, answer, as_json=as_json)
        return
    answer = admin.get(_path(name, "map"), sku=sku, limit=limit)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            one["sku"],
            "?" if one["figure"] is None else one["figure"],
            one["exposed"],
            one["source"],
            _ids(one["ids"]),
            one["title"],
        )
        for one in answer["entries"]
    ]
    empty = f"{sku} is not in the map of {name}" if sku else f"the map is empty: flashd channel import {name}"
    print_table(("SKU", "#SHOWN", "#EXPOSED", "FROM", "IDS", "TITLE"), rows, empty=empty)
    if sku is None:
        if answer["next_offset"] is not None:
            say(f"only the first {len(rows)} of {answer['total']} are shown; see --limit")
        _say_gaps(answer["gaps"])


def _say_mapped(name: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    if answer["after"] is None:
        say(f"{answer['sku']} is not in the map of {name} any more")
        return
    say(f"{answer['sku']} is {_ids(answer['after']['ids'])} on {name}")
    if answer["warning"]:
        say(f"warning: {answer['warning']}", fg="yellow", err=True)


@channel.command("import")
@click.argument("name")
@click.option(
    "--csv",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="From FILE, with the columns sku, title and one for each id, instead of from the platform.",
)
@click.option("--stock", is_flag=True, help="Take the platform's figures as first counts, of what was never counted.")
@click.option("--overwrite", is_flag=True, help="Also what was counted, or mapped by hand, before.")
@click.option(
    "--since",
    type=INSTANT,
    metavar="now|TIME",
    help="The cut-over to verify [default: now, before the platform is asked].",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@json_option
@remote
def import_(
    admin: AdminClient, name: str, file: Path | None, since: str | None, *, as_json: bool, **flags: bool
) -> None:
    """
    Fill the map of NAME from its platform, show what is amiss, and say which cut-over belongs into the configuration.

    Only SKUs that the pool knows are mapped, for whatever is mapped is published. Doing it again changes nothing.
    """
    if file is not None and (flags["stock"] or since):
        raise click.UsageError("--csv holds ids only: counts come with flashd stock import")
    query: dict[str, object] = {key: "true" for key, given in flags.items() if given}
    if since:
        query["since"] = since
    body = file.read_bytes() if file is not None else None
    lines = admin.lines(
        _path(name, "map/import"), query=query, method="POST", body=body, media="text/csv" if body is not None else ""
    )
    report = _follow(lines)
    if as_json:
        print_json(report)
        return
    _say_report(report)


def _follow(lines: Iterable[str]) -> dict[str, Any]:
    """
    Return the report that ends an import, and show until then how far it is.

    Raises:
        ApiError: It went wrong on the way.
    """
    shown = False
    for line in lines:
        found: dict[str, Any] = json.loads(line)
        if "step" in found:
            if sys.stderr.isatty():
                click.echo(f"\r{found['step']}: {found['done']}\x1b[K", nl=False, err=True)
                shown = True
            continue
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)
        if "plan" not in found:
            raise ApiError(int(found.get("status", 503)), found, "/admin/v1/channels")
        return found
    raise click.ClickException("the connection ended before the report: run it again, it goes on where it was")


def _say_report(report: dict[str, Any]) -> None:
    plan, verb = report["plan"], "would be " if report["dry_run"] else ""
    read = "rows" if report["source"] == "csv" else "products"
    say(
        f"{report['products']} {read} read; {len(plan['places'])} {verb}mapped, {plan['unchanged']} unchanged",
        bold=True,
    )
    for entry in plan["places"][:_NAMED]:
        say(f"  {entry['sku']}: {_ids(entry['ids'])}")
    if len(plan["places"]) > _NAMED:
        say(f"  and {len(plan['places']) - _NAMED} more")
    if plan["counts"]:
        units = sum(count["units"] for count in plan["counts"])
        say(f"{len(plan['counts'])} SKUs {verb}counted, {units} units on hand in all")
    reasons: dict[str, list[str]] = {}
    for sku, why in plan["kept"].items():
        reasons.setdefault(why, []).append(sku)
    for why, skus in sorted(reasons.items()):
        say(f"left as it was: {_some(skus)}: {why}")
    _say_gaps(plan["gaps"])
    if report["oversells"]:
        say("GAP this platform may sell below its own figure under load: only holds keep it from that", fg="yellow")
    cut_over = report["cut_over"]
    if cut_over is not None:
        words = f"cut-over of [channels.{report['channel']}]: {cut_over['said']}"
        say(words if cut_over["ok"] else f"TO DO {words}", fg=None if cut_over["ok"] else "yellow")
    if report["dry_run"]:
        say("nothing was written")


def _say_gaps(gaps: dict[str, list[str]]) -> None:
    for kind, words in _GAPS.items():
        if gaps[kind]:
            say(f"GAP {len(gaps[kind])}: {_some(gaps[kind])}: {words}", fg="yellow")


def _some(skus: list[str]) -> str:
    more = len(skus) - _NAMED
    return ", ".join(skus[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _path(name: str, verb: str = "") -> str:
    return f"/admin/v1/channels/{quote(name, safe='')}" + (f"/{verb}" if verb else "")


def _id(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise click.BadParameter(f"{text!r} is no id: write ID=VALUE, such as product=17", param_hint="--set")
    return key, value


def _ids(ids: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in ids.items()) or "(its SKU)"

"""`flashd sale`: documents, and stopping a sale until every channel shows zero."""

from __future__ import annotations

import copy
import sys
import time
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import msgspec

from flashd.cli.client import AdminClient
from flashd.cli.group import Group
from flashd.cli.parameter import A_DAY_S, Seconds, Whole
from flashd.cli.session import json_option, moment, pool_option, print_json, print_table, remote
from flashd.cli.terminal import say

ROOT = "/admin/v1/sales"
POLL_S = (0.02, 0.25)  # between two looks on the way to zero: the first, and the longest


@click.group(cls=Group)
def sale() -> None:
    """Write, stop, resume and close sales: products, window, quotas, prices, limits and channels in one document."""


@sale.command("list")
@json_option
@pool_option
@remote
def list_(admin: AdminClient, pool: str | None, *, as_json: bool) -> None:
    """List all sales by their start, with where each window stands."""
    answer = admin.get(ROOT, pool=pool)
    if as_json:
        print_json(answer)
        return
    rows = [
        (one["name"], one["phase"], one["start"], one["end"], one["products"], one["version"], one["title"])
        for one in answer["sales"]
    ]
    columns = ("SALE", "STANDS", "START", "END", "#PRODUCTS", "#VERSION", "TITLE")
    print_table(columns, rows, empty="no sales yet: flashd sale template sale.toml, then flashd sale open sale.toml")


@sale.command("show")
@click.argument("name")
@click.option("--version", type=Whole(1, 10**9), help="That version [default: the newest].")
@click.option("--versions", is_flag=True, help="List the versions instead: which, when, by whom.")
@click.option("--document", is_flag=True, help="Print the document alone, as JSON that `flashd sale open` takes.")
@json_option
@pool_option
@remote
def show(
    admin: AdminClient,
    name: str,
    version: int | None,
    pool: str | None,
    *,
    versions: bool,
    document: bool,
    as_json: bool,
) -> None:
    """Show sale NAME: its window, what is left of each quota, how its prices stand."""
    if versions:
        _print_versions(admin.get(f"{_path(name)}/versions", pool=pool), as_json=as_json)
        return
    answer = admin.get(_path(name), version=version, pool=pool)
    if as_json or document:
        print_json(answer["document"] if document else answer)
        return
    _print_sale(answer)


def _print_versions(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    rows = [(one["version"], moment(one["changed_at"]), one["state"], one["by"]) for one in answer["sales"]]
    print_table(("#VERSION", "WHEN", "STATE", "BY"), rows, empty="none")


def _print_sale(answer: dict[str, Any]) -> None:
    say(f"{answer['name']}  {answer['phase']}", bold=True)
    for name, value in (
        ("title", answer["title"]),
        ("window", f"{answer['start']} until before {answer['end']}"),
        ("channels", ", ".join(answer["channels"]) or "all of the pool"),
        ("version", f"{answer['version']}, {answer['state']}, by {answer['by']} {moment(answer['changed_at'])}"),
    ):
        if value:
            say(f"  {name:<9} {value}")
    print_table(
        ("SKU", "#QUOTA", "#USED", "#LEFT", "#LIMIT", "#PRICE", "#COMPARE AT"),
        [
            (
                one["sku"],
                one["quota"] or "all",
                one["used"],
                one["left"],
                one["limit"] or "",
                one["price"],
                one["compare_at"],
            )
            for one in answer["items"]
        ],
        empty="no products",
    )
    for one in answer["prices"]:
        counts = ", ".join(
            f"{one[state]} {state}" for state in ("pushing", "pushed", "restoring", "restored", "kept") if one[state]
        )
        say(f"  prices on {one['channel']}: {counts}")
        for sku, reason in one["wrong"].items():
            say(f"    {sku}: {reason}", fg="yellow")
    _warn(answer)


def _warn(answer: dict[str, Any]) -> None:
    if answer["unknown"]:
        say(f"  the pool does not count: {', '.join(answer['unknown'])} (flashd stock set SKU COUNT)", fg="yellow")


@sale.command("open")
@click.argument("file", type=click.File("rb"))
@click.option("--version", type=Whole(1, 10**9), help="Only in place of that version: somebody else may have written.")
@click.option("--dry-run", is_flag=True, help="Only check it, and say what would change.")
@json_option
@pool_option
@remote
def open_(
    admin: AdminClient, file: BinaryIO, version: int | None, pool: str | None, *, dry_run: bool, as_json: bool
) -> None:
    """
    Write the sale in FILE, TOML or JSON, - for standard input; its window opens by itself.

    The same name again is a new version of the same sale, in force at once; every version is kept.
    """
    body = file.read()
    name, media = _name_of(body, str(getattr(file, "name", "-")))
    query: dict[str, object] = {"pool": pool, "version": version, "dry_run": "true" if dry_run else None}
    answer = admin.call("PUT", _path(name), body, query=query, media=media)
    if as_json:
        print_json(answer)
        return
    verb = ("would be written" if dry_run else "is written") if answer["changed"] else "stands there already"
    products = _count(answer["products"], "product")
    say(f"sale {answer['name']}: version {answer['version']} {verb}; {products}, {answer['phase']}")
    say(f"  from {answer['start']} until before {answer['end']}")
    _warn(answer)
    if not dry_run and answer["phase"] == "before":
        say(f"  look whether it can go: flashd check --sale {answer['name']}")


_put = copy.copy(open_)
_put.hidden = True  # the same, for whoever thinks in the verbs of the API
sale.add_command(_put, "put")


def _name_of(body: bytes, where: str) -> tuple[str, str]:
    """Return the name that stands in a document, and its media type."""
    is_json = body.lstrip()[:1] in {b"{", b"["}
    try:
        document = msgspec.json.decode(body) if is_json else tomllib.loads(body.decode("utf-8-sig"))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise click.ClickException(f"{where} is not valid {'JSON' if is_json else 'TOML'}: {error}") from None
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str) or not name:
        raise click.ClickException(f'{where}: name is needed, such as name = "friday"; see flashd sale template')
    return name, "application/json" if is_json else "application/toml"


@sale.command("template")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def template(file: Path | None) -> None:
    """Write a sale to start from into FILE, or print it: every key, and what it means."""
    text = resources.files("flashd.cli").joinpath("sale.toml").read_text(encoding="utf-8")
    if file is None:
        say(text.rstrip("\n"))
        return
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} is there already; name another one") from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None
    say(f"{file} is written; make it yours, then: flashd sale open {file} --dry-run")


@sale.command("close")
@click.argument("name")
@json_option
@pool_option
@remote
def close(admin: AdminClient, name: str, pool: str | None, *, as_json: bool) -> None:
    """End sale NAME for good: its rules go at once, its prices go back where they are still ours."""
    answer = admin.call("POST", f"{_path(name)}/close", query={"pool": pool})
    if as_json:
        print_json(answer)
        return
    say(f"sale {answer['name']} is over since {moment(answer['changed_at'])}, ended by {answer['by']}")


@sale.command("resume")
@click.argument("name")
@json_option
@pool_option
@remote
def resume(admin: AdminClient, name: str, pool: str | None, *, as_json: bool) -> None:
    """Let a stopped sale NAME go on: channels show what there is again."""
    answer = admin.call("POST", f"{_path(name)}/resume", query={"pool": pool})
    if as_json:
        print_json(answer)
        return
    say(f"sale {answer['name']} goes on; its window stands: {answer['phase']}")


@sale.command("stop")
@click.argument("name")
@click.option(
    "--wait",
    "wait_s",
    type=Seconds(A_DAY_S, above_zero=False),
    default=30.0,
    show_default=True,
    help="Wait so many seconds for zero.",
)
@json_option
@pool_option
@remote
def stop(admin: AdminClient, name: str, wait_s: float, pool: str | None, *, as_json: bool) -> None:
    """
    Stop sale NAME at once, and wait until every channel shows zero.

    From the first instant no hold is granted, and an order that a channel sold meanwhile becomes shortfall for a human
    to decide. Exit code 1 if something still shows stock when the time is over; it is still being taken down then.
    """
    began_s = time.monotonic()
    admin.call("POST", f"{_path(name)}/stop", query={"pool": pool})
    answer, took_s = _wait_for_zero(admin, name, pool, began_s, wait_s, lambda line: None if as_json else say(line))
    if as_json:
        print_json(answer | {"seconds": round(took_s, 3)})
    elif answer["zero"]:
        shown = [one for one in answer["channels"] if one["shows"]]
        say(
            f"zero on {_count(len(shown), 'channel')}, {_count(answer['skus'], 'SKU')}, after {took_s:.2f} s", bold=True
        )
    else:
        _print_open(answer, took_s)
    sys.exit(0 if answer["zero"] else 1)


def _wait_for_zero(
    admin: AdminClient, name: str, pool: str | None, began_s: float, wait_s: float, tell: Callable[[str], None]
) -> tuple[dict[str, Any], float]:
    """Look until every channel is at zero or the time is over; return the last look, and when it was made."""
    told: set[str] = set()
    nap_s, longest_s = POLL_S
    while True:
        answer: dict[str, Any] = admin.get(f"{_path(name)}/zero", pool=pool)
        took_s = time.monotonic() - began_s
        for one in answer["channels"]:
            if one["open"] == 0 and one["channel"] not in told:
                told.add(one["channel"])
                tell(f"  {one['channel']}: {_in_words(one, took_s)}")
        left_s = wait_s - took_s
        if answer["zero"] or left_s <= 0:
            return answer, took_s
        time.sleep(min(nap_s, left_s))
        nap_s = min(longest_s, nap_s * 1.5)


def _in_words(one: dict[str, Any], took_s: float) -> str:
    """Say how a channel that has nothing open stands."""
    if one["shows"]:
        return f"zero, {_count(one['skus'], 'SKU')}, after {took_s:.2f} s"
    if one.get("asks", True):  # a daemon of an older version does not say
        return f"asks before it sells: closed, after {took_s:.2f} s"
    return "NOT stopped: flashd writes it no figures, so it sells what it shows until somebody stops it over there"


def _print_open(answer: dict[str, Any], took_s: float) -> None:
    say(f"NOT at zero after {took_s:.2f} s; it is still being taken down, and no hold is granted", fg="red", err=True)
    for one in answer["channels"]:
        if one["open"]:
            say(f"  {one['channel']}: {one['open']} of {_count(one['skus'], 'SKU')} not at zero", fg="red", err=True)
            for sku, what in one["first"].items():
                say(f"    {sku}: {what}", err=True)
    say("  see how the channels do: flashd status", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _path(name: str) -> str:
    return f"{ROOT}/{quote(name, safe='')}"

"""`flashd audit`: proof from the journal."""

from __future__ import annotations

import asyncio
import os
import sys

import click
import msgspec

from flashd import logs
from flashd.cli.session import config_option, json_option, load_config, print_json
from flashd.cli.terminal import say
from flashd.daemon.adapters import reveal_of
from flashd.errors import StoreUnavailable
from flashd.store.audit import AuditReport
from flashd.store.opening import audit_store


@click.command()
@config_option
@json_option
def audit(config: str | None, *, as_json: bool) -> None:
    """
    Fold the journal and compare it with the counters, the records and the indexes; exit 1 on any difference.

    Exit 75 if the store does not answer: then nothing is known. It opens the store itself, beside a running daemon or
    without one.
    """
    loaded = load_config(config)
    logs.configure("warning", stream=sys.stderr, environ=os.environ)  # an embedded store that it starts is heard of
    try:
        reports = asyncio.run(audit_store(loaded.config, reveal_of(loaded)))
    except StoreUnavailable as error:
        mend = "start it, or mend [store] in the configuration"
        raise StoreUnavailable(f"the store {loaded.config.store.url} cannot be audited: {error}; {mend}") from error
    ok = all(report.ok for report in reports.values())
    if as_json:
        print_json({"ok": ok, "pools": {name: msgspec.to_builtins(report) for name, report in reports.items()}})
    else:
        for name, report in reports.items():
            _print(name, report)
    if not ok:
        raise SystemExit(1)


def _print(name: str, report: AuditReport) -> None:
    word = click.style("clean", fg="green") if report.ok else click.style(f"{report.total} differences", fg="red")
    click.echo(  # nobody else's words, but a colour of ours
        f"pool {name}: {word} as of {report.as_of}: {report.skus} SKUs, {report.orders} orders,"
        f" {report.live_holds} live holds, {report.events} events"
    )
    for deficit in report.deficits:
        say(f"  deficit: {deficit}", fg="yellow")
    for difference in report.differences:
        say(f"  {difference.where}: {difference.what}: expected {difference.expected}, found {difference.found}")
        say(f"    mend: {difference.mend}")

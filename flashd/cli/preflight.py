"""`flashd check --sale NAME`: go or no-go."""

from __future__ import annotations

from urllib.parse import quote

from flashd.cli.client import AdminClient
from flashd.cli.session import print_json, print_table
from flashd.cli.terminal import say

WAIT_S = 180.0  # every platform of the sale is asked, each within a bound
_MARKS = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}


def show_preflight(admin: AdminClient, sale: str, pool: str | None, *, as_json: bool) -> None:
    """Print every finding and the verdict; SystemExit 1 on a NO-GO."""
    path = f"/admin/v1/sales/{quote(sale, safe='')}/preflight"
    answer = admin.call("GET", path, query={"pool": pool}, timeout=WAIT_S)
    if as_json:
        print_json(answer)
    else:
        rows = [
            (_MARKS.get(one["level"], one["level"]), one["check"], one["subject"], _words(one))
            for one in answer["findings"]
        ]
        print_table(("", "CHECK", "OF", "WHAT"), rows, empty="nothing was checked")
        fails = sum(one["level"] == "fail" for one in answer["findings"])
        warns = sum(one["level"] == "warn" for one in answer["findings"])
        say(f"{'GO' if answer['go'] else 'NO-GO'}: {fails} to mend, {warns} to know", bold=True)
    if not answer["go"]:
        raise SystemExit(1)


def _words(one: dict[str, str]) -> str:
    return f"{one['said']}; {one['mend']}" if one["mend"] and one["level"] != "ok" else one["said"]

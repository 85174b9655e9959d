"""Words of others in a terminal: none of them steers it."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from flashd.cli import audit, channel, cli
from flashd.cli.client import ApiError
from flashd.cli.session import print_json, print_table
from flashd.store.audit import AuditReport

STEERING = ("\x1b[31m", "\x9b2J", "\x7f", "\r", "\x07", "\u202e", "\u2066", "\u200f", "\x00")
HOSTILE = "A" + "".join(STEERING) + "ä \u4e2d"


def steers(text: str) -> list[str]:
    return [mark[0] for mark in STEERING if mark[0] in text]


def _of_channels() -> dict[str, Any]:
    entry = {"sku": HOSTILE, "ids": {HOSTILE: HOSTILE}, "title": HOSTILE, "source": "import", "figure": 1, "exposed": 1}
    gaps: dict[str, list[str]] = {kind: [HOSTILE] for kind in channel._GAPS}
    plan = {"places": [entry], "unchanged": 0, "counts": [], "kept": {HOSTILE: HOSTILE}, "gaps": gaps}
    row = dict.fromkeys(("on_hand", "held", "sold", "safety", "free", "twice"), 0)
    share = {"figure": 1, "exposed": 2, "backed": True}
    return {
        "entries": [entry],
        "gaps": gaps,
        "next_offset": None,
        "plan": plan,
        "products": 1,
        "source": "platform",
        "dry_run": True,
        "oversells": True,
        "channel": "shop",
        "cut_over": {"ok": False, "said": HOSTILE},
        "kits": [{"sku": HOSTILE, "available": 1, "components": {HOSTILE: 2}, "unknown": [HOSTILE]}],
        "skus": [row | {"sku": HOSTILE, "channels": {HOSTILE: share}}],
        "total": {"backed": 0, "unbacked": 0, "twice": 0},
    }


def test_json_stays_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"id": HOSTILE})
    said = capsys.readouterr().out
    assert not steers(said)
    assert json.loads(said) == {"id": HOSTILE}


def test_a_table_and_a_refusal_show_what_would_steer(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ORDER", "REASON"), [(HOSTILE, HOSTILE)], empty="none")
    said = capsys.readouterr().out
    assert not steers(said)
    assert said.count("\\u001b[31m\\u009b2J") == 2
    assert "ä \u4e2d" in said
    assert not steers(ApiError(404, {"detail": HOSTILE}, "/admin/v1/orders/a/1").message)


@pytest.mark.parametrize(
    "command",
    [
        ("quarantine", "show", "1"),
        ("events",),
        ("events", "--json"),
        ("orders", "export"),
        ("status",),
        ("channel", "map", "shop"),
        ("channel", "import", "shop", "--dry-run"),
        ("stock", "kits"),
        ("stock", "exposure"),
    ],
    ids=" ".join,
)
def test_what_a_daemon_answers_steers_nothing(command: tuple[str, ...]) -> None:
    class Daemon(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            event = {"v": 1, "id": "1-0", "at": "", "kind": "order.accepted", "order": HOSTILE}
            entry = {"channel": HOSTILE, "reason": HOSTILE}
            known: dict[str, Any] = {
                "events": [event],
                "next": "0",
                "entry": entry,
                "headers": {"x": HOSTILE},
                "body": HOSTILE,
            }
            store = {"ok": True, "server": HOSTILE, "durability": "fsync"}
            known |= {"store": store, "ready": True, "version": "1", "pools": {}, "backends": [], "draining": False}
            known |= {
                "more": {"stranded": {HOSTILE: 1}},
                "channels": [],
                "alerts": [{"kind": "x", "subject": HOSTILE, "over": None}],
            }
            known |= _of_channels()
            data = json.dumps(known, ensure_ascii=False).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815  # as its class calls it

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Daemon) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = CliRunner().invoke(cli, [*command, "--url", f"127.0.0.1:{server.server_port}"])
        server.shutdown()
    assert done.exit_code == 0, done.output
    assert "\\u202e" in done.output
    assert not steers(done.output)


def test_colours_of_our_own_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    audit._print("main", AuditReport(pool="main", ok=True, as_of="1-0"))  # the command opens a store
    assert "u001b" not in capsys.readouterr().out

"""`flashd check --sale` and `flashd alerts`: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flashd.cli import cli

HOSTILE = "a\x1b[31m\u202eb"


class Daemon:
    """A listener that answers what a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.asked: list[str] = []
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                daemon.asked.append(f"{self.command} {self.path}")
                data = json.dumps(daemon.answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def run(self, *arguments: str) -> Result:
        address = f"127.0.0.1:{self.server.server_address[1]}"
        return CliRunner().invoke(cli, [*arguments, "--url", address])


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    made.thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(5)


def preflight(*levels: str) -> dict[str, Any]:
    findings = [
        {"check": "stock", "subject": HOSTILE, "level": level, "said": f"it is {level}", "mend": "bring more"}
        for level in levels
    ]
    return {"sale": "friday", "version": 1, "go": "fail" not in levels, "findings": findings}


def test_a_go_ends_in_0_and_a_warning_says_what_to_do(daemon: Daemon) -> None:
    daemon.answer = preflight("ok", "warn")
    result = daemon.run("check", "--sale", "black friday", "--pool", "main")
    assert result.exit_code == 0
    assert daemon.asked == ["GET /admin/v1/sales/black%20friday/preflight?pool=main"]
    assert "it is warn; bring more" in result.output
    assert "it is ok; bring more" not in result.output
    assert result.output.splitlines()[-1] == "GO: 0 to mend, 1 to know"
    assert "\x1b[31m" not in result.output
    assert "\u202e" not in result.output


def test_a_no_go_ends_in_1_also_as_json(daemon: Daemon) -> None:
    daemon.answer = preflight("ok", "fail", "warn")
    result = daemon.run("check", "--sale", "friday")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == "NO-GO: 1 to mend, 1 to know"
    told = daemon.run("check", "--sale", "friday", "--json")
    assert told.exit_code == 1
    assert json.loads(told.output) == daemon.answer


def alert(**more: Any) -> dict[str, Any]:
    right = {
        "id": "alert_1",
        "kind": "shortfall",
        "subject": "main",
        "pool": "main",
        "severity": "critical",
        "text": HOSTILE,
        "mend": "decide",
        "since": "2026-11-27T08:00:00.000Z",
        "last": "2026-11-27T08:00:00.000Z",
        "count": 3,
        "told": None,
        "over": None,
        "facts": {},
    }
    return right | more


RECEIVER = {"configured": True, "leading": True, "off": "", "failures": 0, "last_error": "", "messages": 4}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "4 were told by this process"),
        ({"configured": False}, "nobody is told: [alerts] url is empty"),
        ({"off": "HTTP 410"}, "nobody is told any more: HTTP 410"),
        ({"failures": 2, "last_error": "HTTP 500"}, "the receiver did not take the last 2: HTTP 500"),
    ],
)
def test_the_list_says_what_to_do_and_how_the_receiver_is(daemon: Daemon, more: dict[str, Any], said: str) -> None:
    daemon.answer = {"alerts": [alert()], "receiver": RECEIVER | more}
    result = daemon.run("alerts", "list")
    assert result.exit_code == 0
    assert "not yet" in result.output
    assert "; decide" in result.output
    assert result.output.splitlines()[-1] == said
    assert "\x1b[31m" not in result.output


def test_what_is_over_is_not_told_to_be_mended(daemon: Daemon) -> None:
    daemon.answer = {"alerts": [alert(over="2026-11-27T09:00:00.000Z")], "receiver": RECEIVER}
    result = daemon.run("alerts", "list")
    assert "over since 2026-11-27 09:00:00" in result.output
    assert "decide" not in result.output


@pytest.mark.parametrize(("taken", "code"), [(True, 0), (False, 1)])
def test_a_test_alert_ends_as_the_receiver_answered(daemon: Daemon, *, taken: bool, code: int) -> None:
    daemon.answer = {"taken": taken, "said": "HTTP 204"}
    result = daemon.run("alerts", "test")
    assert (result.exit_code, daemon.asked) == (code, ["POST /admin/v1/alerts/test"])
    assert result.output.strip() == f"{'taken' if taken else 'not taken'}: HTTP 204"

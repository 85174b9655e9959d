"""`flashd events --follow` across cuts, against a stream that is cut on purpose."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from flashd.cli import cli

EVENT = '{"v":1,"id":"8-0","at":"2026-11-27T08:00:00.123Z","kind":"stock.changed","pool":"main","sku":"TEE"}'


class _Cut(BaseHTTPRequestHandler):
    """Says where now is and cuts; then is away; then sends what happened meanwhile; then refuses for good."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(parse_qs(urlsplit(self.path).query)["after"][0])
        turn = len(self.asked)
        self.send_response({1: 200, 2: 503, 3: 503, 4: 200}.get(turn, 401))
        self.end_headers()
        said = {1: "retry: 2000\nid: 7-0\n\n", 4: f"retry: 2000\n\nid: 8-0\nevent: stock.changed\ndata: {EVENT}\n\n"}
        self.wfile.write(said.get(turn, "{}").encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "somebody"


def test_what_happens_during_a_cut_is_not_missed_even_if_nothing_was_heard_before(tmp_path: Path) -> None:
    _Cut.asked = []
    server = HTTPServer(("127.0.0.1", 0), _Cut)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "-m", "flashd", "events", "--follow", "--url", f"127.0.0.1:{server.server_port}"]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        server.shutdown()
    assert _Cut.asked == ["$", "7-0", "7-0", "7-0", "8-0"], run.stderr
    assert "8-0  2026-11-27T08:00:00.123Z  stock.changed" in run.stdout
    assert run.stderr.count("the connection ended") == 2, "once a cut, however long it takes"
    assert run.returncode == 1


def test_a_topic_that_there_is_not_is_refused_and_the_topics_are_named() -> None:
    command = [sys.executable, "-m", "flashd", "events", "--topic", "sales", "--url", "127.0.0.1:9"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 2
    assert all(topic in told.stderr for topic in ("'sale'", "'alert'", "'stock'"))


def test_following_ends_by_ctrl_c_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*_: object) -> Iterator[str]:
        yield EVENT
        raise KeyboardInterrupt

    monkeypatch.setattr("flashd.cli.watch._follow", follow)
    ended = CliRunner().invoke(cli, ["events", "--follow", "--json", "--url", "127.0.0.1:9"])
    assert (ended.exit_code, ended.output) == (130, EVENT + "\n")

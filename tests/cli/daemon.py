"""A daemon that answers a command what a test says."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from click.testing import CliRunner, Result

from flashd.cli import cli


class Daemon:
    """A listener that answers what a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.asked: list[tuple[str, Any]] = []
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                sent = json.loads(self.rfile.read(length)) if length else None
                daemon.asked.append((f"{self.command} {self.path}", sent))
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

    def run(self, *arguments: str, answer: str = "") -> Result:
        address = f"127.0.0.1:{self.server.server_address[1]}"
        return CliRunner().invoke(cli, [*arguments, "--url", address], input=answer)

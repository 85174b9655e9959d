"""Where it is measured: a folder with a configuration, a `flashd run` of its own, the bare server, two ERPs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.traffic import SKUS
from flashd.demo.child import Child
from flashd.demo.simulated_erp import SimulatedErp

OUTFLOW = (50, 200)  # orders a second
_PLENTY = 1_000_000_000
_PROMPT_S = 30.0
_BARE = Path(__file__).parent / "bare.py"

_CONFIG = """\
[store]
url = "embedded"
state_dir = "{folder}/state"

[intake]
listen = "127.0.0.1:{intake}"

[admin]
listen = "127.0.0.1:{admin}"

[logs]
level = "warning"

[channels.shop]
kind = "shopify"
secrets = [{{ file = "secret" }}]

[channels.till]
kind = "native"
tokens = [{{ name = "till", secret = {{ file = "secret" }} }}]

[backends.sink]
kind = "http"
url = "http://127.0.0.1:9/orders"
"""
_OUTFLOW = """
[channels.till-{rate}]
kind = "native"
tokens = [{{ name = "till-{rate}", secret = {{ file = "secret-{rate}" }} }}]

[backends.erp-{rate}]
kind = "http"
url = "{url}"
lookup_url = "{url}?key={{key}}"
rate = "{rate}/s"
max_in_flight = 16
timeout_s = 5.0
slow_start_s = 0.5

[[routes]]
channel = "till-{rate}"
backend = "erp-{rate}"
"""
_LAST_ROUTE = """
[[routes]]
backend = "sink"
"""


class Site:
    """One run's folder and processes; `close` ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.intake_port, self.admin_port = _free_ports()
        self.bare_port = 0
        self.secret = secrets.token_urlsafe(24)
        self.secrets = {rate: secrets.token_urlsafe(24) for rate in OUTFLOW}
        self.erps: dict[int, SimulatedErp] = {}
        self._children: list[Child] = []

    def start(self) -> None:
        """Start the ERPs, the daemon and the bare server; every backend is paused, so that nothing leaves."""
        for rate in OUTFLOW:
            place = self.folder / f"erp-{rate}"
            place.mkdir()
            self.erps[rate] = SimulatedErp(place, limit=100_000).start()
        self._write()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FLASHD_")}
        arguments = ["-m", "flashd", "run", "-c", str(self.folder / "flashd.toml")]
        daemon = Child("flashd", arguments, log=self.folder / "flashd.log", env=environ)
        bare = Child("bare aiohttp", [str(_BARE)], log=self.folder / "bare.log")
        self._children += [daemon, bare]
        daemon.start()
        bare.start(pipe=True)
        self.bare_port = int(bare.first_line(_PROMPT_S))
        self._wait_until_ready(daemon)
        for sku in SKUS:
            self.ask("PUT", f"/admin/v1/stock/{sku}", {"on_hand": _PLENTY})
        for backend in ("sink", *(f"erp-{rate}" for rate in OUTFLOW)):
            self.ask("POST", f"/admin/v1/backends/{backend}/pause", {"reason": "the bench"})

    def _write(self) -> None:
        text = _CONFIG.format(folder=self.folder, intake=self.intake_port, admin=self.admin_port)
        text += "".join(_OUTFLOW.format(rate=rate, url=erp.url) for rate, erp in self.erps.items()) + _LAST_ROUTE
        _private(self.folder / "flashd.toml", text)
        _private(self.folder / "secret", self.secret)
        for rate, secret in self.secrets.items():
            _private(self.folder / f"secret-{rate}", secret)

    def _wait_until_ready(self, daemon: Child) -> None:
        deadline = time.monotonic() + _PROMPT_S
        while daemon.is_alive and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._call(self.admin_port, "GET", "/readyz", None, {})[0] == 200:
                    return
            time.sleep(0.05)
        raise ChildProcessError(f"flashd is not ready: {daemon.tail()}")

    def ask(self, method: str, target: str, body: Any = None) -> None:
        """Ask the admin listener; anything but a 2xx ends the bench."""
        data = None if body is None else json.dumps(body).encode()
        status, answer = self._call(self.admin_port, method, target, data, {"Content-Type": "application/json"})
        if status >= 300:
            raise ChildProcessError(f"{method} {target}: {status} {answer[:500]!r}")

    def batch(self, bodies: list[bytes], token: str) -> int:
        """Send native orders as one NDJSON batch; return how many came into being."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        status, answer = self._call(self.intake_port, "POST", "/v1/orders:batch", b"\n".join(bodies) + b"\n", headers)
        if status != 200:
            raise ChildProcessError(f"the batch was answered {status}: {answer[:500]!r}")
        return answer.count(b'"status":201')

    @staticmethod
    def _call(port: int, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROMPT_S)
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def store(self) -> Redis:
        """Return a client of the daemon's own server, to count in it."""
        return Redis(unix_socket_path=str(self.folder / "state" / "store" / "sock"))

    def close(self) -> None:
        """End every process; fine to call twice."""
        for child in self._children:
            if child.stop() is None and child.pid:
                sys.stderr.write(f"{child.name} did not end in time: {child.tail()}\n")
            child.close()
        self._end_orphan()
        for erp in self.erps.values():
            erp.close()

    def _end_orphan(self) -> None:
        """End the daemon's server where the daemon had to be killed: it leads a group of its own."""
        store = self.folder / "state" / "store"
        with contextlib.suppress(OSError, ValueError):
            pid = int((store / "pid").read_text())
            if Path(f"/proc/{pid}/cwd").resolve(strict=True) == store.resolve():  # else the number is somebody else's
                os.kill(pid, signal.SIGKILL)


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]

"""Where it is measured: a folder, a durable store and one `flashd run` or several on it."""

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
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis

from benchmarks.cpu import resident_mib
from benchmarks.plan import Plan, private
from benchmarks.store import client_of, new_store, pid_of
from flashd.demo.child import Child

PLENTY = 1_000_000_000
_PROMPT_S = 60.0
_LINES = 10_000  # of one NDJSON batch
_AWAKE_S = 1.5  # after it was stopped, until leases and watches are as they were


class Daemon:
    """One process of flashd."""

    def __init__(self, folder: Path, plan: Plan, store: str, number: int) -> None:
        self.intake_port, self.admin_port = _free_ports()
        path = folder / f"flashd-{number}.toml"
        private(path, plan.text(store=store, intake=self.intake_port, admin=self.admin_port))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FLASHD_")}
        environ["STATE_DIRECTORY"] = str(folder / "state")  # what it met of this store is not for the user's own
        self.log = folder / f"flashd-{number}.log"
        self.child = Child("flashd", ["-m", "flashd", "run", "-c", str(path)], log=self.log, env=environ)

    def wait_until_ready(self) -> None:
        """Return when it takes orders."""
        deadline = time.monotonic() + _PROMPT_S
        while self.child.is_alive and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if call(self.admin_port, "GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise ChildProcessError(f"flashd is not ready: {self.child.tail()}")


class Site:
    """One measurement's folder and processes; `close` ends them all."""

    def __init__(self, folder: Path, plan: Plan | None = None, *, kind: str = "") -> None:
        self.plan = plan or Plan()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.secret = secrets.token_urlsafe(24)
        self.server = new_store(kind)
        self.daemons: list[Daemon] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def intake_port(self) -> int:
        """The port of the first daemon."""
        return self.daemons[0].intake_port

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes whose time is reckoned."""
        return {"flashd": [daemon.child.pid for daemon in self.daemons], "store": [pid_of(self.server)]}

    def token(self, outlet: str) -> str:
        """Return the token of an outlet's till."""
        return f"{self.secret}-{outlet}"

    def start(self) -> None:
        """Start the daemons; every backend is paused, so that nothing leaves."""
        private(self.folder / "secret", self.secret)
        private(self.folder / "till", self.secret)
        for outlet in self.plan.outlets:
            private(self.folder / f"till-{outlet.name}", self.token(outlet.name))
        for number in range(self.plan.processes):
            daemon = Daemon(self.folder, self.plan, self.server.url, number)
            self.daemons.append(daemon)
            daemon.child.start()
            daemon.wait_until_ready()
        for backend in (*self.plan.sinks, *(outlet.name for outlet in self.plan.outlets)):
            self.pause(backend)

    def count(self, skus: Iterable[str]) -> None:
        """Say that there is plenty of each SKU."""
        for sku in skus:
            self.ask("PUT", f"/admin/v1/stock/{sku}", {"on_hand": PLENTY})

    def pause(self, backend: str) -> None:
        """Let nothing more leave for that backend."""
        self.ask("POST", f"/admin/v1/backends/{backend}/pause", {"reason": "the bench"})

    def resume(self, backend: str) -> None:
        """Let orders leave."""
        self.ask("POST", f"/admin/v1/backends/{backend}/resume")

    def ask(self, method: str, target: str, body: Any = None) -> bytes:
        """Ask the admin listener; anything but a 2xx ends the measurement."""
        data = None if body is None else json.dumps(body).encode()
        port = self.daemons[0].admin_port
        status, answer = call(port, method, target, data, {"Content-Type": "application/json"})
        if status >= 300:
            raise ChildProcessError(f"{method} {target}: {status} {answer[:500]!r}")
        return answer

    def batch(self, bodies: Sequence[bytes], token: str) -> int:
        """Send native orders as NDJSON batches; return how many came into being."""
        headers, made = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}, 0
        for at in range(0, len(bodies), _LINES):
            text = b"\n".join(bodies[at : at + _LINES]) + b"\n"
            status, answer = call(self.intake_port, "POST", "/v1/orders:batch", text, headers)
            if status != 200:
                raise ChildProcessError(f"the batch was answered {status}: {answer[:500]!r}")
            made += answer.count(b'"status":201')
        return made

    def fill(self, bodies: Sequence[bytes], token: str) -> None:
        """Send orders that must all come into being."""
        made = self.batch(bodies, token)
        if made != len(bodies):
            raise ChildProcessError(f"only {made} of {len(bodies)} orders came into being")

    def store(self) -> Redis:
        """Return a client of the daemons' server, to count in it."""
        return client_of(self.server)

    def memory_mib(self) -> list[float]:
        """Return the resident memory of each daemon."""
        return [resident_mib(daemon.child.pid) for daemon in self.daemons]

    def freeze(self) -> None:
        """Stop the daemons where they stand, so that a site at rest takes nothing from the one that is measured."""
        for daemon in self.daemons:
            daemon.child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on, and wait until they do what they did."""
        for daemon in self.daemons:
            daemon.child.send(signal.SIGCONT)
        time.sleep(_AWAKE_S)

    def close(self) -> None:
        """End every process; fine to call twice."""
        for daemon in self.daemons:
            daemon.child.send(signal.SIGCONT)
            if daemon.child.stop() is None and daemon.child.pid:
                sys.stderr.write(f"flashd did not end in time: {daemon.child.tail()}\n")
            daemon.child.close()
        self.server.close()


def call(
    port: int, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Make one request to a port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROMPT_S)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]

"""flashd as a process of its own, as systemd would run it, and HTTP to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PORTS = range(16_384, 32_768)  # below those that Linux gives to outgoing connections


def free_port() -> int:
    """
    Return a port of the loopback that nobody has, and that nobody is given by chance.

    A port that the system chose may be somebody's outgoing connection a moment later, or while its server is down;
    with several workers at once that happens.
    """
    while True:
        port = random.SystemRandom().choice(_PORTS)  # hypothesis seeds the other one, in every worker alike
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class Flashd:
    """One daemon process; `kill` is SIGKILL, `start` again goes on with the same store."""

    folder: Path
    config: str  # TOML; {intake} and {admin} are replaced by free ports
    name: str = "flashd"
    environ: dict[str, str] = field(default_factory=dict)
    intake: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.toml"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def write(self) -> None:
        text = self.config.replace("{intake}", str(self.intake)).replace("{admin}", str(self.admin))
        self.path.write_text(text)

    def start(self, *, ready: bool = True) -> Flashd:
        self.write()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flashd", "run", "-c", str(self.path)],
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env={**os.environ, **self.environ},
            )
        if ready:
            try:
                self.wait_until_ready()
            except AssertionError:
                self.kill()  # whoever starts it in a fixture has nothing yet to end it by
                raise
        return self

    def wait_until_ready(self, within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/readyz", port=self.admin)[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"flashd is not ready: {self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, within_s: float = 15) -> tuple[int, float]:
        """SIGTERM; return the exit code and how long it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(within_s)
        return code, time.monotonic() - began

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()

    def call(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        port: int | None = None,
        timeout: float = 10,
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.intake, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def ask_admin(self, method: str, target: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        status, answer, _ = self.call(method, target, data, headers, port=self.admin)
        assert status < 400, f"{method} {target}: {status} {answer[:500]!r}"
        return json.loads(answer) if answer else None

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another flashd command with this configuration."""
        return subprocess.run(
            [sys.executable, "-m", "flashd", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
            env={**os.environ, **self.environ, "FLASHD_CONFIG": str(self.path)},
            check=False,
        )

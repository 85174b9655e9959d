"""Fastify in front of BullMQ on a durable store of its own: installed once into .cache, one Node process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.store import client_of, new_store, pid_of
from tests.erp.tryton import ROOT, locked

SOURCE = Path(__file__).parent / "fastify"
_INSTALL_S, _START_S = 600.0, 30.0


class FastifyMissingError(Exception):
    """It cannot be compared here; the message says why."""


def missing() -> str:
    """Say what keeps it from being run, or "" where nothing does."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed: Node.js 20 or later is needed" if absent else ""


def install() -> Path:
    """
    Return a folder with the server and its packages, downloaded at the first call on this machine.

    Raises:
        FastifyMissingError: No Node.js, or npm could not install the packages.
    """
    if reason := missing():
        raise FastifyMissingError(reason)
    digest = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"fastify-{digest}"
    with locked(folder):
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json", "server.js"):
            shutil.copy(SOURCE / name, folder)
        if not (folder / "installed").exists():
            # Not `npm ci`: it fails where a registry lacks a binary of some other platform. The lock pins all else.
            command = ("npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
            try:
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise FastifyMissingError(f"npm did not end within {_INSTALL_S:.0f} s") from error
            if done.returncode != 0:
                raise FastifyMissingError(f"npm: {(done.stderr or done.stdout).strip()[-500:]}")
            (folder / "installed").touch()
    return folder


class Fastify:
    """The process and its store; `close` ends both."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self.store = new_store()
        self.parsing_port = self.keeping_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes whose time is reckoned."""
        assert self._process is not None
        return {"node": [self._process.pid], "store": [pid_of(self.store)]}

    def start(self) -> Fastify:
        """
        Install and start it; return after it listens.

        Raises:
            FastifyMissingError: It does not run here.
        """
        folder = install()
        environ = {"STORE_SOCKET": self.store.socket_path, "WEBHOOK_SECRET": self._secret, "NODE_ENV": "production"}
        log = folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["node", "server.js"], cwd=folder, env=os.environ | environ, stdout=subprocess.PIPE, stderr=out
            )
        said = _line(self._process, time.monotonic() + _START_S).split()
        if len(said) != 2:
            raise FastifyMissingError(f"it did not start: {log.read_text(errors='replace')[-500:]}")
        self.parsing_port, self.keeping_port = map(int, said)
        return self

    def jobs(self) -> int:
        """Return how many orders BullMQ holds."""
        with client_of(self.store) as client:
            return int(client.llen("bull:orders:wait"))

    def empty(self) -> None:
        """Forget all orders, so that the memory is free for the next case."""
        with client_of(self.store) as client:
            client.flushdb(asynchronous=True)

    def close(self) -> None:
        """End both; fine to call twice."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
        self.store.close()


def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return the first line of its output, or what there is of it."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not piece:
            break
        line += piece
    return line

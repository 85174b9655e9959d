"""The server under all that is measured: of one kind for flashd and for its rivals, on sockets of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from redis import Redis

from flashd.store.settings import SMALL
from tests.servers import Server, find_server

# Rewriting the append-only file now and then would fall on one side of a comparison or the other by chance.
# The rest is what docs/store.md recommends, and what the embedded server has.
_SETTINGS = {"auto-aof-rewrite-percentage": "0", **SMALL}


def usual_kind() -> str:
    """Name the kind of server that stands on PATH, else the one of the wheel."""
    return "redis7" if find_server("redis7") else "valkey"


def new_store(kind: str = "") -> Server:
    """Start a durable server (every write is fsynced before its answer) in a folder of its own."""
    return Server(kind or usual_kind(), _SETTINGS).start()


def client_of(server: Server) -> Redis:
    """Return a client, to count in a server."""
    return Redis(unix_socket_path=server.socket_path)


def pid_of(server: Server) -> int:
    """Return the process of a server that was started."""
    assert server.process is not None
    return server.process.pid


def version(kind: str) -> str:
    """Return what the binary says of itself."""
    path = find_server(kind)
    if path is None:
        return "none"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    return " ".join([Path(path).name.split("-")[0].capitalize(), *said.split()[2:3]])

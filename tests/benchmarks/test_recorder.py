from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from benchmarks.recorder import Recorder, commands, replay
from benchmarks.store import client_of, new_store


async def test_what_a_client_said_can_be_said_again(tmp_path: Path) -> None:
    first, second = new_store(), new_store()
    try:
        async with Recorder(first.socket_path, tmp_path / "socket") as recorder:
            client = Redis(unix_socket_path=str(recorder.path))
            await client.set("begun", 1)
            before = recorder.take()
            calls = []
            for number in range(5):
                await client.incrby("count", number)
                await client.rpush("seen", number)
                calls.append(recorder.take())
            await client.aclose()
        assert [commands(call) for call in calls] == [2] * 5
        took_s = await asyncio.to_thread(replay, second.socket_path, before, calls)
        assert took_s > 0
        with client_of(second) as copy:
            assert (copy.get("count"), copy.get("begun")) == (b"10", b"1")
            assert copy.lrange("seen", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]
    finally:
        first.close()
        second.close()

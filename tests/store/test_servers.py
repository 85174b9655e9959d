from __future__ import annotations

from redis.asyncio import Redis


async def test_a_test_server_fsyncs_every_write(client: Redis) -> None:
    assert (await client.config_get("appendfsync"))["appendfsync"] == "always"

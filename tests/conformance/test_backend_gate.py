from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.ports import BackendGate, Clock
from flashd.runtime.clock import SystemClock
from flashd.store.gate import RedisBackendGate
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.servers import KINDS, Server, find_server, missing

HOUR_US = 3_600_000_000


class Bench:
    """A gate, its clock, and how to let that clock go on."""

    def __init__(self, gate: BackendGate, clock: Clock, wait: Callable[[float], Awaitable[None]]) -> None:
        self.gate = gate
        self.clock = clock
        self.wait = wait

    def was_held_up(self, began_s: float, for_s: float) -> bool:
        """Say whether so long has passed that the next drop is due: a server's clock goes on while we stand still."""
        return self.clock.monotonic_s() - began_s > for_s


@pytest.fixture(params=["fake", *KINDS])
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    if request.param == "fake":
        turned = FakeClock()
        yield Bench(FakeGate(turned), turned, turned.advance)
        return
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    if request.param not in servers:
        servers[request.param] = Server(request.param).start()
    client = Redis(unix_socket_path=servers[request.param].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    clock = SystemClock()
    yield Bench(RedisBackendGate(client, "erp", clock), clock, asyncio.sleep)
    await client.aclose()


async def test_one_leads_and_the_others_follow(bench: Bench) -> None:
    epoch = await bench.gate.lead("a", 60_000)
    assert epoch is not None
    assert epoch >= bench.clock.now_ms() - 60_000
    assert await bench.gate.lead("b", 60_000) is None
    assert await bench.gate.lead("a", 60_000) == epoch
    status = await bench.gate.status()
    assert (status.leader, status.epoch) == ("a", epoch)


async def test_a_new_term_has_a_higher_epoch(bench: Bench) -> None:
    first = await bench.gate.lead("a", 60_000)
    await bench.gate.resign("b")
    assert await bench.gate.lead("b", 60_000) is None
    await bench.gate.resign("a")
    assert (await bench.gate.status()).leader == ""
    second = await bench.gate.lead("b", 60_000)
    assert first is not None
    assert second is not None
    assert second > first


async def test_a_term_that_lapsed_is_begun_anew(bench: Bench) -> None:
    first = await bench.gate.lead("a", 20)
    await bench.wait(0.05)
    assert (await bench.gate.status()).leader == ""
    second = await bench.gate.lead("a", 20)
    assert first is not None
    assert second is not None
    assert second > first


async def test_a_cold_bucket_starts_empty_of_credit(bench: Bench) -> None:
    began_s = bench.clock.monotonic_s()
    drop = await bench.gate.drop(50_000, burst=3)
    assert drop.wait_ms > 0
    assert drop.reason == "rate"
    await bench.wait(drop.wait_ms / 1000)
    assert (await bench.gate.drop(50_000, burst=3)).wait_ms == 0
    assert (await bench.gate.drop(50_000, burst=3)).wait_ms > 0 or bench.was_held_up(began_s, 0.1)


async def test_a_drop_is_one_request(bench: Bench) -> None:
    await bench.gate.drop(10_000)
    await bench.wait(0.2)
    assert (await bench.gate.drop(HOUR_US)).wait_ms > 3_000_000  # the spacing grew: made up for
    assert (await bench.gate.drop(10_000)).reason in {"", "rate"}


async def test_a_drop_taken_ahead_says_when_to_use_it(bench: Bench) -> None:
    await bench.gate.drop(60_000)
    await bench.wait(0.2)
    began_s = bench.clock.monotonic_s()
    first = await bench.gate.drop(60_000, ahead_us=60_000)
    second = await bench.gate.drop(60_000, ahead_us=60_000)
    third = await bench.gate.drop(60_000, ahead_us=60_000)
    assert (first.wait_ms, first.after_us) == (0, 0)
    assert second.wait_ms == 0
    if not bench.was_held_up(began_s, 0.06):
        assert 0 < second.after_us <= 60_000
        assert third.wait_ms > 0


async def test_a_raised_rate_does_not_wait_for_the_old_one(bench: Bench) -> None:
    assert (await bench.gate.drop(HOUR_US)).wait_ms > 3_000_000
    drop = await bench.gate.drop(20_000)
    assert 0 < drop.wait_ms <= 121
    await bench.wait(drop.wait_ms / 1000)
    assert (await bench.gate.drop(20_000)).wait_ms == 0


async def test_a_human_pauses_until_resumed(bench: Bench) -> None:
    await bench.gate.pause(reason="stock-taking", by="ada")
    drop = await bench.gate.drop(1000)
    assert (drop.reason, drop.wait_ms > 0) == ("paused", True)
    status = await bench.gate.status()
    assert (status.paused, status.reason) == (True, "stock-taking")
    await bench.gate.resume(by="ada")
    assert (await bench.gate.drop(1000)).reason in {"", "rate"}
    assert not (await bench.gate.status()).paused


async def test_everybody_waits_as_long_as_the_backend_asked(bench: Bench) -> None:
    now = bench.clock.now_ms()
    await bench.gate.pause(until_ms=now + 30_000, reason="429", by="flashd")
    await bench.gate.pause(until_ms=now + 10_000, reason="503", by="flashd")
    drop = await bench.gate.drop(1000)
    assert drop.reason == "retry_after"
    assert 10_000 < drop.wait_ms <= 30_001
    status = await bench.gate.status()
    assert (status.paused, status.reason) == (False, "429")
    assert abs(status.until_ms - now - 30_000) < 1000


async def test_a_wait_ends_by_itself(bench: Bench) -> None:
    await bench.gate.pause(until_ms=bench.clock.now_ms() + 30, reason="429", by="flashd")
    await bench.wait(0.06)
    assert (await bench.gate.drop(1000)).reason in {"", "rate"}
    assert (await bench.gate.status()).until_ms == 0


async def test_the_override_is_told_to_all(bench: Bench) -> None:
    await bench.gate.set_rate("5/s", by="ada")
    assert (await bench.gate.status()).rate == "5/s"
    with pytest.raises(ValueError, match="not a rate"):
        await bench.gate.set_rate("fast", by="ada")
    await bench.gate.set_rate("", by="ada")
    assert (await bench.gate.status()).rate == ""


async def test_a_backend_is_asked_first_until_that_is_taken_away_and_a_resume_does_not(bench: Bench) -> None:
    assert (await bench.gate.status()).asks_first == ""
    await bench.gate.ask_first("a backup was restored", by="ada")
    await bench.gate.pause(reason="month end", by="ada")
    await bench.gate.resume(by="ada")
    assert (await bench.gate.status()).asks_first == "a backup was restored"
    await bench.gate.ask_first("", by="ada")
    assert (await bench.gate.status()).asks_first == ""

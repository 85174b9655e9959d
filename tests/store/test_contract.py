from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from flashd.config import BackendConfig, Config, PoolConfig, Secret, SecretText, StoreConfig
from flashd.errors import ConfigError, StoreUnavailable
from flashd.store import settings
from flashd.store.adoption import adopt
from flashd.store.connection import connect
from flashd.store.contract import Contract, verify
from flashd.store.gate import RedisBackendGate
from flashd.store.keys import generation_key
from flashd.store.scripts import load
from flashd.store.watch import RedisWatch
from tests.conftest import PassTime
from tests.fakes.clock import FakeClock
from tests.servers import Server


def reveal(secret: Secret) -> SecretText:
    return SecretText(secret.env or "")


@pytest.fixture
async def clock(client: Redis) -> FakeClock:
    """A clock that agrees with the server's, until it is turned."""
    seconds, micros = await client.time()
    return FakeClock(int(seconds) * 1000 + int(micros) // 1000)


@pytest.fixture
async def config(server: Server, client: Redis, tmp_path: Path) -> AsyncIterator[StoreConfig]:
    """A configuration whose server gets its right settings back afterwards."""
    yield StoreConfig(url=server.url, state_dir=str(tmp_path), timeout_s=1)
    await client.replicaof("NO", "ONE")
    await client.config_set("appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no")
    await client.config_set("maxmemory-policy", "noeviction", "maxmemory", 0)


async def test_a_right_server_is_taken_and_founded_once(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    first = await verify(client, config, ["main", "vip"], clock)
    again = await verify(client, config, ["main", "vip"], clock)
    assert first.durability == "fsync"
    assert first.server.split()[0] in ("valkey", "redis")
    assert first.generations == again.generations
    assert first.generations["main"] != first.generations["vip"]
    assert await client.hget("fd:{main}:meta", "schema") == b"1"
    assert any("maxmemory is 0" in warning for warning in first.warnings)


async def test_a_server_that_leaves_half_a_script_in_a_torn_log_is_told_how_not_to(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    contract = await verify(client, config, ["main"], clock)
    told = [warning for warning in contract.warnings if "aof-load-truncated" in warning]
    assert bool(told) == (not contract.server.startswith("valkey 9.1"))
    await client.config_set("aof-load-truncated", "no")
    try:
        mended = await verify(client, config, ["main"], clock)
    finally:
        await client.config_set("aof-load-truncated", "yes")
    assert not [warning for warning in mended.warnings if "aof-load-truncated" in warning]


async def test_no_mend_is_asked_for_that_an_embedded_server_would_forget(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    own = await verify(client, msgspec.structs.replace(config, url="embedded"), ["main"], clock)
    assert own.warnings == ()
    assert own.notes == ()


async def test_a_server_that_spends_memory_on_small_orders_is_told_how_not_to(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    (note,) = (await verify(client, config, ["main"], clock)).notes
    assert "hash-max-listpack-value is 64" in note
    command = note.partition("CONFIG SET ")[2].split()
    before: dict[Any, Any] = await client.config_get("hash-max-listpack-*")
    try:
        await client.config_set(*command)
        assert (await verify(client, config, ["main"], clock)).notes == ()
    finally:
        for name, value in before.items():
            await client.config_set(name, value)


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("appendonly", "no", "CONFIG SET appendonly yes"),
        ("appendfsync", "everysec", "CONFIG SET appendfsync always"),
        ("appendfsync", "no", 'durability = "none"'),
        ("no-appendfsync-on-rewrite", "yes", "`no-appendfsync-on-rewrite no`"),
        ("maxmemory-policy", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
    ],
)
async def test_each_wrong_setting_is_refused_with_its_mend(
    name: str, value: str, mend: str, client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    await client.config_set(name, value)
    with pytest.raises(ConfigError) as caught:
        await verify(client, config, ["main"], clock)
    said = str(caught.value)
    assert f"{name} is {value}" in said
    assert mend in said
    assert not await client.exists("fd:{main}:meta")


async def test_all_that_is_wrong_is_said_at_once(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await client.config_set("appendfsync", "no", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigError, match=r"appendfsync is no.*|maxmemory-policy is allkeys-lru") as caught:
        await verify(client, config, ["main"], clock)
    assert "appendfsync is no;" in str(caught.value)
    assert "maxmemory-policy is allkeys-lru" in str(caught.value)


async def test_a_lowered_durability_is_taken_and_said(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    lowered = msgspec.structs.replace(config, durability="everysec")
    await client.config_set("appendfsync", "everysec")
    contract = await verify(client, lowered, ["main"], clock)
    assert contract.durability == "everysec"
    assert any("may be lost" in warning for warning in contract.warnings)
    await client.config_set("appendfsync", "no")
    with pytest.raises(ConfigError, match="appendfsync is no"):
        await verify(client, lowered, ["main"], clock)
    await client.config_set("appendonly", "no")
    none = msgspec.structs.replace(config, durability="none")
    assert (await verify(client, none, ["main"], clock)).durability == "none"


async def test_a_replica_is_refused(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await client.replicaof("127.0.0.1", "1")
    with pytest.raises(ConfigError, match="role is slave; wanted: master"):
        await verify(client, config, ["main"], clock)


async def test_a_server_that_does_not_answer_is_no_mistake_of_the_file(config: StoreConfig, clock: FakeClock) -> None:
    client = connect(StoreConfig(url="unix:///nonexistent/sock"), reveal)
    with pytest.raises(StoreUnavailable):
        await verify(client, config, ["main"], clock)
    await client.aclose()


@pytest.mark.parametrize("forbidden", ["-config", "-info", "-script"])
async def test_a_forbidden_question_is_answered_with_the_acl_line(
    forbidden: str, client: Redis, server: Server, config: StoreConfig, clock: FakeClock
) -> None:
    await client.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@all", forbidden]
    )
    narrow = StoreConfig(url=server.url, username="narrow", password=Secret(env="pw"), state_dir=config.state_dir)
    limited = connect(narrow, reveal)
    try:
        with pytest.raises(ConfigError, match=r"ACL SETUSER narrow ~fd:\*.*\+config\|get"):
            await verify(limited, narrow, ["main"], clock)
    finally:
        await limited.aclose()
        await client.acl_deluser("narrow")


async def test_a_wrong_password_is_a_mistake_of_the_file(server: Server, config: StoreConfig, clock: FakeClock) -> None:
    wrong = msgspec.structs.replace(config, username="nobody", password=Secret(env="guess"))
    client = connect(wrong, reveal)
    with pytest.raises(ConfigError, match=r"\[store\] username and password") as caught:
        await verify(client, wrong, ["main"], clock)
    assert "guess" not in str(caught.value)
    await client.aclose()


async def test_an_emptied_store_is_refused_until_the_loss_is_accepted(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    await verify(client, config, ["main"], clock)
    await client.flushall()
    with pytest.raises(ConfigError, match="was emptied") as caught:
        await verify(client, config, ["main"], clock)
    assert "flashd adopt" in str(caught.value)
    backends = {"erp": BackendConfig(kind="http", rate="1/s")}
    done = await adopt(Config(store=config, backends=backends, pools={"main": PoolConfig()}), reveal, clock)
    assert (done.backends, done.forgotten) == (("erp",), ("main",))
    await verify(client, config, ["main"], clock)
    assert (await RedisBackendGate(client, "erp", clock).status()).asks_first.startswith("the store was adopted at ")
    assert (
        await adopt(Config(store=config, backends=backends, pools={"main": PoolConfig()}), reveal, clock)
    ).backends == ("erp",)


async def test_backends_that_are_no_longer_configured_are_asked_first_as_well(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    await verify(client, config, ["main"], clock)
    await client.hset(generation_key("main"), "backends", "gone erp")
    assert (await adopt(Config(store=config, pools={"main": PoolConfig()}), reveal, clock)).backends == ("erp", "gone")


async def test_another_store_under_the_same_address_is_refused(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    await verify(client, config, ["main"], clock)
    await client.hset("fd:{main}:meta", "generation", "somebody-else")
    with pytest.raises(ConfigError, match="another life of the store"):
        await verify(client, config, ["main"], clock)


async def test_an_older_store_is_refused(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await client.xadd("fd:{main}:j", {"k": "stock.changed", "d": ""}, id="100-0")
    await client.hset("fd:{main}:meta", mapping={"schema": "1", "generation": "g"})
    await verify(client, config, ["main"], clock)
    await client.xtrim("fd:{main}:j", maxlen=0, approximate=False)
    await verify(client, config, ["main"], clock)  # trimmed is not older
    await client.delete("fd:{main}:j")
    await client.xadd("fd:{main}:j", {"k": "stock.changed", "d": ""}, id="99-0")
    with pytest.raises(ConfigError, match="older than what was seen before"):
        await verify(client, config, ["main"], clock)


async def test_a_pool_without_its_meta_is_damaged(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await client.hset("fd:{main}:stock", "A\x1fmain", "1 0 0 0 0 0")
    with pytest.raises(ConfigError, match="damaged"):
        await verify(client, config, ["main"], clock)


async def test_another_schema_is_refused(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await client.hset("fd:{main}:meta", mapping={"schema": "0", "generation": "g"})
    with pytest.raises(ConfigError, match=r"schema 0; wanted: 1. Mend: run the flashd that wrote it, or"):
        await verify(client, config, ["main"], clock)


async def test_a_clock_that_is_wrong_is_said(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await clock.advance(3600)
    contract = await verify(client, config, ["main"], clock)
    assert any("clock" in warning for warning in contract.warnings)


async def test_backends_are_remembered_for_ever(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    await verify(client, config, ["main"], clock)
    register = load("register")
    assert await register.call(client, [generation_key("main")], ["erp", "wms"]) == b"erp wms"
    assert await register.call(client, [generation_key("main")], ["new"]) == b"erp wms new"
    assert await register.call(client, [generation_key("main")], []) == b"erp wms new"


def test_old_servers_and_clusters_are_refused() -> None:
    old = {"redis_version": "6.2.14", "redis_mode": "standalone"}
    valkey = {"redis_version": "7.2.4", "valkey_version": "9.1.2", "server_mode": "standalone"}
    cluster = {"redis_version": "7.4.0", "redis_mode": "cluster"}
    assert "redis 7.0 or later" in settings.refuse_kind(settings.server_kind(old), old)[0]
    assert settings.refuse_kind(settings.server_kind(valkey), valkey) == []
    assert str(settings.server_kind(valkey)) == "valkey 9.1.2"
    assert "Cluster" in settings.refuse_kind(settings.server_kind(cluster), cluster)[0]
    assert settings.refuse_kind(settings.server_kind(cluster), cluster, "cluster") == []
    assert "no part of a Cluster" in settings.refuse_kind(settings.server_kind(valkey), valkey, "cluster")[0]


def test_only_replicas_that_are_in_step_count() -> None:
    row = {"ip": "10.0.0.2", "state": "online"}
    info = {"connected_slaves": 2, "slave0": row, "slave1": row | {"state": "wait_bgsave"}}
    assert settings.lack_of_replicas(info, 1) == ""
    assert "1 of 2 replicas follow the server" in settings.lack_of_replicas(info, 2)
    assert "0 of 1 replicas" in settings.lack_of_replicas({}, 1)
    assert settings.lack_of_replicas({}, 0) == ""


def test_watermarks_stand_at_seventy_eighty_and_ninety() -> None:
    said = [settings.watermark(used, 100) for used in (69, 70, 80, 90, 110)]
    assert [text[16:18] for text in said] == ["", "70", "80", "90", "90"]
    assert settings.watermark(10**12, 0) == ""


async def watch_of(client: Redis, config: StoreConfig, clock: FakeClock) -> tuple[RedisWatch, Contract]:
    contract = await verify(client, config, ["main"], clock)
    return RedisWatch(client, config, contract, clock), contract


async def test_a_healthy_store_is_written_at_every_probe(client: Redis, config: StoreConfig, clock: FakeClock) -> None:
    watch, contract = await watch_of(client, config, clock)
    health = await watch.probe()
    assert (health.ok, health.reason, health.durability, health.server) == (True, "", "fsync", contract.server)
    first = await client.get("fd:{main}:probe")
    await client.set("fd:{main}:probe", "0")
    await watch.probe()
    assert int(await client.get("fd:{main}:probe") or 0) >= int(first or 0) > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("appendfsync", "everysec"), ("appendonly", "no"), ("no-appendfsync-on-rewrite", "yes")],
)
async def test_a_setting_lowered_in_mid_sale_is_noticed(
    name: str, value: str, client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    watch, _ = await watch_of(client, config, clock)
    assert (await watch.probe()).ok
    await client.config_set(name, value)
    await clock.advance(5)
    health = await watch.probe()
    assert not health.ok
    assert name in health.reason
    assert health.durability != "fsync"


async def test_a_slow_answer_about_settings_closes_nothing_and_is_heard_when_it_comes(
    client: Redis, config: StoreConfig, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, _ = await watch_of(client, config, clock)
    assert (await watch.probe()).ok
    answered, recheck = asyncio.Event(), watch._recheck

    async def slowly() -> Any:
        await answered.wait()
        return await recheck()

    monkeypatch.setattr(watch, "_recheck", slowly)
    await client.config_set("appendfsync", "everysec")
    for _ in range(3):
        await clock.advance(5)
        assert (await watch.probe()).ok  # it writes, and that is answered
    answered.set()
    assert not (await watch.probe()).ok


async def test_a_primary_that_became_a_replica_is_noticed_at_once(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    watch, _ = await watch_of(client, config, clock)
    await client.replicaof("127.0.0.1", "1")
    assert not (await watch.probe()).ok


async def test_a_store_emptied_in_mid_sale_is_noticed_at_once(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    watch, _ = await watch_of(client, config, clock)
    await client.flushall()
    health = await watch.probe()
    assert not health.ok
    assert "another life of the store" in health.reason


async def test_memory_that_runs_out_is_told_before_it_ends(
    client: Redis, config: StoreConfig, clock: FakeClock
) -> None:
    watch, _ = await watch_of(client, config, clock)
    used = int((await client.info("memory"))["used_memory"])
    await client.config_set("maxmemory", used * 4 // 3)
    health = await watch.probe()
    assert health.ok
    assert health.reason == "memory is above 70 % of maxmemory"
    assert 0.7 < health.used_bytes / health.max_bytes < 0.8
    await clock.advance(5)
    await client.config_set("maxmemory", 1)
    await clock.advance(5)
    assert not (await watch.probe()).ok


async def test_a_server_that_is_gone_or_hangs_is_a_finding_not_an_exception(
    client: Redis, server: Server, config: StoreConfig, clock: FakeClock, pass_time: PassTime
) -> None:
    patient = msgspec.structs.replace(config, timeout_s=600)
    contract = await verify(client, config, ["main"], clock)
    limited = connect(patient, reveal)
    watch = RedisWatch(limited, patient, contract, clock)
    assert (await watch.probe()).ok
    await client.client_pause(60_000, all=False)
    probing = asyncio.create_task(watch.probe())
    while not probing.done():
        await asyncio.wait({probing}, timeout=0.02)
        pass_time(600)
    assert not (await probing).ok
    await client.client_unpause()
    assert (await watch.probe()).ok
    await limited.aclose()

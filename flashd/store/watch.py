"""Whether an order could be made durable right now: asked by writing, as an order would be written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.config import StoreConfig
from flashd.errors import FlashdError
from flashd.ports import Clock, StoreHealth, StoreWatch
from flashd.store import settings
from flashd.store.client import Client
from flashd.store.contract import Contract, primaries_of, read_settings
from flashd.store.embedded import state_dir
from flashd.store.faults import store_faults
from flashd.store.generation import GenerationFile, Met
from flashd.store.keys import generation_key, pool_key
from flashd.store.scripts import load

log = structlog.get_logger()

_RECHECK_S = 3.0  # settings, role and memory
_RECHECK_PATIENCE_S = 0.3  # a re-check that takes longer is heard by the next probe: writes go on meanwhile
_PATIENCE_S = 0.8  # with one of several primaries: less than a sentry has with all of them
_NOTE_S = 5.0  # the journal's last id goes to the generation file: how late a restored store may pass for the newest


class _Seen(msgspec.Struct):
    """What the last re-check found."""

    reason: str = ""
    broken: bool = False
    durability: str = ""
    used: int = 0
    maximum: int = 0
    run: str = ""


class RedisWatch:
    """
    A StoreWatch of one primary: each probe writes durably in every pool, and compares which life of the store answered.

    Every few seconds it also asks for the role, the replicas, the settings and the memory again: somebody may CONFIG
    SET them, or a failover may have made the server a replica. It asks where the primary is, too: one that was cut off
    from those who elect answers as if nothing had happened.
    """

    def __init__(self, client: Redis, config: StoreConfig, contract: Contract, clock: Clock) -> None:
        self._client = client
        self._config = config
        self._contract = contract
        self._clock = clock
        self._file = GenerationFile(state_dir(config.state_dir))
        self._script = load("probe")
        self._seen = _Seen(durability=contract.durability)
        self._checked_s = self._noted_s = float("-inf")
        self._checking: asyncio.Task[_Seen] | None = None
        self.last = StoreHealth(ok=False, reason="not probed yet", durability=contract.durability)

    async def probe(self) -> StoreHealth:
        """Write and verify; never raises."""
        try:
            with store_faults("probe"):
                async with asyncio.timeout(self._config.timeout_s * 2):
                    reason = await self._probe()
        except FlashdError as error:
            self._checked_s = float("-inf")  # whoever answers next may be another
            if self._checking is not None:
                self._checking.cancel()
                self._checking = None
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
        seen = self._seen
        self.last = StoreHealth(
            ok=not reason and not seen.broken,
            reason=reason or seen.reason,
            durability=seen.durability,
            server=self._contract.server,
            used_bytes=seen.used,
            max_bytes=seen.maximum,
            run=seen.run,
        )
        return self.last

    async def _probe(self) -> str:
        now_s = self._clock.monotonic_s()
        answers = await asyncio.gather(*(self._write(pool) for pool in self._contract.generations))
        for (pool, wanted), (generation, _) in zip(self._contract.generations.items(), answers, strict=True):
            if generation != wanted:
                return (
                    f"pool {pool!r} is another life of the store (generation {generation or 'none'}; wanted: {wanted}):"
                    " it was emptied or replaced; stop flashd and restore the data"
                )
        if now_s - self._checked_s >= _RECHECK_S:
            await self._check(now_s)
        if now_s - self._noted_s >= _NOTE_S:
            self._noted_s = now_s
            await asyncio.to_thread(self._note, answers)
        return ""

    async def _check(self, now_s: float) -> None:
        """Ask again what was asked before; who may be another must answer before anything is said of it."""
        if self._checking is None:
            self._checking = asyncio.create_task(self._recheck())
        is_new = self._checked_s == float("-inf")
        await asyncio.wait([self._checking], timeout=None if is_new else _RECHECK_PATIENCE_S)
        if self._checking.done():
            checked, self._checking = self._checking, None
            self._seen, self._checked_s = checked.result(), now_s

    async def _write(self, pool: str) -> tuple[str, str]:
        keys = [pool_key(pool, "probe"), generation_key(pool), pool_key(pool, "j")]
        generation, last, _ = await self._script.call(self._client, keys, [])
        return generation.decode(), last.decode()

    def _note(self, answers: Sequence[tuple[str, str]]) -> None:
        try:
            for pool, (generation, last) in zip(self._contract.generations, answers, strict=True):
                self._file.note(self._contract.store, pool, Met(generation, last), durable=False)
        except FlashdError as error:  # a full disk of the state folder does not make an order less durable
            log.warning("store.generation_not_noted", error=str(error))

    async def _recheck(self) -> _Seen:
        if isinstance(self._client, Client):
            await self._client.settle()
        found = await read_settings(self._client)
        info: dict[str, Any] = await self._client.info()
        used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
        maximum = int(found.get("maxmemory") or 0)
        broken = settings.refuse_role(str(info.get("role", "")))
        broken += settings.refuse_settings(found, self._config.durability)
        if info.get("aof_last_write_status", "ok") != "ok":
            broken.append("the server could not write its append-only file: look at its disk and its log")
        if lack := settings.lack_of_replicas(info, self._config.replicas):
            broken.append(lack)
        return _Seen(
            reason="; ".join(broken) or settings.watermark(used, maximum),
            broken=bool(broken),
            durability=settings.durability_of(found),
            used=used,
            maximum=maximum,
            run=str(info.get("run_id", "")),
        )


class ClusterWatch:
    """A StoreWatch of several primaries, each with pools of its own: one that is away closes its own pools alone."""

    def __init__(self, watches: Mapping[str, RedisWatch]) -> None:
        self._watches = dict(watches)  # by pool; a primary may have several
        self._looking: dict[RedisWatch, asyncio.Task[StoreHealth]] = {}

    async def probe(self) -> StoreHealth:
        """Look at all of them at once; who does not answer in time is away, and is not asked twice at once."""
        for watch in set(self._watches.values()) - self._looking.keys():
            self._looking[watch] = asyncio.create_task(watch.probe())
        await asyncio.wait(self._looking.values(), timeout=_PATIENCE_S)
        seen = {pool: self._heard(watch) for pool, watch in self._watches.items()}
        self._looking = {watch: looking for watch, looking in self._looking.items() if not looking.done()}
        closed = {pool: one.reason for pool, one in seen.items() if not one.ok}
        fullest = max(seen.values(), key=lambda one: (one.ok, one.used_bytes / one.max_bytes if one.max_bytes else 0.0))
        reason = "; ".join(f"pool {pool}: {why}" for pool, why in closed.items()) or fullest.reason
        runs = " ".join(dict.fromkeys(one.run for one in seen.values()))
        return replace(fullest, ok=len(closed) < len(seen), reason=reason, closed=closed, run=runs)

    def _heard(self, watch: RedisWatch) -> StoreHealth:
        looking = self._looking[watch]
        if looking.done():
            return looking.result()
        return replace(watch.last, ok=False, reason=f"it has not answered for {_PATIENCE_S:g} s")


def watch_over(client: Redis, config: StoreConfig, contract: Contract, clock: Clock) -> StoreWatch:
    """Return who watches all that the pools of *contract* stand on."""
    watches: dict[str, RedisWatch] = {}
    primaries = primaries_of(client, contract.generations)
    for one, pools in primaries:
        part = replace(contract, generations={pool: contract.generations[pool] for pool in pools})
        watch = RedisWatch(one, config, part, clock)
        watches |= dict.fromkeys(pools, watch)
    return ClusterWatch(watches) if len(primaries) > 1 else watches.popitem()[1]

"""
The start-up contract: what the server must be before the first order is taken, each refusal with its mend.

Loading, or not answering, is no breach: StoreUnavailable, and the daemon waits. The mends are ConfigErrors (exit 78).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from flashd.config import StoreConfig
from flashd.errors import ConfigError, StoreUnavailable
from flashd.ports import Clock
from flashd.store import settings
from flashd.store.connection import read_address
from flashd.store.embedded import state_dir
from flashd.store.faults import store_faults
from flashd.store.generation import GenerationFile, Met, stream_id
from flashd.store.keys import SCHEMA, generation_key, pool_key
from flashd.store.scripts import load, script_names

_SKEW_MS = 2000


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What was found to hold when the daemon started."""

    store: str  # how the store is named in generation.json: its address without secrets
    server: str  # "valkey 9.1.2"
    durability: str  # what the server really keeps, which may be more than was asked for
    generations: dict[str, str]  # by pool
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what would serve better, and breaks nothing as it is


async def verify(client: Redis, config: StoreConfig, pools: Sequence[str], clock: Clock) -> Contract:
    """
    Check that the server keeps what the configuration promises, and that each pool's life is the one met before.

    A pool that is new here is founded. Doing it twice is doing it once.

    Raises:
        ConfigError: The server, a setting or the store itself is not what it must be; all that is wrong is named.
        StoreUnavailable: It does not answer, or is still loading: ask again.
    """
    with store_faults("start"):
        try:
            return await _verify(client, config, pools, clock)
        except RedisConnectionError as error:
            if not _is_login(error):
                raise
            raise ConfigError(
                f"the server does not let us in ({error}). Mend: [store] username and password = {{ file = ... }}; "
                "see config/flashd.acl"
            ) from error
        except NoPermissionError as error:
            user = config.username or "default"
            raise ConfigError(
                f"the server refuses what flashd must ask ({error}). Mend: "
                f"{settings.ACL_LINE.format(user=user)}; see config/flashd.acl"
            ) from error


def _is_login(error: BaseException | None) -> bool:
    """Say whether a refused login is behind it: redis-py tells that as a lost connection, which would be waited for."""
    while error is not None:
        if isinstance(error, AuthenticationError):
            return True
        error = error.__cause__ or error.__context__
    return False


async def _verify(client: Redis, config: StoreConfig, pools: Sequence[str], clock: Clock) -> Contract:
    info = await client.info()
    if info.get("loading"):
        raise StoreUnavailable("the server is loading its data")
    kind = settings.server_kind(info)
    refusals = settings.refuse_kind(kind, info) + settings.refuse_role(str(info.get("role", "")))
    found = await read_settings(client)
    refusals += settings.refuse_settings(found, config.durability)
    if refusals:
        raise ConfigError("the store is refused: " + "; ".join(refusals))
    await _load_scripts(client)
    warnings = []
    if int(found.get("maxmemory") or 0) == 0 and config.url != "embedded":  # there nobody could set it for good
        warnings.append("maxmemory is 0: no watermark can warn before memory ends; mend: CONFIG SET maxmemory 2gb")
    skew_ms = await _skew_ms(client, clock)
    if abs(skew_ms) > _SKEW_MS:
        warnings.append(f"the server's clock is {skew_ms} ms ahead of ours: set both by NTP")
    kept = settings.durability_of(found)
    if kept != "fsync":
        warnings.append(
            f'durability is {kept}: an order answered 2xx may be lost; [store] durability = "fsync" mends it'
        )
    store = store_label(config)
    file = GenerationFile(state_dir(config.state_dir))
    generations = {pool: await _enroll(client, file, store, pool, strict=kept == "fsync") for pool in pools}
    return Contract(
        store=store,
        server=str(kind),
        durability=kept,
        generations=generations,
        warnings=tuple(warnings),
        notes=tuple(settings.advise(found)) if config.url != "embedded" else (),
    )


def store_label(config: StoreConfig) -> str:
    """Return the name of the store in generation.json."""
    return "embedded" if config.url == "embedded" else str(read_address(config.url))


async def read_settings(client: Redis) -> dict[str, str]:
    """
    Return the settings that the contract is about.

    Raises:
        ConfigError: The server does not let us ask, for another reason than its ACL.
    """
    try:
        found = await client.config_get(*settings.NAMES)
    except NoPermissionError:
        raise
    except ResponseError as error:
        raise ConfigError(
            f"CONFIG GET is refused ({error}), so nobody can say whether orders are fsynced. Mend: allow CONFIG GET to "
            "this user, or use a server of your own"
        ) from error
    return {str(name): str(value) for name, value in found.items()}


async def _load_scripts(client: Redis) -> None:
    for name in script_names():
        try:
            await client.script_load(load(name).source)
        except NoPermissionError:
            raise
        except ResponseError as error:
            raise ConfigError(f"the server does not take the script {name}: {error}; upgrade the server") from error


async def _skew_ms(client: Redis, clock: Clock) -> int:
    before = clock.now_ms()
    seconds, micros = await client.time()
    middle = (before + clock.now_ms()) // 2
    return int(seconds) * 1000 + int(micros) // 1000 - middle


async def _enroll(client: Redis, file: GenerationFile, store: str, pool: str, *, strict: bool) -> str:
    met = file.get(store, pool)
    keys = [generation_key(pool), pool_key(pool, "j"), pool_key(pool, "stock")]
    answer = await load("enroll").call(client, keys, [SCHEMA, str(uuid.uuid4()), met.generation if met else ""])
    code, schema, generation, last = (bytes(part).decode() for part in answer)
    forget = f"if that loss is accepted, forget the old store: rm {file.path}"
    if code == "emptied":
        raise ConfigError(
            f"pool {pool!r} is gone from {store}: the store was emptied, or is another one. Mend: restore its "
            f"appendonlydir or point [store] url at the right server; {forget}"
        )
    if code == "stranded":
        raise ConfigError(
            f"pool {pool!r} in {store} has stock or a journal and no {generation_key(pool)}: the store is damaged. "
            f"Mend: restore its appendonlydir from a backup"
        )
    if schema != SCHEMA:
        raise ConfigError(
            f"pool {pool!r} in {store} has schema {schema or 'unknown'}; wanted: {SCHEMA}. Mend: run the flashd that "
            "wrote it, or give this one another store"
        )
    if met is not None and generation != met.generation:
        raise ConfigError(
            f"pool {pool!r} in {store} is another life of the store (generation {generation}; met before: "
            f"{met.generation}). Mend: restore the right data or point [store] url at it; {forget}"
        )
    if strict and met is not None and stream_id(last) < stream_id(met.seen):
        raise ConfigError(
            f"pool {pool!r} in {store} is older than what was seen before (journal at {last or 'its start'}; seen: "
            f"{met.seen}): a backup was restored, or writes were lost. Mend: restore the newest data; {forget}"
        )
    file.note(store, pool, Met(generation, last))
    return generation

"""
The start-up contract: what the server must be before the first order is taken, each refusal with its mend.

Loading, or not answering, is no breach: StoreUnavailable, and the daemon waits. The mends are ConfigErrors (exit 78).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from flashd.config import StoreConfig
from flashd.errors import ConfigError, StoreUnavailable
from flashd.ports import Clock
from flashd.store import settings
from flashd.store.address import read_address
from flashd.store.client import Client, client_at
from flashd.store.embedded import state_dir
from flashd.store.faults import store_faults
from flashd.store.generation import GenerationFile, Met, stream_id
from flashd.store.keys import SCHEMA, generation_key, pool_key
from flashd.store.locator import Misplaced
from flashd.store.proof import Proof, proof_of
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
            if _is(Misplaced, error):
                raise ConfigError(
                    f"{error}. Mend: [store] url; sentinel_username and sentinel_password, where Sentinels ask for them"
                ) from error
            if not _is(AuthenticationError, error):
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


def _is(kind: type[Exception], error: BaseException | None) -> bool:
    """
    Say whether such an error is behind this one.

    redis-py tells a refused login, and whatever else happens on the way to a server, as a lost connection: those would
    be waited for.
    """
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


async def _verify(client: Redis, config: StoreConfig, pools: Sequence[str], clock: Clock) -> Contract:
    primaries = primaries_of(client, pools)
    seen = [await _look(one, config, clock) for one, _ in primaries]
    if refusals := list(dict.fromkeys(text for one in seen for text in one.refusals)):
        raise ConfigError("the store is refused: " + "; ".join(refusals))
    if lack := next((one.lack for one in seen if one.lack), ""):
        raise StoreUnavailable(f"{lack}. Mend: start them, or lower [store] replicas")
    if isinstance(client, Client):
        weakest = min((one.kind for one in seen), key=lambda kind: kind.numbers)

        def prove(witness: str) -> Proof | None:
            mark = ("EVAL", load("witness").source, 1, witness)
            return proof_of(weakest, config.replicas, config.durability, config.timeout_s, mark)

        client.prove(prove, pool_key(pools[0], "witness") if client.split is None and pools else "")
    for one, _ in primaries:
        await _load_scripts(one)
    kept = min((one.durability for one in seen), key=["none", "everysec", "fsync"].index)
    warnings = [text for one in seen for text in one.warnings]
    if kept != "fsync":
        warnings.append(
            f'durability is {kept}: an order answered 2xx may be lost; [store] durability = "fsync" mends it'
        )
    store = store_label(config)
    file = GenerationFile(state_dir(config.state_dir))
    generations = {
        pool: await _enroll(one, file, store, pool, strict=kept == "fsync")
        for one, names in primaries
        for pool in names
    }
    for one, names in primaries:
        if isinstance(one, Client) and one.way is not None and one.way.admission is not None:
            one.way.admission.expect(config.durability, {pool: generations[pool] for pool in names})
    return Contract(
        store=store,
        server=str(seen[0].kind),
        durability=kept,
        generations={pool: generations[pool] for pool in pools},
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(dict.fromkeys(text for one in seen for text in one.notes)),
    )


def primaries_of(client: Redis, pools: Iterable[str]) -> list[tuple[Redis, list[str]]]:
    """Return the clients that serve the pools, each with its own: one for all, but in a Cluster."""
    found: dict[int, tuple[Redis, list[str]]] = {}
    for pool in pools:
        one = client_at(client, generation_key(pool))
        found.setdefault(id(one), (one, []))[1].append(pool)
    return list(found.values())


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one primary was found to be."""

    kind: settings.ServerKind
    durability: str
    refusals: list[str]
    lack: str = ""
    warnings: list[str]
    notes: list[str]


async def _look(client: Redis, config: StoreConfig, clock: Clock) -> _Look:
    info = await client.info()
    if info.get("loading"):
        raise StoreUnavailable("the server is loading its data")
    kind = settings.server_kind(info)
    wanted = "cluster" if config.url.startswith("cluster:") else "standalone"
    refusals = settings.refuse_kind(kind, info, wanted) + settings.refuse_role(str(info.get("role", "")))
    found = await read_settings(client)
    refusals += settings.refuse_settings(found, config.durability)
    warnings = []
    if int(found.get("maxmemory") or 0) == 0 and config.url != "embedded":  # there nobody could set it for good
        warnings.append("maxmemory is 0: no watermark can warn before memory ends; mend: CONFIG SET maxmemory 2gb")
    if config.url != "embedded":  # ours has it set
        warnings += settings.warn_of_torn_logs(kind, found)
    skew_ms = await _skew_ms(client, clock)
    if abs(skew_ms) > _SKEW_MS:
        warnings.append(f"the server's clock is {skew_ms} ms ahead of ours: set both by NTP")
    return _Look(
        kind=kind,
        durability=settings.durability_of(found),
        refusals=refusals,
        lack=settings.lack_of_replicas(info, config.replicas),
        warnings=warnings,
        notes=settings.advise(found) if config.url != "embedded" else [],
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


def _way_over(schema: str) -> str:
    """Say what to do with a store of another layout."""
    if schema.isdecimal() and int(schema) > int(SCHEMA):
        return (
            "A newer flashd wrote it, and there is no way back. Mend: run that version again, or restore the backup "
            "from before the upgrade (docs/operations.md)"
        )
    return "Mend: run the flashd that wrote it"


async def _enroll(client: Redis, file: GenerationFile, store: str, pool: str, *, strict: bool) -> str:
    met = file.get(store, pool)
    keys = [generation_key(pool), pool_key(pool, "j"), pool_key(pool, "stock")]
    answer = await load("enroll").call(client, keys, [SCHEMA, str(uuid.uuid4()), met.generation if met else ""])
    code, schema, generation, last = (bytes(part).decode() for part in answer)
    forget = "if that loss is accepted: flashd adopt (docs/operations.md)"
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
            f"pool {pool!r} in {store} has schema {schema or 'unknown'}; wanted: {SCHEMA}. {_way_over(schema)}, or "
            "give this one another store"
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

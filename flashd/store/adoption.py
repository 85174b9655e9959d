"""Adopting a store that is not the one met before: an older copy, or another one, taken on purpose."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from flashd.config import Config
from flashd.ports import Clock
from flashd.store.connection import Reveal
from flashd.store.contract import store_label
from flashd.store.embedded import state_dir
from flashd.store.faults import store_faults
from flashd.store.gate import RedisBackendGate
from flashd.store.generation import GenerationFile
from flashd.store.keys import backend_key, generation_key
from flashd.store.opening import beside


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """What was done."""

    store: str
    backends: tuple[str, ...]  # are asked for each order before that is sent
    forgotten: tuple[str, ...]  # pools whose life was another, or was further


async def adopt(config: Config, reveal: Reveal, clock: Clock) -> Adoption:
    """
    Take the store as it stands: have every backend asked first, then forget what was met before.

    In this order, so that nothing is sent unasked by whoever starts next. Doing it twice is doing it once.

    Raises:
        ConfigError: There is no store, or it does not let us in.
        StoreUnavailable: It does not answer; what was done so far stays done.
    """
    reason = f"the store was adopted at {datetime.fromtimestamp(clock.now_ms() / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    names = set(config.backends)
    async with beside(config.store, reveal) as client:
        with store_faults("adopt"):
            for pool in config.pools:
                known: Any = await client.at(generation_key(pool)).hget(generation_key(pool), "backends")
                names |= set((known or b"").decode().split())
            for name in sorted(names):
                gate = RedisBackendGate(client.at(backend_key(name, "lease")), name, clock)
                await gate.ask_first(reason, by="adopt")
    label = store_label(config.store)
    forgotten = GenerationFile(state_dir(config.store.state_dir)).forget(label)
    return Adoption(store=label, backends=tuple(sorted(names)), forgotten=tuple(forgotten))

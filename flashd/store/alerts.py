"""The alerts of one pool in Redis, behind the port `AlertBook`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis

from flashd.domain.alert import Quota, Standing
from flashd.domain.event import members_of
from flashd.ports import AlertChange, AlertPage
from flashd.store.faults import store_faults
from flashd.store.keys import pool_key
from flashd.store.scripts import load

_STANDING = msgspec.json.Decoder(Standing)
_QUOTA = msgspec.json.Decoder(Quota)

log = structlog.get_logger()


def _readable(pool: str, packed: Iterable[bytes]) -> Iterator[Standing]:
    for one in packed:
        try:
            yield _STANDING.decode(one)
        except msgspec.DecodeError as error:  # of a later version, after a step back: whoever knows it will end it
            log.warning("alert.not_read", pool=pool, reason=str(error))


class RedisAlertBook:
    """A HASH of what stands, and one of how far the journal was read; a step is one script call."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client: Any = client
        self._alerts, self._mark, self._journal = (pool_key(pool, name) for name in ("alert", "alert:mark", "j"))

    async def load(self) -> AlertPage:
        """Return all that is kept."""
        with store_faults("alerts"):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hvals(self._alerts)
                pipe.hmget(self._mark, ["cursor", "quota"])
                packed, (cursor, quota) = await pipe.execute()
        standing = sorted(_readable(self.pool, packed), key=lambda one: (one.first_ms, one.key))
        return AlertPage(
            cursor=(cursor or b"").decode(),
            standing=tuple(standing),
            quota=_QUOTA.decode(quota) if quota else Quota(),
        )

    async def change(self, change: AlertChange, *, epoch: int) -> bool:
        """Take one step; False where a later term has taken one: nothing was changed."""
        quota = b"" if change.quota is None else msgspec.json.encode(change.quota)
        args: list[str | bytes | int] = [epoch, change.token, change.cursor, quota, len(change.keep), len(change.drop)]
        for one in change.keep:
            args += [one.key, msgspec.json.encode(one)]
        args += change.drop
        for kind, members in change.say:
            args += [kind, members_of(kind, members)]
        with store_faults("alert"):
            code = await load("alert").call(self._client, [self._alerts, self._mark, self._journal], args)
        return bool(code != b"fenced")

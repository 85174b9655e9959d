"""What all processes share about one backend, or one channel's API, in Redis, behind the port `BackendGate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from flashd.domain.rate import Rate
from flashd.ports import Clock, Drop, GateStatus
from flashd.store.client import ask
from flashd.store.faults import store_faults
from flashd.store.keys import backend_key
from flashd.store.scripts import load


class RedisBackendGate:
    """
    The clock of *this* host only turns times of its callers into intervals: Redis' own clock decides.

    Args:
        backend: The name of what is led and fed.
        key: How its keys are named: `backend_key`, or `channel_key` for a sales channel's API.
    """

    def __init__(
        self, client: Redis, backend: str, clock: Clock, *, key: Callable[[str, str], str] = backend_key
    ) -> None:
        self.backend = backend
        self._client = client
        self._clock = clock
        self._lease, self._epoch, self._tat, self._pause, self._rate, self._first = (
            key(backend, name) for name in ("lease", "epoch", "tat", "pause", "rate", "first")
        )

    async def lead(self, owner: str, ttl_ms: int) -> int | None:
        """Take or renew the leadership; return the epoch, or None while another owner leads."""
        code, number = await self._call("lease", [self._lease, self._epoch], [owner, ttl_ms])
        return int(number) if code == b"leads" else None

    async def resign(self, owner: str) -> None:
        """Give the leadership up, if it is ours."""
        await self._call("resign", [self._lease], [owner])

    async def drop(self, spacing_us: int, *, burst: int = 1, ahead_us: int = 0, count: int = 1) -> Drop:
        """Take up to *count* drops from the leaky bucket, each at most *ahead_us* before it may be used."""
        arguments = [spacing_us, burst, ahead_us, count]
        wait_ms, after_us, reason, taken = await self._call("drop", [self._tat, self._pause], arguments)
        return Drop(int(wait_ms), reason.decode(), int(after_us), int(taken))

    async def pause(self, *, until_ms: int = 0, reason: str, by: str) -> None:
        """Let nothing out until *until_ms*, or until resumed (0)."""
        for_ms = max(1, until_ms - self._clock.now_ms()) if until_ms else 0
        await self._call("pause", [self._pause], [for_ms, reason, by])

    async def resume(self, *, by: str) -> None:  # noqa: ARG002  # the caller writes the audit trail
        """Let it flow again."""
        with store_faults("resume"):
            await self._put(self._pause, "")

    async def set_rate(self, rate: str, *, by: str) -> None:  # noqa: ARG002  # as above
        """
        Override the configured rate for all processes; "" takes the override away.

        Raises:
            ValueError: It is not a rate.
        """
        if rate:
            Rate.parse(rate)
        with store_faults("set_rate"):
            await self._put(self._rate, rate)

    async def ask_first(self, reason: str, *, by: str) -> None:  # noqa: ARG002  # as above
        """Have it asked for each order before that is sent, in all processes; "" takes that away."""
        with store_faults("ask_first"):
            await self._put(self._first, reason)

    async def _put(self, key: str, value: str) -> None:
        """Write as the scripts do, so that replicas have it where an answer waits for them."""
        await ask(self._client, ("SET", key, value) if value else ("DEL", key))

    async def status(self) -> GateStatus:
        """Return leader, epoch, pause, rate override, and whether it is asked first."""
        keys = [self._lease, self._epoch, self._pause, self._rate, self._first]
        leader, epoch, paused, left_ms, reason, rate, first = await self._call("gate", keys, [])
        return GateStatus(
            backend=self.backend,
            leader=leader.decode(),
            epoch=int(epoch),
            paused=bool(paused),
            until_ms=self._clock.now_ms() + int(left_ms) if left_ms else 0,
            reason=reason.decode(),
            rate=rate.decode(),
            asks_first=first.decode(),
        )

    async def _call(self, name: str, keys: list[str], arguments: Sequence[str | int]) -> Any:
        with store_faults(name):
            return await load(name).call(self._client, keys, arguments)

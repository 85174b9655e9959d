"""
The supervisor: starts actors in order, runs crashed ones again with back-off, stops them in the reverse order.

An actor that crashes again and again is not healed by another try: more than `max_restarts` within `window_s` end the
whole, and so does an error that no restart can mend (a broken invariant, a configuration error).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from flashd.errors import ConfigError, InvariantBroken
from flashd.ports import Clock
from flashd.runtime.actor import Actor

_FOR_GOOD = (ConfigError, InvariantBroken)

log = structlog.get_logger()


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how fast crashed actors are run again."""

    max_restarts: int = 10  # of all actors together
    window_s: float = 60.0
    first_delay_s: float = 0.1
    max_delay_s: float = 5.0

    def delay_s(self, crashes: int, chance: float) -> float:
        """Return the wait before run number *crashes* + 1; *chance* in [0, 1) spreads it over its upper half."""
        full = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(crashes - 1, 30))
        return full * (0.5 + chance / 2)


class TooManyCrashesError(RuntimeError):
    """The restart intensity was exceeded; the last crash is the cause."""


class Supervisor:
    """Keeps actors running. `start`, then `wait` for what ends it, then `stop`."""

    def __init__(self, *, clock: Clock, policy: RestartPolicy | None = None, seed: int | None = None) -> None:
        self._clock = clock
        self._policy = policy or RestartPolicy()
        self._random = random.Random(seed)  # noqa: S311  # spreads restarts, guards nothing
        self._kept: list[tuple[Actor[Any], asyncio.Task[None]]] = []
        self._crashes_s: deque[float] = deque()
        self._end: asyncio.Future[None] | None = None
        self.restarts = 0

    @property
    def actors(self) -> tuple[Actor[Any], ...]:
        """What is kept running, in the order of its start."""
        return tuple(actor for actor, _ in self._kept)

    async def start(self, actors: Iterable[Actor[Any]]) -> None:
        """
        Start *actors* one after the other, each when the one before is ready.

        Raises:
            ConfigError: or whatever else ended the whole; what was started still wants `stop`.
        """
        for actor in actors:
            kept = asyncio.create_task(self._keep(actor), name=f"keep {actor.name}")
            self._kept.append((actor, kept))
            ready = asyncio.create_task(actor.ready.wait())
            waited_for: set[asyncio.Future[Any]] = {ready, kept, self._ending()}
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if self._ending().done():
                self._ending().result()

    async def replace(self, old: Actor[Any], new: Actor[Any]) -> None:
        """Start *new* in the place of *old*, which was stopped: it stops when *old* would have. Raises as `start`."""
        place = next((index for index, (actor, _) in enumerate(self._kept) if actor is old), len(self._kept))
        for _, kept in self._kept[place : place + 1]:
            kept.cancel()  # it may wait out a back-off
        before, behind = self._kept[:place], self._kept[place + 1 :]
        self._kept = before
        try:
            await self.start([new])
        finally:
            self._kept += behind

    def forget(self, stopped: Actor[Any]) -> None:
        """Let go of an actor that was stopped and gets no successor."""
        for actor, kept in self._kept:
            if actor is stopped:
                kept.cancel()  # it may wait out a back-off
        self._kept = [(actor, kept) for actor, kept in self._kept if actor is not stopped]

    async def wait(self) -> None:
        """Wait until the whole cannot go on, and raise why."""
        await asyncio.shield(self._ending())

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Stop in the reverse order, each within *timeout_s*; stopping twice, or before any start, is fine."""
        while self._kept:
            actor, kept = self._kept.pop()
            await actor.stop(timeout_s)
            kept.cancel()  # it may wait out a back-off
            with contextlib.suppress(asyncio.CancelledError):
                await kept
            log.debug("actor.stopped", actor=actor.name)

    def stalled(self, limit_s: float) -> list[str]:
        """Name the actors whose turn in hand has lasted longer than *limit_s*: then the watchdog is not fed."""
        return [actor.name for actor, _ in self._kept if actor.stalled_s() > limit_s]

    async def _keep(self, actor: Actor[Any]) -> None:
        crashes = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await actor.start()
            except Exception as error:
                if self._clock.monotonic_s() - began_s > self._policy.window_s:
                    crashes = 0
                crashes += 1
                if not self._may_restart(actor, error):
                    return
                delay_s = self._policy.delay_s(crashes, self._random.random())
                log.exception("actor.crashed", actor=actor.name, crashes=crashes, again_in_s=round(delay_s, 3))
                await self._clock.sleep(delay_s)
            else:
                return  # it was stopped

    def _may_restart(self, actor: Actor[Any], error: Exception) -> bool:
        now_s = self._clock.monotonic_s()
        self._crashes_s.append(now_s)
        while now_s - self._crashes_s[0] > self._policy.window_s:
            self._crashes_s.popleft()
        reason: Exception | None = None
        if isinstance(error, _FOR_GOOD):
            reason = error
        elif len(self._crashes_s) > self._policy.max_restarts:
            reason = TooManyCrashesError(
                f"{len(self._crashes_s)} crashes within {self._policy.window_s:g} s, the last of {actor.name}: {error}"
            )
            reason.__cause__ = error
        if reason is None:
            self.restarts += 1
            return True
        log.error("actor.given_up", actor=actor.name, reason=str(reason))
        if not self._ending().done():
            self._ending().set_exception(reason)
            self._ending().exception()  # seen: asyncio need not complain where nobody waits
        return False

    def _ending(self) -> asyncio.Future[None]:
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
        return self._end

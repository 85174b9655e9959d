"""Something done at an interval: by deadlines, so that slow rounds do not add up to a drift."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import NoReturn

from flashd.ports import Clock


async def tick(work: Callable[[], Awaitable[object]], interval_s: float, *, clock: Clock) -> NoReturn:
    """
    Run *work* now and then every *interval_s*, until cancelled; its error ends the ticking.

    A round that lasts longer than the interval skips the deadlines it missed instead of running them in a burst.
    To tell an actor: ``actor.spawn(tick(lambda: actor.tell(Look()), 1.0, clock=clock))``.
    """
    if interval_s <= 0:
        raise ValueError(f"an interval must be positive, not {interval_s}")
    began = clock.monotonic_s()
    rounds = 0
    while True:
        await work()
        elapsed = clock.monotonic_s() - began
        rounds = max(rounds + 1, math.ceil(elapsed / interval_s))
        await clock.sleep(began + rounds * interval_s - clock.monotonic_s())

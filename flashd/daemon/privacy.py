"""Whoever looks after customers' data: the clerk of each pool, and what it may ask of a channel."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from flashd.actors.clerk import Clerk
from flashd.domain.privacy import Demand
from flashd.errors import Busy, ChannelUnavailable

if TYPE_CHECKING:
    from flashd.daemon.assembly import Assembly

log = structlog.get_logger()

_DAY_MS = 86_400_000
_UNINSTALLED = "the app was taken away from the shop"


def clerk_of(house: Assembly, pool: str) -> Clerk:
    """Return who looks after the customers of a pool, not started."""
    return Clerk(
        house.store.pools[pool].eraser,
        clock=house.clock,
        after_ms=lambda: house.loaded.config.store.customer_days * _DAY_MS,
        cut_off=functools.partial(cut_off, house),
    )


async def take_demand(house: Assembly, pool: str, demand: Demand, body: bytes) -> None:
    """Keep what a platform demands, and let the clerk know. Raises StoreUnavailable."""
    demand_id = await house.store.pools[pool].eraser.demand(demand, body)
    log.warning("demand.received", channel=demand.channel, kind=demand.kind, demand=demand_id)
    with suppress(Busy):  # it is busy with others, and looks again by itself
        house.clerks[pool].offer(None)


async def cut_off(house: Assembly, channel: str) -> bool:
    """
    Pause publishing and polling of a channel whose API refuses us; say whether it answers our login.

    Raises:
        StoreUnavailable: Nothing is known; ask again.
    """
    outlet = house.outlets.get(channel)
    if outlet is None:
        log.error("channel.uninstalled", channel=channel, reason="flashd calls no API of it, so nothing was paused")
        return False
    try:
        await outlet.api.check()
    except ChannelUnavailable as error:
        gate = house.store.channel_gates[channel]
        if not (await gate.status()).paused:
            await gate.pause(reason=_UNINSTALLED, by="flashd")
            told = {"channel": channel, "by": "flashd", "before": None, "after": {"reason": _UNINSTALLED}}
            pool = house.loaded.config.channels[channel].pool
            await house.store.announcer.announce(pool, "channel.paused", told)
        log.error("channel.uninstalled", channel=channel, reason=str(error))  # noqa: TRY400  # its message says all
        return False
    return True

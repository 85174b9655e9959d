"""From the configuration to the terms on which a channel sells."""

from __future__ import annotations

from collections.abc import Container

from flashd.config import ChannelConfig, Config, PoolConfig
from flashd.domain.terms import SellingTerms


def terms_of(channel: ChannelConfig, pool: PoolConfig, *, published: bool = True) -> SellingTerms:
    """
    Return the terms of one channel; without locations of its own it sells from the pool's.

    Args:
        published: Whether figures are written to it at all: only then does it show, and sell by, one of its own.
    """
    return SellingTerms(
        locations=channel.locations or (pool.location,),
        split=channel.split,
        mode=channel.publish.mode if published else "none",
        restocks=channel.restocks,
        asks=channel.asks,
        threshold=channel.publish.threshold,
        thresholds=channel.publish.skus,
    )


def terms_in(config: Config, pool: str, published: Container[str]) -> dict[str, SellingTerms]:
    """Return the terms of every channel of a pool, by name; *published* says which are told figures."""
    section = config.pools.get(pool, PoolConfig())
    return {
        name: terms_of(channel, section, published=name in published)
        for name, channel in config.channels.items()
        if channel.pool == pool
    }

"""The client that the store speaks through: redis-py's, and a place for whoever wants to know how long scripts take."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis


class Client(Redis):
    """*observe*, where it is set, is told the name of each script that ran and the seconds until its answer."""

    observe: Callable[[str, float], None] | None = None

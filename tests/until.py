"""Waiting for what another process will show: the one place where a test polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(holds: Callable[[], bool], what: str, within_s: float = 30.0, every_s: float = 0.05) -> None:
    """Return as soon as *holds* says so, or fail naming *what* did not happen; *holds* runs in a thread."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(every_s)

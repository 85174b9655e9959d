"""What was erased still stands in the server's append-only log, until the server writes that anew."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from flashd.domain.privacy import Scrubbed, ScrubCode

_POLL_S = 0.1
COMMAND = "redis-cli BGREWRITEAOF (as a user who may; with its -h, -p or -s)"
_FORBIDDEN = f"flashd may not: run {COMMAND}, or add +bgrewriteaof to its user (config/flashd.acl)"
_FAILED = f"the server could not write its log anew: see its own log, then run {COMMAND}"
_SNAPSHOTS = "the server also writes snapshots (save): what was erased stands in the last one until the next BGSAVE"
_REPLICAS = "replicas keep logs of their own: run BGREWRITEAOF on each of them, too"
_BACKUPS = "backups made before this keep what was erased: let them expire"


async def scrub(client: Any, wait_s: float) -> Scrubbed:
    """
    Ask for a new log, and wait for it up to *wait_s*.

    A rewrite that was under way already may have begun before the erasure, so another is asked for when it has ended.
    Not to be called outside `store_faults`.
    """
    deadline = time.monotonic() + wait_s
    seen = await client.info("persistence")
    mend = await _what_remains(client)
    if not int(seen.get("aof_enabled", 0)):
        return Scrubbed(code=ScrubCode.NONE, mend=mend)
    while _busy(seen):
        if time.monotonic() >= deadline:
            await _ask(client)  # scheduled behind it, where the server can do that
            return Scrubbed(code=ScrubCode.RUNNING, mend=mend)
        await asyncio.sleep(_POLL_S)
        seen = await client.info("persistence")
    if not await _ask(client):
        return Scrubbed(code=ScrubCode.FORBIDDEN, mend=(_FORBIDDEN, *mend))
    while time.monotonic() < deadline:
        seen = await client.info("persistence")
        if not _busy(seen):
            ok = str(seen.get("aof_last_bgrewrite_status", "ok")) == "ok"
            failed = "the server could not write its log anew: see its own log, then run " + COMMAND
            return (
                Scrubbed(code=ScrubCode.CLEAN, mend=mend)
                if ok
                else Scrubbed(code=ScrubCode.FAILED, mend=(failed, *mend))
            )
        await asyncio.sleep(_POLL_S)
    return Scrubbed(code=ScrubCode.RUNNING, mend=mend)


def _busy(seen: dict[str, Any]) -> bool:
    return bool(int(seen.get("aof_rewrite_in_progress", 0)) or int(seen.get("aof_rewrite_scheduled", 0)))


async def _ask(client: Any) -> bool:
    """Ask for a rewrite; return False where that is forbidden."""
    try:
        await client.execute_command("BGREWRITEAOF")
    except NoPermissionError:
        return False
    except ResponseError as error:
        if "in progress" not in str(error):
            raise
    return True


async def _what_remains(client: Any) -> tuple[str, ...]:
    saves = (await client.config_get("save")).get("save", "")
    replicas = int((await client.info("replication")).get("connected_slaves", 0))
    return (*([_SNAPSHOTS] if saves else []), *([_REPLICAS] if replicas else []), _BACKUPS)

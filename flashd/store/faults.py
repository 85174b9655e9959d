"""The one place where Redis' exceptions become flashd's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from flashd.errors import StoreUnavailable

_CLOSED = "the handler is closed"  # what uvloop says where asyncio would say that the connection was lost


@contextmanager
def store_faults(verb: str) -> Iterator[None]:
    """
    Let no exception of Redis or of the socket out of the block: it becomes StoreUnavailable.

    Also a refusal of the server (OOM, READONLY, MISCONF, LOADING) does: it says that nothing durable can be written
    now, and the same call with the same ids may simply be made again.

    Args:
        verb: What was tried, for the message.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"{verb}: {type(error).__name__}: {error}") from error
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        raise StoreUnavailable(f"{verb}: {error}") from error

"""What a server refuses, as redis-py would raise it, and what follows from that for the connection."""

from __future__ import annotations

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

_REFUSALS: dict[str, type[RedisError]] = {
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "NOPERM": NoPermissionError,
    "CLUSTERDOWN": ClusterDownError,
    "MASTERDOWN": MasterDownError,
    "TRYAGAIN": TryAgainError,
}
AWAY = (ReadOnlyError, MovedError, ClusterDownError, MasterDownError)
"""What a server says that is not the primary of what was asked, or not now: nothing ran, and others may know more."""


def refusal(text: str) -> RedisError:
    """Return what redis-py would raise for a server's error."""
    code, _, rest = text.partition(" ")
    if code in ("MOVED", "ASK"):
        return (Moved if code == "MOVED" else AskError)(rest)
    return _REFUSALS.get(code, ResponseError)(text)


class Unproven(RedisError):  # noqa: N818  # an error's name says what the caller knows, as in errors.py
    """It ran on the primary, and not as many replicas as are wanted have it: nothing is known."""


class Moved(MovedError):  # noqa: N818  # an error's name says what the caller knows, as in errors.py
    """The call did not run there; *until* says how long it may still take elsewhere."""

    until = 0.0

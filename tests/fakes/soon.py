"""What a port answers with where it is on its way when the method returns."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from flashd.ports import Soon

T = TypeVar("T")
P = ParamSpec("P")


def soon(ask: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Soon[T]]:
    """Let a fake's asynchronous method be asked as the port has it; a task does what it says."""

    @functools.wraps(ask)
    def begin(*args: P.args, **options: P.kwargs) -> Soon[T]:
        return Soon(asyncio.ensure_future(ask(*args, **options)), asyncio.Future.result)

    return begin

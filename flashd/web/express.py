"""
The express way: a POST that is whole when it arrives goes to its handler without aiohttp's request, task and routes.

Those take half of what a bare aiohttp takes for a small request. aiohttp still parses, and still serves whatever is not
as plain as this: a body that is on its way, another path, HTTP/1.0, an upgrade, a connection that is to close.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, web

from flashd.web.answer import Answer, Take
from flashd.web.problem import Broken, find

if TYPE_CHECKING:
    from flashd.web.connection import Connection


_PLAIN = re.compile(r"[\w.~-]{1,64}", re.ASCII)  # a segment that no router would read in another way


class Express:
    """
    Which paths go express, and what takes their requests.

    Args:
        takes: What answers a POST, by its path.
        below: A path's beginning, and what answers for each name behind it, known or not: a stranger must not learn
            which are by the way their answers take.
        broken: Told of an invariant that does not hold.
    """

    def __init__(
        self, takes: Mapping[str, Take], below: tuple[str, Callable[[str], Take]], broken: Broken | None
    ) -> None:
        self._takes = dict(takes)
        self._beginning, self._for_name = below
        self._below = functools.lru_cache(256)(self._look_below)  # strangers may ask for any name
        self._broken = broken

    def find(self, message: Any, payload: Any) -> Take | None:
        """Return what takes the request that aiohttp's parser read, or None where it must go the ordinary way."""
        path: str = getattr(message, "path", "")  # what could not be parsed has none
        take = self._takes.get(path) or self._below(path)
        if (
            take is None
            or message.method != "POST"
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or not payload.is_eof()
            or payload.exception() is not None
        ):
            return None
        return take

    def _look_below(self, path: str) -> Take | None:
        name = path.removeprefix(self._beginning)
        return self._for_name(name) if path.startswith(self._beginning) and _PLAIN.fullmatch(name) else None

    async def answer(self, take: Take, message: Any, payload: Any, connection: Connection) -> Answer:
        """Return the answer, whatever happens; a bug is logged."""
        try:
            connection.check_head(message.path, message.raw_headers)
            return await take(message.headers, payload.read_nowait())
        except Exception as error:  # noqa: BLE001  # each stands for an answer
            return find(error, "POST", message.path, self._broken).answer()


EXPRESS: web.AppKey[Express] = web.AppKey("express", Express)

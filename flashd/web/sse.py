"""Server-sent events: the feed of one pool for a browser or curl, without a gap, and ended at once by a stop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import msgspec
from aiohttp import web

from flashd.domain.event import VERSION, Event, Gap, Topic, enveloped
from flashd.errors import Busy, StoreUnavailable
from flashd.ports import Feed
from flashd.web.connection import write_or_cut
from flashd.web.problem import Malformed

HEARTBEAT_S = 15.0
AT_ONCE = 64
_STREAM_ID = re.compile(r"^\d{1,16}(-\d{1,16})?$")


def message(event: Event | Gap) -> dict[str, Any]:
    """Return the JSON message of one entry, the same as on the pub/sub channel; a Gap says what was missed."""
    if isinstance(event, Gap):
        return {"v": VERSION, "kind": "feed.gap", "pool": event.pool, "after": event.after, "first": event.first}
    return enveloped(event)


def stream_id(text: str) -> str:
    """
    Check where to go on from.

    Raises:
        Malformed: It is no id of a journal entry.
    """
    if text != "$" and not _STREAM_ID.match(text):
        raise Malformed("an event id is <ms>-<n>, 0 (all that is kept) or $ (from now)")
    return text


def topics(request: web.Request) -> tuple[Topic, ...]:
    """Read which topics are wanted; none means all."""
    try:
        return tuple(Topic(name) for name in request.query.getall("topic", []))
    except ValueError as error:
        raise Malformed("topic is one of " + ", ".join(Topic)) from error


class Streams:
    """All open streams of one listener."""

    def __init__(self, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._heartbeat_s = heartbeat_s
        self._stopping = asyncio.Event()
        self._open = 0

    async def stop(self, _: object = None) -> None:
        """End every stream at once; an open page must not delay the daemon's end."""
        self._stopping.set()

    async def serve(self, request: web.Request, feed: Feed) -> web.StreamResponse:
        """
        Send the feed until the client or the daemon goes; resumes after Last-Event-ID (or ?after=).

        Where it begins with "now", the first frame is the id of that: a client that is cut off before it heard
        anything resumes from there, too.

        Raises:
            Busy: Too many streams are open, or the daemon stops.
        """
        after = stream_id(request.headers.get("Last-Event-ID") or request.query.get("after") or "$")
        wanted = topics(request)
        if self._stopping.is_set():
            raise Busy("flashd is stopping", retry_after_s=5)
        if self._open >= AT_ONCE:
            raise Busy(f"{AT_ONCE} streams are open", retry_after_s=5)
        self._open += 1
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            await response.prepare(request)
            if after == "$":
                with suppress(StoreUnavailable):  # the feed waits for the store, and so does the client
                    after = await feed.last_id()
            await self._copy(feed.follow(after, topics=wanted), request, response, after)
        finally:
            self._open -= 1
        return response

    async def _copy(
        self, events: AsyncIterator[Event | Gap], request: web.Request, response: web.StreamResponse, after: str
    ) -> None:
        stopped = asyncio.ensure_future(self._stopping.wait())
        coming: asyncio.Future[Event | Gap] = asyncio.ensure_future(_next(events))
        try:
            known = "" if after == "$" else f"id: {after}\n"
            await write_or_cut(request, response, f"retry: 2000\n{known}\n".encode())
            while not self._stopping.is_set():
                either: set[asyncio.Future[Any]] = {stopped, coming}
                await asyncio.wait(either, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    if not stopped.done():
                        await write_or_cut(request, response, b": still here\n\n")
                    continue
                await write_or_cut(request, response, _frame(coming.result()))
                coming = asyncio.ensure_future(_next(events))
        except StopAsyncIteration:
            pass
        finally:
            for future in (stopped, coming):
                future.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await future
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()


async def _next(events: AsyncIterator[Event | Gap]) -> Event | Gap:
    return cast("Event | Gap", await anext(events))


def _frame(event: Event | Gap) -> bytes:
    head = f"id: {event.id}\nevent: {event.kind}\n" if isinstance(event, Event) else "event: feed.gap\n"
    return head.encode() + b"data: " + msgspec.json.encode(message(event)) + b"\n\n"

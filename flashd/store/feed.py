"""
The journal as subscribers read it, and the way into it for facts that no script publishes itself.

The stream is the truth. Pub/sub only wakes the reader, who also polls: a lost message delays and never loses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from flashd.domain.event import Event, Gap, Topic, members_of
from flashd.errors import StoreUnavailable
from flashd.ports import Skimmed
from flashd.store.client import client_at
from flashd.store.faults import store_faults
from flashd.store.generation import stream_id
from flashd.store.journal import entries_of, kind_of, read_entry
from flashd.store.keys import event_channel, pool_key
from flashd.store.scripts import load

log = structlog.get_logger()

_POLL_S = 1.0
_PAGE = 500
_DRAIN = 1000  # wake-ups that are taken together


class RedisFeed:
    """The journal of one pool; *listener* is a client whose connections may be kept by subscribers."""

    def __init__(self, client: Redis, listener: Redis, pool: str, *, poll_s: float = _POLL_S) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._listener = listener
        self._poll_s = poll_s
        self._journal = pool_key(pool, "j")
        self._checkpoint = pool_key(pool, "checkpoint")

    async def read(self, after: str, *, limit: int = _PAGE) -> list[Event | Gap]:
        """
        Return events after that stream id ("0" = all kept), with a Gap first where some were trimmed.

        Raises:
            StoreUnavailable: Nothing was read; ask again.
        """
        entries, gap = await self._page(after, limit)
        return [*gap, *(read_entry(self.pool, entry_id, fields) for entry_id, fields in entries)]

    async def skim(self, after: str, kinds: Collection[str], *, limit: int = _PAGE) -> Skimmed:
        """
        Return the events of these kinds among the next *limit* entries, with a Gap first where some were trimmed.

        Raises:
            StoreUnavailable: Nothing was read; ask again.
        """
        with store_faults("feed"):
            entries = await entries_of(self._client, self._journal, after, limit)
            trimmed: bytes | None = await self._client.hget(self._checkpoint, "upto")  # only now: it moves on
        gap: list[Gap] = []
        if _is_behind(after, trimmed):  # or it was trimmed between the two: read again, as of one moment
            pairs, gap = await self._page(after, limit)
            entries = [(entry_id, [part for pair in fields.items() for part in pair]) for entry_id, fields in pairs]
        wanted = {kind.encode() for kind in kinds}
        found = [
            read_entry(self.pool, entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
            for entry_id, fields in entries
            if kind_of((entry_id, fields)) in wanted
        ]
        upto = entries[-1][0].decode() if entries else gap[0].first if gap else after
        return Skimmed(events=(*gap, *found), upto=upto, looked=len(entries))

    async def _page(self, after: str, limit: int) -> tuple[list[tuple[bytes, dict[bytes, bytes]]], list[Gap]]:
        with store_faults("feed"):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xrange(self._journal, min=f"({after}", count=limit)
                pipe.hget(self._checkpoint, "upto")
                entries, upto = await pipe.execute()
        if not _is_behind(after, upto):
            return entries, []
        first = (entries[0][0] if entries else upto).decode()
        return entries, [Gap(pool=self.pool, after=after, first=first)]

    async def last_id(self) -> str:
        """
        Return the id that the journal gave out last, "0" before the first.

        Raises:
            StoreUnavailable: Ask again.
        """
        with store_faults("feed"):
            if not await self._client.exists(self._journal):
                return "0"
            return bytes((await self._client.xinfo_stream(self._journal))["last-generated-id"]).decode()

    async def follow(self, after: str = "$", *, topics: Sequence[Topic] = ()) -> AsyncGenerator[Event | Gap, None]:
        """
        Hand out events as they come, without a gap, starting after that id ("$" = from the first step on).

        It outlives the store's absence: what happened meanwhile is handed out when the store is back. A Gap is handed
        out whatever the topics.
        """
        async with contextlib.AsyncExitStack() as stack:
            wake = _Wake(self._listener, self.pool, topics or tuple(Topic), self._poll_s)
            stack.push_async_callback(wake.close)
            await wake.listen()
            position = after
            while True:
                try:
                    if position == "$":
                        position = await self.last_id()
                    found = await self.read(position)
                except StoreUnavailable as error:
                    log.info("feed.interrupted", pool=self.pool, reason=str(error))
                    await asyncio.sleep(self._poll_s)
                    continue
                for event in found:
                    if isinstance(event, Gap):
                        position = event.first  # the events behind it in *found* set it again
                    else:
                        position = event.id
                        if topics and event.topic not in topics:
                            continue
                    yield event
                if not found:
                    await wake.wait()


def _is_behind(after: str, trimmed: bytes | None) -> bool:
    """Say whether entries behind *after* were trimmed."""
    return trimmed is not None and (0, 0) < stream_id(after) < stream_id(trimmed.decode())


class _Wake:
    """A subscription that only wakes: it may break at any time, and then the reader polls."""

    def __init__(self, listener: Redis, pool: str, topics: Sequence[Topic], poll_s: float) -> None:
        self._listener = listener
        self._channels = [event_channel(pool, topic) for topic in topics]
        self._poll_s = poll_s
        self._pubsub: PubSub | None = None

    async def listen(self) -> None:
        """Subscribe, if that is possible now."""
        pubsub = self._listener.pubsub(ignore_subscribe_messages=True)
        try:
            async with asyncio.timeout(self._poll_s):
                await pubsub.subscribe(*self._channels)
        except (RedisError, OSError, RuntimeError):
            await _close(pubsub)
        else:
            self._pubsub = pubsub

    async def wait(self) -> None:
        """Return when something was published, or after the polling time."""
        if self._pubsub is None:
            await asyncio.sleep(self._poll_s)
            await self.listen()
            return
        try:
            message: Any = await self._pubsub.get_message(timeout=self._poll_s)
            for _ in range(_DRAIN):  # one reading serves all that came together
                if message is None:
                    break
                message = await self._pubsub.get_message(timeout=0)
        except (RedisError, OSError, RuntimeError):
            await self.close()

    async def close(self) -> None:
        """Give the connection back; fine to call twice."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await _close(pubsub)


async def _close(pubsub: PubSub) -> None:
    with contextlib.suppress(RedisError, OSError, RuntimeError):
        await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py left it untyped


class RedisAnnouncer:
    """An Announcer: facts that no script publishes itself go into the journal too."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._script = load("announce")

    async def announce(self, pool: str, kind: str, data: Mapping[str, object]) -> str:
        """
        Append to the pool's journal and publish; return the stream id.

        Raises:
            StoreUnavailable: Nothing is known; announced again, it may be said twice.
            ValueError: The kind or a member's name is not allowed.
        """
        members = members_of(kind, data)
        with store_faults("announce"):
            key = pool_key(pool, "j")
            stream_id_: bytes = await self._script.call(client_at(self._client, key), [key], [kind, members])
        return stream_id_.decode()

"""Many orders in one request: NDJSON in, NDJSON out, a bounded number at work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web

from flashd.domain.order import Accepted, Incoming
from flashd.errors import Refused, TooLarge
from flashd.web.doors import ChannelDoor
from flashd.web.endpoint import Endpoint
from flashd.web.intake_orders import status_of
from flashd.web.limits import read_lines, refuse_encoded
from flashd.web.native import Native, adapter_of, own_channel
from flashd.web.problem import find
from flashd.web.view import LineResult, NewOrder, title_of

PART = 256  # lines that are made durable together: as many as the channel's intake takes into one call
PARTS_AT_ONCE = 3
_RESULTS = msgspec.json.Encoder()
LINES = 10_000  # bounds what waits for a client that sends all before it reads
MEDIA = "application/x-ndjson"


class Batch:
    """``POST /v1/orders:batch``."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def endpoints(self) -> list[Endpoint]:
        """List the route."""
        return [
            Endpoint(
                method="POST",
                path="/v1/orders:batch",
                name="place_orders",
                summary=f"Take up to {LINES} orders, one a line; one result line each, in the same order",
                handler=self.place,
                takes=NewOrder,
                takes_media=MEDIA,
                answers={200: LineResult},
                media=MEDIA,
            )
        ]

    async def place(self, request: web.Request) -> web.StreamResponse:
        """Answer each line as it is durable; a bad line spoils none but itself."""
        try:
            return await self._place(request)
        except ExceptionGroup as group:
            # A client that went away is no fault of ours; anything else is the first error's to answer.
            gone = group.subgroup(ConnectionError)
            raise (gone or group).exceptions[0] from None

    async def _place(self, request: web.Request) -> web.StreamResponse:
        channel, _ = self._native.seat(request.headers)
        adapter_of(channel)
        refuse_encoded(request.headers)
        response = web.StreamResponse(headers={"Content-Type": MEDIA})
        await response.prepare(request)
        results: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        stall_s = self._native.config.body_timeout_s
        async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as group:

            def read_all() -> None:
                # Only now must the client read: until here its own lines are what it is busy with.
                deadline.reschedule(loop.time() + stall_s)

            group.create_task(self._read(request, channel, group, results, read_all))
            reading = True
            while (task := await results.get()) is not None:
                await response.write(await task)
                reading = reading and deadline.when() is None
                if not reading:
                    deadline.reschedule(loop.time() + stall_s)
        await response.write_eof()
        return response

    async def _read(
        self,
        request: web.Request,
        channel: ChannelDoor,
        group: asyncio.TaskGroup,
        results: asyncio.Queue[asyncio.Task[bytes] | None],
        done: Callable[[], None],
    ) -> None:
        """Take the lines that came together as one part of the batch, a few parts at work at once."""
        room = asyncio.Semaphore(PARTS_AT_ONCE)
        number = 0
        config = self._native.config
        try:
            async for lines in read_lines(request, limit=config.body_bytes, timeout_s=config.body_timeout_s):
                for at in range(0, len(lines), PART):
                    part = lines[at : at + PART]
                    fits = part[: LINES - number]
                    if any(line.strip() for line in fits):
                        await room.acquire()
                        task = group.create_task(self._take(channel, number + 1, fits))
                        task.add_done_callback(lambda _: room.release())
                        results.put_nowait(task)
                    number += len(fits)
                    if any(line.strip() for line in part[len(fits) :]):
                        number += 1
                        raise TooLarge(f"a batch has at most {LINES} lines; this line and those after it were not read")
        except Refused as error:
            # The answer has begun with 200, so what ends the batch early is its last line.
            results.put_nowait(group.create_task(_refusal(max(1, number), error)))
        finally:
            done()
            results.put_nowait(None)

    async def _take(self, channel: ChannelDoor, first: int, lines: list[bytes]) -> bytes:
        """Make a part durable in one go; return its result lines. A bad line spoils none but itself."""
        decode = adapter_of(channel).decode_order
        results: dict[int, LineResult] = {}
        orders: dict[int, Incoming] = {}
        with self._native.budget.share() as share:
            for number, line in enumerate(lines, first):
                if not line.strip():
                    continue
                try:
                    share.take(len(line))
                    incoming = decode(line)
                    own_channel(channel, incoming.order.channel)
                    orders[number] = incoming
                except Exception as error:  # noqa: BLE001  # each becomes an answer; a bug is logged there
                    results[number] = self._failure(number, error)
            replies = await channel.intake.admit_many(tuple(orders.values()))
        for (number, incoming), reply in zip(orders.items(), replies, strict=True):
            results[number] = self._result(number, incoming, reply)
        return _RESULTS.encode_lines([results[number] for number in sorted(results)])

    def _result(self, number: int, incoming: Incoming, reply: Accepted | BaseException) -> LineResult:
        if isinstance(reply, BaseException):
            return self._failure(number, reply)
        try:
            status = status_of(reply)
        except Refused as error:
            return self._failure(number, error)
        return LineResult(
            line=number,
            status=status,
            order=f"{incoming.order.channel}:{incoming.order.id}",
            code=reply.code,
            state=reply.state,
            title=title_of(reply),
            short=dict(reply.short) if reply.short else {},
        )

    def _failure(self, number: int, error: BaseException) -> LineResult:
        found = find(error, "POST", "/v1/orders:batch", self._native.doors.broken)
        return LineResult(line=number, status=found.status, title=found.title, detail=found.detail)


async def _refusal(number: int, error: Refused) -> bytes:
    return _RESULTS.encode_lines([LineResult(line=number, status=error.status, title=error.title, detail=error.detail)])

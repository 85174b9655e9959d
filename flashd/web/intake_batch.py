"""Many orders in one request: NDJSON in, NDJSON out, a bounded number at work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from aiohttp import web

from flashd.errors import InvariantBroken, Refused, TooLarge
from flashd.web.doors import ChannelDoor
from flashd.web.endpoint import Endpoint
from flashd.web.intake_orders import take_order
from flashd.web.limits import read_lines, refuse_encoded
from flashd.web.native import Native, adapter_of
from flashd.web.problem import Finding, understand
from flashd.web.view import LineResult, NewOrder

log = structlog.get_logger()

AT_ONCE = 64
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
        channel, _ = self._native.seat(request)
        adapter_of(channel)
        refuse_encoded(request)
        response = web.StreamResponse(headers={"Content-Type": MEDIA})
        await response.prepare(request)
        results: asyncio.Queue[asyncio.Task[LineResult] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        stall_s = self._native.config.body_timeout_s
        async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as group:

            def read_all() -> None:
                # Only now must the client read: until here its own lines are what it is busy with.
                deadline.reschedule(loop.time() + stall_s)

            group.create_task(self._read(request, channel, group, results, read_all))
            reading = True
            while (task := await results.get()) is not None:
                result = await task
                await response.write(msgspec.json.encode(result) + b"\n")
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
        results: asyncio.Queue[asyncio.Task[LineResult] | None],
        done: Callable[[], None],
    ) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        number = 0
        config = self._native.config
        try:
            async for line in read_lines(request, limit=config.body_bytes, timeout_s=config.body_timeout_s):
                number += 1
                if not line.strip():
                    continue
                if number > LINES:
                    raise TooLarge(f"a batch has at most {LINES} lines; this line and those after it were not read")
                await room.acquire()
                task = group.create_task(self._one(channel, number, line))
                task.add_done_callback(lambda _: room.release())
                results.put_nowait(task)
        except Refused as error:
            # The answer has begun with 200, so what ends the batch early is its last line.
            results.put_nowait(group.create_task(_refusal(number, error)))
        finally:
            done()
            results.put_nowait(None)

    async def _one(self, channel: ChannelDoor, number: int, line: bytes) -> LineResult:
        try:
            with self._native.budget.share() as share:
                share.take(len(line))
                status, receipt = await take_order(channel, line)
        except Exception as error:
            found = understand(error)
            if found is None:
                log.exception("request.failed", method="POST", path="/v1/orders:batch", error=type(error).__name__)
                broken = self._native.doors.broken
                if isinstance(error, InvariantBroken) and broken is not None:
                    broken(error)
                found = Finding(status=500, title="internal_error", detail="a bug in flashd; its log says which")
            return LineResult(line=number, status=found.status, title=found.title, detail=found.detail)
        return LineResult(
            line=number,
            status=status,
            order=receipt.order,
            code=receipt.code,
            state=receipt.state,
            title=receipt.title,
            short=receipt.short,
        )


async def _refusal(number: int, error: Refused) -> LineResult:
    return LineResult(line=number, status=error.status, title=error.title, detail=error.detail)

"""
A simulated ERP, as a process of its own: it books orders, limits its callers, and fails on purpose.

``POST /orders`` with an ``Idempotency-Key`` books the order: 201 with its id, and 200 with the same id when the key
comes again. ``GET /orders?key=`` answers with a list of one or none, ``POST /orders/{id}/cancel`` cancels one. More
than ``--limit`` requests in any second are answered 429. Every request and every booking stands in its ledger before it
is answered, so SIGKILL at any moment loses nothing that was told to anybody; a restart on the same ledger goes on where
it died.

SIGUSR1 makes it refuse connections for ``--outage-s`` seconds.
"""

from __future__ import annotations

import asyncio
import bisect
import signal
from pathlib import Path
from typing import Any

import click
import msgspec
from aiohttp import web

from flashd.demo.arrival import arrived_us, listen
from flashd.demo.faults import Fault, FaultDeck
from flashd.demo.ledger import SECOND_US, Ledger, read


class ErpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How this ERP behaves."""

    limit: int = 50  # requests in any second
    idempotent: bool = True
    lookup: bool = True
    poison: frozenset[str] = frozenset()  # SKUs it refuses for good
    slow_s: float = 0.3
    hang_s: float = 30.0
    outage_s: float = 2.0


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """One order in the ERP's books."""

    id: str
    key: str
    order: dict[str, Any]


class Erp:
    """The books, the limit and the faults; no sockets."""

    def __init__(self, options: ErpOptions, ledger: Ledger, deck: FaultDeck) -> None:
        self.options = options
        self._ledger = ledger
        self._deck = deck
        self._bookings = 0
        self._by_key: dict[str, Booking] = {}
        self._by_id: dict[str, Booking] = {}
        self._cancelled: set[str] = set()
        self._recent: list[int] = []  # arrivals that were let in, sorted
        for entry in read(ledger.path):
            if entry["kind"] == "booked":
                self._remember(Booking(id=entry["id"], key=entry["key"], order=entry["order"]))
            elif entry["kind"] == "cancelled":
                self._cancelled.add(entry["id"])

    def _remember(self, booking: Booking) -> None:
        self._bookings += 1
        self._by_key.setdefault(booking.key, booking)
        self._by_id[booking.id] = booking

    def _retry_after(self, arrived: int) -> int | None:
        """Count a request; return how long to stay away where it is one too many for the second before it."""
        since = bisect.bisect_right(self._recent, arrived - SECOND_US)
        until = bisect.bisect_right(self._recent, arrived)
        if until - since >= self.options.limit:
            return 1
        self._recent.insert(until, arrived)
        del self._recent[: bisect.bisect_right(self._recent, arrived - 10 * SECOND_US)]
        return None

    async def book(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /orders``."""
        key, fault, failed = await self._receive(request)
        if failed is not None:
            return failed
        problem, order = _understand(await request.read(), key)
        if order is None:
            return await self._answer(400, {"error": "invalid", "detail": problem})
        poison = sorted(self.options.poison & {str(line["sku"]) for line in order["lines"]})
        if poison:
            self._ledger.note("refused", key=key, order=order)
            return await self._answer(422, {"error": f"the article {poison[0]} is blocked"})
        booking, is_new = self._book(key, order)
        await self._ledger.flushed()
        return await self._end(request, fault, 201 if is_new else 200, {"id": booking.id, "key": key})

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /orders/{id}/cancel``; cancelling twice is cancelling once."""
        key, fault, failed = await self._receive(request)
        if failed is not None:
            return failed
        booking = self._by_id.get(request.match_info["id"])
        if booking is None:
            return await self._answer(422, {"error": "there is no such order"})
        if booking.id not in self._cancelled:
            self._cancelled.add(booking.id)
            self._ledger.note("cancelled", id=booking.id, key=key)
        await self._ledger.flushed()
        return await self._end(request, fault, 200, {"id": booking.id, "key": key})

    async def _receive(self, request: web.Request) -> tuple[str, Fault | None, web.StreamResponse | None]:
        """Count a POST and deal its fault; the last member is the answer, where it ends here."""
        key = request.headers.get("Idempotency-Key", "")
        arrived = arrived_us(request.transport)
        wait_s = self._retry_after(arrived)
        fault = None if wait_s is not None else self._deck.deal()
        self._ledger.note("request", at_us=arrived, method="POST", key=key, over_limit=wait_s is not None, fault=fault)
        if wait_s is not None:
            return key, None, await self._refuse_for_now(429, "rate_limit", wait_s)
        if fault in {Fault.RESET, Fault.HANG, Fault.ERROR_BEFORE, Fault.UNAVAILABLE}:
            return key, fault, await self._fail_before(request, fault)
        return key, fault, None

    def _book(self, key: str, order: dict[str, Any]) -> tuple[Booking, bool]:
        known = self._by_key.get(key)
        if known is not None and self.options.idempotent:
            return known, False
        booking = Booking(id=f"SO-{self._bookings + 1:06}", key=key, order=order)
        self._remember(booking)
        self._ledger.note("booked", id=booking.id, key=key, order=order)
        return booking, True

    async def find(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /orders?key=``: what the books say, with authority."""
        key = request.query.get("key", "")
        arrived = arrived_us(request.transport)
        wait_s = self._retry_after(arrived)
        self._ledger.note("request", at_us=arrived, method="GET", key=key, over_limit=wait_s is not None, fault=None)
        if wait_s is not None:
            return await self._refuse_for_now(429, "rate_limit", wait_s)
        if not self.options.lookup:
            return await self._answer(405, {"error": "no_lookup"})
        booking = self._by_key.get(key)
        return await self._answer(200, [] if booking is None else [_shown(booking)])

    async def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
        await self._ledger.flushed()
        return _json(status, body, headers)

    async def _refuse_for_now(self, status: int, error: str, wait_s: int) -> web.Response:
        return await self._answer(status, {"error": error}, {"Retry-After": str(wait_s)})

    async def _fail_before(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault is Fault.UNAVAILABLE:
            return await self._refuse_for_now(503, "maintenance", 1)
        if fault is Fault.ERROR_BEFORE:
            return await self._answer(500, {"error": "internal"})
        await self._ledger.flushed()
        if fault is Fault.HANG:
            await asyncio.sleep(self.options.hang_s)
        return _hang_up(request)

    async def _end(
        self, request: web.Request, fault: Fault | None, status: int, body: dict[str, Any]
    ) -> web.StreamResponse:
        """Answer what was committed, or fail to."""
        if fault is Fault.ERROR_AFTER:
            return _json(500, {"error": "internal"})
        if fault is Fault.GARBAGE:
            return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")
        if fault is Fault.DROP_REPLY:
            return _hang_up(request)
        if fault is Fault.SLOW:
            await asyncio.sleep(self.options.slow_s)
        return _json(status, body)


def _understand(body: bytes, key: str) -> tuple[str, dict[str, Any] | None]:
    """Return the order of a request, or what is wrong with it."""
    if not key:
        return "the Idempotency-Key header is missing", None
    try:
        order = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        return str(error), None
    if not isinstance(order, dict) or not isinstance(order.get("total"), int):
        return "an order is an object with an integer total", None
    lines = order.get("lines")
    if not isinstance(lines, list) or not lines:
        return "an order has lines", None
    if not all(isinstance(line, dict) and "sku" in line and "quantity" in line for line in lines):
        return "every line has a sku and a quantity", None
    return "", order


def _shown(booking: Booking) -> dict[str, Any]:
    order = booking.order
    return {name: order[name] for name in ("channel", "order_id", "lines", "total") if name in order} | {
        "id": booking.id,
        "key": booking.key,
    }


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers)


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere: the connection is gone


class Door:
    """The listening socket, which an outage shuts: established connections are cut, new ones refused."""

    def __init__(self, erp: Erp, port: int) -> None:
        self._erp = erp
        self.port = port
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen; the first time on a free port where none was asked for, afterwards on the same."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_post("/orders", self._erp.book)
        app.router.add_get("/orders", self._erp.find)
        app.router.add_post("/orders/{id}/cancel", self._erp.cancel)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, listen(self.port)).start()
        self.port = self._runner.addresses[0][1]

    async def shut(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


async def serve(options: ErpOptions, path: Path, *, port: int, faults: dict[Fault, int], deck: int, seed: int) -> None:
    """Run until SIGTERM or SIGINT; announce the port on stdout as one line of JSON."""
    loop = asyncio.get_running_loop()
    stopping, outage = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, outage.set)
    ledger = Ledger(path)
    starts = sum(entry["kind"] == "started" for entry in read(path))
    erp = Erp(options, ledger, FaultDeck(faults, size=deck, seed=seed + starts))
    door = Door(erp, port)
    await door.open()
    ledger.note("started", port=door.port, limit=options.limit)
    await ledger.flushed()
    click.echo(msgspec.json.encode({"port": door.port, "ledger": str(path)}).decode())
    stop = asyncio.create_task(stopping.wait())
    while not stopping.is_set():
        shut = asyncio.create_task(outage.wait())
        await asyncio.wait({stop, shut}, return_when=asyncio.FIRST_COMPLETED)
        shut.cancel()
        if outage.is_set():
            ledger.note("outage", seconds=options.outage_s)
            await door.shut()
            await asyncio.wait({stop}, timeout=options.outage_s)
            await door.open()
            outage.clear()
    await door.shut()
    ledger.close()


@click.command()
@click.option("--ledger", type=click.Path(path_type=Path), required=True, help="The file it keeps its books in.")
@click.option("--port", default=0, show_default=True, help="Port on loopback; 0 takes a free one and announces it.")
@click.option("--limit", default="50/s", show_default=True, help="Requests in any one second, such as 50/s.")
@click.option("--fault", multiple=True, metavar="NAME=N", help=f"N of every deck: {', '.join(Fault)}.")
@click.option("--deck", default=100, show_default=True, help="Requests in one deck of faults.")
@click.option("--seed", default=0, show_default=True, help="Shuffles the decks.")
@click.option("--poison", multiple=True, metavar="SKU", help="An article that is refused with 422.")
@click.option("--idempotent/--not-idempotent", default=True, show_default=True, help="Honour the Idempotency-Key.")
@click.option("--lookup/--no-lookup", default=True, show_default=True, help="Answer GET /orders?key=.")
@click.option("--slow-s", default=0.3, show_default=True, help="How late a slow answer is.")
@click.option("--hang-s", default=30.0, show_default=True, help="How long a hanging request hangs.")
@click.option("--outage-s", default=2.0, show_default=True, help="How long SIGUSR1 shuts the door.")
def main(  # noqa: PLR0913  # one parameter for each switch
    *,
    ledger: Path,
    port: int,
    limit: str,
    fault: tuple[str, ...],
    deck: int,
    seed: int,
    poison: tuple[str, ...],
    idempotent: bool,
    lookup: bool,
    slow_s: float,
    hang_s: float,
    outage_s: float,
) -> None:
    """Run a simulated ERP on loopback."""
    options = ErpOptions(
        limit=_per_second(limit),
        idempotent=idempotent,
        lookup=lookup,
        poison=frozenset(poison),
        slow_s=slow_s,
        hang_s=hang_s,
        outage_s=outage_s,
    )
    faults: dict[Fault, int] = {}
    for text in fault:
        name, _, count = text.partition("=")
        if name not in set(Fault) or not count.isdigit():
            raise click.BadParameter(f"{text!r}: write NAME=N with one of {', '.join(Fault)}", param_hint="--fault")
        faults[Fault(name)] = int(count)
    asyncio.run(serve(options, ledger, port=port, faults=faults, deck=deck, seed=seed))


def _per_second(text: str) -> int:
    count, slash, unit = text.partition("/")
    if not count.isdigit() or int(count) == 0 or (slash and unit != "s"):
        raise click.BadParameter(f"{text!r}: write a positive number per second, such as 50/s", param_hint="--limit")
    return int(count)


if __name__ == "__main__":
    main()

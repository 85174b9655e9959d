"""Intake as the daemon joins it, over a real store, in this process: so that what an order costs can be counted."""

from __future__ import annotations

import dataclasses
import itertools
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Self

from redis.asyncio import Redis

from flashd.actors.convoy import Convoy
from flashd.actors.intake import ChannelIntake, IntakeRules
from flashd.channels import native, shopify
from flashd.config import IntakeConfig, SecretText, StoreConfig
from flashd.domain.stock import StockLevel
from flashd.runtime.clock import SystemClock
from flashd.store.connection import connect
from flashd.store.ledger import RedisLedger
from flashd.web.doors import ChannelDoor, Doors
from flashd.web.intake import intake_app
from flashd.web.limits import ClientLimits
from flashd.web.server import Listener, open_socket
from flashd.web.tokens import Caller, Scope
from tests.fakes.doors import DoorHouse
from tests.servers import Server

TOKEN = "the-token-of-the-till"
SECRET = b"the secret of the shop"
SKU = "BENCH-TEE-M"


def _doors(ledger: RedisLedger, intakes: Sequence[ChannelIntake]) -> Doors:
    house = DoorHouse().doors
    house.channel_tokens.add(TOKEN, Caller("till", Scope.READ, subject="till"))
    channels = {
        one.channel.name: ChannelDoor(name=one.channel.name, kind=one.channel.kind, pool="main", intake=one)
        for one in intakes
    }
    pools = {"main": dataclasses.replace(house.pools["main"], ledger=ledger)}
    return dataclasses.replace(house, clock=SystemClock(), channels=channels, pools=pools)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[tuple[int, Redis]]:
    """Serve a till and a Shopify shop; hand out the port, and a client of the store."""
    clock = SystemClock()
    async with connect(StoreConfig(url=server.url, timeout_s=30), lambda _: SecretText("")) as client:
        await client.flushall()
        ledger = RedisLedger(client, "main", kinds={"sink": ["create"]})  # type: ignore[list-item]  # a Kind is a text
        await ledger.recount(StockLevel(sku=SKU, location="main", on_hand=1_000_000_000))
        rules = IntakeRules(route=lambda _: "sink")
        channels = (
            native.Native("till", hash_customer=lambda _: ""),
            shopify.Shopify("shop", shopify.Config(kind="shopify"), (SECRET,)),
        )
        convoy = Convoy(ledger)
        intakes = [ChannelIntake(channel, convoy, rules, clock=clock) for channel in channels]
        for intake in intakes:
            intake.start()
        listener = Listener("intake", intake_app(_doors(ledger, intakes), IntakeConfig()), ClientLimits(stop_s=2.0))
        await listener.start(open_socket("127.0.0.1:0"))
        try:
            yield listener.port, client
        finally:
            for intake in intakes:
                await intake.stop()
            await listener.stop()


def send(port: int, requests: Sequence[bytes], *, connections: int) -> list[bytes]:
    """
    Send requests over so many connections, the next one with the last answer; return the status lines.

    It is meant for a thread: what it does itself must not be counted.
    """
    told: list[bytes] = []
    turns = itertools.cycle(range(connections))
    shares: list[list[bytes]] = [[] for _ in range(connections)]
    for request in requests:
        shares[next(turns)].append(request)
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(connections)]
    try:
        for number in range(max(map(len, shares))):
            asked = [(one, share) for one, share in zip(sockets, shares, strict=True) if number < len(share)]
            for one, share in asked:
                one.sendall(share[number])
            told += [_answer(one) for one, _ in asked]
    finally:
        for one in sockets:
            one.close()
    return told


def read_all(port: int, request: bytes) -> bytes:
    """Send one request that ends its connection, and return the whole answer; for a thread, as above."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        threading.Thread(target=one.sendall, args=(request,), daemon=True).start()
        pieces = []
        while piece := one.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


def _answer(one: socket.socket) -> bytes:
    text = b""
    while b"\r\n\r\n" not in text:
        text += one.recv(65536)
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += one.recv(65536)
    return head.partition(b"\r\n")[0]


class CallCount:
    """Counts the calls of Python functions that this thread makes; those of C are not counted."""

    def __init__(self) -> None:
        self.calls = 0
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, _frame: FrameType, event: str, _what: Any) -> None:
        self.calls += event == "call"


Request = Callable[[int], bytes]

"""An adapter asks once more when all it has to do is write; what must not leave any more is not written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flashd.backends.http import Config, connect
from flashd.domain.delivery import Delivered
from flashd.ports.departure import MomentPassedError, before_departure
from tests.backends.fault_server import FaultServer
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import HttpStandIn

DELIVERY = a_delivery(an_order("1001"))


def make(server: FaultServer) -> Any:
    wish = {"kind": "http", "url": f"{server.url}/orders", "lookup_url": f"{server.url}/orders?key={{key}}"}
    return connect("b", msgspec.convert(wish, Config), reveal)


@pytest.mark.parametrize("verb", ["deliver", "find"])
async def test_what_must_not_leave_any_more_is_not_written_though_it_is_connected(verb: str) -> None:
    connected: list[int] = []
    async with FaultServer(HttpStandIn()).running() as server:

        async def never() -> bool:
            connected.append(server.connections)
            return False

        backend = make(server)
        before_departure(never)
        with pytest.raises(MomentPassedError):
            await getattr(backend, verb)(DELIVERY)
        assert server.seen == []
        assert len(connected) == 1
        assert isinstance(await backend.deliver(DELIVERY), Delivered)  # nobody is asked twice
        assert server.connections == 1  # the connection that was opened is used
        await backend.close()


async def test_every_delivery_asks_also_over_a_connection_that_is_there() -> None:
    asked = 0

    async def at_once() -> bool:
        nonlocal asked
        asked += 1
        return True

    async with FaultServer(HttpStandIn()).running() as server:
        backend = make(server)
        for _ in range(3):
            before_departure(at_once)
            await backend.deliver(DELIVERY)
        assert (asked, server.connections) == (3, 1)
        await backend.close()

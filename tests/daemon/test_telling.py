"""A daemon's own alerter and inquiry, on real servers: from an order in the store to a verified message."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook

from flashd.actors.alerter import Alerter
from flashd.cli.session import load_config
from flashd.daemon.adapters import connect_backend, reveal_of
from flashd.daemon.assembly import Assembly, assemble, kinds_of
from flashd.daemon.telling import alert_door, build_alerter, build_inquiry, connect_messenger
from flashd.domain.order import OrderRef, OrderState
from flashd.domain.preflight_facts import Level
from flashd.domain.sale import Sale, SaleProduct
from flashd.domain.stock import StockLevel
from flashd.ports import SentCode
from flashd.runtime.clock import SystemClock
from flashd.runtime.supervisor import Supervisor
from flashd.store.opening import open_store
from tests.conformance.ledgers import make_incoming
from tests.servers import Server
from tests.shops.receiver import Receiver
from tests.until import until

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
[alerts]
url = "URL"
secret = { file = "alerts.secret" }
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[backends.erp]
kind = "http"
url = "http://127.0.0.1:9"
idempotent = true
[[routes]]
backend = "erp"
"""


class House:
    """All of a daemon but its listeners and its backend."""

    def __init__(self, folder: Path, store: str, url: str) -> None:
        for name, text in (("alerts.secret", SECRET), ("till.token", "token-of-the-till-0001")):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        text = CONFIG.replace("STORE", store).replace("STATE", str(folder / "state")).replace("URL", url)
        (folder / "flashd.toml").write_text(text)
        self.loaded = load_config(str(folder / "flashd.toml"))
        self.supervisor = Supervisor(clock=SystemClock())
        self.messengers: list[Any] = []
        self.house: Assembly

    async def open(self) -> None:
        config = self.loaded.config
        adapters = {name: connect_backend(name, section, self.loaded) for name, section in config.backends.items()}
        store = await open_store(config, kinds_of(adapters), reveal_of(self.loaded), SystemClock())
        self.house = assemble(self.loaded, store, adapters, {}, None, SystemClock())
        await self.supervisor.start([self.house.sentry])

    async def alerter(self, name: str) -> Alerter:
        messenger = connect_messenger(self.loaded)
        self.messengers.append(messenger)
        alerter = build_alerter(self.house, messenger, owner=name)
        await self.supervisor.start([alerter])
        return alerter

    async def close(self) -> None:
        await self.supervisor.stop(5)
        for messenger in self.messengers:
            await messenger.close()
        await self.house.adapters["erp"].close()
        await self.house.store.close()

    async def fall_short(self, order_id: str) -> None:
        pool = self.house.store.pools["main"]
        await pool.ledger.recount(StockLevel(sku="tee", on_hand=1))
        (accepted,) = await pool.ledger.accept([make_incoming(order_id, channel="till", tee=2)], ["erp"], since_ms=0)
        assert accepted.state is OrderState.SHORTFALL


@pytest.fixture
def receiver() -> Any:
    with Receiver() as running:
        yield running


@pytest.fixture
async def house(
    tmp_path: Path,
    server: Server,
    client: Redis,  # it empties the server
    receiver: Receiver,
) -> AsyncIterator[House]:
    opened = House(tmp_path, server.url, receiver.url)
    await opened.open()
    yield opened
    await opened.close()


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """What arrived, as the library of Standard Webhooks verifies it: (webhook-id, type and key)."""
    found = []
    for message in list(receiver.messages):
        body: Any = Webhook(SECRET).verify(message.body, message.headers)
        found.append((message.headers["webhook-id"], f"{body['type']} {body['data'].get('key')}"))
    return found


async def leads(alerter: Alerter) -> None:
    async with asyncio.timeout(10):
        while alerter.leadership.term is None:  # noqa: ASYNC110  # it has no signal
            await asyncio.sleep(0.02)
    await asyncio.sleep(0)


async def test_a_paid_order_that_cannot_be_covered_reaches_a_person_once_over_restarts(
    house: House, receiver: Receiver
) -> None:
    first = await house.alerter("first")
    await leads(first)
    await until(lambda: bool(first._standing["main"].cursor), "the journal is followed", 10)
    await house.fall_short("1001")
    await until(lambda: len(receiver.messages) == 1, "the alert has arrived", 10)
    assert [what for _, what in told(receiver)] == ["alert.raised shortfall:main"]
    events = await house.house.store.pools["main"].feed.read("0")
    assert [getattr(event, "kind", "") for event in events].count("alert.raised") == 1

    await first.stop()
    house.supervisor.forget(first)
    second = await house.alerter("second")
    await leads(second)
    (standing,) = await alert_door(second).standing()
    assert (standing.key, standing.tellings) == ("shortfall:main", 1)
    await house.house.store.pools["main"].ledger.cancel(
        OrderRef.parse(standing.alert.facts["orders"][0]), by="ann", reason="cannot be covered"
    )
    second._looked_s = float("-inf")
    await until(lambda: len(receiver.messages) == 2, "its end has arrived", 15)
    assert [what for _, what in told(receiver)][1:] == ["alert.cleared shortfall:main"]
    assert await alert_door(second).standing() == []


async def test_a_test_alert_arrives_and_a_sale_is_asked_about(house: House, receiver: Receiver) -> None:
    alerter = await house.alerter("only")
    sent = await alert_door(alerter).test("ann")
    assert sent is not None
    assert sent.code is SentCode.TAKEN
    assert [what for _, what in told(receiver)] == ["alert.test test:ann"]

    now = datetime.now(UTC)
    pool = house.house.store.pools["main"]
    sale = Sale(
        name="friday",
        start=now + timedelta(hours=1),
        end=now + timedelta(hours=2),
        products=(SaleProduct(sku="tee", quota=5),),
        forecast_per_min=10,
    )
    await pool.sales.put(sale, by="ann")
    inquiry = build_inquiry(house.house, alerter)
    before = await inquiry.preflight("main", "friday")
    fails = [(one.check, one.subject) for one in before.findings if one.level is Level.FAIL]
    assert (before.go, fails) == (False, [("stock", "friday"), ("locations", "till")])
    await pool.ledger.recount(StockLevel(sku="tee", on_hand=5))
    after = await inquiry.preflight("main", "friday")
    assert after.go
    assert [(one.check, one.level) for one in after.findings if one.level is not Level.OK] == [
        ("counted", Level.WARN)  # set by hand, without saying when it was counted
    ]

"""
The shops behind the adapters of `ChannelApi`, each driven by the same few hands.

An adapter of one's own joins with a class like these and a line in `SHOPS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from flashd.channels import shopify, standard_webhooks, woocommerce
from flashd.config import PublishConfig, Secret, SecretText
from flashd.domain.catalogue import Entry
from flashd.ports import ChannelApi
from tests.channels.bodies import webhook_order
from tests.fakes.channel_api import FakeChannelApi, Fault
from tests.shops.own_shop import SECRET, TOKEN, OwnShop
from tests.shops.shopify import SimulatedShopify
from tests.shops.woocommerce import SimulatedWooCommerce

NOWHERE = "http://127.0.0.1:9"
PUBLISH = PublishConfig(rate="1000/s")


class Shop(Protocol):
    """A shop that a test can act in."""

    api: ChannelApi

    async def stock(self, figures: Mapping[str, int]) -> None:
        """Put these SKUs on sale."""

    async def sell(self, sku: str) -> str:
        """Let a buyer buy one unit and pay; return the order's id as flashd knows it."""

    async def figure(self, sku: str) -> int:
        """Return what stands there."""

    async def lose_reply(self) -> None:
        """Let the next call be done, and its answer be lost."""

    def gone(self) -> ChannelApi:
        """Return an API of the same kind whose shop is not there."""


class Woo:
    """WooCommerce, simulated."""

    def __init__(self, shop: SimulatedWooCommerce) -> None:
        self._shop = shop
        self.api = self._connect(shop.url)

    def _connect(self, url: str) -> ChannelApi:
        config = woocommerce.Config(
            kind="woocommerce",
            url=url,
            consumer_key=Secret(env="ck_sim"),
            consumer_secret=Secret(env="cs_sim"),
            publish=PUBLISH,
        )
        made = woocommerce.connect_api("shop", config, _by_name)
        assert made is not None
        return made

    async def stock(self, figures: Mapping[str, int]) -> None:
        self._shop.stock(**figures)

    async def sell(self, sku: str) -> str:
        return str(self._shop.buy(sku)["id"])

    async def figure(self, sku: str) -> int:
        return int(self._shop.books["stock"][sku])

    async def lose_reply(self) -> None:
        self._shop.turn(next={"lose_replies": 1, "writes_only": True})

    def gone(self) -> ChannelApi:
        return self._connect(NOWHERE)


class Shopify:
    """Shopify, simulated."""

    def __init__(self, shop: SimulatedShopify) -> None:
        self._shop = shop
        self.api = self._connect(shop.url)

    def _connect(self, url: str) -> ChannelApi:
        config = shopify.Config(kind="shopify", url=url, access_token=Secret(env=self._shop.token), publish=PUBLISH)
        made = shopify.connect_api("shop", config, _by_name)
        assert made is not None
        return made

    async def stock(self, figures: Mapping[str, int]) -> None:
        await self._shop.create(*({"sku": sku, "stock": units} for sku, units in figures.items()))

    async def sell(self, sku: str) -> str:
        sold = await self._shop.sell(sku)
        assert sold is not None
        return str(sold["id"])

    async def figure(self, sku: str) -> int:
        return await self._shop.available(sku)

    async def lose_reply(self) -> None:
        await self._shop.faults(lose_next=1)

    def gone(self) -> ChannelApi:
        return self._connect(NOWHERE)


class Own:
    """A shop of one's own that takes Standard Webhooks."""

    def __init__(self, shop: OwnShop) -> None:
        self._shop = shop
        self.api = self._connect(shop.url)

    def _connect(self, url: str) -> ChannelApi:
        config = standard_webhooks.Config(
            kind="standard_webhooks",
            secrets=(Secret(env=SECRET),),
            api_token=Secret(env=TOKEN),
            publish_url=f"{url}/stock",
            figures_url=f"{url}/figures",
            orders_url=f"{url}/orders",
            publish=PUBLISH,
        )
        made = standard_webhooks.connect_api("shop", config, _by_name)
        assert made is not None
        return made

    async def stock(self, figures: Mapping[str, int]) -> None:
        self._shop.figures.update(figures)

    async def sell(self, sku: str) -> str:
        units = self._shop.figures[sku]
        assert units
        self._shop.figures[sku] = units - 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {"id": f"own-{len(self._shop.orders)}", "placed_at": now, "updated_at": now}
        order = webhook_order() | told
        self._shop.orders.append(order)
        return str(order["id"])

    async def figure(self, sku: str) -> int:
        units = self._shop.figures[sku]
        assert units is not None
        return units

    async def lose_reply(self) -> None:
        self._shop.lose_replies = 1

    def gone(self) -> ChannelApi:
        return self._connect(NOWHERE)


class Fake:
    """The fake that actors are tested with."""

    def __init__(self) -> None:
        self._shop = FakeChannelApi()
        self.api: ChannelApi = self._shop

    async def stock(self, figures: Mapping[str, int]) -> None:
        self._shop.stock.update(figures)

    async def sell(self, sku: str) -> str:
        sold = self._shop.sell(sku)
        assert sold is not None
        return sold.order.id

    async def figure(self, sku: str) -> int:
        return self._shop.stock[sku]

    async def lose_reply(self) -> None:
        self._shop.faults.append(Fault.LOST)

    def gone(self) -> ChannelApi:
        return FakeChannelApi(down=True)


def _by_name(secret: Secret) -> SecretText:
    return SecretText(str(secret.env))


async def entries_of(api: ChannelApi) -> dict[str, Entry]:
    """Import the map."""
    return {product.sku: Entry(sku=product.sku, ids=product.ids) async for product in api.products()}


class Processes:
    """The simulated shops of one test module: each is started once, when a test first wants it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, SimulatedWooCommerce | SimulatedShopify] = {}

    @property
    def woo(self) -> SimulatedWooCommerce:
        """WooCommerce, as if just started."""
        if "woo" not in self._started:
            self._started["woo"] = SimulatedWooCommerce(self._folder).start()
        shop = self._started["woo"]
        assert isinstance(shop, SimulatedWooCommerce)
        shop.clear()
        return shop

    @property
    def shopify(self) -> SimulatedShopify:
        """Shopify, with what other tests left in it."""
        if "shopify" not in self._started:
            self._started["shopify"] = SimulatedShopify(self._folder, "--restore", "2000").start()
        shop = self._started["shopify"]
        assert isinstance(shop, SimulatedShopify)
        return shop

    def close(self) -> None:
        """End them."""
        for shop in self._started.values():
            shop.close()


@asynccontextmanager
async def _woo(processes: Processes) -> AsyncIterator[Shop]:
    yield Woo(processes.woo)


@asynccontextmanager
async def _shopify(processes: Processes) -> AsyncIterator[Shop]:
    async with processes.shopify as shop:
        yield Shopify(shop)


@asynccontextmanager
async def _own(_: Processes) -> AsyncIterator[Shop]:
    async with OwnShop() as shop:
        yield Own(shop)


@asynccontextmanager
async def _fake(_: Processes) -> AsyncIterator[Shop]:
    yield Fake()


SHOPS: dict[str, Callable[[Processes], AbstractAsyncContextManager[Any]]] = {
    "woocommerce": _woo,
    "shopify": _shopify,
    "standard_webhooks": _own,
    "fake": _fake,
}

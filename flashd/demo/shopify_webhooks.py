"""
How the simulated Shopify tells of a change: signed POSTs, repeated 8 times in 4 hours; then the subscription is gone.

The limits are the vendor's: 1 s to connect, 5 s for the whole answer, and nothing but a 2xx counts. The times between
the repeats are not published beyond their number and sum; these double and more until 4 hours are full. For tests they
shrink by a factor, and deliveries can be dropped, delayed, doubled or switched off, by dice that a seed throws.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from flashd.demo.shopify_body import rest_level, rest_order
from flashd.demo.shopify_books import Level, Sold
from flashd.demo.shopify_schema import API_VERSION
from flashd.demo.signatures import shop_signature

SHOP_DOMAIN = "flashd-demo.myshopify.com"
REPEATS_S = (10.0, 30.0, 90.0, 270.0, 810.0, 1_800.0, 4_500.0, 6_890.0)  # 8 in 4 hours
_LIMIT = aiohttp.ClientTimeout(total=5.0, sock_connect=1.0)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One topic to one address; *topic* as GraphQL writes it: ORDERS_CREATE."""

    id: int
    topic: str
    uri: str
    created_at: datetime


class Mischief(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong on the way, as fractions of 1 and times in ms."""

    drop: float = 0.0  # of events: they are never sent
    double: float = 0.0
    delay_ms: tuple[int, int] = (0, 0)  # from, to: events overtake each other
    off: bool = False  # nothing is sent; what happens meanwhile is lost


class Webhooks:
    """The subscriptions and everything that is on its way."""

    def __init__(self, secret: str, *, seed: int = 0, shrink: float = 1.0) -> None:
        """
        Open nothing yet.

        Args:
            secret: Signs the bodies.
            seed: Of the dice.
            shrink: The times between repeats are multiplied by it.
        """
        self.subscriptions: list[Subscription] = []
        self.mischief = Mischief()
        self.counts: Counter[str] = Counter()
        self._secret = secret
        self._shrink = shrink
        self._dice = random.Random(seed)  # noqa: S311  # dice, not secrets
        self._numbers = 1_000
        self._flights: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    def subscribe(self, topic: str, uri: str) -> Subscription | None:
        """Add a subscription; None where there is one."""
        if any((one.topic, one.uri) == (topic, uri) for one in self.subscriptions):
            return None
        self._numbers += 1
        made = Subscription(id=self._numbers, topic=topic, uri=uri, created_at=datetime.now(UTC))
        self.subscriptions.append(made)
        return made

    def unsubscribe(self, topic: str = "") -> None:
        """Delete the subscriptions of a topic, or all, as a merchant or a failing receiver does."""
        self.subscriptions = [one for one in self.subscriptions if topic not in ("", one.topic)]

    def order_changed(self, order: Sold, *topics: str) -> None:
        """Tell of an order; its body is made now, and repeats carry the old one."""
        if self._wants(*topics):
            body = msgspec.json.encode(rest_order(order))
            for topic in topics:
                self._tell(topic, body)

    def level_changed(self, level: Level) -> None:
        """Tell of stock."""
        if self._wants("INVENTORY_LEVELS_UPDATE"):
            self._tell("INVENTORY_LEVELS_UPDATE", msgspec.json.encode(rest_level(level)))

    def _wants(self, *topics: str) -> bool:
        return any(one.topic in topics for one in self.subscriptions)

    def _tell(self, topic: str, body: bytes) -> None:
        event, told = str(uuid.UUID(int=self._dice.getrandbits(128))), datetime.now(UTC)
        for subscription in [one for one in self.subscriptions if one.topic == topic]:
            self.counts["events"] += 1
            if self.mischief.off or self._dice.random() < self.mischief.drop:
                self.counts["dropped"] += 1
                continue
            doubled = self._dice.random() < self.mischief.double
            self.counts["doubled"] += doubled
            for _ in range(1 + doubled):
                wait_s = self._dice.uniform(*self.mischief.delay_ms) / 1000
                headers = self._headers(topic, body, event, told)
                flight = asyncio.get_running_loop().create_task(self._deliver(subscription, body, headers, wait_s))
                self._flights.add(flight)
                flight.add_done_callback(self._flights.discard)

    def _headers(self, topic: str, body: bytes, event: str, told: datetime) -> dict[str, str]:
        first, _, rest = topic.lower().rpartition("_")
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": f"{first}/{rest}",
            "X-Shopify-Shop-Domain": SHOP_DOMAIN,
            "X-Shopify-API-Version": API_VERSION,
            "X-Shopify-Webhook-Id": str(uuid.UUID(int=self._dice.getrandbits(128))),
            "X-Shopify-Event-Id": event,
            "X-Shopify-Triggered-At": told.isoformat(),
            "X-Shopify-Hmac-Sha256": shop_signature(self._secret, body),
        }

    async def _deliver(self, to: Subscription, body: bytes, headers: dict[str, str], wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        for pause_s in (*REPEATS_S, None):
            if to not in self.subscriptions:
                return
            if await self._post(to.uri, body, headers):
                self.counts["delivered"] += 1
                return
            self.counts["failed"] += 1
            if pause_s is not None:
                await asyncio.sleep(pause_s * self._shrink)
        if to in self.subscriptions:
            self.counts["deleted"] += 1
            self.subscriptions.remove(to)

    async def _post(self, uri: str, body: bytes, headers: dict[str, str]) -> bool:
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32), timeout=_LIMIT)
        try:
            async with self._http.post(uri, data=body, headers=headers, allow_redirects=False) as reply:
                await reply.read()
                return 200 <= reply.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False

    def shown(self) -> dict[str, Any]:
        """Return what the control API tells of it."""
        told = [{"topic": one.topic, "uri": one.uri} for one in self.subscriptions]
        return {"subscriptions": told, "on_their_way": len(self._flights), **self.counts}

    async def close(self) -> None:
        """Give up what is on its way."""
        for flight in list(self._flights):
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

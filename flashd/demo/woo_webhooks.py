"""
WooCommerce's webhooks, and what may go wrong with them on purpose.

As in woocommerce/woocommerce class-wc-webhook.php: the body is made when it is *sent*, so it shows the order as it is
then; HTTP/1.0, no redirect, sixty seconds, one attempt. 200 to 302 is success. A failure counts, a success sets the
count back, and a failure that finds the count above five disables the webhook: the seventh in a row. The delivery id
hashes the webhook's id and the second, so that two orders in one second share it. The first ping is form-encoded and
unsigned.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import Counter, deque
from collections.abc import Coroutine
from typing import Any

import aiohttp
import msgspec

from flashd.demo.signatures import shop_signature
from flashd.demo.woo_documents import order_document, php_json
from flashd.demo.woo_shop import WooOrder, WooShop

MAX_FAILURES = 5
_TIMEOUT_S = 60.0
_AT_ONCE = 8
_KEPT = 10_000  # deliveries that can be looked up afterwards


class WebhookKnobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to deliveries between the shop and its receiver; fractions are of all deliveries."""

    drop: float = 0.0  # never sent, and not noticed
    duplicate: float = 0.0  # sent twice
    delay_s: tuple[float, float] = (0.0, 0.0)  # between making the body and sending it: a wide one reorders


class Webhook(msgspec.Struct, kw_only=True):
    """One subscription."""

    id: int
    name: str
    topic: str  # order.created or order.updated
    delivery_url: str
    secret: str
    created_s: float
    modified_s: float
    status: str = "active"  # active, paused, disabled
    failures: int = 0


class Sent(msgspec.Struct, frozen=True):
    """One attempt: *status* is 0 where nobody answered, -1 where it was dropped on purpose."""

    webhook: int
    delivery_id: str
    order: int
    order_status: str
    status: int


class WebhookDesk:
    """Sends what happens to orders to every active webhook."""

    def __init__(self, shop: WooShop, *, home: str, seed: int) -> None:
        self._shop = shop
        self._home = home
        self._seed = seed
        self._http: aiohttp.ClientSession | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self.clear()

    def clear(self) -> None:
        """Forget all webhooks and all that waits to be sent."""
        for task in self._running:
            task.cancel()
        self._random = random.Random(self._seed)  # noqa: S311  # repeatable on purpose
        self.knobs = WebhookKnobs()
        self.webhooks: dict[int, Webhook] = {}
        self.counts: Counter[str] = Counter()
        self.log: deque[Sent] = deque(maxlen=_KEPT)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._running

    async def subscribe(self, name: str, topic: str, delivery_url: str, secret: str) -> Webhook:
        """Create a webhook, active, and ping its receiver."""
        now = self._shop.now_s()
        webhook = Webhook(
            id=self._shop.take_id(),
            name=name,
            topic=topic,
            delivery_url=delivery_url,
            secret=secret,
            created_s=now,
            modified_s=now,
        )
        self.webhooks[webhook.id] = webhook
        status = await self._post(webhook, {"data": {"webhook_id": str(webhook.id)}})
        self.counts["pings" if status == 200 else "failed_pings"] += 1
        return webhook

    def tell(self, event: str, order: WooOrder) -> None:
        """Queue what happened for every active webhook of that topic; returns at once."""
        for webhook in self.webhooks.values():
            if webhook.topic == f"order.{event}" and webhook.status == "active":
                self._run(self._deliver(webhook, order))

    def switch_off(self, seconds: float) -> None:
        """Disable every active webhook, and enable it again after *seconds*."""
        active = [webhook for webhook in self.webhooks.values() if webhook.status == "active"]
        for webhook in active:
            webhook.status, webhook.modified_s = "disabled", self._shop.now_s()
        self._run(self._switch_on(active, seconds))

    async def close(self) -> None:
        """Stop sending."""
        self.clear()
        if self._http is not None:
            await self._http.close()

    async def _switch_on(self, webhooks: list[Webhook], seconds: float) -> None:
        await asyncio.sleep(seconds)
        for webhook in webhooks:
            webhook.status, webhook.failures = "active", 0

    async def _deliver(self, webhook: Webhook, order: WooOrder) -> None:
        async with self._gate:
            body = php_json(order_document(order, self._shop, self._home))
            second = int(self._shop.now_s())
            delivery_id = hashlib.md5(f"{webhook.id}{second}".encode()).hexdigest()  # noqa: S324  # as wp_hash does
            told = order.status
        times = self._chance_times()
        for _ in range(times):
            await asyncio.sleep(self._random.uniform(*self.knobs.delay_s))
            async with self._gate:
                status = await self._post(webhook, {"data": body, "headers": _headers(webhook, delivery_id, body)})
            self._count(webhook, status)
            self.log.append(Sent(webhook.id, delivery_id, order.id, told, status))
        if times == 0:
            self.counts["dropped"] += 1
            self.log.append(Sent(webhook.id, delivery_id, order.id, told, -1))

    def _chance_times(self) -> int:
        if self._random.random() < self.knobs.drop:
            return 0
        return 2 if self._random.random() < self.knobs.duplicate else 1

    def _count(self, webhook: Webhook, status: int) -> None:
        self.counts["sent"] += 1
        if 200 <= status <= 302:
            webhook.failures = 0
            return
        self.counts["failed"] += 1
        if webhook.failures > MAX_FAILURES:
            webhook.status, webhook.modified_s = "disabled", self._shop.now_s()
        else:
            webhook.failures += 1

    async def _post(self, webhook: Webhook, request: dict[str, Any]) -> int:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                version=aiohttp.HttpVersion10,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                headers={"User-Agent": "WooCommerce/10.3.4 Hookshot (WordPress/6.8.3)"},
                connector=aiohttp.TCPConnector(force_close=True, limit=_AT_ONCE),
            )
        try:
            async with self._http.post(webhook.delivery_url, allow_redirects=False, **request) as reply:
                await reply.read()
                return reply.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


def _headers(webhook: Webhook, delivery_id: str, body: bytes) -> dict[str, str]:
    resource, _, event = webhook.topic.partition(".")
    return {
        "Content-Type": "application/json",
        "X-WC-Webhook-Source": "https://shop.example.com/",
        "X-WC-Webhook-Topic": webhook.topic,
        "X-WC-Webhook-Resource": resource,
        "X-WC-Webhook-Event": event,
        "X-WC-Webhook-Signature": shop_signature(webhook.secret, body),
        "X-WC-Webhook-ID": str(webhook.id),
        "X-WC-Webhook-Delivery-ID": delivery_id,
    }

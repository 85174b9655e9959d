"""
The simulated shops: they send really signed webhooks and till traffic, repeat as their platforms do, and keep a ledger.

Every sending stands in the ledger, fsynced, before its first byte leaves; every answer before anything is concluded
from it. Shopify repeats what was not answered 2xx, eight times; so does the storefront with Standard Webhooks; the
till asks again with the same id; WooCommerce never repeats, and what it got no 2xx for stays "never acknowledged".
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec

from flashd.demo import payloads
from flashd.demo.ledger import Ledger, now_us
from flashd.demo.purchase import Purchase, Shop, Stage, Version
from flashd.demo.signatures import shop_signature, standard_signature

# The platforms wait minutes and hours between their repeats; the demo has a minute in all.
_REPEATS_S: Mapping[Shop, tuple[float, ...]] = {
    Shop.SHOPIFY: (0.3, 0.6, 1.2, 2.0, 2.0, 3.0, 3.0, 3.0),
    Shop.STANDARD: (0.3, 0.6, 1.2, 2.0, 2.0, 3.0, 3.0, 3.0),
    Shop.TILL: (0.2, 0.4, 0.8, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0),
    Shop.WOOCOMMERCE: (),
}
_TIMEOUTS_S: Mapping[Shop, float] = {Shop.SHOPIFY: 5.0, Shop.STANDARD: 15.0, Shop.TILL: 5.0, Shop.WOOCOMMERCE: 10.0}
_TOPICS = {Stage.PENDING: "orders/create", Stage.PAID: "orders/paid", Stage.CANCELLED: "orders/cancelled"}
_STALE_S = 10.0  # placed so long before the first version is sent, so that later versions do not lie in the future
EARLY_S = 0.2  # between two customers before the sale opens
HOLD_MS = 4_000  # an abandoned basket is back on the shelf within the demo


class Answer(msgspec.Struct, frozen=True):
    """The last answer to one sending: status 0 where none came."""

    status: int
    body: dict[str, Any]
    attempts: int

    @property
    def is_ok(self) -> bool:
        """Whether it was a 2xx."""
        return 200 <= self.status < 300


class Shops:
    """All shops of the demo: one session, one ledger, one set of secrets."""

    def __init__(self, intake: str, secrets: Mapping[Shop, str], ledger: Ledger, *, seed: int, early: int = 0) -> None:
        """
        Prepare them.

        Args:
            intake: The address of the daemon's intake listener.
            secrets: What each shop signs with; the till's is its bearer token.
            ledger: Where they note what they send and hear.
            seed: Under which delivery ids.
            early: How many customers come before the sale opens.
        """
        self.early = early
        self.counts: Counter[str] = Counter()
        self._intake = intake
        self._secrets = secrets
        self._ledger = ledger
        self._dice = random.Random(f"shops {seed}")  # noqa: S311  # repeatable on purpose
        self._http: aiohttp.ClientSession | None = None

    async def run(self, purchases: list[Purchase], *, buyers: int) -> None:
        """
        Let *buyers* customers at a time make all purchases; return when the last one is through with it.

        A few come one by one before the sale opens: a bucket that saves up what they leave unused shows itself when
        the others rush in.
        """
        waiting = iter(purchases)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._http, asyncio.TaskGroup() as group:
            for purchase in itertools.islice(waiting, self.early):
                group.create_task(self._buy(purchase))
                await asyncio.sleep(EARLY_S)
            for _ in range(buyers):
                group.create_task(self._buy_all(waiting))
        await self._ledger.flushed()

    async def _buy_all(self, waiting: Iterator[Purchase]) -> None:
        for purchase in waiting:
            await self._buy(purchase)

    async def _buy(self, purchase: Purchase) -> None:
        await asyncio.sleep(purchase.think_s)
        await (self._at_the_till(purchase) if purchase.shop is Shop.TILL else self._online(purchase))
        self.counts["purchases"] += 1

    # ---------------------------------------------------------------------------------------------------- webhooks

    async def _online(self, purchase: Purchase) -> None:
        placed = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=_STALE_S)
        told = [purchase.versions[index] for index in purchase.sequence]
        if purchase.together:
            await asyncio.gather(*(self._webhook(purchase, version, placed) for version in told))
            return
        for version in told:
            await self._webhook(purchase, version, placed)

    async def _webhook(self, purchase: Purchase, version: Version, placed: datetime) -> None:
        body = msgspec.json.encode(_body_of(purchase, version, placed))
        delivery = f"{self._dice.getrandbits(64):016x}"

        def headers() -> dict[str, str]:
            return self._signed(purchase.shop, version, body, delivery)

        await self._note_order(purchase, version, delivery)
        answer = await self._send(purchase.shop, "POST", f"/webhooks/{purchase.shop}", body, headers)
        self._note_answer(purchase, version, delivery, answer)
        await self._ledger.flushed()

    def _signed(self, shop: Shop, version: Version, body: bytes, delivery: str) -> dict[str, str]:
        secret = self._secrets[shop]
        if shop is Shop.SHOPIFY:
            return {
                "Content-Type": "application/json",
                "X-Shopify-Topic": _TOPICS[version.stage],
                "X-Shopify-Shop-Domain": "flashd-demo.myshopify.com",
                "X-Shopify-API-Version": "2026-04",
                "X-Shopify-Webhook-Id": delivery,
                "X-Shopify-Event-Id": delivery,
                "X-Shopify-Triggered-At": datetime.now(UTC).isoformat(),
                "X-Shopify-Hmac-Sha256": shop_signature(secret, body),
            }
        if shop is Shop.WOOCOMMERCE:
            event = "created" if version.number == 1 else "updated"
            return {
                "Content-Type": "application/json",
                "X-WC-Webhook-Source": "https://demo.example.com/",
                "X-WC-Webhook-Topic": f"order.{event}",
                "X-WC-Webhook-Resource": "order",
                "X-WC-Webhook-Event": event,
                "X-WC-Webhook-ID": "12",
                "X-WC-Webhook-Delivery-ID": delivery,
                "X-WC-Webhook-Signature": shop_signature(secret, body),
            }
        timestamp = int(datetime.now(UTC).timestamp())  # of this attempt: an old one is refused
        return {
            "Content-Type": "application/json",
            "webhook-id": f"msg_{delivery}",
            "webhook-timestamp": str(timestamp),
            "webhook-signature": standard_signature(secret, f"msg_{delivery}", timestamp, body),
        }

    # -------------------------------------------------------------------------------------------------------- till

    async def _at_the_till(self, purchase: Purchase) -> None:
        version = purchase.versions[0]
        hold_id = f"hold-{purchase.number:06}"
        lines = [{"sku": line.article.sku, "quantity": line.quantity} for line in version.lines]
        hold = msgspec.json.encode({"id": hold_id, "lines": lines, "ttl_ms": HOLD_MS})
        began_us = now_us()
        self._ledger.note("hold_sent", hold=hold_id, lines=_plain(version))
        await self._ledger.flushed()
        answer = await self._send(Shop.TILL, "POST", "/v1/holds", hold, self._bearer)
        self._ledger.note("hold_answered", hold=hold_id, status=answer.status, body=answer.body)
        await self._ledger.flushed()
        if not answer.is_ok:
            self.counts["sold_out" if answer.status == 409 else "till_gave_up"] += 1
            return
        await asyncio.sleep(purchase.think_s)
        if purchase.abandons:
            self.counts["abandoned"] += 1
            return
        if purchase.releases:
            released = await self._send(Shop.TILL, "DELETE", f"/v1/holds/{hold_id}", b"", self._bearer)
            self._ledger.note("hold_released", hold=hold_id, status=released.status)
            self.counts["released"] += 1
            return
        placed = datetime.now(UTC)
        body = payloads.native(purchase, version, placed) | {"hold_id": hold_id}
        for _ in purchase.sequence:
            await self._note_order(purchase, version, hold_id, held_until_us=began_us + HOLD_MS * 1000)
            ordered = await self._send(Shop.TILL, "POST", "/v1/orders", msgspec.json.encode(body), self._bearer)
            self._note_answer(purchase, version, hold_id, ordered)
            await self._ledger.flushed()

    def _bearer(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "Authorization": f"Bearer {self._secrets[Shop.TILL]}"}

    # ------------------------------------------------------------------------------------------------------ sending

    async def _send(
        self, shop: Shop, method: str, path: str, body: bytes, headers: Callable[[], dict[str, str]]
    ) -> Answer:
        """Send until a 2xx or a refusal came, as often as this platform repeats."""
        answer = Answer(0, {}, 0)
        for attempt, pause_s in enumerate((*_REPEATS_S[shop], None), start=1):
            self.counts["requests"] += 1
            status, data = await self._once(shop, method, path, body, headers())
            answer = Answer(status, data, attempt)
            if answer.is_ok or 400 <= status < 500 or pause_s is None:
                break
            self.counts["repeats"] += 1
            await asyncio.sleep(pause_s)
        self.counts["acknowledged" if answer.is_ok else "unacknowledged"] += 1
        return answer

    async def _once(
        self, shop: Shop, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        assert self._http is not None  # noqa: S101  # opened by run()
        limit = aiohttp.ClientTimeout(total=_TIMEOUTS_S[shop])
        try:
            async with self._http.request(
                method, self._intake + path, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as reply:
                data = await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.counts["unanswered"] += 1
            return 0, {}
        try:
            decoded = msgspec.json.decode(data) if data else {}
        except msgspec.MsgspecError:
            decoded = {}
        return reply.status, decoded if isinstance(decoded, dict) else {}

    # ------------------------------------------------------------------------------------------------------- ledger

    async def _note_order(self, purchase: Purchase, version: Version, delivery: str, *, held_until_us: int = 0) -> None:
        self._ledger.note(
            "order_sent",
            channel=purchase.shop,
            order=payloads.order_id(purchase),
            version=version.number,
            stage=version.stage,
            delivery=delivery,
            lines=_plain(version),
            shipping=version.shipping,
            tax=version.tax,
            total=version.total,
            held_until_us=held_until_us,
        )
        await self._ledger.flushed()

    def _note_answer(self, purchase: Purchase, version: Version, delivery: str, answer: Answer) -> None:
        self._ledger.note(
            "order_answered",
            channel=purchase.shop,
            order=payloads.order_id(purchase),
            version=version.number,
            delivery=delivery,
            status=answer.status,
            state=str(answer.body.get("state", "")),
            code=str(answer.body.get("code", "")),
            attempts=answer.attempts,
        )


def _plain(version: Version) -> list[dict[str, Any]]:
    return [
        {
            "sku": line.article.sku,
            "quantity": line.quantity,
            "unit_price": line.article.price,
            "discount": line.discount,
        }
        for line in version.lines
    ]


def _body_of(purchase: Purchase, version: Version, placed: datetime) -> dict[str, Any]:
    if purchase.shop is Shop.SHOPIFY:
        return payloads.shopify(purchase, version, placed)
    if purchase.shop is Shop.WOOCOMMERCE:
        return payloads.woocommerce(purchase, version, placed)
    return payloads.standard(purchase, version, placed)

"""The simulated Shopify from Python: start it as a process, sell in it, and read its books."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
import msgspec

from flashd.demo.child import Child

API_VERSION = "2026-10"


class SimulatedShopify:
    """One simulated shop; `start` it, use it within ``async with``, and `close` it."""

    def __init__(self, folder: Path, *switches: str, name: str = "shopify") -> None:
        """
        Describe it; nothing runs before :meth:`start`.

        Args:
            folder: Where its log lies.
            switches: Arguments of ``python -m flashd.demo.simulated_shopify``, such as ``--points``, ``50``.
            name: Of the log.
        """
        arguments = ["-m", "flashd.demo.simulated_shopify", *switches]
        self._child = Child("the simulated Shopify", arguments, log=folder / f"{name}.log")
        self._http: aiohttp.ClientSession | None = None
        self.url = ""
        self.token = ""
        self.secret = ""

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start the process and return after it listens."""
        self._child.start(pipe=True)
        told = msgspec.json.decode(self._child.first_line(timeout_s), type=dict[str, Any])
        self.url, self.token, self.secret = told["url"], told["token"], told["secret"]
        return self

    def close(self) -> None:
        """End the process, by its id; fine to call twice."""
        self._child.close()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call the control API."""
        assert self._http is not None
        data = None if body is None else msgspec.json.encode(body)
        async with self._http.request(method, f"/sim/{path}", data=data) as reply:
            return reply.status, msgspec.json.decode(await reply.read())

    async def _done(self, path: str, body: object = None) -> dict[str, Any]:
        status, answer = await self.ask("POST", path, body or {})
        assert status in {200, 201}, (status, answer)
        return cast("dict[str, Any]", answer)

    async def create(self, *products: dict[str, Any]) -> dict[str, Any]:
        """Put products on sale; the answer has their ids and those of the locations."""
        return await self._done("products", list(products))

    async def sell(self, sku: str = "", quantity: int = 1, **more: Any) -> dict[str, Any] | None:
        """Sell; the order as a webhook has it, or None where it is sold out."""
        status, answer = await self.ask("POST", "sell", {"sku": sku, "quantity": quantity, **more})
        assert status in {201, 409}, (status, answer)
        return cast("dict[str, Any]", answer) if status == 201 else None

    async def edit(self, order: int, quantities: dict[str, int], **more: Any) -> dict[str, Any]:
        """Change how many units an order has."""
        return await self._done(f"orders/{order}/edit", {"quantities": quantities, **more})

    async def refund(self, order: int, quantities: dict[str, int], **more: Any) -> dict[str, Any]:
        """Refund an order down to these quantities."""
        return await self._done(f"orders/{order}/refund", {"quantities": quantities, **more})

    async def mark(self, order: int, **changes: Any) -> dict[str, Any]:
        """Change an order's status, tags or note."""
        return await self._done(f"orders/{order}/mark", changes)

    async def cancel(self, order: int, *, restock: bool = True) -> dict[str, Any]:
        """Cancel an order."""
        return await self._done(f"orders/{order}/cancel", {"restock": restock})

    async def set_stock(self, sku: str, available: int, **more: Any) -> dict[str, Any]:
        """Let a human set the stock."""
        return await self._done("stock", {"sku": sku, "available": available, **more})

    async def subscribe(self, uri: str, topics: Sequence[str] = ("orders/create", "orders/updated")) -> dict[str, Any]:
        """Send webhooks to an address."""
        return await self._done("subscribe", {"uri": uri, "topics": list(topics)})

    async def unsubscribe(self, topic: str = "") -> dict[str, Any]:
        """Delete subscriptions."""
        return await self._done("unsubscribe", {"topic": topic})

    async def faults(self, **faults: Any) -> dict[str, Any]:
        """Let these things go wrong from now on, and nothing else."""
        return await self._done("faults", faults)

    async def books(self) -> dict[str, Any]:
        """Return all orders and levels."""
        return cast("dict[str, Any]", (await self.ask("GET", "books"))[1])

    async def stats(self) -> dict[str, Any]:
        """Return the counters."""
        return cast("dict[str, Any]", (await self.ask("GET", "stats"))[1])

    async def available(self, sku: str) -> int:
        """Return what is left of a SKU, over all locations."""
        return sum(level["available"] for level in (await self.books())["levels"] if level["sku"] == sku)

    async def graphql(self, query: str, variables: dict[str, Any] | None = None, *, token: str = "") -> Any:
        """Call the Admin API, as an app does."""
        assert self._http is not None
        body = msgspec.json.encode({"query": query, "variables": variables or {}})
        headers = {"X-Shopify-Access-Token": token or self.token, "Content-Type": "application/json"}
        path = f"/admin/api/{API_VERSION}/graphql.json"
        async with self._http.post(path, data=body, headers=headers) as reply:
            return msgspec.json.decode(await reply.read())

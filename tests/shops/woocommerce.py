"""A simulated WooCommerce shop for tests: started as a process, ended by its id, asked over loopback."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

from flashd.demo.child import Child

SECRET = "a webhook secret"


class SimulatedWooCommerce:
    """One shop and its process. The calls block: a shop is driven between the steps of a test, or from a thread."""

    key, secret = "ck_sim", "cs_sim"

    def __init__(self, folder: Path, *switches: str, name: str = "woo") -> None:
        self._child = Child(
            "the simulated WooCommerce",
            ["-m", "flashd.demo.simulated_woocommerce", *switches],
            log=folder / f"{name}.log",
        )
        self.url = ""

    def start(self, timeout_s: float = 20.0) -> SimulatedWooCommerce:
        """Start it and return after it listens."""
        self._child.start(pipe=True)
        self.url = json.loads(self._child.first_line(timeout_s))["url"]
        return self

    def close(self) -> None:
        """End the process; fine to call twice."""
        self._child.close()

    # ----------------------------------------------------------------------------------------------------- the hand

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call ``/sim``; an error is an AssertionError with what it said."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/sim/{path}", data=data, method=method)  # noqa: S310  # loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310  # loopback
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def stock(self, *products: dict[str, Any], **figures: int) -> dict[str, int]:
        """Create products, given in full or as SKU=stock; return the id of every SKU."""
        entries = [*products, *({"sku": sku, "stock": figure} for sku, figure in figures.items())]
        ids: dict[str, int] = self.call("POST", "products", entries)
        return ids

    def buy(self, sku: str, quantity: int = 1, *, status: str = "processing") -> Any:
        """Buy one SKU: ``{"id", "status"}`` or ``{"short"}``."""
        return self.buy_all([{"lines": [{"sku": sku, "quantity": quantity}], "status": status}])[0]

    def buy_all(self, purchases: list[dict[str, Any]]) -> list[Any]:
        """Let many purchases happen, one after the other."""
        answers: list[Any] = self.call("POST", "orders", purchases)
        return answers

    def move(self, order: int, status: str) -> None:
        """Move an order to a status."""
        self.call("POST", f"orders/{order}/status", {"status": status})

    def edit(self, sku: str, **fields: Any) -> None:
        """Let a human edit a product."""
        self.call("POST", "edit", {"sku": sku, **fields})

    def turn(self, **knobs: Any) -> Any:
        """Turn knobs: webhooks={...}, api={...}, next={...}, clock_offset_s=."""
        return self.call("POST", "knobs", knobs)

    def clear(self) -> None:
        """Let it forget everything, as if it were started anew."""
        self.call("POST", "clear", {})

    def webhooks_off(self, seconds: float) -> None:
        """Disable all webhooks for a time."""
        self.call("POST", "webhooks-off", {"seconds": seconds})

    def subscribe(self, delivery_url: str, secret: str = SECRET) -> list[int]:
        """Create both order webhooks through the REST API; return their ids."""
        topics = ("order.created", "order.updated")
        bodies = [{"topic": topic, "delivery_url": delivery_url, "secret": secret} for topic in topics]
        return [self.rest("POST", "webhooks", body)[1]["id"] for body in bodies]

    @property
    def books(self) -> Any:
        """Stock, sold, orders, refused, calls, deliveries, webhooks, idle."""
        return self.call("GET", "books")

    @property
    def log(self) -> list[Any]:
        """The newest deliveries: webhook, delivery_id, order, order_status, status."""
        found: list[Any] = self.call("GET", "log")
        return found

    @property
    def orders(self) -> list[Any]:
        """Every order in short."""
        found: list[Any] = self.call("GET", "orders")
        return found

    def settled(self, timeout_s: float = 20.0) -> Any:
        """Return the books as soon as no webhook waits to be sent."""
        deadline = time.monotonic() + timeout_s
        while not (books := self.books)["idle"]:
            assert time.monotonic() < deadline, books["deliveries"]
            time.sleep(0.02)  # another process: there is no signal to wait for
        return books

    # ------------------------------------------------------------------------------------------------------ the API

    def rest(self, method: str, path: str, body: Any = None, *, login: str | None = None) -> tuple[int, Any, Any]:
        """Call the REST API as anybody would: status, body, headers."""
        request = urllib.request.Request(  # noqa: S310  # loopback
            f"{self.url}/wp-json/wc/v3/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": _basic(login or f"{self.key}:{self.secret}"), "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310  # loopback
                return reply.status, json.loads(reply.read()), reply.headers
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else text.decode(), error.headers


def _basic(login: str) -> str:
    return "Basic " + b64encode(login.encode()).decode()

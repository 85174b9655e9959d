"""
Signed webhooks of Shopify.

Facts: shopify.dev/docs/apps/build/webhooks/verify-deliveries (signature, rotation of secrets).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from flashd.channels import signature
from flashd.channels.shopify.compliance import decode_demand
from flashd.channels.shopify.config import Config
from flashd.channels.shopify.orders import decode_order
from flashd.config import Secret, SecretText
from flashd.domain.order import Incoming
from flashd.domain.privacy import Demand
from flashd.ports import Unreadable, Unrelated


class Shopify(signature.SignedBody):
    """One Shopify shop as a sales channel; after a change of its secret, the old one lives on for up to an hour."""

    kind: ClassVar[str] = "shopify"
    header: ClassVar[str] = "x-shopify-hmac-sha256"

    def __init__(self, name: str, config: Config, secrets: tuple[bytes, ...]) -> None:
        super().__init__(name, secrets)
        self._config = config

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated | Demand:
        """Understand a proven body; the headers are not signed and decide nothing of an order."""
        found = decode_order(body, self.name, self._config)
        if isinstance(found, Incoming):
            return found
        return decode_demand(headers, body, self.name, self._config) or found

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        """Return the headers of an orders/updated delivery of this body."""
        headers = super().sign(body, now_s=now_s, delivery_id=delivery_id)
        return {**headers, "x-shopify-topic": "orders/updated", "x-shopify-webhook-id": delivery_id}


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> Shopify:
    """
    Return the channel.

    Raises:
        ConfigError: A secret is missing or empty.
    """
    return Shopify(name, config, signature.live_secrets(name, config, reveal))

"""How shops sign what they send, written from the platforms' documentation and from nothing of the daemon."""

from __future__ import annotations

import base64
import hashlib
import hmac


def shop_signature(secret: str, body: bytes) -> str:
    """Sign as Shopify (X-Shopify-Hmac-Sha256) and WooCommerce (X-WC-Webhook-Signature) do."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign as Standard Webhooks 1.0.0 does: the ``webhook-signature`` header over id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

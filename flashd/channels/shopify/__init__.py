"""
Shopify: signed order webhooks on the way in, the Admin GraphQL API (2026-10) on the way out.

``webhook`` proves and ``orders`` reads what Shopify sends; ``api`` writes stock and prices, and lists orders, which
``listed`` puts into the words of a webhook, so that both ways in share one reading.
"""

from __future__ import annotations

from flashd.channels.shopify.api import ShopifyApi, connect_api
from flashd.channels.shopify.config import Config
from flashd.channels.shopify.orders import EFFECTS, decode_order
from flashd.channels.shopify.webhook import Shopify, connect

__all__ = ["EFFECTS", "Config", "Shopify", "ShopifyApi", "connect", "connect_api", "decode_order"]

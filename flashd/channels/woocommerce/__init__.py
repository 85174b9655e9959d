"""
WooCommerce: signed order webhooks (`orders`), and the shop's own REST API, where stock and prices are written (`rest`).

The page is docs/channels/woocommerce.md.
"""

from flashd.channels.woocommerce.config import Config
from flashd.channels.woocommerce.orders import EFFECTS, WooCommerce, connect, decode_order
from flashd.channels.woocommerce.rest import WooCommerceApi, connect_api

__all__ = ["EFFECTS", "Config", "WooCommerce", "WooCommerceApi", "connect", "connect_api", "decode_order"]

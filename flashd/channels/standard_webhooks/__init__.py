"""
Standard Webhooks both ways: signed orders come in (`orders`), signed stock figures go out (`push`).

The page is docs/channels/standard_webhooks.md.
"""

from flashd.channels.standard_webhooks.config import Config
from flashd.channels.standard_webhooks.orders import EFFECTS, StandardWebhooks, connect, decode_order, key_of
from flashd.channels.standard_webhooks.push import StandardWebhooksApi, connect_api

__all__ = [
    "EFFECTS",
    "Config",
    "StandardWebhooks",
    "StandardWebhooksApi",
    "connect",
    "connect_api",
    "decode_order",
    "key_of",
]

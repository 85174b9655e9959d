"""
What flashd asks of a channel: how Vendure's messages are proven and read, how it asks for holds, where its API is.

The shop signs as Standard Webhooks say and holds as the native API says, so both come from flashd as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from flashd.channels import native, standard_webhooks
from flashd.channels.exchange import checked_address
from flashd.config import ChannelConfig, Secret, SecretText
from flashd.domain.order import Incoming
from flashd.domain.rate import Rate
from flashd.domain.reservation import HoldRequest
from flashd.errors import ConfigError
from flashd.ports import Unreadable, Unrelated
from flashd_vendure.api import VendureApi
from flashd_vendure.link import Link


class Config(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A Vendure shop with the plug-in of this example."""

    proven_by: ClassVar[tuple[str, ...]] = ("secrets", "tokens")  # of orders; of holds

    customer_key: Secret | None = None  # of holds, for purchase limits; the pool's own counts before it
    url: str = ""  # of the Admin API; without it nothing is written back or polled
    api_key: Secret | None = None  # may read orders, settings and stock locations, and read and change the catalogue
    location: str = ""  # the stock location that is written; by default the shop's oldest
    timeout_s: Annotated[float, Meta(gt=0)] = 20.0


class Vendure:
    """One shop; the port NativeChannel."""

    kind: ClassVar[str] = "vendure"

    def __init__(self, name: str, hooks: standard_webhooks.StandardWebhooks, till: native.Native) -> None:
        self.name = name
        self._hooks = hooks
        self._till = till

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
        """Say whether one of the live secrets signed these bytes."""
        return self._hooks.verify(headers, body, now_s=now_s)

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Say no: the plug-in sends none."""
        return self._hooks.is_ping(headers, body)

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated:
        """Understand a proven body."""
        return self._hooks.decode(headers, body)

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        """Return the headers with which the plug-in would send this body."""
        return self._hooks.sign(body, now_s=now_s, delivery_id=delivery_id)

    def decode_hold(
        self, body: bytes, *, default_ttl_ms: int = 600_000, max_ttl_ms: int = 1_800_000, location: str = "main"
    ) -> HoldRequest:
        """Understand the body of ``POST /v1/holds``; raises Refused."""
        return self._till.decode_hold(body, default_ttl_ms=default_ttl_ms, max_ttl_ms=max_ttl_ms, location=location)

    def decode_order(self, body: bytes) -> Incoming:
        """Understand an order of the native API, which the plug-in does not use; raises Refused."""
        return self._till.decode_order(body)


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> Vendure:
    """
    Return the channel.

    Raises:
        ConfigError: A secret is missing, empty or malformed.
    """
    signed = standard_webhooks.Config(kind=config.kind, pool=config.pool, secrets=config.secrets)
    hooks = standard_webhooks.connect(name, signed, reveal)
    bearer = native.Config(kind="native", pool=config.pool, tokens=config.tokens, customer_key=config.customer_key)
    till = native.connect(name, bearer, reveal)
    return Vendure(name, hooks, till)


def connect_api(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> VendureApi | None:
    """
    Return the shop's Admin API, or None where its address is not configured.

    Raises:
        ConfigError: The address is no HTTP address, or the key is missing.
    """
    if not config.url:
        return None
    url = checked_address(f"channels.{name}.url", config.url)
    key = str(reveal(config.api_key)).strip() if config.api_key else ""
    if not key:
        raise ConfigError(f'[channels.{name}] api_key: is missing; write api_key = {{ file = "{name}.key" }}')
    link = Link(name, url, key, rate=Rate.parse(config.publish.rate), timeout_s=config.timeout_s)
    return VendureApi(name, link, location=config.location)

"""What a WooCommerce shop is configured with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from flashd.config import ChannelConfig, Secret


class Config(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A WooCommerce shop."""

    deliver_when: tuple[Literal["on-hold", "pending"], ...] = ()  # besides processing and completed
    url: str = ""  # of the shop, without /wp-json; "": its API is left alone
    consumer_key: Secret | None = None
    consumer_secret: Secret | None = None
    webhooks_url: str = ""  # where its webhooks go: one that was disabled is made active again; "": only told
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0

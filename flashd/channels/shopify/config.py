"""What a Shopify shop can be told in flashd.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from flashd.config import ChannelConfig, Secret


class Config(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A Shopify shop."""

    deliver_when: tuple[Literal["authorized", "partially_paid", "pending"], ...] = ()  # besides paid ones
    require_address: bool = True  # an order with goods to ship and no address is parked (never one of the till)
    url: str = ""  # https://my-shop.myshopify.com; "": its API is left alone
    access_token: Secret | None = None  # of an app of this shop: shpat_...
    api_version: Annotated[str, Meta(pattern=r"^20[0-9]{2}-(01|04|07|10)$")] = "2026-10"
    location: str = ""  # whose stock is read and written: the id of a Shopify location; "": the shop has only one
    together: Annotated[int, Meta(ge=1, le=250)] = 10  # figures of which one that is stale refuses all
    webhooks: Literal["app", "notifications"] = "app"  # who made them: those of the settings page are not listed
    webhooks_url: str = ""  # where they go, https://.../webhooks/NAME: a deleted one is made again; "": only told
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 15.0

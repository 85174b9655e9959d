"""What a sender, and receiver, of Standard Webhooks is configured with."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from flashd.config import ChannelConfig, Secret


class Config(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A sender of Standard Webhooks, which may take figures and be asked."""

    publish_url: str = ""  # POST: figures go there; "": none do
    figures_url: str = ""  # GET: what it shows now; "": it cannot be asked
    orders_url: str = ""  # GET: orders by the time of their change; "": it cannot be polled
    api_token: Secret | None = None  # sent as a bearer token to all three
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 15.0

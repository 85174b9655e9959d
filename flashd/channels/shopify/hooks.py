"""
The webhooks of one shop, as its Admin API tells them, and how those that are gone are made again.

Shopify deletes a subscription whose deliveries failed for four hours, so one that is needed and not there is dead.
Facts: shopify.dev/docs/api/admin-graphql/2026-10/mutations/webhookSubscriptionCreate.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flashd.channels.exchange import plain
from flashd.channels.shopify import queries
from flashd.channels.shopify.admin import Admin, Failed
from flashd.channels.shopify.answers import Hook, Page
from flashd.ports.channel_api import Subscription

NEEDED_TOPICS = ("ORDERS_CREATE", "ORDERS_UPDATED")
_GONE = "there is none: Shopify deletes a subscription whose deliveries failed; subscribe again"


class _Complaint(msgspec.Struct):
    message: str = ""


class _Created(msgspec.Struct, rename="camel"):
    webhook_subscription: dict[str, Any] | None = None
    user_errors: list[_Complaint] = []


async def listed(admin: Admin) -> list[Subscription]:
    """Return the webhooks for orders, and those that are needed and gone as not alive. Raises ChannelUnavailable."""
    found: list[Hook] = []
    after = ""
    while True:
        told = await admin.read("subscriptions", queries.SUBSCRIPTIONS, {"after": after or None}, spare=True)
        page = admin.convert(told.data.get("webhookSubscriptions"), Page)
        found += admin.convert(page.nodes, list[Hook])
        after = page.after
        if not after:
            break
    there = {hook.topic for hook in found}
    missing = [topic for topic in NEEDED_TOPICS if topic not in there]
    return [Subscription(topic=hook.topic, address=hook.uri, alive=True) for hook in found] + [
        Subscription(topic=topic, address="", alive=False, reason=_GONE) for topic in missing
    ]


async def make_again(admin: Admin, address: str) -> list[Subscription]:
    """
    Subscribe *address* to every needed topic that nobody is told of; return these, with a reason where it was refused.

    A subscription that is there already is refused by Shopify itself, so a repeat makes no second one.

    Raises:
        ChannelUnavailable: The platform could not be asked for what there is.
    """
    made: list[Subscription] = []
    for one in await listed(admin):
        if one.alive:
            continue
        told = await admin.ask("subscribe", queries.SUBSCRIBE, {"topic": one.topic, "uri": address})
        if isinstance(told, Failed):
            reason = told.reason
        elif told.errors:
            reason = plain(told.errors[0].message) or "an error without a word"
        else:
            answer = admin.convert(told.data.get("webhookSubscriptionCreate"), _Created)
            reason = "; ".join(plain(each.message) for each in answer.user_errors)
            reason = reason or ("" if answer.webhook_subscription else "it made none")
        made.append(Subscription(topic=one.topic, address=address, alive=not reason, reason=reason))
    return made

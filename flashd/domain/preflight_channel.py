"""What may be wrong with the channels of a sale: map, policies, publishing, prices, webhooks, polling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

from flashd.domain.preflight_facts import ChannelFacts, Facts, Finding, Level, found, named, skus_of
from flashd.domain.sale import SaleProduct

_UNTOLD = "it is told no figures, so it oversells"
POLL_GRACE_MS = 60_000


def check_mapped(facts: Facts) -> Iterator[Finding]:
    """Every SKU of the sale is mapped, and the platform has it."""
    for channel in facts.channels:
        if not channel.has_api:
            continue
        lacking = sorted(sku for sku in skus_of(facts) if sku not in channel.mapped)
        gone = sorted(sku for sku in skus_of(facts) if sku in channel.mapped and sku not in channel.shown)
        if lacking:
            mend = f"flashd channel import {channel.name}, or flashd channel map {channel.name} SKU"
            yield found("map", channel.name, Level.FAIL, f"{named(lacking)} are not mapped: never published", mend)
        if gone and not channel.shown_error and channel.shown_whole:
            said = f"the platform has no {named(gone)} under the mapped ids"
            yield found("map", channel.name, Level.FAIL, said, f"flashd channel import {channel.name}")
        if not lacking and (not gone or channel.shown_error or not channel.shown_whole):
            yield found("map", channel.name, Level.OK, f"{len(skus_of(facts))} SKUs are mapped")


def check_policies(facts: Facts) -> Iterator[Finding]:
    """Platforms stop at zero and count their stock."""
    for channel in facts.channels:
        if not channel.has_api:
            continue
        if channel.shown_error:
            said = f"its products could not be read: {channel.shown_error}"
            yield found("policy", channel.name, Level.FAIL, said, "see whether it is up and its login is right")
            continue
        ours = {sku: channel.shown[sku] for sku in skus_of(facts) if sku in channel.shown}
        open_ended = sorted(sku for sku, one in ours.items() if one.oversells)
        untracked = sorted(sku for sku, one in ours.items() if not one.tracked)
        if open_ended:
            mend = "Shopify: inventory policy DENY; WooCommerce: backorders off"
            yield found("policy", channel.name, Level.FAIL, f"it sells {named(open_ended)} below zero", mend)
        if untracked:
            said = f"it does not count stock of {named(untracked)}"
            yield found("policy", channel.name, Level.FAIL, said, "let the platform track these products")
        if not channel.shown_whole:
            yield found("policy", channel.name, Level.WARN, "its catalogue is too long to be looked at whole")
        elif not open_ended and not untracked:
            yield found("policy", channel.name, Level.OK, "stops at zero")


def check_publishing(facts: Facts) -> Iterator[Finding]:
    """Channels are told figures in a way that fits a sale."""
    for channel in facts.channels:
        if channel.has_api:
            yield from _check_figures(facts, channel)
        elif channel.asks:
            yield found("publish", channel.name, Level.OK, "it asks flashd for holds: nothing is published")
        else:
            mend = f"give [channels.{channel.name}] the address of its API and publish.mode (docs/channels/)"
            yield found("publish", channel.name, Level.FAIL, _UNTOLD, mend)


def _check_figures(facts: Facts, channel: ChannelFacts) -> Iterator[Finding]:
    name, check = channel.name, "publish"
    if channel.paused:
        yield found(check, name, Level.FAIL, "it is paused", f"flashd channel resume {name}")
    if channel.asks and channel.mode == "escrow":
        said = "it asks for holds, and what escrow grants to it is not free for them: buyers are refused"
        yield found(check, name, Level.FAIL, said, f'set publish.mode = "mirror" of [channels.{name}]')
    elif channel.asks:
        yield from () if channel.paused else (found(check, name, Level.OK, f"{channel.mode}; it asks for holds"),)
    elif channel.mode == "none":
        mend = f'set publish.mode = "escrow" or "mirror" of [channels.{name}]'
        yield found(check, name, Level.FAIL, _UNTOLD, mend)
    elif channel.oversells:
        said = "it may sell below its own figure under load, whatever flashd publishes"
        yield found(check, name, Level.WARN, said, "only the hold API at its checkout helps")
    elif channel.mode == "mirror" and not _kept_back(facts, channel):
        said = "a mirror without a buffer: what is sold while a figure is on its way is sold twice"
        yield found(check, name, Level.WARN, said, 'use publish.mode = "escrow", a buffer or tune')
    elif not channel.paused:
        yield found(check, name, Level.OK, channel.mode)


def _kept_back(facts: Facts, channel: ChannelFacts) -> bool:
    sale = facts.record.sale
    return all((one.threshold or sale.threshold or channel.threshold) for one in sale.products)


def check_prices(facts: Facts) -> Iterator[Finding]:
    """Prices can be read, so that they can be restored."""
    priced = [product for product in facts.record.sale.products if product.price]
    for channel in facts.channels if priced else ():
        if not channel.has_api:
            yield found("prices", channel.name, Level.OK, "it sets its own")
        elif not channel.pushes_prices:
            said = "flashd does not write its prices"
            yield found("prices", channel.name, Level.WARN, said, "set them there yourself, for the window")
        elif channel.prices_error:
            said = f"its prices could not be read: {channel.prices_error}"
            yield found("prices", channel.name, Level.FAIL, said, "see whether its login may read prices")
        else:
            yield from _asked(channel, priced)


def _asked(channel: ChannelFacts, priced: Sequence[SaleProduct]) -> Iterator[Finding]:
    wrong, higher = [], []
    for product in priced:
        now = channel.prices.get(product.sku)
        amount = None if now is None or now.reason else _amount(now.price)
        if amount is None:
            wrong.append(product.sku)
        elif Decimal(product.price) > amount:
            higher.append(product.sku)
    if wrong:
        said = f"the price of {named(wrong)} cannot be read, so it could not be restored"
        yield found("prices", channel.name, Level.FAIL, said, "look at these products on the platform")
    if higher:
        said = f"{named(higher)} would cost more in the sale than now"
        yield found("prices", channel.name, Level.WARN, said, "see whether the sale's price is right")
    if not wrong and not higher:
        kept = f", {channel.pre_images} former ones are kept" if channel.pre_images else ""
        yield found("prices", channel.name, Level.OK, f"{len(priced)} can be read{kept}")


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def check_webhooks(facts: Facts) -> Iterator[Finding]:
    """Orders are told of."""
    for channel in facts.channels:
        if not channel.has_api:
            continue
        name, check, mend = channel.name, "webhooks", "switch it on again on the platform"
        dead = [one for one in channel.webhooks if not one.alive]
        alive = {one.topic for one in channel.webhooks if one.alive}
        lost = [one for one in dead if one.topic not in alive]
        if channel.silent:
            yield found(check, name, Level.FAIL, channel.silent, mend)
        elif channel.webhooks_error:
            said = f"they could not be listed: {channel.webhooks_error}"
            yield found(check, name, Level.WARN, said, "look at them on the platform")
        elif lost:
            reason = f": {lost[0].reason}" if lost[0].reason else ""
            yield found(check, name, Level.FAIL, f"{lost[0].topic} is switched off{reason}", mend)
        elif alive:
            yield found(check, name, Level.OK, f"{len(alive)} are alive")
        elif channel.lists_webhooks:
            mend = "create the webhook for orders (flashd init prints how)"
            yield found(check, name, Level.FAIL, "the platform sends none", mend)
        else:
            yield found(check, name, Level.OK, "the platform cannot list them; polls would find what they miss")


def check_polling(facts: Facts) -> Iterator[Finding]:
    """Orders that no webhook tells of are found."""
    for channel in facts.channels:
        name, check = channel.name, "polling"
        if not channel.has_api or not channel.polls:
            continue
        if not channel.poll_ms:
            said = "orders are not polled: what a webhook misses is missed"
            yield found(check, name, Level.WARN, said, f"set poll_s of [channels.{name}]")
        elif not channel.polled_ms:
            said = f"it was never polled{_because(channel.poll_error)}"
            yield found(check, name, Level.FAIL, said, "see whether its login may read orders")
        elif facts.now_ms - channel.polled_ms > 3 * channel.poll_ms + POLL_GRACE_MS:
            late_s = (facts.now_ms - channel.polled_ms) / 1000
            said = f"it was polled {late_s:.0f} s ago, and is to be every {channel.poll_ms / 1000:g} s"
            yield found(check, name, Level.FAIL, said + _because(channel.poll_error), "see whether it is up")
        else:
            yield found(check, name, Level.OK, f"every {channel.poll_ms / 1000:g} s")


def _because(error: str) -> str:
    return f": {error}" if error else ""

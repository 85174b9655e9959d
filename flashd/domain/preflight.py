"""
Whether a sale may go: facts in, findings out, each with what to do. `Facts` is what was asked; nothing is asked here.

A fail is what will go wrong, a warning is what may; a sale without a fail is a go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from flashd.domain.instant import to_ms
from flashd.domain.preflight_channel import (
    check_mapped,
    check_policies,
    check_polling,
    check_prices,
    check_publishing,
    check_webhooks,
)
from flashd.domain.preflight_facts import Facts, Finding, Level, Preflight, found, named, skus_of
from flashd.domain.sale import SaleState

CLOCK_MS = 2000  # no clock may be further off
COUNTED_MS = 7 * 86_400_000  # a count older than this is worth another
SHORTEST_MS = 60_000  # a window shorter than this is no window that figures can follow


def judge(facts: Facts) -> Preflight:
    """Return what *facts* mean."""
    findings = tuple(finding for check in _CHECKS for finding in check(facts))
    return Preflight(
        sale=facts.record.sale.name,
        version=facts.record.version,
        go=all(finding.level is not Level.FAIL for finding in findings),
        findings=findings,
    )


def _window(facts: Facts) -> Iterator[Finding]:
    sale, check = facts.record.sale, "window"
    start_ms, end_ms = to_ms(sale.start), to_ms(sale.end)
    if facts.record.state is SaleState.ENDED:
        yield found(check, sale.name, Level.FAIL, "it was closed for good", "write it under another name")
    elif facts.record.state is SaleState.STOPPED:
        yield found(check, sale.name, Level.FAIL, "it is stopped", f"flashd sale resume {sale.name}")
    elif facts.now_ms >= end_ms:
        yield found(check, sale.name, Level.FAIL, "its window is over", "write a later one")
    elif end_ms - start_ms < SHORTEST_MS:
        seconds = (end_ms - start_ms) / 1000
        yield found(check, sale.name, Level.FAIL, f"its window lasts {seconds:g} s", "let it last a minute at least")
    elif facts.now_ms >= start_ms:
        yield found(check, sale.name, Level.WARN, "its window is open already")
    else:
        minutes = (start_ms - facts.now_ms) / 60_000
        yield found(
            check, sale.name, Level.OK, f"opens in {minutes:.0f} min, for {(end_ms - start_ms) / 60_000:.0f} min"
        )


def _store(facts: Facts) -> Iterator[Finding]:
    store, check = facts.store, "durability"
    if not store.ok:
        yield found(check, "store", Level.FAIL, f"nothing can be made durable: {store.reason}", "see to the server")
    elif store.durability == "none":
        yield found(check, "store", Level.FAIL, "orders do not survive its crash", 'set [store] durability = "fsync"')
    elif store.durability != "fsync":
        said = f"it keeps {store.durability}: an acknowledged order may be lost in a power cut"
        yield found(check, "store", Level.WARN, said, 'set [store] durability = "fsync"')
    else:
        yield found(check, "store", Level.OK, "every acknowledged order is fsynced")
    if store.used >= 0.5:
        level = Level.FAIL if store.used >= 0.8 else Level.WARN
        yield found("memory", "store", level, f"its memory is {store.used:.0%} used", "raise maxmemory before the sale")
    else:
        yield found("memory", "store", Level.OK, f"{store.used:.0%} used")


def _clocks(facts: Facts) -> Iterator[Finding]:
    yield _clock("store", facts.store.clock_off_ms, "")
    for channel in facts.channels:
        if channel.has_api:
            yield _clock(channel.name, channel.clock_off_ms, channel.clock_error)


def _clock(subject: str, off_ms: int, error: str) -> Finding:
    if error:
        return found("clock", subject, Level.WARN, f"it does not tell its time: {error}", "see whether it is up")
    if abs(off_ms) <= CLOCK_MS:
        return found("clock", subject, Level.OK, f"{abs(off_ms)} ms from this host")
    mend = "let NTP set the clocks of this host and of the store's server" + (
        "" if subject == "store" else "; a platform sets its own"
    )
    return found("clock", subject, Level.FAIL, f"its clock is {off_ms / 1000:+.1f} s off this host's", mend)


def _kits(facts: Facts) -> Iterator[Finding]:
    sold_kits = [facts.kits[sku] for sku in skus_of(facts) if sku in facts.kits]
    for kit in sold_kits:
        lacking = sorted(part.sku for part in kit.components if part.sku not in facts.units)
        if lacking:
            said = f"its components {named(lacking)} have no stock"
            yield found("kits", kit.sku, Level.FAIL, said, "count them, or put the kit together anew")
        else:
            yield found("kits", kit.sku, Level.OK, f"{len(kit.components)} components are there")


def _parts(facts: Facts, sku: str) -> dict[str, int]:
    """Return what one unit of *sku* takes from stock."""
    return {part.sku: part.quantity for part in facts.kits[sku].components} if sku in facts.kits else {sku: 1}


def _stock(facts: Facts) -> Iterator[Finding]:
    sale, check = facts.record.sale, "stock"
    unknown = sorted(sku for sku in skus_of(facts) if sku not in facts.kits and sku not in facts.units)
    if unknown:
        yield found(check, sale.name, Level.FAIL, f"{named(unknown)} were never counted", "flashd stock set, or import")
    wanted: dict[str, int] = {}
    for product in sale.products:
        left = max(0, product.quota - facts.used.get(product.sku, 0)) if product.quota else 0
        for sku, quantity in _parts(facts, product.sku).items():
            wanted[sku] = wanted.get(sku, 0) + left * quantity
    short = {sku: units - facts.units[sku] for sku, units in wanted.items() if units > facts.units.get(sku, units)}
    for sku, units in sorted(short.items()):
        said = f"quotas want {wanted[sku]} units, kits included, and {facts.units[sku]} may be promised"
        yield found(check, sku, Level.FAIL, said, f"lower quotas by {units}, or bring more in")
    empty = sorted(
        {sku for one in skus_of(facts) for sku in _parts(facts, one) if facts.units.get(sku) == 0} - short.keys()
    )
    if empty:
        yield found(
            check, sale.name, Level.FAIL, f"nothing is left of {named(empty)}", "bring more in, or leave it out"
        )
    if not unknown and not short and not empty:
        yield found(check, sale.name, Level.OK, "quotas are covered")


def _counted(facts: Facts) -> Iterator[Finding]:
    parts = {sku for one in skus_of(facts) for sku in _parts(facts, one) if sku in facts.units}
    unknown = sorted(parts - facts.counted_ms.keys())
    stale = sorted(sku for sku in parts & facts.counted_ms.keys() if facts.now_ms - facts.counted_ms[sku] > COUNTED_MS)
    name, mend = facts.record.sale.name, "count again: flashd stock recount"
    if stale:
        said = f"{named(stale)} were last counted more than {COUNTED_MS // 86_400_000} days ago"
        yield found("counted", name, Level.WARN, said, mend)
    if unknown:
        said = f"nobody noted when {named(unknown)} were counted: they were set by hand"
        yield found("counted", name, Level.WARN, said, mend)
    if not stale and not unknown:
        yield found("counted", name, Level.OK, "counted lately")


def _limits(facts: Facts) -> Iterator[Finding]:
    sale = facts.record.sale
    if not (sale.limit or any(product.limit for product in sale.products)):
        return
    if facts.customer_key:
        yield found("limits", sale.pool, Level.OK, "customers are told apart over all channels")
    else:
        mend = f"set customer_key of [pools.{sale.pool}]"
        yield found("limits", sale.pool, Level.FAIL, "limits cannot count: customers are not told apart", mend)


def _places(facts: Facts) -> Iterator[Finding]:
    for channel in facts.channels:
        lacking = sorted({*channel.locations} - facts.locations)
        if lacking:
            mend = f"count stock there, or mend locations of [channels.{channel.name}]"
            said = f"there is no stock at {named(lacking)}"
            level = Level.FAIL if len(lacking) == len(channel.locations) else Level.WARN
            yield found("locations", channel.name, level, said, mend)
        else:
            yield found("locations", channel.name, Level.OK, ", ".join(channel.locations) or "any")


def _backends(facts: Facts) -> Iterator[Finding]:
    sale, check = facts.record.sale, "backend"
    minutes = (to_ms(sale.end) - max(to_ms(sale.start), facts.now_ms)) / 60_000
    for backend in facts.backends:
        name, per_minute = backend.name, backend.per_second * 60
        if backend.away:
            said = "it is away: orders wait until it answers"
            yield found(check, name, Level.FAIL, said, "see whether it is up and its login is right")
        elif backend.paused or not backend.per_second:
            yield found(check, name, Level.FAIL, "it is paused", f"flashd backend resume {name}")
        elif math.isinf(per_minute):
            yield found(check, name, Level.OK, "takes orders as fast as it answers: it has no rate")
        elif not sale.forecast_per_min:
            said = f"takes {per_minute:g} orders a minute; without a forecast nobody knows for how long they wait"
            yield found(check, name, Level.WARN, said, "set forecast_per_min of the sale")
        else:
            backlog = backend.queued + max(0.0, sale.forecast_per_min - per_minute) * max(0.0, minutes)
            told = f"{sale.forecast_per_min} orders a minute come in at most, {per_minute:g} leave"
            if sale.forecast_per_min <= per_minute:
                yield found(check, name, Level.OK, told)
            else:
                wait = f"{backlog:.0f} wait at the end, drained in {backlog / per_minute:.0f} min"
                yield found(check, name, Level.WARN, f"{told}: {wait}", "raise its rate, if it can take more")


def _alerts(facts: Facts) -> Iterator[Finding]:
    if facts.alerts:
        mend = "set [alerts] url, then try it with flashd alerts test"
        yield found("alerts", "alerts", Level.WARN, facts.alerts, mend)
    else:
        yield found("alerts", "alerts", Level.OK, "somebody is told")


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _window,
    _store,
    _clocks,
    _stock,
    _kits,
    _counted,
    _limits,
    _places,
    check_mapped,
    check_policies,
    check_publishing,
    check_prices,
    check_webhooks,
    check_polling,
    _backends,
    _alerts,
)

"""The front of the house: what the web room is handed, and its two listeners."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from flashd.actors.intake import cut_over_ms
from flashd.config import show
from flashd.daemon.assembly import Assembly
from flashd.daemon.telling import alert_door, build_inquiry
from flashd.daemon.terms import terms_of
from flashd.domain.flow import BackendSnapshot
from flashd.domain.terms import SellingTerms
from flashd.errors import ConfigError, StoreUnavailable
from flashd.runtime.lag import LoopLag
from flashd.web.admin import admin_app
from flashd.web.doors import Change, ChannelDoor, Doors, OutletDoor, PoolDoor
from flashd.web.intake import intake_app
from flashd.web.limits import ClientLimits
from flashd.web.metrics import Metrics
from flashd.web.server import Listener, check_parser, open_socket, tls_context

log = structlog.get_logger()

STOP_S = 1.5  # how long requests may take to finish at the end


def open_doors(house: Assembly, lag: LoopLag, broken: Callable[[BaseException], None]) -> Doors:
    """Return all that the listeners may reach."""
    config = house.loaded.config
    return Doors(
        clock=house.clock,
        channels={name: _channel_door(house, name) for name in config.channels},
        pools={
            name: PoolDoor(
                ledger=pool.ledger,
                book=pool.book,
                feed=pool.feed,
                listings=pool.listings,
                sales=pool.sales,
                prices=pool.prices,
                stockroom=pool.stockroom,
                eraser=pool.eraser,
                wake_sales=functools.partial(house.wake_sales, name),
                forgotten=pool.ledger.recall.total,
                safety_stock=pool.config.safety_stock,
                location=pool.config.location,
                hold_ttl_ms=pool.config.hold_ttl_s * 1000,
                hold_max_ms=pool.config.hold_max_s * 1000,
            )
            for name, pool in house.store.pools.items()
        },
        gates=dict(house.store.gates),
        backends={name: _snapshot_of(house, name) for name in config.backends},
        store_health=lambda: house.sentry.health,
        channel_tokens=house.channel_tokens,
        admin_tokens=house.admin_tokens,
        metrics=metrics_of(house, lag),
        explain_route=house.router.explain,
        substitutes=config.triage.substitutes,
        audit=lambda: _audit(house),
        status=lambda: _status(house, lag),
        config=lambda: {"file": house.loaded.path, "values": show(house.loaded).splitlines()},
        alerts=alert_door(house.alerter),
        preflight=build_inquiry(house, house.alerter).preflight,
        changed=lambda change: _announce(house, change),
        broken=broken,
    )


def _channel_door(house: Assembly, name: str) -> ChannelDoor:
    """Return the door of one channel; what a reload may exchange is looked up by name each time."""
    section = house.loaded.config.channels[name]

    def outlet() -> OutletDoor | None:
        found = house.outlets.get(name)
        if found is None:
            return None
        return OutletDoor(
            api=found.api,
            gate=house.store.channel_gates[name],
            flow=found.flow,
            polling=found.poll_flow,
            wake=found.wake,
        )

    def terms() -> SellingTerms:
        config = house.loaded.config
        return terms_of(config.channels[name], config.pools[section.pool], published=name in house.apis)

    return ChannelDoor(
        name=name,
        kind=section.kind,
        pool=section.pool,
        intake=house.intakes[name],
        outlet=outlet,
        terms=terms,
        since_ms=lambda: cut_over_ms(house.loaded.config.channels[name].since),
        last_event_ms=lambda: house.intakes[name].last_event_ms,
    )


def _snapshot_of(house: Assembly, name: str) -> Callable[[], BackendSnapshot]:
    """Return how to ask a backend's actor: by name, because a reload may put another actor there."""

    def ask() -> BackendSnapshot:
        return house.backends[name].snapshot()

    return ask


async def _audit(house: Assembly) -> Mapping[str, Any]:
    reports = await house.store.audit()
    house.metrics.audited(sum(report.oversold for report in reports.values()))
    return {
        "ok": all(report.ok for report in reports.values()),
        "pools": {name: msgspec.to_builtins(report) for name, report in reports.items()},
    }


def metrics_of(house: Assembly, lag: LoopLag) -> Metrics:
    """Return the metrics, with what only the daemon knows."""
    house.metrics.loop_lag.set_function(lambda: lag.p99_s)
    return house.metrics


async def _status(house: Assembly, lag: LoopLag) -> Mapping[str, Any]:
    return {
        "stranded": await house.store.stranded(),  # orders of backends that are not configured any more
        "loop_lag_p99_ms": round(lag.p99_s * 1000, 1),
        "loop_lag_max_ms": round(lag.max_s * 1000, 1),
        "channels": {
            name: {"last_event_ms": intake.last_event_ms, "results": dict(intake.counts)}
            for name, intake in house.intakes.items()
        },
    }


async def _announce(house: Assembly, change: Change) -> None:
    """Let a human's change of a backend or channel be heard; those of orders, stock and maps their scripts announce."""
    what = change.what.partition(".")[0]
    if what != "backend" and change.what not in ("channel.paused", "channel.resumed"):
        return
    data = {what: change.subject, "by": change.who, "before": change.before, "after": change.after}
    for pool in house.store.pools if what == "backend" else (change.pool,):
        try:
            await house.store.announcer.announce(pool, change.what, msgspec.to_builtins(data))
        except StoreUnavailable as error:
            log.warning("change.not_announced", what=change.what, reason=str(error))


class Front:
    """Both listeners."""

    def __init__(self, house: Assembly, doors: Doors, given: Mapping[str, list[socket.socket]]) -> None:
        config = house.loaded.config
        check_parser()
        tls = tls_context(config.intake.tls) if config.intake.tls is not None else None
        limits = ClientLimits(
            header_timeout_s=config.intake.header_timeout_s,
            connections=config.intake.connections,
            stop_s=STOP_S,
        )
        self._given = given
        self._listen = {"intake": config.intake.listen, "admin": config.admin.listen}
        self.intake = Listener("intake", intake_app(doors, config.intake), limits, tls=tls)
        self.admin = Listener("admin", admin_app(doors, config.admin), ClientLimits(stop_s=STOP_S))

    async def start(self) -> None:
        """
        Listen: on the sockets that systemd gave, else on those of the configuration. Admin first: it tells how it goes.

        Raises:
            ConfigError: An address is taken.
        """
        for name, listener in (("admin", self.admin), ("intake", self.intake)):
            given = self._given.get(name)
            try:
                await listener.start(*(given or [open_socket(self._listen[name])]), own_paths=not given)
            except ConfigError as error:
                raise ConfigError(f"[{name}] {error}") from error

    async def stop_intake(self) -> None:
        """Let nobody in any more."""
        await self.intake.stop()

    async def stop(self) -> None:
        """Close both."""
        await asyncio.gather(self.intake.stop(), self.admin.stop())

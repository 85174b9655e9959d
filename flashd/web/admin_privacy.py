"""Customers who are to be forgotten, and what platforms demand about them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from flashd.domain.order import OrderRef
from flashd.domain.privacy import Demand, Forgotten, Person, Scrubbed
from flashd.errors import NotFound
from flashd.ports import Eraser
from flashd.web.admin_desk import AdminDesk
from flashd.web.admin_orders import Why
from flashd.web.endpoint import Endpoint, flag
from flashd.web.problem import Malformed, encode
from flashd.web.tokens import Scope
from flashd.web.view import at

SCRUB_WAIT_S = 10.0


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to forget: orders as ``<channel>:<id>``, and whoever the rest names, on one channel or everywhere."""

    orders: tuple[str, ...] = ()
    email: str = ""
    phone: str = ""
    customer_id: str = ""  # the platform's own
    channel: str = ""
    everything: bool = False  # of that channel: its merchant has left


class PoolForgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in one pool, or would be."""

    pool: str
    forgotten: Forgotten


class ForgetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, what could not be, and whether it has left the server's files."""

    dry_run: bool
    pools: tuple[PoolForgotten, ...]
    scrubbed: Scrubbed | None = None  # None: nothing was due


class DemandView(msgspec.Struct, frozen=True, kw_only=True):
    """One demand, without the person."""

    id: str
    pool: str
    kind: str
    channel: str
    reference: str
    received_at: str
    met_at: str  # "": it is open
    by: str
    outcome: str

    @classmethod
    def of(cls, pool: str, demand: Demand) -> DemandView:
        """Show one line of the list."""
        return cls(
            id=demand.id,
            pool=pool,
            kind=demand.kind,
            channel=demand.channel,
            reference=demand.reference,
            received_at=at(demand.at_ms),
            met_at=at(demand.met_ms) if demand.met_ms else "",
            by=demand.by,
            outcome=demand.outcome,
        )


class DemandList(msgspec.Struct, frozen=True):
    """All demands, oldest first."""

    demands: tuple[DemandView, ...]


class DemandDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One demand with whom it is about, and what is kept of them."""

    demand: DemandView
    person: Person
    kept: Forgotten | None  # what `flashd forget` would erase; None: it was met


class AdminPrivacy:
    """``/admin/v1/forget`` and ``/admin/v1/demands``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        pool = {"pool": "which pool; all of them by default"}
        return [
            Endpoint(
                method="POST",
                path="/admin/v1/forget",
                name="forget_customer",
                summary="Erase what is kept of a customer, or of all customers of a channel",
                handler=self.forget,
                scope=Scope.ADMIN,
                takes=Forget,
                answers={200: ForgetAnswer},
                query={**pool, "dry_run": "only say what would be erased"},
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/demands",
                name="list_demands",
                summary="What platforms demand about customers, oldest first",
                handler=self.list_,
                answers={200: DemandList},
                query=pool,
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/demands/{id}",
                name="show_demand",
                summary="One demand: who it is about, and which orders are kept of them",
                handler=self.show,
                scope=Scope.ADMIN,
                answers={200: DemandDetail},
                query=pool,
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/demands/{id}/met",
                name="meet_demand",
                summary="Say that a demand was met: whom it was about is forgotten then",
                handler=self.met,
                scope=Scope.ADMIN,
                takes=Why,
                answers={200: DemandView},
                query=pool,
            ),
        ]

    async def forget(self, request: web.Request) -> web.Response:
        """Erase in every pool that may hold something, then let the server's files follow."""
        whom = await self._desk.read(request, Forget)
        dry_run = flag(request, "dry_run")
        who = self._desk.caller(request).name
        found: dict[str, Forgotten] = {}
        erasers = self._erasers(request)
        for person in _persons(whom):
            for name in self._homes(person, erasers):
                done = await erasers[name].forget(person, by=who, dry_run=dry_run)
                found[name] = _joined(found[name], done) if name in found else done
        pools = tuple(PoolForgotten(pool=name, forgotten=found[name]) for name in sorted(found))
        if dry_run:
            return encode(200, ForgetAnswer(dry_run=True, pools=pools))
        for one in pools:
            await self._desk.changed(
                request, "customer.forgotten", _named(whom), pool=one.pool, after=one.forgotten.summary
            )
        scrubbed = None
        for name in sorted(found):
            scrubbed = await erasers[name].scrub(wait_s=SCRUB_WAIT_S) or scrubbed
        return encode(200, ForgetAnswer(dry_run=False, pools=pools, scrubbed=scrubbed))

    async def list_(self, request: web.Request) -> web.Response:
        """Show all."""
        found = [
            DemandView.of(name, demand)
            for name, eraser in self._erasers(request).items()
            for demand in await eraser.demands()
        ]
        return encode(200, DemandList(tuple(sorted(found, key=lambda one: one.received_at))))

    async def show(self, request: web.Request) -> web.Response:
        """Show one with its person."""
        name, eraser, demand = await self._demand(request)
        kept = None
        if not demand.met_ms and not demand.person.flaw:
            kept = await eraser.forget(demand.person, by=self._desk.caller(request).name, dry_run=True)
        return encode(200, DemandDetail(demand=DemandView.of(name, demand), person=demand.person, kept=kept))

    async def met(self, request: web.Request) -> web.Response:
        """Note that a human has met one."""
        why = await self._desk.read(request, Why)
        name, eraser, demand = await self._demand(request)
        met = await eraser.meet(demand.id, by=self._desk.caller(request).name, outcome=why.reason)
        await self._desk.changed(
            request, "demand.met", demand.id, pool=name, before=_state(demand), after=f"met: {met.outcome}"
        )
        return encode(200, DemandView.of(name, met))

    def _homes(self, person: Person, erasers: Mapping[str, Eraser]) -> list[str]:
        """Return the pools that may hold something: that of a channel, or all, as for a channel that is gone."""
        channel = self._desk.doors.channels.get(person.channel)
        return sorted(erasers if channel is None else {channel.pool} & erasers.keys())

    def _erasers(self, request: web.Request) -> dict[str, Eraser]:
        if "pool" in request.query:
            name, pool = self._desk.pool(request)
            return {name: pool.eraser}
        return {name: pool.eraser for name, pool in self._desk.doors.pools.items()}

    async def _demand(self, request: web.Request) -> tuple[str, Eraser, Demand]:
        wanted = request.match_info["id"]
        for name, eraser in self._erasers(request).items():
            for demand in await eraser.demands():
                if demand.id == wanted:
                    return name, eraser, demand
        raise NotFound("there is no such demand")


def _state(demand: Demand) -> str:
    return "met" if demand.met_ms else "open"


def _persons(whom: Forget) -> list[Person]:
    """
    Return who is named: the orders of each channel, and whoever the rest names.

    Raises:
        Malformed: It names nobody, or what it names cannot be found.
    """
    by_channel: dict[str, list[str]] = {}
    for text in whom.orders:
        try:
            ref = OrderRef.parse(text)
        except ValueError:
            raise Malformed("an order is named as <channel>:<order id>") from None
        by_channel.setdefault(ref.channel, []).append(ref.id)
    persons = [Person(channel=channel, orders=tuple(ids)) for channel, ids in by_channel.items()]
    rest = Person(
        channel=whom.channel,
        email=whom.email,
        phone=whom.phone,
        customer_id=whom.customer_id,
        everything=whom.everything,
    )
    if not persons or (whom.email or whom.phone or whom.customer_id or whom.everything):
        if rest.flaw:
            raise Malformed(rest.flaw)
        persons.append(rest)
    return persons


def _named(whom: Forget) -> str:
    """Say by what somebody was named, for the audit trail: no customer data in it."""
    words = [f"{len(whom.orders)} orders named"] if whom.orders else []
    words += [word for word in ("email", "phone", "customer_id") if getattr(whom, word)]
    words += [f"everything of {whom.channel}"] if whom.everything else []
    return "a customer by " + ", ".join(words)


def _joined(one: Forgotten, other: Forgotten) -> Forgotten:
    return Forgotten(
        erased=one.erased + other.erased,
        before=one.before + other.before,
        spared=tuple(dict.fromkeys(one.spared + other.spared)),
        quarantined=one.quarantined + other.quarantined,
        backends=tuple(sorted({*one.backends, *other.backends})),
        journal=one.journal + other.journal,
        unknown=one.unknown + other.unknown,
    )

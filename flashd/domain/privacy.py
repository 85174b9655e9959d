"""Whose data is meant, what is left of an order when its customer is forgotten, and what platforms demand of that."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from flashd.domain.alert import Alert, AlertKind, Severity
from flashd.domain.order import Address, Customer, Order, OrderState

_SUFFIX = 8  # digits of a phone number that must be there to be told by its end
_MARKS = frozenset("+-(). /\u00a0")
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Whose data is meant, by whatever names them: each of it alone is enough.

    The platform's *customer_id* stands in no canonical order: it is found in bodies that are kept as they came.
    *everything* means whoever bought on *channel*: its merchant has left.
    """

    channel: str = ""  # only there; "": in all channels of the pool, and then no orders are named
    orders: tuple[str, ...] = ()  # ids of orders on that channel
    email: str = ""
    phone: str = ""
    customer_id: str = ""
    everything: bool = False

    @property
    def searched(self) -> bool:
        """Say whether all that is kept must be looked through: it is named by more than its orders."""
        return bool(self.email.strip() or _digits(self.phone) or self.customer_id.strip() or self.everything)

    @property
    def flaw(self) -> str:
        """Say why nobody can be found by it, or ""."""
        flaws = {
            "everything is erased of one channel only: name it": self.everything and not self.channel,
            "name the channel of these orders": self.orders and not self.channel,
            "that is no e-mail address": self.email and "@" not in self.email,
            f"a phone number has at least {_SUFFIX} digits": self.phone and len(_digits(self.phone)) < _SUFFIX,
            "that is nobody's customer id: guests of WooCommerce have 0": self.customer_id
            and not _tail(self.customer_id.strip()).strip("0"),
            "name the customer: orders, e-mail, phone or the platform's customer id": not (
                self.orders or self.searched
            ),
        }
        return next((flaw for flaw, is_so in flaws.items() if is_so), "")

    def owns(self, order: Order) -> bool:
        """Say whether the canonical order is theirs."""
        if self.channel not in ("", order.channel):
            return False
        told = (order.customer.phone, order.ship_to.phone)
        return (
            self.everything
            or order.id in self.orders
            or _same_email(self.email, order.customer.email)
            or any(_same_phone(self.phone, one) for one in told)
        )

    def is_in(self, channel: str, body: bytes) -> bool:
        """Say whether a body, as it came on *channel*, speaks of them; one that is no JSON is searched as text."""
        if self.channel not in ("", channel):
            return False
        if self.everything:
            return True
        if not self.may_be_in(body):
            return False
        try:
            value = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self.is_named_in(body.decode("utf-8", "replace"))
        return _top_id(value) in self.orders or any(self._is(name, found) for name, found in _members(value))

    def may_be_in(self, body: bytes) -> bool:
        """Say whether a closer look is worth its time: no body that speaks of them is left out."""
        if b"\\u" in body or self.orders:  # any sign may be written otherwise
            return True
        address, digits = self.email.strip().casefold().encode(), _digits(self.phone)[-_SUFFIX:].encode()
        told = _tail(self.customer_id.strip()).encode()
        return bool(
            (address and (address in body.lower() or not address.isascii()))
            or (digits and digits in body.translate(None, _NO_DIGITS))
            or (told and told in body)
        )

    def is_named_in(self, text: str) -> bool:
        """Say whether a text has their e-mail address or phone number in it."""
        low, address = text.casefold(), self.email.strip().casefold()
        return bool(address and address in low) or bool(self.phone.strip() and self.phone.strip() in text)

    def _is(self, name: str, found: Any) -> bool:
        if isinstance(found, str) and (_same_email(self.email, found) or _same_phone(self.phone, found)):
            return True
        return bool(self.customer_id) and name in _CUSTOMER_IDS and _tail(found) == _tail(self.customer_id)


_CUSTOMER_IDS = frozenset({"customer_id", "customer.id", "customer.admin_graphql_api_id"})


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Hand out every plain value below *value* with the name it stands under; no recursion, however deep it is."""
    rest: list[tuple[str, Any]] = [("", value)]
    while rest:
        name, found = rest.pop()
        if isinstance(found, dict):
            inside = "customer." if name.endswith("customer") else ""
            rest += [(f"{inside}{key}", each) for key, each in found.items()]
        elif isinstance(found, list):
            rest += [(name, each) for each in found]
        else:
            yield name, found


def _top_id(value: Any) -> str:
    return _tail(value["id"]) if isinstance(value, dict) and isinstance(value.get("id"), str | int) else ""


def _tail(value: Any) -> str:
    """Return the last part of an id: a platform's global id ends with the plain one."""
    return str(value).rpartition("/")[2]


def _same_email(one: str, other: str) -> bool:
    return bool(one.strip()) and one.strip().casefold() == other.strip().casefold()


def _digits(phone: str) -> str:
    """Return a phone number's digits without the zeros that lead out of a place or a country, or ""."""
    text = phone.strip()
    if not text or any(not (sign.isdigit() or sign in _MARKS) for sign in text):
        return ""
    return "".join(sign for sign in text if sign.isdigit()).lstrip("0")


def _same_phone(one: str, other: str) -> bool:
    """Say whether two numbers are one, written with or without its country."""
    short, long = sorted((_digits(one), _digits(other)), key=len)
    return len(short) >= _SUFFIX and long.endswith(short)


def erased(order: Order) -> Order:
    """
    Return what is left when its customer is forgotten: SKUs, quantities and amounts.

    The country stays, because routing turned on it. Titles of lines go: a line may carry what the customer had written
    on it.
    """
    lines = tuple(replace(line, title="") for line in order.lines)
    place = Address(country=order.ship_to.country)
    return replace(order, customer=Customer(), ship_to=place, note="", tags=(), lines=lines)


class DemandKind(StrEnum):
    """What a platform demands."""

    DISCLOSE = "disclose"  # a customer wants to know what is kept: a human answers
    ERASE = "erase"  # a customer is to be forgotten
    ERASE_SHOP = "erase_shop"  # a merchant has left: all customers are to be forgotten
    UNINSTALL = "uninstall"  # a merchant took the app away: the channel is cut off


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """One demand, as a proven message told it; the person is in it until it is met."""

    id: str = ""  # the same message twice is one demand; the intake fills it
    kind: DemandKind
    channel: str
    person: Person = Person()
    reference: str = ""  # the platform's own number of it
    at_ms: int = 0  # when it came
    met_ms: int = 0  # when it was done with; 0: it is open
    by: str = ""  # by whom
    outcome: str = ""  # what was done, in counts: no customer data


def alert_of(channel: str, kind: str, demand_id: str) -> Alert | None:
    """Return what a human is told of a demand, or None: what is to be erased, flashd erases."""
    if kind == DemandKind.DISCLOSE:
        return Alert(
            kind=AlertKind.DATA_REQUESTED,
            subject=f"{channel}/{demand_id}",
            severity=Severity.WARNING,
            text=f"a customer of {channel} wants to know what is kept of them",
            mend=f"see flashd demands show {demand_id}, answer within 30 days, then flashd demands met {demand_id}",
        )
    if kind == DemandKind.UNINSTALL:
        return Alert(
            kind=AlertKind.UNINSTALLED,
            subject=f"{channel}/{demand_id}",
            severity=Severity.CRITICAL,
            text=f"{channel} says that its app was taken away: neither orders nor figures pass any more",
            mend=f"install it again and flashd channel resume {channel}, or take the channel out of the configuration",
            facts={"channel": channel},
        )
    return None


class Spared(msgspec.Struct, frozen=True):
    """An order that is not settled: erased by itself as soon as it is."""

    order: str
    state: OrderState


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased of a person in one pool, or would be; and what was not."""

    erased: tuple[str, ...] = ()  # orders
    before: int = 0  # orders that held nothing of them any more
    spared: tuple[Spared, ...] = ()
    quarantined: tuple[str, ...] = ()  # bodies that were not understood: dropped, or kept if that was asked for
    backends: tuple[str, ...] = ()  # who was sent some of these orders: their copies are theirs to erase
    journal: int = 0  # events in which somebody wrote their e-mail address or phone number as a reason
    unknown: tuple[str, ...] = ()  # orders that were named and are not kept

    @property
    def summary(self) -> str:
        """Say it in counts."""
        return (
            f"{len(self.erased)} orders erased, {len(self.spared)} wait until they are settled, "
            f"{len(self.quarantined)} quarantined bodies dropped"
        )


class ScrubCode(StrEnum):
    """Whether what was erased has left the server's files, too."""

    CLEAN = "clean"  # its log was written anew
    RUNNING = "running"  # it is being written anew
    FAILED = "failed"  # the server could not: its own log says why
    FORBIDDEN = "forbidden"  # flashd may not ask for it: a human must
    NONE = "none"  # the server keeps no log


class Scrubbed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the server's files, and what a human must still do."""

    code: ScrubCode
    mend: tuple[str, ...] = ()

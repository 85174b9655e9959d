"""What test_stock_model.py asks at random, and how the model's words are written in flashd's."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from flashd.domain.order import Effect, Incoming, Line, Order
from flashd.domain.publication import Threshold
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest
from flashd.domain.sale import Sale, SaleProduct
from flashd.domain.terms import SellingTerms
from tests.store.order_model import OrderModel
from tests.store.stock_books import SINCE, Deal, Held, Terms, Told, summed

PLACES = ("main", "annex")
CHANNELS = {
    "shop": Terms(PLACES),
    "till": Terms(PLACES, split=False),
    "web": Terms(("annex", "main"), percent=80, buffer=1, floor=1, cap=5),
}
SKUS = ("tee", "mug", "cap")
RARE = "late"  # not known before it is counted or received
KITS = ("set", "duo")
HOUR_MS = 3_600_000


def ms(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)


def moment(instant: int) -> datetime:
    return datetime.fromtimestamp(instant / 1000, UTC)


NOW = (ms(2000), ms(2100))
WINDOWS = ((ms(1980), ms(1990)), NOW, NOW, NOW, (ms(2150), ms(2190)))
PLACED = (0, 0, SINCE - 1, SINCE, ms(1980) - 1, ms(1980), ms(1990), ms(2010), ms(2160))

sku = st.sampled_from((*SKUS, *SKUS, *KITS, RARE))
lines = st.lists(st.tuples(sku, st.integers(1, 4)), min_size=1, max_size=3).map(tuple)
known_lines = st.lists(st.tuples(st.sampled_from((*SKUS, *KITS)), st.integers(1, 3)), min_size=1, max_size=2).map(tuple)
customer = st.sampled_from(("", "ann", "bob"))
channel = st.sampled_from(tuple(CHANNELS))
hold_id = st.sampled_from([f"h{number}" for number in range(9)])
order_id = st.sampled_from([f"o{number}" for number in range(5)])
place = st.tuples(st.sampled_from((*SKUS, *SKUS, *SKUS, RARE)), st.sampled_from(PLACES))
kit = st.sampled_from((
    ("set", {"tee": 2, "mug": 1}), ("set", {"tee": 1, "cap": 1}), ("duo", {"mug": 1, "cap": 3}), ("duo", {"tee": 2}),
))  # fmt: skip
wish = st.builds(
    Held,
    digest=st.sampled_from("xxxy"),
    channel=channel,
    customer=customer,
    lines=st.one_of(lines, known_lines).map(summed),
    parts=st.just({}),
    units=st.just({}),
    uses=st.builds(Counter),
    short=st.sampled_from((False, False, True)),
)
pinned = st.sampled_from(("", "", "", *PLACES))
told = st.builds(
    Told, channel=channel, id=order_id, version=st.integers(1, 9), digest=st.just(""),
    effect=st.sampled_from(("deliver",) * 5 + ("wait", "cancel", "ignore")), lines=st.one_of(lines, known_lines),
    placed=st.sampled_from(PLACED), reason=st.sampled_from(("", "", "", "", "total differs")),
    hold=st.one_of(st.just(""), hold_id), customer=customer,
)  # fmt: skip
product = st.tuples(st.sampled_from((*SKUS, "set")), st.sampled_from((0, 3, 6, 12)), st.sampled_from((0, 1, 2, 4)))


@st.composite
def deals(draw: st.DrawFn) -> Deal:
    start, end = draw(st.sampled_from(WINDOWS))
    products = draw(st.lists(product, min_size=1, max_size=3, unique_by=lambda one: one[0]))
    channels = draw(st.sampled_from(((), (), ("shop", "web"), ("till",))))
    return Deal(start, end, tuple(products), draw(st.sampled_from((0, 0, 2, 5))), channels, draw(st.booleans()))


def terms_of(model: OrderModel) -> dict[str, SellingTerms]:
    return {
        name: SellingTerms(
            locations=one.places,
            split=one.split,
            threshold=Threshold(percent=one.percent, buffer=one.buffer, floor=one.floor, cap=one.cap),
        )
        for name, one in model.terms.items()
    }


def order_of(channel: str, order_id: str, placed: int, units: tuple[tuple[str, int], ...]) -> Order:
    some = tuple(Line(name, number) for name, number in units)
    return Order(channel=channel, id=order_id, placed_ms=placed, currency="EUR", lines=some, total=0)


def incoming_of(version: Told) -> tuple[Told, Incoming]:
    order = order_of(version.channel, version.id, version.placed, version.lines)
    incoming = Incoming(
        order=order,
        version=version.version,
        effect=Effect(version.effect),
        reason=version.reason,
        hold_id=version.hold,
        strict=version.strict,
        customer=version.customer,
    )
    return Told(**{**vars(version), "digest": order.digest}), incoming


def request_of(name: str, one: Held, at: str) -> HoldRequest:
    first, *rest = one.lines.items()
    some = [Line(first[0], 1), *(Line(*line) for line in rest), Line(first[0], first[1] - 1)]  # the same SKU twice
    return HoldRequest(
        id=name,
        lines=tuple(some),
        ttl_ms=1 if one.short else HOUR_MS,
        digest=one.digest,
        channel=one.channel,
        customer=one.customer,
        location=at,
    )


def sale_of(name: str, deal: Deal) -> Sale:
    return Sale(
        name=name,
        start=moment(deal.start),
        end=moment(deal.end),
        products=tuple(SaleProduct(sku=one, quota=quota, limit=limit) for one, quota, limit in deal.products),
        channels=deal.channels,
        limit=deal.limit,
        outside="closed" if deal.closed else "open",
    )


def said_of(reply: HoldReply) -> tuple[Any, ...]:
    match reply.code:
        case HoldCode.LIMIT:
            return "limit", reply.sale, reply.sku, reply.had, reply.may
        case HoldCode.CLOSED:
            return "closed", reply.sku
        case HoldCode.SHORT | HoldCode.UNKNOWN_SKU:
            return reply.code.value, reply.left
        case _:
            return reply.code.value, reply.state.value if reply.state else None

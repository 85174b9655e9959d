from __future__ import annotations

import msgspec
import pytest

from flashd.domain.terms import SellingTerms
from flashd.store.calls import Source, pack_orders
from tests.conformance.ledgers import make_incoming

FACTS = 9  # of an order


@pytest.mark.parametrize("orders", [1, 2, 7281, 7282], ids=["15 at most", "more", "65,529", "65,538"])
def test_facts_stand_one_behind_the_other_however_many_there_are(orders: int) -> None:
    source = Source.of("main", "shop", SellingTerms())
    incoming = make_incoming()
    _, arguments = pack_orders([(incoming, 1, 0)] * orders, lambda _: source)
    facts = arguments[2]
    assert isinstance(facts, bytes)
    values = msgspec.msgpack.decode(b"\xdd" + (FACTS * orders).to_bytes(4, "big") + facts)
    assert [values[at + 1] for at in range(0, len(values), FACTS)] == [1] * orders  # all of one channel

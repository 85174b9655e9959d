"""A small, fast sample of `make fuzz`, and what shows that it would see something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.decoders import by_chance, check
from tests.fuzz.house import Fuzzed, fuzzed
from tests.fuzz.traffic import put_stock, send_bodies, send_requests
from tests.servers import find_server, missing

SEED = 417  # the same sample for all; `make fuzz` draws a new one each time


@pytest.fixture
def fuzz(tmp_path: Path) -> Iterator[Fuzzed]:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    with fuzzed(tmp_path) as found:
        yield found


async def test_bent_bodies_and_bent_requests_on_every_route_break_nothing(fuzz: Fuzzed) -> None:
    put_stock(fuzz)
    before = fuzz.resident
    assert await send_bodies(fuzz, SEED, 60, most=160) >= 160
    assert fuzz.answers["/webhooks/shop 200"] > 5
    assert sum(count for answer, count in fuzz.answers.items() if answer.endswith((" 400", " 422"))) > 5
    asked = await send_requests(fuzz, SEED, 60, most=200)
    assert min(asked.values()) >= 2
    fuzz.judge(before)


def test_the_decoders_answer_whatever_comes() -> None:
    count = by_chance(0.5, SEED)
    print(f"seed {SEED}: {count} bodies")
    assert count > 5


def test_a_decoder_that_raises_is_noticed() -> None:
    def fragile(body: bytes) -> object:
        return json.loads(body)

    decoders = dict.fromkeys(("shop", "woo", "partner", "till"), fragile)
    with pytest.raises(ValueError, match="Expecting value"):
        check(decoders, b"\x00[")
    with pytest.raises(AssertionError, match="dict"):
        check(decoders, b"\x00{}")


def test_an_answer_of_5xx_is_noticed() -> None:
    found = Fuzzed(None)  # type: ignore[arg-type]  # nobody is asked
    found.told("GET /x", 404)
    assert found.broken == []
    found.told("GET /x", 500, b"oh")
    assert found.broken == ["GET /x: 500 b'oh'"]

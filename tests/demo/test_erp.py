from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from flashd.demo.faults import Fault, FaultDeck
from flashd.demo.ledger import Ledger, read
from flashd.demo.simulated_erp import SimulatedErp

ORDER = {"channel": "shop", "order_id": "1", "lines": [{"sku": "A", "quantity": 2, "unit_price": 500}], "total": 1000}


@pytest.fixture
def erps() -> Iterator[list[SimulatedErp]]:
    started: list[SimulatedErp] = []
    yield started
    for erp in started:
        erp.close()


async def post(http: aiohttp.ClientSession, erp: SimulatedErp, key: str, order: Any = None) -> tuple[int, Any]:
    async with http.post(erp.url, json=order or ORDER, headers={"Idempotency-Key": key}) as reply:
        return reply.status, await reply.json()


async def look_up(http: aiohttp.ClientSession, erp: SimulatedErp, key: str) -> tuple[int, Any]:
    async with http.get(erp.url, params={"key": key}) as reply:
        return reply.status, await reply.json()


async def test_the_same_key_twice_is_one_booking(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path).start())
    async with aiohttp.ClientSession() as http:
        first, second = await post(http, erp, "k1"), await post(http, erp, "k1")
        found, absent = await look_up(http, erp, "k1"), await look_up(http, erp, "k2")
    assert first == (201, {"id": "SO-000001", "key": "k1"})
    assert second == (200, {"id": "SO-000001", "key": "k1"})
    assert found == (200, [ORDER | {"id": "SO-000001", "key": "k1"}])
    assert absent == (200, [])
    assert [len(entries) for entries in erp.bookings().values()] == [1]


async def test_fifty_posts_of_one_key_at_once_are_one_booking(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path, limit=1000).start())
    async with aiohttp.ClientSession() as http:
        replies = await asyncio.gather(*(post(http, erp, "k1") for _ in range(50)))
    assert sorted(status for status, _ in replies) == [200] * 49 + [201]
    assert len(erp.entries("booked")) == 1


async def test_without_idempotency_a_repeat_is_a_second_booking(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path, switches=("--not-idempotent", "--no-lookup")).start())
    async with aiohttp.ClientSession() as http:
        await post(http, erp, "k1")
        await post(http, erp, "k1")
        assert (await look_up(http, erp, "k1"))[0] == 405
    assert len(erp.bookings()["k1"]) == 2


async def test_one_request_too_many_in_a_second_is_429_and_recorded(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path, limit=5).start())
    async with aiohttp.ClientSession() as http:
        replies = await asyncio.gather(*(post(http, erp, f"k{n}") for n in range(7)))
        async with http.get(erp.url, params={"key": "k0"}) as look:
            assert (look.status, look.headers["Retry-After"]) == (429, "1")
        await asyncio.sleep(1.05)  # the window itself is what is tested
        assert (await look_up(http, erp, "k0"))[0] == 200
    assert sorted(status for status, _ in replies) == [201] * 5 + [429] * 2
    assert [entry["over_limit"] for entry in erp.entries("request")].count(True) == 3
    assert len(erp.bookings()) == 5


async def test_cancelling_twice_is_cancelling_once_also_after_sigkill(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path).start())

    async def cancel(booked: str) -> tuple[int, Any]:
        headers = {"Idempotency-Key": "c1"}
        async with aiohttp.ClientSession() as http, http.post(f"{erp.url}/{booked}/cancel", headers=headers) as reply:
            return reply.status, await reply.json()

    async with aiohttp.ClientSession() as http:
        await post(http, erp, "k1")
    assert await cancel("SO-000001") == (200, {"id": "SO-000001", "key": "c1"})
    erp.kill()
    erp.start()
    assert await cancel("SO-000001") == (200, {"id": "SO-000001", "key": "c1"})
    assert (await cancel("SO-000009"))[0] == 422
    assert [entry["id"] for entry in erp.entries("cancelled")] == ["SO-000001"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when bytes arrived: SO_TIMESTAMPNS")
async def test_a_process_that_slept_does_not_take_what_waited_for_a_crowd(
    tmp_path: Path, erps: list[SimulatedErp]
) -> None:
    erps.append(erp := SimulatedErp(tmp_path).start())
    async with aiohttp.ClientSession() as http, aiohttp.ClientSession() as other:
        await asyncio.gather(post(http, erp, "k1"), post(other, erp, "k2"))
        assert erp._child is not None
        erp._child.send(signal.SIGSTOP)
        first = asyncio.create_task(post(http, erp, "k3"))
        await asyncio.sleep(0.2)  # the distance between the two is what is tested
        second = asyncio.create_task(post(other, erp, "k4"))
        await asyncio.sleep(0.05)
        erp._child.send(signal.SIGCONT)
        await asyncio.gather(first, second)
    arrivals = {entry["key"]: entry["at_us"] for entry in erp.entries("request")}
    assert 150_000 < arrivals["k4"] - arrivals["k3"] < 400_000


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.RESET])
async def test_a_cut_connection_commits_only_when_the_reply_was_dropped(
    tmp_path: Path, erps: list[SimulatedErp], fault: Fault
) -> None:
    erps.append(erp := SimulatedErp(tmp_path, faults={fault: 1}, deck=1).start())
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(http, erp, "k1")
        _, found = await look_up(http, erp, "k1")
    assert len(found) == (1 if fault is Fault.DROP_REPLY else 0)
    assert erp.faults() == {fault: 1}


@pytest.mark.parametrize(
    ("fault", "status", "committed"),
    [
        (Fault.ERROR_BEFORE, 500, False),
        (Fault.ERROR_AFTER, 500, True),
        (Fault.UNAVAILABLE, 503, False),
        (Fault.GARBAGE, 200, True),
        (Fault.SLOW, 201, True),
    ],
)
async def test_an_answer_that_misleads(
    tmp_path: Path, erps: list[SimulatedErp], fault: Fault, *, status: int, committed: bool
) -> None:
    erps.append(erp := SimulatedErp(tmp_path, faults={fault: 1}, deck=1, switches=("--slow-s", "0.01")).start())
    async with aiohttp.ClientSession() as http:
        async with http.post(erp.url, json=ORDER, headers={"Idempotency-Key": "k1"}) as reply:
            assert reply.status == status
            assert (reply.headers.get("Retry-After") == "1") == (fault is Fault.UNAVAILABLE)
        assert len((await look_up(http, erp, "k1"))[1]) == (1 if committed else 0)


async def test_a_poisoned_article_is_refused_and_a_body_that_is_no_order_too(
    tmp_path: Path, erps: list[SimulatedErp]
) -> None:
    erps.append(erp := SimulatedErp(tmp_path, switches=("--poison", "A")).start())
    async with aiohttp.ClientSession() as http:
        assert (await post(http, erp, "k1"))[0] == 422
        assert (await post(http, erp, "k2", {"lines": [], "total": 1}))[0] == 400
    assert erp.bookings() == {}
    assert [entry["key"] for entry in erp.entries("refused")] == ["k1"]


async def test_what_was_answered_survives_sigkill_and_a_torn_line(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path).start())
    async with aiohttp.ClientSession() as http:
        booked = await post(http, erp, "k1")
    erp.kill()
    with erp.ledger.open("ab") as ledger:
        ledger.write(b'{"kind":"booked","key":"k9","ord')
    port = erp.port
    erp.start()
    async with aiohttp.ClientSession() as http:
        again = await post(http, erp, "k1")
        later = await post(http, erp, "k2")
    assert erp.port == port
    assert again == (200, booked[1])
    assert later[1]["id"] == "SO-000002"
    assert sorted(erp.bookings()) == ["k1", "k2"]


async def test_an_outage_refuses_connections_and_ends(tmp_path: Path, erps: list[SimulatedErp]) -> None:
    erps.append(erp := SimulatedErp(tmp_path, switches=("--outage-s", "0.3")).start())
    refused = 0
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        await post(http, erp, "k1")
        erp.outage()
        while not refused:
            try:
                await look_up(http, erp, "k1")
            except aiohttp.ClientConnectionError:
                refused += 1
            await asyncio.sleep(0.01)
        while True:
            try:
                assert (await look_up(http, erp, "k1"))[0] == 200
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)
    assert len(erp.entries("outage")) == 1


def test_a_deck_deals_every_fault_as_often_as_it_holds_it_in_a_seeded_order() -> None:
    first, again, other = (FaultDeck({Fault.HANG: 2, Fault.RESET: 3}, size=20, seed=seed) for seed in (1, 1, 2))
    dealt = [first.deal() for _ in range(40)]
    assert dealt == [again.deal() for _ in range(40)]
    assert dealt != [other.deal() for _ in range(40)]
    for half in (dealt[:20], dealt[20:]):
        assert (half.count(Fault.HANG), half.count(Fault.RESET)) == (2, 3)


async def test_entries_are_read_back_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for number in range(3):
        ledger.note("tick", number=number)
    await ledger.flushed()
    ledger.note("tick", number=3)
    ledger.close()
    assert [entry["number"] for entry in read(tmp_path / "ledger")] == [0, 1, 2, 3]


def test_a_folder_called_flashd_where_we_stand_is_not_taken_for_the_package(
    tmp_path: Path, erps: list[SimulatedErp], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flashd").mkdir()  # a clone, seen from its parent folder
    (tmp_path / "flashd" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    erps.append(SimulatedErp(tmp_path).start())
    assert erps[0].is_alive

"""Two daemons where there should be one: what cannot be shared is said, the first goes on, nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import TOKEN, configuration, fed, keep, native
from tests.e2e.process import Flashd
from tests.e2e.test_stop import PACED, booked
from tests.e2e.test_store_away import Stream, daemon
from tests.servers import Server, find_server, missing
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    erp = SimulatedErp(tmp_path, limit=5000, switches=("--not-idempotent",)).start()
    yield erp
    erp.close()


@pytest.fixture
def server() -> Iterator[Server]:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    server = Server("valkey").start()
    yield server
    server.close()


def started(second: Flashd) -> tuple[int, str]:
    """Start one that should not run; return its exit code and what it said."""
    second.start(ready=False)
    assert second.process is not None
    code = second.process.wait(30)
    return code, second.log.read_text()


async def goes_on(first: Flashd, erp: SimulatedErp, prefix: str) -> None:
    stream = Stream(first, 20)
    await stream.run(1, prefix)
    assert stream.statuses == {201: 20}
    await until(lambda: stream.acknowledged <= set(booked(erp)), "every order is booked", 30)
    assert len(booked(erp)) == len(set(booked(erp)))


async def test_the_same_configuration_started_twice_is_refused_by_its_address_and_the_first_goes_on(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    first = daemon(tmp_path, server, erp, rate="100/s").start()
    try:
        first.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1000})
        second = replace(first, process=None, name="second")
        code, said = await asyncio.to_thread(started, second)
        print(code, said[-1500:])
        assert code not in (0, -9)
        assert f"127.0.0.1:{first.admin}': Address already in use; stop who listens there" in said
        assert code == 78
        assert "Traceback" not in said
        await goes_on(first, erp, "a")
    finally:
        first.close()


async def test_two_on_one_data_directory_are_refused_and_the_first_goes_on(tmp_path: Path, erp: SimulatedErp) -> None:
    keep(tmp_path, till_token=TOKEN)
    text = configuration(tmp_path, native(), fed(erp.url, **PACED))
    first = Flashd(tmp_path, text).start()
    try:
        first.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1000})
        second = Flashd(tmp_path, text, "second")
        code, said = await asyncio.to_thread(started, second)
        print(code, said[-1500:])
        assert code not in (0, -9)
        assert str(tmp_path / "state") in said
        assert "Traceback" not in said
        await goes_on(first, erp, "a")
    finally:
        first.close()

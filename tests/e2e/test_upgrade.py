"""The upgrade of docs/operations.md, followed: one process after the other under load; other layouts are refused."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

import flashd
from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import TOKEN, configuration, fed, keep, native
from tests.e2e.process import Flashd
from tests.e2e.runbook import Runbook
from tests.e2e.test_operations import ASKED, Till, booked, erp
from tests.servers import Server, find_server, missing
from tests.until import until

pytestmark = pytest.mark.timeout(600)  # a busy machine starts a process in twenty seconds

__all__ = ["erp"]  # the fixture


def next_version(folder: Path, *, version: str = "0.1.1", schema: str = "") -> Path:
    """Copy the package as a newer one: another version, and scripts of its own; perhaps another layout."""
    target = folder / f"next-{version}" / "flashd"
    shutil.copytree(Path(flashd.__file__).parent, target, ignore=shutil.ignore_patterns("__pycache__"))
    init = target / "__init__.py"
    text, found = re.subn(r'__version__ = "[^"]+"', f'__version__ = "{version}"', init.read_text())
    assert found == 1
    init.write_text(text)
    for script in target.glob("store/lua/*.lua"):
        script.write_text(script.read_text() + f"-- {version}\n")
    if schema:
        keys = target / "store" / "keys.py"
        keys.write_text(keys.read_text().replace('SCHEMA = "1"', f'SCHEMA = "{schema}"'))
    return target.parent


@pytest.fixture
def three(tmp_path: Path, erp: SimulatedErp) -> Iterator[list[Flashd]]:
    """Three daemons on one server."""
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    keep(tmp_path, till_token=TOKEN)
    server = Server("valkey").start()
    sections = native(), fed(erp.url, **ASKED)
    texts = [configuration(tmp_path, *sections, store=server.url, state=f"state{number}") for number in range(3)]
    daemons = [Flashd(tmp_path, text, name=f"flashd{number}") for number, text in enumerate(texts)]
    yield daemons
    for daemon in daemons:
        daemon.close()
    server.close()


def version_of(daemon: Flashd) -> str:
    return str(daemon.ask_admin("GET", "/openapi.json")["info"]["version"])


@pytest.mark.slow
async def test_three_processes_are_upgraded_one_after_the_other_under_load(
    tmp_path: Path, three: list[Flashd], erp: SimulatedErp
) -> None:
    newer = next_version(tmp_path)
    for daemon in three:
        await asyncio.to_thread(daemon.start)
    three[0].ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
    till = Till(*three)
    selling = asyncio.create_task(till.run())
    for daemon in three:
        reached = len(till.sold)
        await until(lambda reached=reached: len(till.sold) >= reached + 40, "it sells")  # type: ignore[misc]  # a default
        book = Runbook(tmp_path, {}, {}, daemon.path)

        def install(daemon: Flashd = daemon, book: Runbook = book) -> None:
            daemon.environ["PYTHONPATH"] = book.environ["PYTHONPATH"] = str(newer)

        def restart(daemon: Flashd = daemon) -> None:
            code, _ = daemon.terminate()
            assert code == 0, daemon.log.read_text()[-2000:]
            daemon.start(ready=False)

        book._units = {
            "/opt/flashd/bin/pip install --quiet --upgrade flashd[demo]": install,
            "systemctl restart flashd": restart,
        }
        await asyncio.to_thread(book.take, "upgrade")
        await asyncio.to_thread(daemon.wait_until_ready)
        assert await asyncio.to_thread(version_of, daemon) == "0.1.1"
        mixed = [await asyncio.to_thread(version_of, each) for each in three]
        print(mixed, len(till.sold), "sold", till.again, "sent again")
    reached = len(till.sold)
    await until(lambda: len(till.sold) >= reached + 40, "it sells on")
    till.over.set()
    await selling
    wanted = {f"till:{order_id}" for order_id in till.sold}
    await until(lambda: wanted <= set(booked(erp)), "every order is booked", 60)
    assert set(booked(erp)) == wanted
    assert set(booked(erp).values()) == {1}
    assert till.again > 0  # somebody was away, and the next one took it
    report = await asyncio.to_thread(three[0].run, "audit", "--json")
    assert report.returncode == 0, report.stdout
    print(f"{len(wanted)} orders over three upgrades: 0 lost, 0 twice")


@pytest.mark.slow
async def test_another_schema_is_refused_and_changes_nothing_for_those_that_run(
    tmp_path: Path, three: list[Flashd], erp: SimulatedErp
) -> None:
    newer = next_version(tmp_path, version="0.2.0", schema="2")
    first, second, third = three
    await asyncio.to_thread(first.start)
    first.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100})
    till = Till(first)
    async with aiohttp.ClientSession() as session:
        await till.sell(session, 3)
        second.environ["PYTHONPATH"] = str(newer)
        second.start(ready=False)
        assert second.process is not None
        assert await asyncio.to_thread(second.process.wait, 20) == 78
        assert "has schema 1; wanted: 2" in second.log.read_text()
        await till.sell(session, 3)
        assert len(till.sold) == 6
    await until(lambda: sum(booked(erp).values()) == 6, "all are booked")
    first.terminate()
    # and back: a store that a newer one has made its own is refused by this one, which says why
    other = Server("valkey").start()
    try:
        text = re.sub(r'url = "unix[^"]+"', f'url = "{other.url}"', third.config)
        third.config = text
        third.environ["PYTHONPATH"] = str(newer)
        await asyncio.to_thread(third.start)
        third.terminate()
        del third.environ["PYTHONPATH"]
        third.log.unlink()
        third.start(ready=False)
        assert await asyncio.to_thread(third.process.wait, 20) == 78  # type: ignore[union-attr]  # it was started
        said = third.log.read_text()
        assert "has schema 2; wanted: 1. A newer flashd wrote it, and there is no way back" in said
        assert "Traceback" not in said
    finally:
        other.close()

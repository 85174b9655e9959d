"""The real Vendure shop, and the daemon beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.beside_vendure import SKU, TILL_TOKEN, address
from tests.e2e.process import Flashd
from tests.erp import postgres, vendure
from tests.erp.tryton import UnavailableError
from tests.erp.vendure import Vendure, beside

TILL = '[channels.till]\nkind = "native"\ntokens = [{ name = "till", secret = { file = "till.token" } }]\n\n'


@pytest.fixture(scope="session")
def installed() -> Iterator[Vendure]:
    if reason := vendure.missing() or postgres.missing():
        pytest.skip(reason)
    try:
        shop = Vendure()
    except UnavailableError as reason:
        pytest.skip(f"Vendure cannot be installed: {reason}")
    yield shop
    shop.close()


@pytest.fixture
def uncounted(installed: Vendure, tmp_path: Path) -> Iterator[Flashd]:
    """A daemon that knows of no stock yet and has a till as well, beside a freshly filled shop that asks it."""
    daemon = beside(installed, tmp_path, poll_s="2")
    (tmp_path / "till.token").touch(mode=0o600)
    (tmp_path / "till.token").write_text(TILL_TOKEN)
    daemon.config = daemon.config.replace("[backends.erp]", TILL + "[backends.erp]")
    try:
        installed.start(address(daemon))
        daemon.start(ready=False).wait_until_ready(90)
        yield daemon
    finally:
        installed.stop()
        daemon.close()


@pytest.fixture
def flashd(uncounted: Flashd) -> Flashd:
    """That daemon, with 10 units."""
    uncounted.ask_admin("PUT", f"/admin/v1/stock/{SKU}", {"on_hand": 10})
    return uncounted


@pytest.fixture
def shop(installed: Vendure, flashd: Flashd) -> Vendure:
    """That shop."""
    assert flashd.process is not None
    return installed


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened

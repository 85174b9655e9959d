"""An app that was taken away from its shop, by the word of a header: its API is asked before anything stops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flashd.daemon.privacy import cut_off
from flashd.errors import ChannelUnavailable
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate


class Api:
    refuses = True

    async def check(self) -> str:
        if self.refuses:
            raise ChannelUnavailable("channel shop: HTTP 401: the login was refused")
        return "a shop"


class House:
    """As much of an Assembly as is asked."""

    def __init__(self) -> None:
        self.api = Api()
        self.gate = FakeGate(clock=FakeClock(), backend="shop")
        self.announcer = FakeAnnouncer()
        self.outlets: dict[str, Any] = {"shop": SimpleNamespace(api=self.api)}
        self.store = SimpleNamespace(channel_gates={"shop": self.gate}, announcer=self.announcer)
        channels = {"shop": SimpleNamespace(pool="main"), "till": SimpleNamespace(pool="main")}
        self.loaded = SimpleNamespace(config=SimpleNamespace(channels=channels))


@pytest.fixture
def house() -> Any:
    return House()


async def test_a_channel_whose_api_refuses_us_is_paused_once_and_it_is_said(house: Any) -> None:
    assert await cut_off(house, "shop") is False
    status = await house.gate.status()
    assert status.paused
    assert "taken away" in status.reason
    assert house.announcer.kinds == ["channel.paused"]
    assert await cut_off(house, "shop") is False
    assert house.announcer.kinds == ["channel.paused"]


async def test_a_header_alone_pauses_nothing(house: Any) -> None:
    house.api.refuses = False
    assert await cut_off(house, "shop") is True
    assert not (await house.gate.status()).paused
    assert house.announcer.said == []


async def test_a_channel_without_an_api_has_nothing_to_pause(house: Any) -> None:
    assert await cut_off(house, "till") is False
    assert house.announcer.said == []

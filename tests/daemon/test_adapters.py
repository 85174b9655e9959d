"""What is refused before anything is opened: a channel whose API cannot do what the configuration asks of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from flashd.config import BackendConfig, ChannelConfig, Config, Loaded, PublishConfig
from flashd.daemon import adapters
from flashd.domain.delivery import BackendTraits
from flashd.domain.listing import WriteMode
from flashd.domain.publication import PublishMode
from flashd.errors import ConfigError
from flashd.ports import ApiTraits
from tests.fakes.backend import BatchingFake, FakeBackend
from tests.fakes.channel_api import FakeChannelApi
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize(("mode", "polls"), [("escrow", False), ("escrow", True), ("mirror", False)])
def test_escrow_wants_an_api_that_lists_orders(
    monkeypatch: pytest.MonkeyPatch, mode: PublishMode, *, polls: bool
) -> None:
    api = FakeChannelApi(name="own", traits=ApiTraits(mode=WriteMode.ABSOLUTE, polls=polls))
    monkeypatch.setattr(adapters, "pick", lambda _group, _kind: SimpleNamespace(connect_api=lambda *_: api))
    section = ChannelConfig(kind="own", publish=PublishConfig(mode=mode))
    loaded = Loaded(config=Config(), path="flashd.toml", origins={})
    if mode == "escrow" and not polls:
        with pytest.raises(ConfigError, match=r'\[channels.own\] publish.mode = "escrow": its API lists no orders'):
            adapters.connect_api("own", section, loaded)
    else:
        assert adapters.connect_api("own", section, loaded) is api


@pytest.mark.parametrize("mode", ["escrow", "mirror"])
def test_escrow_wants_an_api_that_tells_what_it_shows(monkeypatch: pytest.MonkeyPatch, mode: PublishMode) -> None:
    api = FakeChannelApi(name="own", traits=ApiTraits(mode=WriteMode.ABSOLUTE, idempotent=True, reads=False))
    monkeypatch.setattr(adapters, "pick", lambda _group, _kind: SimpleNamespace(connect_api=lambda *_: api))
    section = ChannelConfig(kind="own", publish=PublishConfig(mode=mode))
    loaded = Loaded(config=Config(), path="flashd.toml", origins={})
    if mode == "escrow":
        with pytest.raises(ConfigError, match=r'\[channels.own\] publish.mode = "escrow": its API does not tell'):
            adapters.connect_api("own", section, loaded)
    else:
        assert adapters.connect_api("own", section, loaded) is api


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_wants_a_kind_that_takes_several_orders_in_a_request(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    one_by_one = FakeBackend(FakeClock())
    monkeypatch.setattr(adapters, "pick", lambda _group, _kind: SimpleNamespace(connect=lambda *_: one_by_one))
    section = BackendConfig(kind="own", batch=batch)
    loaded = Loaded(config=Config(), path="flashd.toml", origins={})
    if batch > 1:
        with pytest.raises(ConfigError, match=r"\[backends.erp\] batch = 2: a own backend takes one order"):
            adapters.connect_backend("erp", section, loaded)
    else:
        assert adapters.connect_backend("erp", section, loaded) is one_by_one


def test_a_batch_is_taken_by_a_kind_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    able = BatchingFake(FakeClock(), traits=BackendTraits(idempotent=True, lookup=True, batch=20))
    monkeypatch.setattr(adapters, "pick", lambda _group, _kind: SimpleNamespace(connect=lambda *_: able))
    loaded = Loaded(config=Config(), path="flashd.toml", origins={})
    assert adapters.connect_backend("erp", BackendConfig(kind="own", batch=20), loaded) is able

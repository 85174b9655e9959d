"""What is refused before anything is opened: a channel whose API cannot do what the configuration asks of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from flashd.config import ChannelConfig, Config, Loaded, PublishConfig
from flashd.daemon import adapters
from flashd.domain.listing import WriteMode
from flashd.domain.publication import PublishMode
from flashd.errors import ConfigError
from flashd.ports import ApiTraits
from tests.fakes.channel_api import FakeChannelApi


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

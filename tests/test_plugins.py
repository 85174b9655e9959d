from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from flashd.config import BackendConfig, ChannelConfig
from flashd.errors import ConfigError
from flashd.plugins import BACKENDS, CHANNELS, backend_kinds, channel_kinds, find, installed, pick


class EbayConfig(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    site: str = "de"


class SapConfig(BackendConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    company: str = ""


@pytest.fixture
def stranger() -> Iterator[ModuleType]:
    """A module of another distribution, which a test may fill."""
    module = ModuleType("stranger")
    sys.modules["stranger"] = module
    yield module
    del sys.modules["stranger"]


def _offer(group: str, name: str = "ebay", value: str = "stranger") -> list[EntryPoint]:
    return [EntryPoint(name, value, group)]


def test_the_built_in_adapters_are_found_like_a_strangers() -> None:
    assert {"native", "shopify", "standard_webhooks", "woocommerce"} <= set(channel_kinds())
    assert {"http", "tryton"} <= set(backend_kinds())
    record = installed(CHANNELS)["shopify"]
    assert record.source.startswith("flashd ")
    assert record.connect is not None


def test_a_strangers_adapter_is_sound_if_it_has_a_struct_and_connect(stranger: ModuleType) -> None:
    stranger.Config, stranger.connect = EbayConfig, print  # type: ignore[attr-defined]  # a module made here
    record = pick(CHANNELS, "ebay", find(CHANNELS, _offer(CHANNELS)))
    assert (record.status, record.Config, record.connect) == ("ok", EbayConfig, print)


def test_an_adapter_may_bring_the_platforms_own_api(stranger: ModuleType) -> None:
    vars(stranger).update(Config=EbayConfig, connect=print, connect_api=repr)
    assert pick(CHANNELS, "ebay", find(CHANNELS, _offer(CHANNELS))).connect_api is repr
    assert installed(CHANNELS)["native"].connect_api is None


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"Config": EbayConfig, "connect": print, "connect_api": 7}, "stranger.connect_api is no function"),
        ({"connect": print}, "stranger.Config is no Struct that extends flashd.config.ChannelConfig"),
        ({"Config": SapConfig, "connect": print}, "extends flashd.config.ChannelConfig"),
        ({"Config": EbayConfig}, r"stranger has no function connect\(name, config, reveal\)"),
    ],
)
def test_an_incomplete_plug_in_is_reported_and_refused_only_when_used(
    stranger: ModuleType, members: dict[str, object], reason: str
) -> None:
    vars(stranger).update(members)
    records = find(CHANNELS, [*_offer(CHANNELS), *_offer(CHANNELS, "shopify", "flashd.channels.shopify")])
    assert (records["ebay"].status, records["shopify"].status) == ("broken", "ok")
    pick(CHANNELS, "shopify", records)
    with pytest.raises(ConfigError, match=f'the plug-in "ebay" of an unnamed distribution is broken: .*{reason}'):
        pick(CHANNELS, "ebay", records)


def test_a_plug_in_whose_import_fails_is_reported_with_its_error() -> None:
    record = find(BACKENDS, _offer(BACKENDS, "sap", "there.is.no.such"))["sap"]
    assert (record.status, record.reason) == ("broken", "ModuleNotFoundError: No module named 'there'")


def test_an_unknown_kind_says_which_there_are(stranger: ModuleType) -> None:
    stranger.Config, stranger.connect = EbayConfig, print  # type: ignore[attr-defined]  # a module made here
    with pytest.raises(ConfigError, match='there is no kind "ebya"; did you mean "ebay"\\?; there are ebay'):
        pick(CHANNELS, "ebya", find(CHANNELS, _offer(CHANNELS)))


def test_a_built_in_adapter_cannot_be_replaced_by_a_stranger(stranger: ModuleType) -> None:
    stranger.Config, stranger.connect = EbayConfig, print  # type: ignore[attr-defined]  # a module made here
    points = [*_offer(CHANNELS, "shopify"), *_offer(CHANNELS, "shopify", "flashd.channels.shopify")]
    for offered in (points, points[::-1]):
        assert find(CHANNELS, offered)["shopify"].Config is not EbayConfig

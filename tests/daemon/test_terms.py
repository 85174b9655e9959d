from __future__ import annotations

from flashd.channels import native
from flashd.config import ChannelConfig, Config, PoolConfig, PublishConfig, Secret, Token
from flashd.daemon.terms import terms_in, terms_of
from flashd.domain.publication import Threshold

POOL = PoolConfig(location="berlin")


def test_a_channel_without_locations_sells_from_the_pools() -> None:
    assert terms_of(ChannelConfig(kind="shopify"), POOL).locations == ("berlin",)
    assert terms_of(ChannelConfig(kind="shopify", locations=("a", "b")), POOL).locations == ("a", "b")


def test_a_sku_may_have_a_threshold_of_its_own_and_the_others_have_the_channels() -> None:
    publish = PublishConfig(mode="mirror", buffer=5, floor=1, cap=9, percent=80, skus={"TEE": Threshold(buffer=2)})
    terms = terms_of(ChannelConfig(kind="shopify", publish=publish), POOL)
    assert terms.mode == "mirror"
    assert terms.threshold_of("TEE") == Threshold(buffer=2)
    assert terms.threshold_of("CAP") == Threshold(buffer=5, floor=1, cap=9, percent=80)


def test_a_pool_knows_the_terms_of_its_own_channels_only() -> None:
    config = Config(
        pools={"main": POOL, "other": PoolConfig()},
        channels={
            "shop": ChannelConfig(kind="shopify", split=False, restocks=False),
            "till": ChannelConfig(kind="native", pool="other"),
        },
    )
    terms = terms_in(config, "main", {"shop"})
    assert list(terms) == ["shop"]
    assert (terms["shop"].split, terms["shop"].restocks) == (False, False)


def test_a_channel_asks_before_it_sells_if_its_kind_can_hold_and_it_has_a_token() -> None:
    tokens = (Token(name="till", secret=Secret(file="till.token")),)
    assert terms_of(native.Config(kind="native", tokens=tokens), POOL).asks
    assert not terms_of(native.Config(kind="native"), POOL).asks
    assert not terms_of(ChannelConfig(kind="shopify", tokens=tokens), POOL).asks  # it reads with it, and cannot hold


def test_a_channel_that_is_told_no_figures_sells_by_none() -> None:
    config = Config(
        pools={"main": POOL}, channels={"till": ChannelConfig(kind="native", publish=PublishConfig(mode="mirror"))}
    )
    assert terms_in(config, "main", ())["till"].mode == "none"
    assert terms_in(config, "main", {"till"})["till"].mode == "mirror"

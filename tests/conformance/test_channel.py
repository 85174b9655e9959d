"""What every sales channel promises, the built-in ones like a stranger's: proven bytes in, one named result out."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.channels import native, shopify, standard_webhooks, woocommerce
from flashd.config import ChannelConfig, Secret, SecretText, Token
from flashd.domain.order import Effect, Incoming
from flashd.ports import Channel, Unreadable, Unrelated
from tests.channels.bodies import own_order, shopify_order, webhook_order, woo_order, written

NOW = 1_795_762_800.0
SECRETS = (Secret(env="new"), Secret(env="old"))


def reveal(secret: Secret) -> SecretText:
    return SecretText(f"secret {secret.env}")


class Sample(msgspec.Struct, frozen=True):
    """One kind of channel, an order in its words, and what makes the order waiting or cancelled there."""

    module: Any
    order: dict[str, Any]
    waiting: dict[str, Any]
    cancelled: dict[str, Any]
    signs: bool = True

    def connect(self, *secrets: Secret) -> Channel:
        told = {"secrets": secrets or SECRETS} if self.signs else {"tokens": (Token(name="t", secret=Secret(env="t")),)}
        channel: Channel = self.module.connect("shop", self.module.Config(kind=self.kind, **told), reveal)
        return channel

    @property
    def kind(self) -> str:
        return str(self.module.__name__.rpartition(".")[2])

    def incoming(self, **changes: Any) -> Incoming:
        result = self.connect().decode({}, written({**self.order, **changes}))
        assert isinstance(result, Incoming), result
        return result


SAMPLES = {
    sample.kind: sample
    for sample in (
        Sample(shopify, shopify_order(), {"financial_status": "pending"}, {"financial_status": "voided"}),
        Sample(woocommerce, woo_order(), {"status": "pending"}, {"status": "cancelled"}),
        Sample(standard_webhooks, webhook_order(), {"status": "pending"}, {"status": "cancelled"}),
        Sample(native, own_order(), {}, {}, signs=False),
    )
}
SIGNING = [kind for kind, sample in SAMPLES.items() if sample.signs]
KINDS = list(SAMPLES)


@pytest.fixture(params=KINDS)
def sample(request: pytest.FixtureRequest) -> Sample:
    return SAMPLES[request.param]


@pytest.fixture(params=SIGNING)
def signing(request: pytest.FixtureRequest) -> Sample:
    return SAMPLES[request.param]


def test_every_channel_is_found_like_a_strangers(sample: Sample) -> None:
    (found,) = entry_points(group="flashd.channels", name=sample.kind)
    assert found.load() is sample.module


def test_the_tests_know_every_built_in_channel() -> None:
    ours = {found.name for found in entry_points(group="flashd.channels") if found.value.startswith("flashd.")}
    assert ours == set(SAMPLES)


def test_a_channel_has_its_name_and_kind(sample: Sample) -> None:
    assert (sample.connect().name, sample.connect().kind) == ("shop", sample.kind)


def test_its_configuration_is_strict(sample: Sample) -> None:
    config: type[ChannelConfig] = sample.module.Config
    with pytest.raises(msgspec.ValidationError, match="unknown field `colour`"):
        msgspec.convert({"kind": sample.kind, "colour": "red"}, config)
    assert msgspec.convert({"kind": sample.kind}, config).pool == "main"


def test_what_it_signs_it_takes(signing: Sample) -> None:
    body = written(signing.order)
    channel = signing.connect()
    assert channel.verify(channel.sign(body, now_s=NOW, delivery_id="d-1"), body, now_s=NOW)


def test_what_an_older_secret_signed_it_still_takes(signing: Sample) -> None:
    body = written(signing.order)
    headers = signing.connect(Secret(env="old")).sign(body, now_s=NOW, delivery_id="d-1")
    assert signing.connect().verify(headers, body, now_s=NOW)
    assert not signing.connect(Secret(env="new")).verify(headers, body, now_s=NOW)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SIGNING), st.data())
def test_one_other_bit_and_it_is_not_proven(kind: str, data: st.DataObject) -> None:
    body = written(SAMPLES[kind].order)
    channel = SAMPLES[kind].connect()
    headers = channel.sign(body, now_s=NOW, delivery_id="d-1")
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    bent = bytearray(body)
    bent[bit // 8] ^= 1 << bit % 8
    assert not channel.verify(headers, bytes(bent), now_s=NOW)


def test_without_headers_nothing_is_proven(sample: Sample) -> None:
    assert not sample.connect().verify({}, written(sample.order), now_s=NOW)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.dictionaries(st.text(max_size=30), st.text(max_size=60), max_size=3), st.binary())
def test_no_headers_and_no_body_make_it_raise(kind: str, headers: dict[str, str], body: bytes) -> None:
    channel = SAMPLES[kind].connect()
    own = dict.fromkeys(channel.sign(b"", now_s=NOW, delivery_id="d"), "\udcff ٣")
    for offered in (headers, own, {**own, **headers}):
        assert not channel.verify(offered, body, now_s=NOW)
        channel.is_ping(offered, body)
        assert isinstance(channel.decode(offered, body), Unreadable | Unrelated)


def test_a_signed_body_is_no_ping(sample: Sample) -> None:
    channel = sample.connect()
    body = written(sample.order)
    assert not channel.is_ping(channel.sign(body, now_s=NOW, delivery_id="d"), body)


def test_headers_decide_nothing_about_an_order(sample: Sample) -> None:
    channel = sample.connect()
    body = written(sample.order)
    lies = {"x-shopify-topic": "orders/cancelled", "x-wc-webhook-topic": "order.deleted", "webhook-id": "other"}
    assert channel.decode(lies, body) == channel.decode({}, body)


def test_an_order_is_sound_and_keeps_its_raw_body(sample: Sample) -> None:
    incoming = sample.incoming()
    assert incoming.raw == written(sample.order)
    assert (incoming.order.channel, incoming.effect, incoming.reason) == ("shop", Effect.DELIVER, "")
    assert incoming.order.sum_of_parts == incoming.order.total
    assert 0 < incoming.version < 10**15
    assert incoming.order.lines


def test_the_same_body_is_the_same_version_with_the_same_digest(sample: Sample) -> None:
    first, second = sample.incoming(), sample.incoming()
    assert (first.version, first.order.digest) == (second.version, second.order.digest)


def test_in_one_timestamp_paid_wins_over_waiting_and_a_cancellation_over_both(signing: Sample) -> None:
    waiting, paid = signing.incoming(**signing.waiting), signing.incoming()
    cancelled = signing.incoming(**signing.cancelled)
    assert (waiting.effect, paid.effect, cancelled.effect) == (Effect.WAIT, Effect.DELIVER, Effect.CANCEL)
    assert waiting.version < paid.version < cancelled.version


def test_only_an_asking_channel_is_strict(sample: Sample) -> None:
    assert sample.incoming().strict is not sample.signs


def test_connecting_opens_nothing_and_shows_no_secret(sample: Sample) -> None:
    asked: list[Secret] = []

    def watched(secret: Secret) -> SecretText:
        asked.append(secret)
        return reveal(secret)

    connect: Callable[..., Channel] = sample.module.connect
    channel = connect("shop", sample.module.Config(kind=sample.kind, secrets=SECRETS if sample.signs else ()), watched)
    assert asked == (list(SECRETS) if sample.signs else [])
    assert "secret new" not in repr(channel)

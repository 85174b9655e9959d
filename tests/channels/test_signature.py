"""Signature vectors: the exact answer to what platforms, and those who would like to be one, may send."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from flashd.channels import native, shopify, signature, standard_webhooks, woocommerce
from flashd.channels.standard_webhooks import key_of
from flashd.config import ChannelConfig, Secret, SecretText
from flashd.domain.seal import Seal
from flashd.errors import ConfigError
from flashd.ports import Channel
from tests.channels.bodies import RECORDED

VECTORS: list[dict[str, Any]] = json.loads((RECORDED / "vectors/signature_vectors.json").read_bytes())
BODY = VECTORS[0]["body"].encode()
RIGHT = VECTORS[0]["expected"]
SECRET = VECTORS[0]["secret"]

NOW = 1614265330.0
STANDARD_BODY = VECTORS[1]["body"].encode()
STANDARD_SECRET = VECTORS[1]["secret"]
STANDARD_RIGHT = VECTORS[1]["expected"]
STANDARD = {"webhook-id": VECTORS[1]["msg_id"], "webhook-timestamp": "1614265330", "webhook-signature": STANDARD_RIGHT}


def reveal_of(*texts: str) -> tuple[tuple[Secret, ...], Any]:
    secrets = tuple(Secret(env=str(index)) for index, _ in enumerate(texts))
    return secrets, lambda secret: SecretText(texts[int(secret.env)])


def shop(*texts: str) -> Channel:
    secrets, reveal = reveal_of(*texts)
    return shopify.connect("shop", shopify.Config(kind="shopify", secrets=secrets), reveal)


def woo(*texts: str) -> Channel:
    secrets, reveal = reveal_of(*texts)
    return woocommerce.connect("woo", woocommerce.Config(kind="woocommerce", secrets=secrets), reveal)


def hook(*texts: str) -> Channel:
    secrets, reveal = reveal_of(*texts)
    config = standard_webhooks.Config(kind="standard_webhooks", secrets=secrets)
    return standard_webhooks.connect("hook", config, reveal)


def other_spelling(text: str) -> str:
    """The same bytes, written with another last digit: its lowest bits are not part of them."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-2] + digits[digits.index(text[-2]) ^ 1] + "="


# A signature of the same body, and whether it is taken; `None` stands for no header at all.
PLAIN = {
    "the right one": (RIGHT, True),
    "no header": (None, False),
    "empty": ("", False),
    "first digit wrong": ("R" + RIGHT[1:], False),
    "last digit wrong": (RIGHT[:-2] + "A=", False),
    "the same bytes in another spelling": (other_spelling(RIGHT), False),
    "without padding": (RIGHT.rstrip("="), False),
    "more padding": (RIGHT + "=", False),
    "url-safe digits": (RIGHT.replace("/", "_").replace("+", "-"), False),
    "lower case": (RIGHT.lower(), False),
    "a blank in front": (" " + RIGHT, False),
    "a blank behind": (RIGHT + " ", False),
    "a line break behind": (RIGHT + "\n", False),
    "hexadecimal": (base64.b64decode(RIGHT).hex(), False),
    "twice": (f"{RIGHT},{RIGHT}", False),
    "with a prefix": ("sha256=" + RIGHT, False),
    "with a null byte": (RIGHT + "\x00", False),
    "letters beyond ASCII": ("Ä" + RIGHT, False),
    "full-width digits": ("\uff31" + RIGHT[1:], False),
    "undecodable bytes": ("\udcff" + RIGHT[1:], False),
    "very long": (RIGHT * 1000, False),
}


@pytest.mark.parametrize("make", [shop, woo])
@pytest.mark.parametrize(("offered", "taken"), PLAIN.values(), ids=PLAIN.keys())
def test_a_plain_signature_is_taken_only_as_it_was_made(make: Any, offered: str | None, taken: bool) -> None:  # noqa: FBT001  # a column
    channel = make(SECRET)
    headers = {} if offered is None else {channel.header: offered}
    assert channel.verify(headers, BODY, now_s=NOW) is taken


def test_the_other_spelling_is_the_same_bytes() -> None:
    assert other_spelling(RIGHT) != RIGHT
    assert base64.b64decode(other_spelling(RIGHT)) == base64.b64decode(RIGHT)


@pytest.mark.parametrize(
    "body",
    [BODY + b" ", b" " + BODY, BODY[:-1], b"", BODY.replace(b"123.45", b"123.44"), bytes([BODY[0] ^ 1]) + BODY[1:]],
)
def test_another_body_is_not_proven(body: bytes) -> None:
    assert not shop(SECRET).verify({"x-shopify-hmac-sha256": RIGHT}, body, now_s=NOW)


@pytest.mark.parametrize("secrets", [(SECRET, "new"), ("new", SECRET), ("a", "b", SECRET)])
def test_a_rotated_secret_lives_on_beside_the_new_one(secrets: tuple[str, ...]) -> None:
    assert shop(*secrets).verify({"x-shopify-hmac-sha256": RIGHT}, BODY, now_s=NOW)


@pytest.mark.parametrize("secret", ["new", SECRET + "\n", " " + SECRET, SECRET.upper()])
def test_another_secret_proves_nothing(secret: str) -> None:
    assert not shop(secret).verify({"x-shopify-hmac-sha256": RIGHT}, BODY, now_s=NOW)


@pytest.mark.parametrize(("vector", "make"), [(3, woo), (4, shop)])
def test_what_php_and_node_signed_is_proven(vector: int, make: Any) -> None:
    body = (RECORDED / VECTORS[vector]["body_file"]).read_bytes()
    channel = make(VECTORS[vector]["secret"])
    assert channel.verify({channel.header: VECTORS[vector]["expected"]}, body, now_s=NOW)


def standard(**changes: str) -> dict[str, str]:
    return {**STANDARD, **{name.replace("_", "-"): value for name, value in changes.items()}}


B64 = STANDARD_RIGHT.removeprefix("v1,")
STANDARD_CASES = {
    "the right one": (STANDARD, NOW, True),
    "among others": (standard(webhook_signature=f"v1,AAAA v1a,BBBB {STANDARD_RIGHT}"), NOW, True),
    "first of two": (standard(webhook_signature=f"{STANDARD_RIGHT} v1,AAAA"), NOW, True),
    "behind eight others": (standard(webhook_signature="v1,AAAA " * 8 + STANDARD_RIGHT), NOW, False),
    "another version": (standard(webhook_signature=f"v1a,{B64}"), NOW, False),
    "no version": (standard(webhook_signature=B64), NOW, False),
    "no comma": (standard(webhook_signature="v1"), NOW, False),
    "empty": (standard(webhook_signature=""), NOW, False),
    "wrong": (standard(webhook_signature=VECTORS[2]["signature"]), NOW, False),
    "other spelling": (standard(webhook_signature="v1," + other_spelling(B64)), NOW, False),
    "beyond ASCII": (standard(webhook_signature="v1,Ä"), NOW, False),
    "five minutes late": (STANDARD, NOW + 300, True),
    "more than five minutes late": (STANDARD, NOW + 301, False),
    "five minutes early": (STANDARD, NOW - 300, True),
    "more than five minutes early": (STANDARD, NOW - 301, False),
    "another id": (standard(webhook_id="msg_x"), NOW, False),
    "no id": (standard(webhook_id=""), NOW, False),
    "an id beyond ASCII": (standard(webhook_id="\udcff"), NOW, False),
    "another time": (standard(webhook_timestamp="1614265331"), NOW, False),
    "a time that is no number": (standard(webhook_timestamp="soon"), NOW, False),
    "a time with a sign": (standard(webhook_timestamp="+1614265330"), NOW, False),
    "a time with a fraction": (standard(webhook_timestamp="1614265330.0"), NOW, False),
    "a time in Arabic digits": (standard(webhook_timestamp="١٦١٤٢٦٥٣٣٠"), NOW, False),
    "an endless time": (standard(webhook_timestamp="9" * 400), NOW, False),
    "no headers": ({}, NOW, False),
}


@pytest.mark.parametrize(("headers", "now_s", "taken"), STANDARD_CASES.values(), ids=STANDARD_CASES.keys())
def test_a_standard_webhook_is_taken_only_as_it_was_made(
    headers: dict[str, str],
    now_s: float,
    taken: bool,  # noqa: FBT001  # a column
) -> None:
    assert hook(STANDARD_SECRET).verify(headers, STANDARD_BODY, now_s=now_s) is taken


@pytest.mark.parametrize("missing", STANDARD)
def test_every_header_of_a_standard_webhook_is_needed(missing: str) -> None:
    headers = {name: value for name, value in STANDARD.items() if name != missing}
    assert not hook(STANDARD_SECRET).verify(headers, STANDARD_BODY, now_s=NOW)


def test_a_right_signature_of_an_empty_id_is_not_enough() -> None:
    proof = signature.sign(key_of(STANDARD_SECRET), b".1614265330." + STANDARD_BODY)
    assert not hook(STANDARD_SECRET).verify(
        standard(webhook_id="", webhook_signature=f"v1,{proof}"), STANDARD_BODY, now_s=NOW
    )


def test_a_signed_time_that_is_no_number_is_not_enough() -> None:
    proof = signature.sign(key_of(STANDARD_SECRET), b"m.soon." + STANDARD_BODY)
    headers = {"webhook-id": "m", "webhook-timestamp": "soon", "webhook-signature": f"v1,{proof}"}
    assert not hook(STANDARD_SECRET).verify(headers, STANDARD_BODY, now_s=NOW)


def test_the_reference_library_takes_what_is_signed_here_and_the_other_way_round() -> None:
    now_s = time.time()
    ours = hook(STANDARD_SECRET).sign(STANDARD_BODY, now_s=now_s, delivery_id="msg_1")
    assert Webhook(STANDARD_SECRET).verify(STANDARD_BODY, ours) == {"test": 2432232314}
    theirs = Webhook(STANDARD_SECRET).sign(
        "msg_2", dt.datetime.fromtimestamp(int(now_s), dt.UTC), STANDARD_BODY.decode()
    )
    headers = {"webhook-id": "msg_2", "webhook-timestamp": str(int(now_s)), "webhook-signature": theirs}
    assert hook(STANDARD_SECRET).verify(headers, STANDARD_BODY, now_s=now_s)


@pytest.mark.parametrize("text", [STANDARD_SECRET, "whsec_" + base64.b64encode(b"0" * 25).decode().rstrip("=")])
def test_a_standard_secret_is_base64_behind_its_prefix_with_or_without_padding(text: str) -> None:
    body, now_s = b"{}", time.time()
    Webhook(text).verify(body, hook(text).sign(body, now_s=now_s, delivery_id="m"))


def test_a_secret_without_the_prefix_is_its_own_key() -> None:
    assert key_of("plain secret") == b"plain secret"


@pytest.mark.parametrize("make", [shop, woo, hook])
def test_a_channel_without_a_secret_does_not_start(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"secrets: is empty, and .* signs what it sends; write secrets = "):
        make()


@pytest.mark.parametrize("make", [shop, woo, hook])
def test_an_empty_secret_does_not_start(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"secrets\[1\]: is empty"):
        make("good", "")


@pytest.mark.parametrize("text", ["whsec_", "whsec_ää", "whsec_!"])
def test_a_malformed_standard_secret_does_not_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\[channels.hook\] secrets\[0\]: is") as caught:
        hook(text)
    assert text not in str(caught.value) or text == "whsec_"


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the messages over which a digest is made."""
    made: list[bytes] = []
    digest = Seal.digest

    def counted(seal: Seal, message: bytes) -> bytes:
        made.append(message)
        return digest(seal, message)

    monkeypatch.setattr(Seal, "digest", counted)
    return made


def test_wrong_and_missing_signatures_cost_the_same_work(signed: list[bytes]) -> None:
    work = []
    for headers in ({"x-shopify-hmac-sha256": RIGHT}, {"x-shopify-hmac-sha256": "wrong"}, {}):
        shop(SECRET, "b", "c").verify(headers, BODY, now_s=NOW)
        work.append(len(signed))
        signed.clear()
    assert work == [3, 3, 3]


def test_a_secret_of_a_channel_is_kept_out_of_its_text() -> None:
    config = ChannelConfig(kind="shopify", secrets=(Secret(env="X"),))
    assert SECRET not in repr(shop(SECRET)) + repr(config)


def test_a_refusal_costs_the_same_with_one_secret_with_three_and_with_none(signed: list[bytes]) -> None:
    till = native.connect("till", native.Config(kind="native"), lambda _: SecretText(""))
    for channel in (shop(SECRET), shop(SECRET, "b"), shop(SECRET, "b", "c"), till):
        assert not channel.verify({"x-shopify-hmac-sha256": "wrong"}, BODY, now_s=NOW)
        assert signed == [BODY] * 3
        signed.clear()

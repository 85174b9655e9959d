"""What arrives at the receiver, as the library of Standard Webhooks itself verifies it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from flashd.alerts.webhook import WebhookMessenger, connect
from flashd.config import AlertsConfig, Secret, SecretText
from flashd.errors import ConfigError
from flashd.ports import Sent, SentCode
from tests.shops.receiver import Receiver

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = '{"type":"alert.raised","data":{"text":"ä"}}'.encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
async def messenger(receiver: Receiver) -> AsyncIterator[WebhookMessenger]:
    made = connect(AlertsConfig(url=receiver.url, secret=Secret(env="S")), lambda _: SecretText(SECRET))
    assert made is not None
    yield made
    await made.close()
    await made.close()


async def test_the_library_of_standard_webhooks_verifies_it(messenger: WebhookMessenger, receiver: Receiver) -> None:
    assert await messenger.send("alert_1.1", BODY) == Sent(code=SentCode.TAKEN, reason="HTTP 200")
    (message,) = receiver.messages
    assert Webhook(SECRET).verify(message.body, message.headers) == {"type": "alert.raised", "data": {"text": "ä"}}
    assert message.headers["webhook-id"] == "alert_1.1"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(message.body + b" ", message.headers)


async def test_a_repeat_has_the_same_id_and_a_fresh_signature(receiver: Receiver) -> None:
    now = [1_790_000_000.0]
    messenger = WebhookMessenger(receiver.url, KEY, wall_s=lambda: now[0])
    await messenger.send("alert_1.1", BODY)
    now[0] += 600
    await messenger.send("alert_1.1", BODY)
    await messenger.close()
    first, second = receiver.messages
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(204, "taken"), (410, "gone"), (301, "again"), (400, "again"), (401, "again"), (429, "again"), (500, "again")],
)
async def test_what_an_answer_means(messenger: WebhookMessenger, receiver: Receiver, status: int, code: str) -> None:
    receiver.status = status
    sent = await messenger.send("alert_1.1", BODY)
    assert sent.code == code
    assert str(status) in sent.reason
    assert len(receiver.messages) == 1


async def test_nobody_there_is_no_error_and_says_so() -> None:
    messenger = WebhookMessenger("http://127.0.0.1:9/hook", KEY)
    sent = await messenger.send("alert_1.1", BODY)
    await messenger.close()
    assert (sent.code, sent.reason[:9]) == (SentCode.AGAIN, "no answer")


def test_without_an_address_nobody_is_told() -> None:
    assert connect(AlertsConfig(), lambda _: SecretText("")) is None


@pytest.mark.parametrize("text", ["", "  ", "whsec_not base64!"])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\[alerts\] secret"):
        connect(AlertsConfig(url="https://a.example/x", secret=Secret(env="S")), lambda _: SecretText(text))

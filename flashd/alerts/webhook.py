"""
A POST to an address of the operator's, signed as Standard Webhooks are (standardwebhooks.com).

The signature is made anew with every attempt, for receivers refuse an old timestamp; the id stays the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Final

import aiohttp
from yarl import URL

from flashd import __version__
from flashd.config import AlertsConfig, Secret, SecretText
from flashd.domain.backoff import clamp_retry_after
from flashd.errors import ConfigError
from flashd.ports import Sent, SentCode

TIMEOUT_S: Final = 10.0
_PREFIX = "whsec_"
_GONE = 410


class WebhookMessenger:
    """Sends to one address; the session is opened at the first message."""

    def __init__(self, url: str, key: bytes, *, wall_s: Callable[[], float] = time.time) -> None:
        self._url = URL(url)
        self._key = key
        self._wall_s = wall_s
        self._session: aiohttp.ClientSession | None = None

    async def send(self, message_id: str, body: bytes) -> Sent:
        """Send one message, once; never raises for what the other side does."""
        try:
            async with self._open().post(
                self._url, data=body, headers=self._headers(message_id, body), allow_redirects=False
            ) as answer:
                return _read(answer.status, answer.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Sent(code=SentCode.AGAIN, reason=f"no answer: {type(error).__name__}")

    async def close(self) -> None:
        """Close the connections; fine to call twice. A later message opens them again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        stamp = str(int(self._wall_s()))
        signed = hmac.digest(self._key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
        return {
            "Content-Type": "application/json",
            "User-Agent": f"flashd/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            )
        return self._session


def _read(status: int, retry_after: str) -> Sent:
    said = f"HTTP {status}"
    if 200 <= status < 300:
        return Sent(code=SentCode.TAKEN, reason=said)
    if status == _GONE:
        return Sent(code=SentCode.GONE, reason=f"{said}: the receiver wants no more alerts")
    seconds = retry_after.strip()
    wait_s = clamp_retry_after(float(seconds)) if seconds.isascii() and seconds.isdigit() else None
    if 300 <= status < 400:
        said += ": a redirect, and none is followed; write the new address into [alerts] url"
    return Sent(code=SentCode.AGAIN, reason=said, wait_s=wait_s)


def connect(config: AlertsConfig, reveal: Callable[[Secret], SecretText]) -> WebhookMessenger | None:
    """
    Return the way out, or None where nobody is to be told.

    Raises:
        ConfigError: The secret is missing, empty or malformed.
    """
    if not config.url:
        return None
    text = "" if config.secret is None else str(reveal(config.secret)).strip()
    if not text:
        raise ConfigError('[alerts] secret: is empty; write secret = { file = "alerts.secret" }, whsec_ and base64')
    if not text.startswith(_PREFIX):
        return WebhookMessenger(config.url, text.encode())
    encoded = text.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        raise ConfigError("[alerts] secret: is not base64 behind whsec_; copy the whole secret") from None
    return WebhookMessenger(config.url, key)

"""GraphQL over HTTP to Vendure's Admin API: one request, sent once, and what may be concluded from how it ended."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import aiohttp

from flashd.errors import ChannelUnavailable


class Answer(NamedTuple):
    """What a query brought, and when that was by the shop's own clock, whose header is cut to seconds."""

    data: dict[str, Any]
    date_ms: int
    elapsed_ms: int

    @property
    def earliest_ms(self) -> int:
        """What was read is not older."""
        return self.date_ms - self.elapsed_ms

    @property
    def latest_ms(self) -> int:
        """What was read or written was so by then."""
        return self.date_ms + 1000 + self.elapsed_ms


class NotSentError(ChannelUnavailable):
    """There was no connection: nothing reached the shop."""


class LostError(ChannelUnavailable):
    """The request may have reached the shop, and no answer can be read."""


class RefusedError(ChannelUnavailable):
    """The shop refused, and rolled back whatever the request had changed."""


class Link:
    """Connections to one shop, opened at the first request."""

    def __init__(self, name: str, url: str, key: str, timeout_s: float) -> None:
        self._name = name
        self._url = url
        self._key = key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self.calls = 0

    async def ask(self, query: str, **variables: Any) -> Answer:
        """
        Send one query or mutation.

        Raises:
            NotSentError: Surely nothing happened.
            RefusedError: Surely nothing was changed; the message says what to mend.
            LostError: Nothing is known.
        """
        self.calls += 1
        began_s = time.monotonic()
        body = {"query": query, "variables": variables}
        try:
            async with self._open().post(self._url, json=body, allow_redirects=False) as response:
                said = await response.json()
                date = parsedate_to_datetime(response.headers["Date"])
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"channel {self._name}: no connection: {type(error).__name__}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            raise LostError(f"channel {self._name}: no answer that can be read: {type(error).__name__}") from None
        elapsed_ms = math.ceil((time.monotonic() - began_s) * 1000)
        return Answer(self._data(said), int(date.timestamp() * 1000), elapsed_ms)

    def _data(self, said: object) -> dict[str, Any]:
        errors = said.get("errors") if isinstance(said, dict) else None
        if errors:
            code = str((errors[0].get("extensions") or {}).get("code", ""))
            what = {"FORBIDDEN": "the API key is unknown, or may not do this"}.get(code, str(errors[0].get("message")))
            raise RefusedError(f"channel {self._name}: refused: {what[:200]}")
        data = said.get("data") if isinstance(said, dict) else None
        if not isinstance(data, dict):
            raise LostError(f"channel {self._name}: the answer has neither data nor errors; is this the Admin API?")
        return data

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"vendure-api-key": self._key}, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def close(self) -> None:
        """Close the connections; fine to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

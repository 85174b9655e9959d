"""GraphQL to Vendure's Admin API: one request, sent once, and what may be concluded from how it ended."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from yarl import URL

from flashd.channels import exchange
from flashd.domain.rate import Rate
from flashd.errors import ChannelUnavailable
from flashd.ports import WriteCode


class Answer(NamedTuple):
    """What a query brought, and when that was by the shop's own clock."""

    data: dict[str, Any]
    earliest_ms: int  # what was read is not older
    latest_ms: int  # what was read or written was so by then


class NotSentError(ChannelUnavailable):
    """Nothing reached the shop, or it wants to be left alone for a while."""


class LostError(ChannelUnavailable):
    """The request may have done its work, and no answer tells."""


class RefusedError(ChannelUnavailable):
    """The shop refused, and rolled back whatever the request had changed."""


_ENDED: dict[WriteCode, type[ChannelUnavailable]] = {
    WriteCode.LATER: NotSentError,
    WriteCode.REFUSED: RefusedError,
    WriteCode.UNKNOWN: LostError,
}


class Link:
    """The way to one shop; its connections are opened at the first request."""

    def __init__(self, name: str, url: URL, key: str, *, rate: Rate, timeout_s: float) -> None:
        self._name = name
        self._url = url
        self._link = exchange.Link(headers={"vendure-api-key": key}, timeout_s=timeout_s, pace=exchange.Pace(rate))

    @property
    def calls(self) -> int:
        """How many requests were sent."""
        return self._link.calls

    async def ask(self, query: str, **variables: Any) -> Answer:
        """
        Wait for the channel's rate, and send one query or mutation.

        Raises:
            NotSentError: Surely nothing happened.
            RefusedError: Surely nothing was changed; the message says what to mend.
            LostError: Nothing is known.
        """
        answer = await self._link.ask("POST", self._url, msgspec.json.encode({"query": query, "variables": variables}))
        said = answer.json if isinstance(answer, exchange.Answer) else None
        if isinstance(said, dict) and said.get("errors"):
            raise self._refusal(said["errors"][0])
        if isinstance(answer, exchange.Lost) or answer.status >= 300:
            reason = answer.reason if isinstance(answer, exchange.Lost) else f"HTTP {answer.status}"
            raise _ENDED[exchange.write_code(answer)](f"channel {self._name}: {reason}")
        if not isinstance(said, dict) or not isinstance(said.get("data"), dict):
            raise LostError(f"channel {self._name}: an answer without data; is this the Admin API?")
        if answer.earliest_ms is None or answer.latest_ms is None:
            raise LostError(f"channel {self._name}: the answer has no Date header, so the shop's clock is not known")
        return Answer(said["data"], answer.earliest_ms, answer.latest_ms)

    def _refusal(self, error: dict[str, Any]) -> ChannelUnavailable:
        code = (error.get("extensions") or {}).get("code", "")
        if code == "FORBIDDEN":
            return RefusedError(f"channel {self._name}: the API key is unknown, or may not do this")
        text = f"channel {self._name}: {exchange.plain(str(error.get('message')))}"
        # It may have failed at the commit, or after it.
        return LostError(text) if code == "INTERNAL_SERVER_ERROR" else RefusedError(text)

    async def close(self) -> None:
        """Close the connections; fine to call twice."""
        await self._link.close()

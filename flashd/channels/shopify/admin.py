"""
One call of Shopify's Admin GraphQL API, and what may be concluded from its answer.

An error is told by what it proves. Shopify checks a document before it runs it, so an answer with errors and without
``data`` changed nothing; a 5xx, a lost reply or an answer that cannot be read proves nothing at all.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec
from yarl import URL

from flashd.channels.exchange import Answer, Link, Lost, plain
from flashd.channels.shopify.points import Cost, Points
from flashd.errors import ChannelUnavailable
from flashd.ports.channel_api import WriteCode

T = TypeVar("T")

TOO_DEAR = "MAX_COST_EXCEEDED"
_THROTTLED = "THROTTLED"
_USED_UP = "throttled: the shop's points are used up"
_ATTEMPTS = 4  # of a reading call that was throttled: reading may be repeated
_STATUSES = {
    400: "the request was refused",
    401: "the access token was refused: copy the one of the app into access_token",
    402: "the shop is frozen: it has to pay its plan",
    403: "the access token may not do this: give the app the scopes that docs/channels/shopify.md names",
    404: "nothing answers at this address: check url and api_version",
    423: "the shop is locked",
}


class Error(msgspec.Struct, frozen=True):
    """One member of ``errors``."""

    message: str = ""
    path: list[str | int] | None = None
    extensions: dict[str, Any] | None = None

    @property
    def code(self) -> str:
        """Its code, "" where it has none."""
        return str((self.extensions or {}).get("code", ""))


class _Body(msgspec.Struct, frozen=True):
    data: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    errors: list[Error] | str | dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The call ran; *errors* may speak of single fields."""

    data: dict[str, Any]
    answer: Answer
    errors: tuple[Error, ...] = ()


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """
    This call did not run (LATER), or nobody knows (UNKNOWN).

    Never REFUSED, however final the reason sounds: what was refused is this call, and an earlier one under the same
    key may have been applied all the same. Only what ran under the key speaks of the key.
    """

    code: WriteCode
    reason: str
    cause: str = ""  # the code of the error


class Admin:
    """The way to one shop's Admin API."""

    def __init__(self, name: str, url: URL, link: Link, points: Points) -> None:
        self._name = name
        self._url = url
        self._points = points
        self.link = link

    async def ask(
        self,
        kind: str,
        document: str,
        variables: dict[str, Any],
        *,
        size: int = 1,
        spare: bool = False,
        patience_s: float = math.inf,
    ) -> Told | Failed:
        """
        Wait for the budget, send once, and say what came of it.

        Args:
            kind: Names calls that cost alike.
            document: The GraphQL.
            variables: Its variables.
            size: How many of what its cost grows with.
            spare: Leave a part of the budget to others.
            patience_s: Rather do not send than wait longer for the budget.
        """
        taken = await self._points.take(kind, size, spare=spare, patience_s=patience_s)
        if taken is None:
            return Failed(code=WriteCode.LATER, reason=_USED_UP, cause=_THROTTLED)
        content = msgspec.json.encode({"query": document, "variables": variables})
        cost: Cost | None = None
        try:
            patience = None if patience_s == math.inf else patience_s
            answer = await self.link.ask("POST", self._url, content, patience_s=patience)
            if isinstance(answer, Lost):
                return Failed(code=WriteCode.UNKNOWN if answer.sent else WriteCode.LATER, reason=answer.reason)
            body = _read(answer)
            if isinstance(body, Failed):
                return body
            cost = _cost(body)
            return _understood(body, answer)
        finally:
            self._points.settle(kind, size, taken, cost)

    async def read(
        self, kind: str, document: str, variables: dict[str, Any], *, size: int = 1, spare: bool = False
    ) -> Told:
        """
        Ask for something that changes nothing; what was throttled is asked again.

        Raises:
            TooDearError: The call would cost more than any call may.
            ChannelUnavailable: There was no answer, or it was refused.
        """
        told = await self.ask(kind, document, variables, size=size, spare=spare)
        for _ in range(_ATTEMPTS - 1):
            if not isinstance(told, Failed) or told.cause != _THROTTLED:
                break
            told = await self.ask(kind, document, variables, size=size, spare=spare)
        if isinstance(told, Failed):
            if told.cause == TOO_DEAR:
                raise TooDearError(told.reason)
            raise ChannelUnavailable(f"channel {self._name}: {told.reason}")
        if told.errors:
            raise ChannelUnavailable(f"channel {self._name}: {_said(told.errors[0])}")
        return told

    def convert(self, value: Any, shape: type[T]) -> T:
        """
        Return a part of an answer in its shape.

        Raises:
            ChannelUnavailable: It has another one.
        """
        try:
            return msgspec.convert(value, shape)
        except msgspec.ValidationError as error:
            reason = plain(str(error))
            raise ChannelUnavailable(f"channel {self._name}: the answer is not understood: {reason}") from None


class TooDearError(Exception):
    """The call costs more than any call may: ask for less. It does not leave this package."""


def _read(answer: Answer) -> _Body | Failed:
    if answer.status == 429:
        return Failed(code=WriteCode.LATER, reason="HTTP 429: too many requests", cause=_THROTTLED)
    if answer.status in _STATUSES:
        return Failed(code=WriteCode.LATER, reason=f"HTTP {answer.status}: {_STATUSES[answer.status]}")
    if answer.status != 200:
        return Failed(code=WriteCode.UNKNOWN, reason=f"HTTP {answer.status}, which proves nothing")
    try:
        return msgspec.json.decode(answer.body, type=_Body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        reason = f"HTTP 200 with {len(answer.body)} bytes that are no answer of GraphQL"
        return Failed(code=WriteCode.UNKNOWN, reason=reason)


def _cost(body: _Body) -> Cost | None:
    try:
        return msgspec.convert((body.extensions or {}).get("cost"), Cost)
    except msgspec.ValidationError:
        return None


def _understood(body: _Body, answer: Answer) -> Told | Failed:
    errors = _errors(body.errors)
    if isinstance(body.data, dict):
        return Told(data=body.data, errors=errors, answer=answer)
    if not errors:
        return Failed(code=WriteCode.UNKNOWN, reason="HTTP 200 with neither data nor errors")
    cause = errors[0].code
    if cause == _THROTTLED:
        return Failed(code=WriteCode.LATER, reason=_USED_UP, cause=cause)
    # Without `data` it was refused before it ran; `data: null` is an error while it ran.
    ran = body.data is None or cause == "INTERNAL_SERVER_ERROR"
    return Failed(code=WriteCode.UNKNOWN if ran else WriteCode.LATER, reason=_said(errors[0]), cause=cause)


def _errors(told: list[Error] | str | dict[str, Any] | None) -> tuple[Error, ...]:
    if isinstance(told, list):
        return tuple(told)
    return (Error(message=str(told)),) if told else ()


def _said(error: Error) -> str:
    return plain(f"{error.code}: {error.message}" if error.code else error.message) or "an error without a word"

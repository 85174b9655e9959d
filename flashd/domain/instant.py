"""Instants: ms since 1970, UTC, and the versions that platforms derive from them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from flashd.domain.order import Effect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_YEARS = range(1971, 2201)  # keeps versions within 15 digits

_CANCELLED = 9
_PAID = 4
_RANKS = {Effect.CANCEL: _CANCELLED, Effect.DELIVER: _PAID, Effect.WAIT: 1, Effect.IGNORE: 0}


def to_ms(moment: datetime) -> int:
    """Return an aware datetime as ms since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


@functools.lru_cache(1024)  # platforms write whole seconds, and tell each several times
def parse_ms(text: str, *, utc: bool = False) -> int:
    """
    Read an ISO 8601 instant such as ``2026-11-27T08:00:00+01:00``.

    Args:
        text: The instant.
        utc: Whether text without an offset is UTC; otherwise an offset is wanted.

    Raises:
        ValueError: It is no instant; the message says what is allowed.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a time: want ISO 8601 such as 2026-11-27T08:00:00Z") from None
    if moment.year not in _YEARS:
        raise ValueError(f"is out of range: want a year from {_YEARS[0]} to {_YEARS[-1]}")
    if moment.tzinfo is None:
        if not utc:
            raise ValueError("has no offset: want ISO 8601 with one, such as 2026-11-27T08:00:00Z")
        moment = moment.replace(tzinfo=UTC)
    return to_ms(moment)


def parse_http_ms(text: str) -> int | None:
    """Read the date of an HTTP header, in whole seconds; None where it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1000
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def version_of(updated_ms: int, effect: Effect, *, steps: int = 0) -> int:
    """
    Return the version of an order changed at *updated_ms*.

    Platforms write whole seconds, so a rank of 0 to 9 orders what shares one: a cancellation stands above everything,
    a paid order above a waiting one, and among paid ones the one with more *steps* (such as refunds) behind it.
    """
    rank = _RANKS[effect]
    if steps and rank == _PAID:
        rank = min(_CANCELLED - 1, _PAID + steps)
    return updated_ms * 10 + rank

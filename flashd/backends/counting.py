"""What a backend says of its stock, read into counts; what it does not say is not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import urljoin, urlsplit

from flashd.backends.exchange import Answer, Link, by_status, plain
from flashd.domain.count import Count, CountKind
from flashd.domain.instant import parse_ms
from flashd.errors import BackendUnavailable

PAGES = 1000
_MOST = 10**12


def decode_counts(body: object, *, kind: CountKind, source: str, now_ms: int) -> list[Count]:
    """
    Read one page: ``{"as_of": ..., "seq": ..., "kind": ..., "counts": [{"sku": ..., "quantity": ...}]}``.

    A member of a row stands for that row, one above for all rows. Without as_of it is *now_ms*, the instant before it
    was asked for: nothing later can be in it for sure.

    A location that is not told is empty: the pool's own.

    Raises:
        ValueError: It is something else; the message says what.
    """
    rows = body.get("counts") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(rows, list):
        raise ValueError("there is no list `counts` in it")  # noqa: TRY004  # of the answer, not of our code
    return [_decode_row({**body, **row}, kind, source, now_ms) for row in rows if isinstance(row, dict)]


def _decode_row(row: Mapping[str, Any], kind: CountKind, source: str, now_ms: int) -> Count:
    sku, quantity, seq, as_of = row.get("sku"), row.get("quantity"), row.get("seq", 0), row.get("as_of")
    if not isinstance(sku, str) or not sku:
        raise ValueError("a row has no sku")
    if not _is_whole(quantity) or not _is_whole(seq) or seq < 0:
        raise ValueError(f"{sku}: quantity and seq must be whole numbers")
    as_of_ms = parse_ms(as_of) if isinstance(as_of, str) else now_ms
    return Count(
        sku=sku,
        location=str(row.get("location") or ""),
        quantity=quantity,
        kind=CountKind(row.get("kind", kind)),
        as_of_ms=min(as_of_ms, now_ms),
        seq=seq,
        source=source,
    )


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST


async def read_counts(link: Link, url: str, *, kind: CountKind, source: str, now_ms: int) -> list[Count]:
    """
    Read all pages, following ``next`` as long as it stays on the same host.

    Raises:
        BackendUnavailable: It did not answer, or with something that cannot be read; no count of it may be used then.
    """
    counts: list[Count] = []
    host = urlsplit(url)[:2]
    for _ in range(PAGES):
        answer = await link.get(url)
        trouble = by_status(answer) if isinstance(answer, Answer) else answer
        if trouble is not None or not isinstance(answer, Answer):
            raise BackendUnavailable(f"backend {source}: no counts: {trouble.reason if trouble else 'no answer'}")
        if answer.status != 200:
            raise BackendUnavailable(f"backend {source}: no counts: HTTP {answer.status}")
        try:
            counts += decode_counts(answer.json, kind=kind, source=source, now_ms=now_ms)
        except ValueError as error:
            raise BackendUnavailable(f"backend {source}: its counts cannot be read: {plain(str(error))}") from None
        follow = answer.json.get("next") if isinstance(answer.json, dict) else None
        if not follow:
            return counts
        url = urljoin(url, str(follow))
        if urlsplit(url)[:2] != host:
            raise BackendUnavailable(f"backend {source}: the next page of its counts is on another host")
    raise BackendUnavailable(f"backend {source}: its counts have more than {PAGES} pages")

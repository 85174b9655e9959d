"""
Any system that takes orders as JSON over HTTP. The format stands in docs/backends/http.md.

An answer counts only if it repeats the key, or the channel and id of the order: 2xx alone may be a login page or
another order's answer.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from msgspec.structs import asdict

from flashd.backends.counting import read_counts
from flashd.backends.exchange import Answer, Link, by_status, checked_url, plain, plain_refusal, unread
from flashd.config import BackendConfig, Secret, SecretText
from flashd.domain.count import Count, CountKind
from flashd.domain.delivery import (
    Absent,
    Away,
    BackendTraits,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Finding,
    Found,
    Mismatch,
    NoLookup,
    Outcome,
    Throttled,
    Unknown,
    Unsupported,
)
from flashd.domain.order import Kind, Order
from flashd.errors import BackendUnavailable, ConfigError

_REFUSALS = ("error", "detail", "message", "title", "reason")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # UTC; one that knows its zone takes four times as long to write


class Config(BackendConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How to call it, and what its answers look like."""

    lookup_url: str = ""  # GET; with {key}
    counts_url: str = ""  # GET; its stock, see docs/backends/http.md
    counts_kind: Literal["physical", "available"] = "available"  # of counts that do not say
    cancel_url: str = ""  # POST; with {id} (its own) or {key} (of the cancellation)
    secret: Secret | None = None
    auth: Literal["bearer", "basic"] = "bearer"
    username: str = ""  # for basic
    key_header: str = "Idempotency-Key"  # "" sends none
    idempotent: bool | None = None  # by default: whether key_header is sent
    answer_id: str = "id"
    answer_key: str = "key"
    missing: Literal["empty", "404"] = "empty"  # how a look-up says that it has nothing


def encode_order(delivery: Delivery) -> dict[str, Any]:
    """Return the body that docs/backends/http.md describes: every member is always there."""
    order = delivery.order
    return {
        "key": delivery.key,
        "kind": str(delivery.ref.kind),
        "channel": order.channel,
        "order_id": order.id,
        "number": order.number,
        "placed_at": _instant(order.placed_ms),
        "currency": order.currency,
        "lines": [
            {
                "sku": line.sku,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "discount": line.discount,
                "total": line.total,
                "title": line.title,
            }
            for line in order.lines
        ],
        "shipping": order.shipping,
        "discount": order.discount,
        "tax": order.tax,
        "total": order.total,
        "customer": asdict(order.customer),
        "ship_to": asdict(order.ship_to),
        "tags": list(order.tags),
        "note": order.note,
    }


def _instant(ms: int) -> str | None:
    """Write ms since 1970 as RFC 3339; null where the channel did not say when."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat() + "Z" if ms else None


def encode_cancel(delivery: Delivery) -> dict[str, Any]:
    """Return the body of a cancellation."""
    return {
        "key": delivery.key,
        "kind": str(delivery.ref.kind),
        "channel": delivery.order.channel,
        "order_id": delivery.order.id,
        "id": delivery.backend_ref,
    }


def decode_answer(answer: Answer, delivery: Delivery, config: Config) -> Outcome:  # noqa: PLR0911  # a decision table
    """Conclude what became of a request from its complete answer."""
    trouble = by_status(answer)
    if trouble is not None:
        return trouble
    body = answer.json
    if not isinstance(body, dict):
        return unread(answer)
    ours = _is_ours(body, delivery, config)
    if 200 <= answer.status < 300 or (answer.status == 409 and ours):
        return _decode_taken(answer, body, delivery, config)
    refusal = next((body[name] for name in _REFUSALS if isinstance(body.get(name), str)), None)
    if answer.status == 409:
        if not _text(body.get(config.answer_key)):
            # The draft standard of the key header: 409 also says that the first request is still being worked on.
            return Doubtful(reason="HTTP 409 that does not say whose")
        return Declined(reason=plain_refusal(refusal or "the key or the id belongs to another order", delivery.order))
    if answer.status in {400, 422} and refusal is not None:
        return Declined(reason=plain_refusal(refusal, delivery.order))
    return unread(answer)


def _decode_taken(answer: Answer, body: dict[str, Any], delivery: Delivery, config: Config) -> Outcome:
    if answer.status < 300 and body.get("error"):
        return Doubtful(reason=f"HTTP {answer.status} with an error in it")
    backend_ref = _text(body.get(config.answer_id))
    if not backend_ref:
        return unread(answer)
    if not _is_ours(body, delivery, config):
        return Doubtful(reason=f"HTTP {answer.status} about another order")
    if delivery.ref.kind is Kind.CREATE:
        difference = compare(body, delivery.order)
        if difference:
            return Doubtful(reason=f"it answered with other content: {difference}")
    return Delivered(backend_ref=backend_ref)


def decode_found(answer: Answer, delivery: Delivery, config: Config) -> Finding:  # noqa: PLR0911  # a decision table
    """Conclude from the answer of a look-up what the backend has."""
    if answer.status == 404 and config.missing == "404" and isinstance(answer.json, dict):
        return Absent()
    trouble = by_status(answer)
    if trouble is not None:
        wait_s = trouble.retry_after_s if isinstance(trouble, Throttled) else None
        return Unknown(reason=trouble.reason, retry_after_s=wait_s)
    body = answer.json
    records = body if isinstance(body, list) else [body]
    if answer.status != 200 or not all(isinstance(record, dict) for record in records):
        return Unknown(reason=unread(answer).reason)
    if not records and config.missing == "empty":
        return Absent()
    ours = [record for record in records if _is_ours(record, delivery, config)]
    if not ours:
        return Unknown(reason="the look-up answered with other orders")
    backend_ref = _text(ours[0].get(config.answer_id))
    if len(ours) > 1:
        return Mismatch(reason=f"{len(ours)} orders under one key", backend_ref=backend_ref)
    difference = compare(ours[0], delivery.order)
    if difference or not backend_ref:
        return Mismatch(reason=difference or "it has no id", backend_ref=backend_ref)
    return Found(backend_ref=backend_ref)


def compare(record: dict[str, Any], order: Order) -> str:
    """Say how *record* differs from *order* in lines and total, as far as it has them; "" if it does not."""
    total = record.get("total")
    if total is not None and total != order.total:
        return f"its total is {plain(str(total))}, not {order.total}"
    lines = record.get("lines")
    if lines is None:
        return ""
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        return "its lines cannot be read"
    priced = all("unit_price" in line for line in lines)
    theirs: Counter[tuple[str, Any]] = Counter()
    for line in lines:
        quantity = line.get("quantity")
        if not isinstance(quantity, int):
            return "its quantities cannot be read"
        theirs[str(line.get("sku")), line["unit_price"] if priced else None] += quantity
    mine: Counter[tuple[str, Any]] = Counter()
    for wanted in order.lines:
        mine[wanted.sku, wanted.unit_price if priced else None] += wanted.quantity
    return "" if theirs == mine else "its lines are others"


def _is_ours(record: dict[str, Any], delivery: Delivery, config: Config) -> bool:
    order = delivery.order
    if str(record.get("order_id", order.id)) != order.id or record.get("channel", order.channel) != order.channel:
        return False
    key = record.get(config.answer_key)
    if key is not None:
        return bool(key == delivery.key)
    # An order and its cancellation have the same id, so without a key it proves only the order itself.
    return delivery.ref.kind is Kind.CREATE and "order_id" in record


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return plain(str(value))


class HttpBackend:
    """Feeds one HTTP endpoint."""

    kind: ClassVar[str] = "http"

    def __init__(self, name: str, config: Config, headers: dict[str, str]) -> None:
        self.name = name
        kinds = {Kind.CREATE, Kind.CANCEL} if config.cancel_url else {Kind.CREATE}
        self.traits = BackendTraits(
            idempotent=bool(config.key_header) if config.idempotent is None else config.idempotent,
            lookup=bool(config.lookup_url),
            kinds=frozenset(kinds),
            counts=bool(config.counts_url),
        )
        self._config = config
        self._link = Link(headers=headers, max_in_flight=config.max_in_flight, timeout_s=config.timeout_s)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Send one item under its key, once."""
        kind = delivery.ref.kind
        if kind not in self.traits.kinds:
            return Unsupported(reason=f"backend {self.name} is not told how to {kind}: do it there by hand")
        if kind is Kind.CREATE:
            url, content = self._config.url, encode_order(delivery)
        else:
            url, content = _fill(self._config.cancel_url, delivery), encode_cancel(delivery)
        headers = {self._config.key_header: delivery.key} if self._config.key_header else {}
        answer = await self._link.post(url, content, headers=headers)
        return decode_answer(answer, delivery, self._config) if isinstance(answer, Answer) else answer

    async def find(self, delivery: Delivery) -> Finding:
        """Look the order up by its key. What followed an order has no look-up."""
        if not self.traits.lookup or delivery.ref.kind is not Kind.CREATE:
            return NoLookup()
        answer = await self._link.get(_fill(self._config.lookup_url, delivery))
        if isinstance(answer, Answer):
            return decode_found(answer, delivery, self._config)
        return Unknown(reason=answer.reason)

    async def counts(self, now_ms: int) -> list[Count]:
        """Read its stock. Raises BackendUnavailable."""
        kind = CountKind(self._config.counts_kind)
        return await read_counts(self._link, self._config.counts_url, kind=kind, source=self.name, now_ms=now_ms)

    async def check(self) -> str:
        """
        Ask the look-up for a key that nobody has; without a look-up, ask the endpoint whether it is there.

        Raises:
            BackendUnavailable: It did not answer, or refused the login.
        """
        nobody = "fd-check"
        lookup = self._config.lookup_url.replace("{key}", nobody)
        answer = await self._link.get(lookup or self._config.url)
        if not isinstance(answer, Answer):
            raise BackendUnavailable(f"backend {self.name}: {answer.reason}")
        trouble = by_status(answer)
        if isinstance(trouble, Away) and not (answer.status == 404 and self._config.missing == "404"):
            raise BackendUnavailable(f"backend {self.name}: {trouble.reason}; mend url or secret")
        if answer.status >= 500 or answer.status == 429:
            raise BackendUnavailable(f"backend {self.name}: HTTP {answer.status}")
        return f"HTTP {answer.status} from {self._config.url}"

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._link.close()


def _fill(template: str, delivery: Delivery) -> str:
    filled = template.replace("{key}", quote(delivery.key, safe=""))
    return filled.replace("{id}", quote(delivery.backend_ref, safe=""))


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> HttpBackend:
    """
    Make the adapter; nothing is opened yet.

    Raises:
        ConfigError: An address cannot be used.
    """
    at = f"backends.{name}"
    checked_url(f"{at}.url", config.url)
    if config.lookup_url:
        checked_url(f"{at}.lookup_url", config.lookup_url, allowed=frozenset({"key"}))
        if "{key}" not in config.lookup_url:
            raise ConfigError(f"{at}.lookup_url = {config.lookup_url!r}: it needs {{key}}, or it finds anything")
    if config.counts_url:
        checked_url(f"{at}.counts_url", config.counts_url)
    if config.cancel_url:
        checked_url(f"{at}.cancel_url", config.cancel_url, allowed=frozenset({"id", "key"}))
    headers = {}
    if config.secret is not None:
        secret = str(reveal(config.secret))
        if config.auth == "bearer":
            headers["Authorization"] = f"Bearer {secret}"
        else:
            headers["Authorization"] = "Basic " + b64encode(f"{config.username}:{secret}".encode()).decode()
    return HttpBackend(name, config, headers)

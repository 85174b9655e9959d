"""What is sent: whole HTTP requests in a file, signed before the clock runs, every one with an id of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.recorded.substitute import recent, substituted

SKU = "BENCH-0000000"
_SKU_NUMBER = b"BENCH-%07d"  # of one length, so that a thousand or a million SKUs make requests of one length
RECORDED = Path("tests/recorded/shopify-real-anon/2024-01_orders_2.json")
SKUS = (SKU, *(f"SKU-1-{number}" for number in range(1, 10)))  # the second kind is what `substituted` writes
_IDS = itertools.count(5_000_000_000_001)  # thirteen digits, so that all requests of a kind have one length
_HOLE = "5000000000001"  # the id that `substituted` gives the first order
_CHANCE = random.Random(1)  # one for all: each file of a run is for other SKUs of a million
_PIECE = 1000  # requests written at a time


class Traffic(msgspec.Struct, frozen=True):
    """Requests of one length, one behind the other in a file."""

    path: Path
    size: int


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """
    One kind of request.

    Args:
        target: The path, or several that take turns by chance.
        body: With the hole of the id in it.
        headers: What goes with a body.
        skus: So many SKUs are bought by chance, where it is more than one.
    """

    name: str
    target: str | tuple[str, ...]
    body: bytes
    headers: Callable[[bytes], str]
    skus: int = 1

    def requests(self) -> Iterator[bytes]:
        """Make requests without an end."""
        parts, chance = self.body.split(_HOLE.encode()), _CHANCE
        targets = (self.target,) if isinstance(self.target, str) else self.target
        heads = [f"POST {at} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" for at in targets]
        for number in _IDS:
            body = str(number).encode().join(parts)
            if self.skus > 1:
                body = body.replace(SKU.encode(), _SKU_NUMBER % chance.randrange(self.skus))
            yield f"{chance.choice(heads)}Content-Length: {len(body)}\r\n{self.headers(body)}\r\n\r\n".encode() + body

    def write(self, path: Path, count: int) -> Traffic:
        """Write *count* requests that were never sent before."""
        endless, size = self.requests(), 0
        with path.open("wb") as file:
            for _ in range(-(-count // _PIECE)):
                piece = list(itertools.islice(endless, _PIECE))
                size = len(piece[0])
                assert all(len(text) == size for text in piece)
                file.writelines(piece)
        return Traffic(path, size)

    def bodies(self, count: int) -> list[bytes]:
        """Return bodies alone, with ids that were never sent before."""
        parts = self.body.split(_HOLE.encode())
        return [str(number).encode().join(parts) for number in itertools.islice(_IDS, count)]


def bearer(token: str) -> Callable[[bytes], str]:
    """Return the header of the native API."""
    return lambda _: f"Authorization: Bearer {token}"


def shopify(secret: str) -> Callable[[bytes], str]:
    """Return the header that Shopify signs with."""
    key = secret.encode()
    return lambda body: (
        "X-Shopify-Topic: orders/create\r\n"
        "X-Shopify-Hmac-Sha256: " + base64.b64encode(hmac.digest(key, body, hashlib.sha256)).decode()
    )


def native_order() -> bytes:
    """Return a native order of about 380 bytes."""
    return _packed(
        {
            "id": _HOLE,
            "status": "paid",
            "placed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "currency": "EUR",
            "lines": [{"sku": SKU, "quantity": 1, "unit_price": 1990, "title": "Tee, medium"}],
            "shipping": 490,
            "total": 2480,
            "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
            "ship_to": {
                "name": "Ada Lovelace",
                "street": "Lane 1",
                "postcode": "53111",
                "city": "Bonn",
                "country": "DE",
            },
        }
    )


def small_order() -> bytes:
    """Return what Shopify's webhook of an order comes down to where little is said: about 380 bytes."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"id": 1, "sku": SKU, "quantity": 1, "price": "19.90"}
    return _packed(
        {
            "id": int(_HOLE),
            "admin_graphql_api_id": f"gid://shopify/Order/{_HOLE}",
            "name": "#1001",
            "created_at": now,
            "updated_at": now,
            "currency": "EUR",
            "financial_status": "paid",
            "total_price": "19.90",
            "line_items": [line],
            "shipping_address": {"name": "Ada", "zip": "53111", "country_code": "DE"},
        }
    )


def recorded_order() -> bytes:
    """Return a real order that Shopify sent, anonymised, made recent, and written without blanks as Shopify does."""
    return _packed(recent(substituted(json.loads(RECORDED.read_text()), 1), datetime.now(UTC)))


def native_hold() -> bytes:
    """Return a wish to hold one unit for ten minutes."""
    return _packed({"id": f"cart-{_HOLE}", "lines": [{"sku": SKU, "quantity": 1}], "ttl_ms": 600_000})


def numbered(count: int) -> list[str]:
    """Return the names of the first SKUs that requests of many are for."""
    return [(_SKU_NUMBER % number).decode() for number in range(count)]


def _packed(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()

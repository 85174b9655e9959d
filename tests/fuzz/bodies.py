"""Bodies that are nearly right: recorded payloads, bent in one or several ways that real senders and strangers know."""

from __future__ import annotations

import copy
import gzip
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.recorded.substitute import recent, substituted

RECORDED = Path(__file__).parent.parent / "recorded"
CHEESE = "Käse"
NASTY_TEXT = [
    "", " ", "a", "A", "a ", " a", "{a}", "}{", "a:b", "a|b", "\x00", "\x1f", "\x1d\x1e", "\x7f", "\u202e", "\ufeff",
    "\u200b", unicodedata.normalize("NFC", CHEESE), unicodedata.normalize("NFD", CHEESE), "TEE", "tee", "TEE ", "1",
    "01", "1.0", "1e3", "-1", "NaN", "null", "x" * 255, "x" * 256, "x" * 70_000, "../../etc", "%00", "' OR 1=1", "𐍈",
    "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59-14:00", "12.345",
    "-0.01", "99999999999999999999.99", "1e400", "gid://shopify/Order/1", "EUR", "eur", "XXX", "paid", "cancelled",
]  # fmt: skip
NASTY_NUMBERS = [0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**23, -(10**23), 0.1, -0.0, 1e308, 1.0]
NASTY: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}, *NASTY_TEXT, *NASTY_NUMBERS]
RAW: list[Callable[[bytes, random.Random], bytes]] = [
    lambda body, _: gzip.compress(body),
    lambda body, _: b"[" * 100_000 + body,
    lambda body, _: b'{"a":' * 5_000 + body + b"}" * 5_000,
    lambda body, _: body + body,
    lambda body, _: b"\xef\xbb\xbf" + body,
    lambda body, _: body.decode(errors="replace").encode("utf-16"),
    lambda body, dice: body[: dice.randrange(len(body) + 1)],
    lambda body, dice: _at(body, dice, bytes([dice.randrange(256)])),
    lambda body, dice: _at(body, dice, b"\xff\xfe"),
    lambda body, dice: _at(body, dice, b"\xed\xa0\x80"),
    lambda body, dice: _at(body, dice, dice.choice([b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\ud800"])),
    lambda body, dice: body.replace(b'"id"', dice.choice([b'"id":7,"id"', b'"ID"', b'"\\u0069d"']), 1),
    lambda body, dice: b"{" + dice.choice([b'"id":1,', b'"currency":"USD",', b'"lines":7,']) * 9 + body[1:],
    lambda body, _: body.replace(b":", b": " + b"9" * 400 + b", ", 1),
    lambda body, _: body[:0],
    lambda body, dice: dice.randbytes(min(2000, len(body))),
]


def _at(body: bytes, dice: random.Random, piece: bytes) -> bytes:
    place = dice.randrange(len(body) + 1)
    return body[:place] + piece + body[place + dice.randrange(2) :]


def seeds() -> list[tuple[str, dict[str, Any]]]:
    """Return good bodies, and by which channel each comes."""
    now = datetime.now(UTC)
    found: list[tuple[str, dict[str, Any]]] = []
    for path in sorted(RECORDED.glob("shopify-*/*.json")):
        body = json.loads(path.read_bytes())
        if isinstance(body, dict):
            is_order = {"line_items", "financial_status", "subtotal_price"} <= body.keys()
            found.append(("shop", recent(substituted(body, len(found)), now) if is_order else body))
    woo = sorted((RECORDED / "woocommerce").glob("*.json"))
    found += [("woo", recent(json.loads(path.read_bytes()), now)) for path in woo]
    line = {"sku": "TEE", "quantity": 1, "unit_price": 100}
    order = {"id": "1", "status": "paid", "currency": "EUR", "lines": [line], "total": 100}
    person = {"email": "a@example.com", "name": "A", "phone": "1"}
    whole = order | {"customer": person, "ship_to": {"name": "A", "city": "B"}, "note": "n", "tags": ["t"]}
    found += [("partner", {"type": "order.updated", "timestamp": f"{now:%FT%TZ}", "data": whole}), ("partner", whole)]
    found += [("till", order), ("till", whole), ("hold", {"id": "h", "lines": [line], "ttl_ms": 60_000})]
    return found


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a JSON value: its container, and its key or index."""
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(members):
        yield node, key
        yield from places(value)


def bend(body: Any, dice: random.Random) -> bytes:
    """Return *body* with one to four values replaced, moved, doubled or dropped, and at times broken as bytes."""
    bent = json.loads(json.dumps(body))
    for _ in range(dice.choice([0, 1, 1, 1, 2, 4])):
        found = list(places(bent))
        if not found:
            break
        node, key = dice.choice(found)
        way = dice.random()
        if way < 0.7:
            node[key] = copy.deepcopy(dice.choice(NASTY))
        elif way < 0.8:
            del node[key]
        elif way < 0.9 and isinstance(node, list):
            node.extend(copy.deepcopy(node[0]) for _ in range(1 if len(found) > 5000 else dice.choice([1, 50, 400])))
        else:
            other, place = dice.choice(found)
            node[key] = json.loads(json.dumps(other[place])) if _holds(other, place) else None
    text = json.dumps(bent, ensure_ascii=dice.random() < 0.5).encode(errors="replace")
    return dice.choice(RAW)(text, dice) if dice.random() < 0.3 else text


def _holds(node: Any, key: Any) -> bool:
    return key in node if isinstance(node, dict) else key < len(node)

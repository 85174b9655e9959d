"""Bent bodies and bent requests, sent to a daemon as a process; every answer is noted."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.fuzz.bodies import NASTY, NASTY_TEXT, bend, seeds
from tests.fuzz.house import SECRETS, Fuzzed, bearer, signed

AT_ONCE = 8
IDS = ["none", "TEE", "shop", "till", "erp", "main", *(text for text in NASTY_TEXT if text and len(text) < 300)]
LIKELY = {
    "channel": ["till", "shop", "woo", "partner"],
    "id": ["1", "h", "5000000000001", "5000000000020", "1%1famend"],
    "name": ["erp", "shop", "woo", "till", "summer"],
    "sku": ["TEE", "a", "1"],
    "pool": ["main"],
    "limit": ["1", "500"],
    "state": ["queued", "delivered", "shortfall", "manual"],
}
SCOPES = ("", "read", "operate", "admin", "till")


async def send_bodies(fuzzed: Fuzzed, seed: int, seconds: float, most: int = 1_000_000) -> int:
    """Send bent bodies to intake, each signed or with its token; return how many."""
    good: dict[str, list[dict[str, Any]]] = {}
    for channel, body in seeds():
        good.setdefault(channel, []).append(body)
    until_s, kinds = time.monotonic() + seconds, sorted(good)

    async def client(number: int) -> int:
        dice, count = random.Random(f"{seed}/{number}"), 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            while time.monotonic() < until_s and count < most // AT_ONCE:
                count += 1
                channel = dice.choice(kinds)
                body = bend(dice.choice(good[channel]), dice)
                await _send_body(fuzzed, session, channel, body, dice)
        return count

    sent = sum(await asyncio.gather(*(client(number) for number in range(AT_ONCE))))
    print(f"seed {seed}: {sent} bodies, {dict(sorted(fuzzed.answers.items()))}")
    return sent


async def _send_body(
    fuzzed: Fuzzed, session: aiohttp.ClientSession, channel: str, body: bytes, dice: random.Random
) -> None:
    if channel in ("till", "hold"):
        batch = channel == "till" and dice.random() < 0.2
        path = "/v1/holds" if channel == "hold" else "/v1/orders:batch" if batch else "/v1/orders"
        headers = bearer("till") | ({"Content-Type": "application/x-ndjson"} if batch else {})
    else:
        path, headers = f"/webhooks/{channel}", signed(channel, body)
    data = _as_sent(body, dice)
    if dice.random() < 0.05:
        headers["Content-Encoding"] = dice.choice(["gzip", "deflate", "br", "x"])
    url = f"http://127.0.0.1:{fuzzed.flashd.intake}{path}"
    await _ask(fuzzed, session, "POST", url, path, data=data, headers=headers)


def _as_sent(body: bytes, dice: random.Random) -> Any:
    """Send it whole, or without a Content-Length in pieces; a large one in pieces, for our own client warns of it."""
    return _in_pieces(body, dice) if len(body) > 2**19 or dice.random() < 0.2 else body


async def _in_pieces(body: bytes, dice: random.Random) -> AsyncIterator[bytes]:
    size = dice.choice([1, 7, 4096])
    size = max(size, len(body) // 500)
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def _ask(
    fuzzed: Fuzzed, session: aiohttp.ClientSession, method: str, url: str, where: str, **options: Any
) -> None:
    try:
        async with session.request(method, url, allow_redirects=False, **options) as answer:
            first = b"" if answer.content_type == "text/event-stream" else await answer.read()
            fuzzed.told(where, answer.status, first)
            if answer.status >= 400 and not first and method != "HEAD":
                fuzzed.broken.append(f"{where}: {answer.status} says nothing")
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError):
        fuzzed.answers[f"{where} cut"] += 1  # a refusal in the middle of what we still sent
    except ValueError:
        fuzzed.answers["not sent"] += 1  # our own client refuses such a header or address


async def send_requests(fuzzed: Fuzzed, seed: int, seconds: float, most: int = 1_000_000) -> dict[str, int]:
    """Ask every operation of the OpenAPI document in bent ways with every token; return how often each was asked."""
    async with aiohttp.ClientSession() as session:
        address = f"http://127.0.0.1:{fuzzed.flashd.admin}/openapi.json"
        async with session.get(address, headers=bearer("read")) as answer:
            document = await answer.json()
    found = [
        (method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    asked = {f"{method} {path}": 0 for method, path, _ in found}
    until_s, turns = time.monotonic() + seconds, itertools.cycle(found)

    async def client(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        timeout = aiohttp.ClientTimeout(20)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while time.monotonic() < until_s and sum(asked.values()) < most:
                method, path, operation = next(turns)
                asked[f"{method} {path}"] += 1
                await _send_request(fuzzed, session, method, path, operation, document, dice)

    await asyncio.gather(*(client(number) for number in range(AT_ONCE)))
    return asked


async def _send_request(
    fuzzed: Fuzzed,
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    operation: dict[str, Any],
    document: dict[str, Any],
    dice: random.Random,
) -> None:
    listener = operation["tags"][0]
    port = fuzzed.flashd.intake if listener == "intake" else fuzzed.flashd.admin
    filled, query = path, []
    for parameter in operation["parameters"]:
        name = parameter["name"]
        value = dice.choice(IDS) if dice.random() < 0.8 else str(dice.choice(NASTY))[:300]
        if dice.random() < 0.6:
            value = dice.choice(LIKELY.get(name, IDS))
        if parameter["in"] == "path":
            filled = filled.replace(f"{{{name}}}", quote(value or "x", safe=""))
        elif dice.random() < 0.5:
            query.append(f"{name}={quote(value, safe='', errors='replace')}")
    options: dict[str, Any] = {"headers": bearer(dice.choice(SCOPES) if dice.random() < 0.2 else _best(listener))}
    if takes := operation.get("requestBody"):
        media, content = next(iter(takes["content"].items()))
        options["headers"]["Content-Type"] = media
        options["data"] = _as_sent(bend(_example(content["schema"], document, dice), dice), dice)
    url = f"http://127.0.0.1:{port}{filled}" + (f"?{'&'.join(query)}" if query else "")
    await _ask(fuzzed, session, method, _as_written(url), f"{method} {path}", **options)


def _as_written(url: str) -> Any:
    from yarl import URL  # noqa: PLC0415  # only here: aiohttp would decode and encode it again

    return URL(url, encoded=True)


def _best(listener: str) -> str:
    return "till" if listener == "intake" else "admin"


def _example(schema: Any, document: dict[str, Any], dice: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911  # by type
    if "$ref" in schema:
        return _example(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, dice, depth)
    if "anyOf" in schema:
        return _example(dice.choice(schema["anyOf"]), document, dice, depth)
    if "enum" in schema:
        return dice.choice(schema["enum"])
    if schema.get("type") == "object":
        wanted = set(schema.get("required", ()))
        members = schema.get("properties", {})
        if depth > 6:
            return {}
        return {
            name: _example(one, document, dice, depth + 1)
            for name, one in members.items()
            if name in wanted or dice.random() < 0.5
        }
    if schema.get("type") == "array":
        return [_example(schema.get("items") or {}, document, dice, depth + 1) for _ in range(dice.randrange(3))]
    simple: dict[str, Any] = {
        "integer": 1,
        "number": 1.5,
        "string": dice.choice(["TEE", "main", "x", "1"]),
        "boolean": True,
    }
    return simple.get(str(schema.get("type")), copy.deepcopy(dice.choice(NASTY)))


def put_stock(fuzzed: Fuzzed) -> None:
    """Let there be something to sell."""
    body = json.dumps({"on_hand": 1_000_000}).encode()
    headers = {"Authorization": f"Bearer {SECRETS['admin']}", "Content-Type": "application/json"}
    for sku in ("TEE", "a", "1"):
        status, said, _ = fuzzed.flashd.call("PUT", f"/admin/v1/stock/{sku}", body, headers, port=fuzzed.flashd.admin)
        assert status == 200, said

"""Every signature vector against a daemon as a process: the exact status, and on 401 the store is not written to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.channels.test_signature import PLAIN, RIGHT
from tests.configuration import configuration, fed, keep, signed
from tests.e2e.process import Flashd
from tests.servers import Server, find_server, missing

SECRET = "the-secret-of-the-vectors"
KEY = b"the-key-of-a-standard-webhook-000"
BODY = json.dumps({"id": 1, "note": "Käse"}).encode()
PLAIN_HEADERS = {"shop": "X-Shopify-Hmac-Sha256", "woo": "X-WC-Webhook-Signature"}


@pytest.fixture
def server() -> Iterator[Server]:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    found = Server("valkey").start()
    yield found
    found.close()


@pytest.fixture
def flashd(tmp_path: Path, server: Server) -> Iterator[Flashd]:
    hook = f"whsec_{base64.b64encode(KEY).decode()}"
    keep(tmp_path, old_secret="the-one-before", shop_secret=SECRET, hook_secret=hook)
    channels = (
        signed("shop", secrets=[{"file": "old.secret"}, {"file": "shop.secret"}]),
        signed("woo", "woocommerce", secrets=[{"file": "shop.secret"}]),
        signed("hook", "standard_webhooks"),
    )
    daemon = Flashd(tmp_path, configuration(tmp_path, *channels, fed(), store=server.url))
    yield daemon.start()
    daemon.close()


def digest(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()


def plain_vectors() -> list[tuple[str, str, bytes | None, int]]:
    """Return the vectors of a signature in one header: channel, name, what is offered, the status."""
    right = digest(SECRET.encode(), BODY)
    found: list[tuple[str, str, bytes | None, int]] = []
    for channel in PLAIN_HEADERS:
        for name, (offered, taken) in PLAIN.items():
            text = None if offered is None else offered.replace(RIGHT, right) if RIGHT in offered else offered
            if text is not None and ("\n" in text or "\x00" in text or len(text) > 7000):
                continue  # what HTTP itself refuses: 400, see tests/web/test_limits.py
            # what stands around a value is no part of it in HTTP
            proven = taken or (text is not None and text.strip(" ") == right)
            raw = None if text is None else text.encode("utf-8", "surrogateescape")
            found.append((channel, name, raw, 200 if proven else 401))
    return found


def standard_vectors() -> list[tuple[str, str, dict[bytes, bytes], int]]:
    """Return those of Standard Webhooks: id, moment and signature are all signed, and all must be right."""
    now = int(time.time())

    def made(at: int, *, message: str = "m1", key: bytes = KEY, body: bytes = BODY) -> dict[bytes, bytes]:
        mark = digest(key, f"{message}.{at}.".encode() + body)
        names = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
        return dict(zip(names, (message.encode(), b"%d" % at, f"v1,{mark}".encode()), strict=True))

    right = made(now)
    signature = right[b"webhook-signature"]
    cases: dict[str, tuple[dict[bytes, bytes], int]] = {
        "the right one": (right, 200),
        "among others": (right | {b"webhook-signature": b"v1,AAAA v1a,BBBB " + signature}, 200),
        "four minutes late": (made(now - 240), 200),
        "four minutes early": (made(now + 240), 200),
        "six minutes late": (made(now - 360), 401),
        "six minutes early": (made(now + 360), 401),
        "another key": (made(now, key=b"x" * 32), 401),
        "another body": (made(now, body=BODY + b" "), 401),
        "another id": (right | {b"webhook-id": b"m2"}, 401),
        "another moment": (right | {b"webhook-timestamp": str(now + 1).encode()}, 401),
        "a moment with a sign": (right | {b"webhook-timestamp": b"+%d" % now}, 401),
        "a moment that is no number": (right | {b"webhook-timestamp": b"soon"}, 401),
        "another version": (right | {b"webhook-signature": b"v2" + signature[2:]}, 401),
        "no version": (right | {b"webhook-signature": signature[3:]}, 401),
        "beyond ASCII": (right | {b"webhook-signature": "v1,Ä".encode()}, 401),
        "no id": ({name: value for name, value in right.items() if name != b"webhook-id"}, 401),
        "no moment": ({name: value for name, value in right.items() if name != b"webhook-timestamp"}, 401),
        "no signature": ({name: value for name, value in right.items() if name != b"webhook-signature"}, 401),
        "nothing": ({}, 401),
    }
    return [("hook", name, headers, status) for name, (headers, status) in cases.items()]


async def send(flashd: Flashd, channel: str, headers: dict[bytes, bytes]) -> int:
    """Send bytes as they are: a client that knows better would mend some of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", flashd.intake)
    lines = [f"POST /webhooks/{channel} HTTP/1.1".encode(), b"Host: x", b"Connection: close"]
    lines += [b"Content-Length: %d" % len(BODY), *(name + b": " + value for name, value in headers.items())]
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + BODY)
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return int(said.split(b" ", 2)[1])


def kept(server: Server) -> dict[bytes, bytes | None]:
    with Redis(unix_socket_path=server.socket_path) as client:
        rounds = (b":probe", b":forget:mark")  # what the daemon writes by itself, whoever asks
        keys = [key for key in client.scan_iter("fd:*") if not key.endswith(rounds) and b"{main}" in key]
        return {key: client.dump(key) for key in keys}


async def test_each_vector_has_its_exact_status_and_a_401_writes_nothing(flashd: Flashd, server: Server) -> None:
    vectors = [
        (channel, name, {} if raw is None else {PLAIN_HEADERS[channel].encode(): raw}, status)
        for channel, name, raw, status in plain_vectors()
    ] + standard_vectors()
    vectors += [("nobody", name, headers, 401) for _, name, headers, _ in vectors[:5]]
    refused = [vector for vector in vectors if vector[3] == 401]
    before = kept(server)
    for channel, name, headers, status in refused:
        assert await send(flashd, channel, headers) == status, (channel, name)
    assert kept(server) == before
    taken = [vector for vector in vectors if vector[3] == 200]
    for channel, name, headers, status in taken:
        assert await send(flashd, channel, headers) == status, (channel, name)
    assert kept(server) != before  # signed and not understood: it stands in quarantine
    seen = Counter(status for *_, status in vectors)
    print(f"{len(vectors)} vectors: {dict(seen)}")
    assert len(vectors) >= 40
    assert seen[200] >= 6

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest

from benchmarks import fastify
from benchmarks.fastify import Fastify
from benchmarks.site import call
from benchmarks.store import client_of

SECRET = "a-secret-of-the-test"
BODY = b'{"id":7,"total_price":"19.90"}'

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(fastify.missing()), reason=fastify.missing() or "-")]


@pytest.fixture
def rival() -> Iterator[Fastify]:
    found = Fastify(SECRET)
    try:
        yield found.start()
    finally:
        found.close()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
    return {"Content-Type": "application/json", "X-Shopify-Hmac-Sha256": signature}


def test_a_bad_signature_is_refused_and_a_good_one_is_queued_durably(rival: Fastify) -> None:
    for port in (rival.parsing_port, rival.keeping_port):
        assert call(port, "POST", "/webhooks/shop-000", BODY, signed(BODY, "another"))[0] == 401
        assert call(port, "POST", "/webhooks/shop-000", BODY, {"Content-Type": "application/json"})[0] == 401
    assert rival.jobs() == 0
    for port in (rival.parsing_port, rival.keeping_port):
        assert call(port, "POST", "/webhooks/shop-000", BODY, signed(BODY))[0] == 200
    assert rival.jobs() == 2
    with client_of(rival.store) as client:
        kept = [json.loads(client.hget(f"bull:orders:{number}", "data") or b"") for number in (1, 2)]
        assert kept == [json.loads(BODY), {"body": BODY.decode()}]
        assert client.config_get("append*")["appendfsync"] == "always"


def test_a_native_order_wants_the_token(rival: Fastify) -> None:
    for token, status in (("another", 401), (SECRET, 200)):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        assert call(rival.parsing_port, "POST", "/v1/orders", BODY, headers)[0] == status
    assert rival.jobs() == 1
    rival.empty()
    assert rival.jobs() == 0

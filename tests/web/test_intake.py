"""Every status of the interface's table, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from flashd.channels.signature import SECRETS_AT_MOST
from flashd.config import IntakeConfig
from flashd.domain.order import OrderRef, OrderState
from flashd.domain.reservation import HoldCode, HoldReply
from flashd.domain.seal import Seal
from flashd.errors import Busy, InvariantBroken, Refused, StoreUnavailable, Transient, Unauthenticated
from flashd.web.answer import Answer
from flashd.web.crowd import Post
from flashd.web.intake import Webhooks
from flashd.web.intake_holds import refuse
from flashd.web.limits import Budget
from tests.fakes.doors import KEY, OTHER_TOKEN, SHOP_TOKEN, TILL_TOKEN, DoorHouse, sign
from tests.web.conftest import Serve, Served, eventually
from tests.web.test_crowd import Teller

ORDER = {"id": "1001", "lines": [{"sku": "TEE", "quantity": 1}]}


def hold(hold_id: str, quantity: int = 1, sku: str = "TEE") -> dict[str, Any]:
    return {"id": hold_id, "lines": [{"sku": sku, "quantity": quantity}]}


async def post_webhook(intake: Served, body: bytes, channel: str = "shop", **headers: str) -> Any:
    return await intake.call(
        "POST", f"/webhooks/{channel}", data=body, headers={**sign(body), **headers}, token="", skip_auto_headers=None
    )


# ------------------------------------------------------------------------------------------------------- webhooks


async def test_a_signed_webhook_is_200_and_so_is_its_duplicate(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    first = await post_webhook(intake, json.dumps(ORDER).encode())
    again = await post_webhook(intake, json.dumps(ORDER).encode())
    assert (first.status, first.json["code"], first.json["state"]) == (200, "accepted", "queued")
    assert (again.status, again.json["code"]) == (200, "repeat")
    assert len(house.main.records) == 1
    metrics = house.doors.metrics.text().decode()
    assert 'flashd_webhooks_received_total{channel="shop",result="accepted"} 1.0' in metrics
    assert 'flashd_webhooks_received_total{channel="shop",result="duplicate"} 1.0' in metrics


async def test_webhooks_that_arrive_in_one_turn_are_kept_together_and_answered_each_for_itself(
    house: DoorHouse,
) -> None:
    house.count("TEE", 9)
    body, other = (json.dumps({**ORDER, "id": number}).encode() for number in ("1", "2"))
    webhooks = Webhooks(house.doors, IntakeConfig(), Budget(1 << 20))
    crowd = [
        ("shop", sign(body), body, "accepted"),
        ("nobody", sign(body), body, Unauthenticated),
        ("shop", {"x-signature": "wrong"}, body, Unauthenticated),
        ("shop", {}, b"webhook_id=1", "pong"),
        ("shop", sign(b"{}"), b"{}", "quarantined"),
        ("till", sign(body), body, "accepted"),
        ("shop", sign(other), other, "accepted"),
    ]
    tellers = [Teller() for _ in crowd]
    posts = [
        Post(name, {key.lower(): value for key, value in headers.items()}, text, teller)
        for (name, headers, text, _), teller in zip(crowd, tellers, strict=True)
    ]
    webhooks.take(posts)
    await eventually(lambda: all(teller.told for teller in tellers))
    for (_, _, _, wanted), teller in zip(crowd, tellers, strict=True):
        [told] = teller.told
        if isinstance(told, Answer):
            answered = json.loads(told.body)
            assert wanted in (answered.get("code"), answered["state"])
        else:
            assert type(told) is wanted
    assert house.main.asked.count("accept") == 2  # for the two of the shop, and for that of the till
    lines = house.doors.metrics.text().decode().splitlines()
    counted = {line.partition("{")[2] for line in lines if line.startswith("flashd_webhooks_received_total{")}
    assert counted == {
        'channel="shop",result="accepted"} 2.0',
        'channel="till",result="accepted"} 1.0',
        'channel="shop",result="unauthenticated"} 1.0',
        'channel="unknown",result="unauthenticated"} 1.0',
        'channel="shop",result="pong"} 1.0',
        'channel="shop",result="quarantined"} 1.0',
    }


async def test_a_signed_body_that_is_not_understood_is_200_and_quarantined(intake: Served, house: DoorHouse) -> None:
    answer = await post_webhook(intake, b'{"no": "id"}')
    assert (answer.status, answer.json["state"]) == (200, "quarantined")
    assert [entry.body for entry in house.main.kept.values()] == [b'{"no": "id"}']


async def test_the_platforms_unsigned_ping_is_exactly_200(intake: Served, house: DoorHouse) -> None:
    answer = await intake.call("POST", "/webhooks/shop", data=b"webhook_id=1", token="")
    assert (answer.status, answer.json["state"]) == (200, "pong")
    assert house.main.asked == []


async def test_http_1_0_as_woocommerce_speaks_it_is_answered_and_closed(intake: Served, house: DoorHouse) -> None:
    body = json.dumps(ORDER).encode()
    reader, writer = await intake.connect()
    signature = sign(body)["X-Signature"]
    writer.write(
        f"POST /webhooks/shop HTTP/1.0\r\nX-Signature: {signature}\r\nContent-Length: {len(body)}\r\n".encode()
    )
    writer.write(b"Connection: close\r\n\r\n" + body)
    said = await asyncio.wait_for(reader.read(), 30)
    assert b" 200 OK" in said.partition(b"\r\n")[0]
    assert OrderRef("shop", "1001") in house.main.records


async def test_an_unknown_channel_and_a_bad_signature_get_the_same_answer_and_write_nothing(
    intake: Served, house: DoorHouse
) -> None:
    bad = await post_webhook(intake, b"{}", **{"X-Signature": "00"})
    unknown = await post_webhook(intake, b"{}", "nobody")
    assert bad.status == unknown.status == 401
    assert bad.raw == unknown.raw
    assert {n: v for n, v in bad.headers.items() if n != "Date"} == {
        n: v for n, v in unknown.headers.items() if n != "Date"
    }
    assert bad.headers["Content-Type"] == "application/problem+json"
    assert house.main.asked == []


async def test_an_unknown_channel_costs_as_many_digests_as_a_known_one(
    intake: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[bytes] = []
    monkeypatch.setattr(Seal, "digest", lambda _seal, body: signed.append(body))
    await post_webhook(intake, b'{"id": 7}', "nobody")
    assert signed == [b'{"id": 7}'] * SECRETS_AT_MOST


async def test_unknown_channels_do_not_make_labels(intake: Served, house: DoorHouse) -> None:
    for number in range(5):
        await post_webhook(intake, b"{}", f"guess-{number}")
    metrics = house.doors.metrics.text().decode()
    assert 'channel="unknown",result="unauthenticated"} 5.0' in metrics
    assert "guess" not in metrics


async def test_a_gzip_webhook_is_verified_as_it_came_and_never_inflated(intake: Served, house: DoorHouse) -> None:
    squeezed = gzip.compress(json.dumps(ORDER).encode(), mtime=0)
    answer = await post_webhook(intake, squeezed, **{"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["state"]) == (200, "quarantined")
    assert next(iter(house.main.kept.values())).body == squeezed
    inflated_signature = sign(json.dumps(ORDER).encode())
    refused = await post_webhook(intake, squeezed, **{"Content-Encoding": "gzip", **inflated_signature})
    assert refused.status == 401


async def test_a_webhook_over_its_limit_is_413(serve: Serve) -> None:
    intake = await serve("intake", webhook_bytes=1000)
    assert (await post_webhook(intake, b"x" * 1001)).status == 413
    assert (await post_webhook(intake, b'"' + b"x" * 998 + b'"')).status == 200

    async def chunks() -> Any:
        for _ in range(3):
            yield b"x" * 500

    answer = await intake.call("POST", "/webhooks/shop", data=chunks())
    assert (answer.status, answer.json["title"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("error", "title", "retry_after"),
    [
        (Busy("the mailbox is full", retry_after_s=7), "busy", "7"),
        (StoreUnavailable("redis://user:password@host is gone"), "unavailable", "2"),
        (Transient("no reply in time"), "unavailable", "2"),
    ],
)
async def test_what_cannot_be_made_durable_is_503_with_retry_after(
    intake: Served, house: DoorHouse, error: Exception, title: str, retry_after: str
) -> None:
    house.intakes["shop"].error = error
    for answer in (
        await post_webhook(intake, b"{}"),
        await intake.call("POST", "/v1/orders", json=ORDER),
        await intake.call("POST", "/v1/holds", json=hold("h1")),
    ):
        assert (answer.status, answer.json["title"]) == (503, title)
        assert answer.headers["Retry-After"] == retry_after
        assert b"password" not in answer.raw


# ---------------------------------------------------------------------------------------------------------- holds


async def test_a_hold_is_201_and_its_repeat_200(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    first = await intake.call("POST", "/v1/holds", json=hold("h1", 2))
    again = await intake.call("POST", "/v1/holds", json=hold("h1", 2))
    assert (first.status, again.status) == (201, 200)
    assert first.json == {"id": "h1", "state": "held", "expires_at": "2026-09-21T14:23:20.000Z"}
    assert house.main.stock["TEE"].held == 2


async def test_refused_holds_say_which_kind(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 3)
    await intake.call("POST", "/v1/holds", json=hold("h1", 2))
    short = await intake.call("POST", "/v1/holds", json=hold("h2", 2))
    assert (short.status, short.json["title"], short.json["left"]) == (409, "short", {"TEE": 1})
    conflict = await intake.call("POST", "/v1/holds", json=hold("h1", 1))
    assert (conflict.status, conflict.json["title"]) == (409, "conflict")
    unknown = await intake.call("POST", "/v1/holds", json=hold("h3", 1, "CAP"))
    assert (unknown.status, unknown.json["title"], unknown.json["skus"]) == (404, "unknown_sku", ["CAP"])
    foreign = await intake.call("POST", "/v1/holds", json={**hold("h4"), "channel": "till"})
    assert foreign.status == 403


async def test_what_a_sale_refuses_is_a_409_that_says_why_and_never_passes_for_a_hold(
    intake: Served, house: DoorHouse
) -> None:
    house.main.barred["TEE"] = HoldReply(
        code=HoldCode.CLOSED, sale="friday", sku="TEE", start_ms=1_790_000_000_000, end_ms=1_790_003_600_000
    )
    house.main.barred["CAP"] = HoldReply(code=HoldCode.LIMIT, sale="friday", sku="CAP", had=2, may=2)
    closed, limit = [
        await intake.call("POST", "/v1/holds", json={"id": sku, "lines": [{"sku": sku, "quantity": 1}]})
        for sku in ("TEE", "CAP")
    ]
    assert (closed.status, closed.json["title"], closed.json["sale"]) == (409, "closed", "friday")
    assert (closed.json["starts_at"], closed.json["ends_at"]) == (
        "2026-09-21T14:13:20.000Z",
        "2026-09-21T15:13:20.000Z",
    )
    assert (limit.status, limit.json["title"], limit.json["had"], limit.json["may"]) == (409, "limit", 2, 2)


@pytest.mark.parametrize("code", HoldCode)
def test_every_answer_to_a_hold_is_a_hold_or_a_refusal(code: HoldCode) -> None:
    reply = HoldReply(code=code, left=(("TEE", 1),))
    if code in {HoldCode.HELD, HoldCode.REPEAT, HoldCode.RELEASED}:
        refuse(reply)
    else:
        with pytest.raises(Refused):
            refuse(reply)


async def test_a_hold_can_be_extended_and_released_once(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 3)
    await intake.call("POST", "/v1/holds", json=hold("h1", 2))
    longer = await intake.call("POST", "/v1/holds/h1/extend", json={"ttl_ms": 1000})
    assert (longer.status, longer.json["expires_at"]) == (200, "2026-09-21T14:13:21.000Z")
    assert (await intake.call("POST", "/v1/holds/h1/extend", json={"ttl_ms": 0})).status == 422
    released = await intake.call("DELETE", "/v1/holds/h1")
    assert (released.status, released.json["state"]) == (200, "released")
    gone = await intake.call("DELETE", "/v1/holds/h1")
    assert (gone.status, gone.json["title"]) == (404, "gone")
    assert (await intake.call("POST", "/v1/holds/h1/extend", json={"ttl_ms": 1000})).status == 404


# --------------------------------------------------------------------------------------------------------- orders


async def test_an_order_is_201_then_200_and_409_with_other_content(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    first = await intake.call("POST", "/v1/orders", json=ORDER)
    assert (first.status, first.json) == (201, {"order": "shop:1001", "code": "accepted", "state": "queued"})
    again = await intake.call("POST", "/v1/orders", json=ORDER)
    assert (again.status, again.json["code"]) == (200, "repeat")
    other = await intake.call("POST", "/v1/orders", json={**ORDER, "lines": []})
    assert (other.status, other.json["title"]) == (409, "conflict")


async def test_a_paid_order_that_cannot_be_covered_is_202_shortfall(intake: Served) -> None:
    answer = await intake.call("POST", "/v1/orders", json=ORDER)
    assert answer.status == 202
    assert (answer.json["title"], answer.json["state"], answer.json["short"]) == ("shortfall", "shortfall", {"TEE": 1})


@pytest.mark.parametrize("state", [OrderState.IGNORED, OrderState.PARKED])
async def test_an_order_that_goes_nowhere_says_so(intake: Served, house: DoorHouse, state: OrderState) -> None:
    house.main.places_in = state
    answer = await intake.call("POST", "/v1/orders", json=ORDER)
    assert (answer.status, answer.json["title"]) == (200 if state is OrderState.IGNORED else 201, str(state))


async def test_an_order_tells_its_place_in_the_queue_and_when_it_leaves(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    for number in range(3):
        await intake.call("POST", "/v1/orders", json={**ORDER, "id": f"a/{number}"})
    answer = await intake.call("GET", "/v1/orders/shop/a%2F2")
    assert (answer.json["id"], answer.json["state"], answer.json["position"]) == ("a/2", "queued", 2)
    assert answer.json["eta_s"] == 1.5  # two orders before it, two a second
    await house.gate.pause(until_ms=house.clock.now_ms() + 60_000, reason="Retry-After", by="erp")
    assert (await intake.call("GET", "/v1/orders/shop/a%2F2")).json["eta_s"] == 61.5
    await house.gate.pause(reason="upgrade", by="anna")
    assert (await intake.call("GET", "/v1/orders/shop/a%2F2")).json["eta_s"] is None
    await house.gate.resume(by="anna")
    house.snapshot = type(house.snapshot)(name="erp", kind="http", rate="2/s", per_second=2.0, circuit="open")
    assert (await intake.call("GET", "/v1/orders/shop/a%2F2")).json["eta_s"] is None


async def test_a_channel_cancels_its_own_orders_before_they_left(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    await intake.call("POST", "/v1/orders", json=ORDER)
    foreign = await intake.call("DELETE", "/v1/orders/shop/1001", token=TILL_TOKEN)
    assert foreign.status == 403
    done = await intake.call("DELETE", "/v1/orders/shop/1001?reason=changed+her+mind")
    assert (done.status, done.json["state"]) == (200, "cancelled")
    assert "cancel by channel shop: changed her mind" in house.main.asked
    assert (await intake.call("DELETE", "/v1/orders/shop/1001")).status == 200
    # The ledger is asked again, which has it proven: what a reading found may be forgotten by a fail-over.
    assert sum(asked.startswith("cancel") for asked in house.main.asked) == 2


@pytest.mark.parametrize("state", [OrderState.SENDING, OrderState.DELIVERED, OrderState.IN_DOUBT, OrderState.MANUAL])
async def test_an_order_that_may_have_left_is_not_a_channels_to_cancel(
    intake: Served, house: DoorHouse, state: OrderState
) -> None:
    await intake.call("POST", "/v1/orders", json=ORDER)
    house.main._move(OrderRef("shop", "1001"), state)
    answer = await intake.call("DELETE", "/v1/orders/shop/1001")
    assert (answer.status, answer.json["title"]) == (409, "conflict")


async def test_stock_is_one_sku_or_several(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    house.count("CAP", 0)
    shown = (await intake.call("GET", "/v1/stock/TEE")).json
    assert shown.pop("channels") == {"shop": 5, "till": 5, "hooks": 5}  # not the kiosk, which sells from another pool
    assert shown == {"sku": "TEE", "available": 5, "locations": {"main": 5}}
    several = (await intake.call("GET", "/v1/stock?sku=TEE&sku=CAP&sku=HAT")).json
    assert {each["sku"]: each["available"] for each in several["stock"]} == {"TEE": 5, "CAP": 0}
    assert several["unknown"] == ["HAT"]
    missing = await intake.call("GET", "/v1/stock/HAT")
    assert (missing.status, missing.json["title"]) == (404, "unknown_sku")
    assert (await intake.call("GET", "/v1/stock")).status == 400
    assert (await intake.call("GET", "/v1/stock/%01")).status == 400


async def test_a_token_sees_its_own_pool_only(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    await intake.call("POST", "/v1/orders", json=ORDER)
    await intake.call("POST", "/v1/holds", json=hold("h1"))
    assert (await intake.call("GET", "/v1/orders/shop/1001", token=TILL_TOKEN)).status == 200  # the same pool
    for method, path in [
        ("GET", "/v1/orders/shop/1001"),
        ("DELETE", "/v1/orders/shop/1001"),
        ("DELETE", "/v1/holds/h1"),
        ("GET", "/v1/stock/TEE"),
    ]:
        assert (await intake.call(method, path, token=OTHER_TOKEN)).status == 404, path
    hidden = await intake.call("GET", "/v1/orders/shop/1001", token=OTHER_TOKEN)
    absent = await intake.call("GET", "/v1/orders/shop/9999", token=OTHER_TOKEN)
    assert hidden.raw == absent.raw


# -------------------------------------------------------------------------------------------------- bodies, errors


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"id": "\xff"}'],
)
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/holds", "/v1/holds/h1/extend"])
async def test_a_body_that_is_none_is_a_4xx(intake: Served, path: str, body: bytes) -> None:
    answer = await intake.call("POST", path, data=body)
    assert answer.status in {400, 404, 422}, answer.raw
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_native_body_over_256_kb_is_413_with_or_without_a_length(intake: Served) -> None:
    async def chunks() -> Any:
        for _ in range(5):
            yield b" " * 65536

    announced = await intake.call("POST", "/v1/orders", data=b" " * 262_145)
    streamed = await intake.call("POST", "/v1/orders", data=chunks())
    for answer in (announced, streamed):
        assert (answer.status, answer.json["title"], answer.json["limit"]) == (413, "too_large", 262_144)


async def test_a_body_without_a_length_is_read_to_its_end(intake: Served, house: DoorHouse) -> None:
    async def chunks() -> Any:
        for byte in json.dumps(ORDER).encode():
            yield bytes([byte])

    house.count("TEE", 1)
    assert (await intake.call("POST", "/v1/orders", data=chunks())).status == 201


async def test_a_compressed_native_body_is_415(intake: Served) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = await intake.call("POST", "/v1/orders", data=gzip.compress(b"{}"), headers=headers)
    assert (answer.status, answer.json["title"]) == (415, "unsupported_media")


async def test_no_token_is_401_before_the_body_is_read(intake: Served) -> None:
    for token in ("", "nobody-knows-this-token", KEY.decode()):
        answer = await intake.call("POST", "/v1/orders", data=b"x" * 300_000, token=token)
        assert (answer.status, answer.json["title"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_channel_that_speaks_in_webhooks_cannot_order_over_the_native_api(intake: Served) -> None:
    for path in ("/v1/orders", "/v1/holds", "/v1/orders:batch"):
        assert (await intake.call("POST", path, json=ORDER, token="token-of-the-hooks-001")).status == 403


async def test_what_aiohttp_refuses_by_itself_is_a_problem_as_well(intake: Served) -> None:
    missing = await intake.call("GET", "/nothing/here?token=secret")
    assert (missing.status, missing.json["title"]) == (404, "not_found")
    assert missing.json["detail"] == "/nothing/here: there is no such path here"
    method = await intake.call("PATCH", "/v1/holds/h1")
    assert (method.status, method.json["title"], method.headers["Allow"]) == (405, "method_not_allowed", "DELETE")
    assert method.json["detail"] == "/v1/holds/h1: PATCH is not allowed here; allowed: DELETE"
    for answer in (missing, method):
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_bug_is_a_500_that_says_nothing_of_it(intake: Served, house: DoorHouse) -> None:
    house.intakes["shop"].error = ValueError("jane@example.org")
    answer = await intake.call("POST", "/v1/orders", json=ORDER)
    assert (answer.status, answer.json["title"]) == (500, "internal_error")
    assert b"jane" not in answer.raw
    assert house.broken == []


async def test_a_broken_invariant_reaches_the_daemon(intake: Served, house: DoorHouse) -> None:
    house.intakes["shop"].error = InvariantBroken("stock below zero")
    assert (await intake.call("POST", "/v1/orders", json=ORDER)).status == 500
    assert [type(error) for error in house.broken] == [InvariantBroken]


@pytest.mark.parametrize("path", ["/webhooks/shop", "/v1/orders", "/v1/orders:batch"])
async def test_a_client_that_goes_away_in_its_body_is_nobodys_bug(intake: Served, house: DoorHouse, path: str) -> None:
    guard = intake.listener.guard
    assert guard is not None
    for politely in (True, False):
        _, writer = await intake.connect()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP_TOKEN}\r\nContent-Length: 1000\r\n\r\nhalf"
        )
        with capture_logs() as logs:
            writer.write(head.encode())
            await eventually(lambda: any(each.has_begun for each in guard.connections))
            if politely:
                writer.close()
            else:
                writer.transport.abort()
            await eventually(lambda: not guard.connections)
            await asyncio.sleep(0.05)  # its handler ends after the connection
        assert [entry["event"] for entry in logs] == []
    assert house.main.asked == []

"""
Canaries: secrets and customer data that stand nowhere but where they belong.

A daemon with every kind of channel gets good, bad and broken traffic, all full of words that appear nowhere else; its
backend refuses, breaks and repeats what it was sent; its store is killed. Then everything that people, programs and
other machines can read of it is searched for those words.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from flashd.cli import cli
from flashd.errors import FlashdError
from tests.e2e.process import Flashd
from tests.recorded.substitute import recent, substituted
from tests.until import until

RECORDED = Path(__file__).parent.parent / "recorded"
SECRETS = {
    name: f"canary-secret-{name}-0123456789"
    for name in ("shop", "woo", "partner", "till", "customers", "erp", "reader", "boss")
}
PERSON = {
    "name": "Canaria Vogelsang-Zwitscher",
    "first_name": "Canaria",
    "last_name": "Vogelsang-Zwitscher",
    "company": "Kanarienzucht Gelbfeder",
    "email": "canaria.vogelsang@gelbfeder.example",
    "phone": "+49 170 77665544",
    "address1": "Kanarienweg 4711",
    "street": "Kanarienweg 4711",
    "address2": "Hinterhaus Goldkäfig",
    "street2": "Hinterhaus Goldkäfig",
    "city": "Vogelheim an der Stange",
    "zip": "KNR-90817",
    "postcode": "KNR-90817",
}
NOTE = "bitte beim Nachbarn Zeisig abgeben"
REACTIONS = ("good", "refused", "words", "login", "broken", "garbage", "type")  # of the ERP, by SKU
WORDS = sorted({*PERSON.values(), NOTE, *SECRETS.values()})

CONFIG = """
[store]
state_dir = "STATE"
[logs]
level = "debug"
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
[[admin.tokens]]
name = "reader"
secret = { file = "reader.secret" }
[[admin.tokens]]
name = "boss"
secret = { file = "boss.secret" }
scopes = ["admin"]
[channels.shop]
kind = "shopify"
secrets = [{ file = "shop.secret" }]
[channels.woo]
kind = "woocommerce"
secrets = [{ file = "woo.secret" }]
[channels.partner]
kind = "standard_webhooks"
secrets = [{ file = "partner.secret" }]
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.secret" } }]
customer_key = { file = "customers.secret" }
[backends.erp]
kind = "http"
url = "ERP"
lookup_url = "ERP?key={key}"
secret = { file = "erp.secret" }
rate = "50/s"
settle_s = 0.2
max_refusals = 1
[[routes]]
backend = "erp"
"""


class Parrot(BaseHTTPRequestHandler):
    """An ERP that repeats what it was sent, in every way that an ERP has."""

    said: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        order = json.loads(body)
        person = " ".join([*order.get("customer", {}).values(), order.get("note", "")])
        text = f"{person} {self.headers['Authorization']} {body.decode()}"
        way = next((line["sku"] for line in order.get("lines", ()) if line["sku"].startswith("SKU-")), "SKU-good")
        self.said[way] += 1
        if way == "SKU-refused":
            self.answer(422, json.dumps({"error": f"no good: {text}"}))
        elif way == "SKU-words":
            home = " ".join(order["ship_to"].values())
            self.answer(400, json.dumps({"detail": [{"msg": text}], "message": f"no good: {home}"}))
        elif way == "SKU-login":
            self.answer(422, json.dumps({"error": f"no good: {self.headers['Authorization']}"}))
        elif way == "SKU-broken":
            self.answer(500, f"<html>Traceback: {text}</html>", "text/html")
        elif way == "SKU-garbage":
            self.answer(200, json.dumps({"id": text, "note": text}))
        elif way == "SKU-type":
            self.answer(200, text, f"text/plain; x={order['customer']['name']}")
        else:
            self.answer(201, json.dumps({"id": "7", "key": order["key"]}))

    def do_GET(self) -> None:
        self.answer(200, "[]")

    def answer(self, status: int, text: str, kind: str = "application/json") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def flashd(tmp_path: Path) -> Iterator[Flashd]:
    Parrot.said.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, secret in SECRETS.items():
        (tmp_path / f"{name}.secret").write_text(secret)
        (tmp_path / f"{name}.secret").chmod(0o600)
    erp = f"http://127.0.0.1:{server.server_port}/orders"
    daemon = Flashd(tmp_path, CONFIG.replace("STATE", str(tmp_path / "state")).replace("ERP", erp)).start()
    yield daemon
    daemon.close()
    server.shutdown()
    server.server_close()


class Visitor:
    """Sends traffic and keeps every answer that it got."""

    def __init__(self, flashd: Flashd) -> None:
        self.flashd = flashd
        self.answers: list[str] = []
        self.statuses: Counter[int] = Counter()

    def send(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        status, answer, back = self.flashd.call(method, target, body, headers)
        self.answers.append(f"{method} {target}: {status} {back} {answer.decode()}")
        self.statuses[status] += 1
        return status, answer.decode()

    def webhook(self, channel: str, body: bytes, *, forged: bool = False) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"}
        key = b"another" if forged else SECRETS[channel].encode()
        if channel == "partner":
            now = str(int(time.time()))
            signed = base64.b64encode(hmac.digest(key, b"msg-1." + now.encode() + b"." + body, hashlib.sha256)).decode()
            headers |= {"webhook-id": "msg-1", "webhook-timestamp": now, "webhook-signature": f"v1,{signed}"}
        else:
            name = {"shop": "X-Shopify-Hmac-Sha256", "woo": "X-WC-Webhook-Signature"}[channel]
            headers[name] = base64.b64encode(hmac.digest(key, body, hashlib.sha256)).decode()
        return self.send("POST", f"/webhooks/{channel}", body, headers)

    def native(self, method: str, target: str, body: Any = None, *, token: str = SECRETS["till"]) -> tuple[int, str]:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self.send(method, target, data, {"Authorization": f"Bearer {token}"})


def admin(flashd: Flashd, target: str, *, who: str = "boss", method: str = "GET", body: Any = None) -> str:
    """The whole answer, headers and all."""
    data = None if body is None else json.dumps(body).encode()
    headers = bearer(who)
    status, answer, back = flashd.call(method, target, data, headers, port=flashd.admin)
    assert status < 400, (target, status, answer)
    return f"{json.dumps(back)}\n{answer.decode()}"


def bearer(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[who]}"}


def ask(flashd: Flashd, target: str, *, who: str = "boss") -> Any:
    return json.loads(admin(flashd, target, who=who).partition("\n")[2])


def shopify(number: int, sku: str) -> dict[str, Any]:
    """A recorded order of one line of *sku*, bought by our person."""
    found = json.loads((RECORDED / "shopify-docs" / "orders__create.json").read_text())
    body = recent(substituted(found, number), datetime.now(UTC))
    body["line_items"] = [body["line_items"][0] | {"sku": sku, "properties": [{"name": "engraving", "value": NOTE}]}]
    body["shipping_lines"], body["tax_lines"] = [], []
    body["total_tax"] = body["current_total_tax"] = "0.00"
    line = body["line_items"][0]
    discount = sum(float(part["amount"]) for part in line.get("discount_allocations", []))
    body["total_price"] = body["current_total_price"] = f"{float(line['price']) * line['quantity'] - discount:.2f}"
    body["note"], body["note_attributes"] = NOTE, [{"name": "wish", "value": NOTE}]
    body["contact_email"] = body["email"] = PERSON["email"]
    body["phone"] = PERSON["phone"]
    home = body["customer"]["default_address"]
    for part in (body["shipping_address"], body["billing_address"], body["customer"], home):
        part |= {name: value for name, value in PERSON.items() if name in part}
    return body


def woocommerce() -> dict[str, Any]:
    body = recent(json.loads((RECORDED / "woocommerce" / "order_1.json").read_text()), datetime.now(UTC))
    body["customer_note"] = NOTE
    body |= {"billing": body["billing"] | PERSON, "shipping": body["shipping"] | PERSON}
    return body


def plain_order(order_id: str, sku: str, **more: Any) -> dict[str, Any]:
    customer = {name: PERSON[name] for name in ("name", "email", "phone")}
    names = ("name", "company", "street", "street2", "city", "postcode", "phone")
    ship_to = {name: PERSON[name] for name in names} | {"country": "DE"}
    lines = [{"sku": sku, "quantity": 1, "unit_price": 100}]
    order = {"id": order_id, "currency": "EUR", "lines": lines, "customer": customer, "ship_to": ship_to, "note": NOTE}
    return order | more


def good_and_refused(visitor: Visitor) -> None:
    for number, way in enumerate((*REACTIONS, "none-left"), 1):
        assert visitor.webhook("shop", json.dumps(shopify(number, f"SKU-{way}")).encode())[0] == 200
        assert visitor.native("POST", "/v1/orders", plain_order(f"n-{way}", f"SKU-{way}"))[0] in {201, 202}
        told = plain_order(f"p-{way}", f"SKU-{way}", status="paid", version=1)
        assert visitor.webhook("partner", json.dumps(told).encode())[0] == 200
    assert visitor.webhook("woo", json.dumps(woocommerce()).encode())[0] == 200
    lines = [{"sku": "SKU-good", "quantity": 1}]
    wish = {"id": "cart-1", "lines": lines, "customer": {"email": PERSON["email"]}}
    assert visitor.native("POST", "/v1/holds", wish)[0] == 201
    assert visitor.native("POST", "/v1/holds", wish | {"customer": PERSON["phone"]})[0] == 409
    assert visitor.native("POST", "/v1/orders", plain_order("n-good", "SKU-good", note="another"))[0] == 409
    doubtful = plain_order("n-sum", "SKU-good", total=7)
    assert visitor.native("POST", "/v1/orders", doubtful)[0] == 201
    batch = [plain_order(f"b-{number}", "SKU-good") for number in range(3)]
    text = "\n".join([*map(json.dumps, batch), "{" + json.dumps(PERSON["email"]), json.dumps({"id": PERSON["email"]})])
    assert visitor.native("POST", "/v1/orders:batch", text.encode())[0] == 200


def broken(visitor: Visitor) -> None:
    """Data where none belongs: as a number, a state, a name of a member, a time, a currency, a broken text."""
    email, name = PERSON["email"], PERSON["name"]
    spoiled: list[dict[str, Any]] = [
        {"status": name},
        {email: "x"},
        {"lines": email},
        {"lines": [{"sku": "SKU-good", "quantity": email}]},
        {"lines": [{"sku": "SKU-good", "quantity": 1, name: 1}]},
        {"placed_at": name},
        {"currency": name},
        {"total": email},
        {"customer": {"name": 7, "email": [email]}},
        {"ship_to": {"country": PERSON["city"]}},
        {"ship_to": {PERSON["street"]: PERSON["city"]}},
        {"channel": name},
        {"tags": email},
        {"hold_id": name + "\n"},
        {"updated_at": name},
        {"version": email},
    ]
    for member in spoiled:
        visitor.native("POST", "/v1/orders", plain_order("x", "SKU-good") | member)
        told = plain_order("y", "SKU-good", status="paid", version=1) | member
        visitor.webhook("partner", json.dumps(told).encode())
    fields = ("financial_status", "created_at", "updated_at", "currency", "total_price", "line_items", "cancelled_at")
    for field in (*fields, "test", "id", "admin_graphql_api_id", "shipping_lines", "customer", "shipping_address"):
        visitor.webhook("shop", json.dumps(shopify(80, "SKU-good") | {field: name}).encode())
    for field in ("status", "date_created_gmt", "currency", "total", "line_items", "billing", "shipping"):
        visitor.webhook("woo", json.dumps(woocommerce() | {field: email}).encode())
    whole = json.dumps(shopify(81, "SKU-good")).encode()
    for body in (whole[:-20], whole + whole, b"[" * 5000 + whole, whole.replace(b'"note"', b'"\xff"'), email.encode()):
        assert visitor.webhook("shop", body)[0] == 200
        assert visitor.webhook("shop", body, forged=True)[0] == 401
        visitor.native("POST", "/v1/orders", body)
        visitor.native("POST", "/v1/holds", body)
    for token in (SECRETS["reader"], SECRETS["erp"], SECRETS["till"][:-1]):
        assert visitor.native("GET", "/v1/stock/SKU-good", token=token)[0] == 401


def everything_to_read(flashd: Flashd, visitor: Visitor) -> dict[str, str]:
    """All that a reader, a scraper, a subscriber or whoever reads the journal of the machine can see."""
    seen = {
        path: admin(flashd, path, who="reader")
        for path in (
            "/admin/v1/status",
            "/admin/v1/orders?limit=500",
            "/admin/v1/orders/export",
            "/admin/v1/dead?limit=500",
            "/admin/v1/quarantine?limit=500",
            "/admin/v1/stock",
            "/admin/v1/events?after=0&limit=500",
            "/admin/v1/backends",
            "/metrics",
            "/openapi.json",
            "/readyz",
        )
    }
    seen["config"] = admin(flashd, "/admin/v1/config")
    listed = ask(flashd, "/admin/v1/orders?limit=500", who="reader")["orders"]
    assert {row["state"] for row in listed} >= {"delivered", "dead", "shortfall", "parked"}
    told = [row["reason"] for row in listed if row["reason"].startswith("no good")]
    assert sum("***" in reason for reason in told) >= 9, "of three refusing ways, by three channels each"
    for row in listed:
        path = "/admin/v1/orders/" + row["order"].replace(":", "/", 1)
        seen[path] = admin(flashd, path, who="reader")
    described = json.loads(seen["/openapi.json"].partition("\n")[2])["paths"]
    rest = [path for path, verbs in described.items() if "get" in verbs and "{" not in path and path not in seen]
    for path in rest:
        if path.startswith("/admin/v1/"):
            _, answer, back = flashd.call("GET", path, None, bearer("reader"), port=flashd.admin)
            seen[path] = f"{back} {answer.decode()}"
    assert len(seen) > 30
    seen |= what_commands_print(flashd)
    seen["answers"] = "\n".join(visitor.answers)
    seen["log"] = flashd.log.read_text()
    seen["store's log"] = (flashd.folder / "state" / "store" / "server.log").read_text()
    return seen


COMMANDS = """
config show --origin | config schema | check | check --online | audit --json | status | status --json | orders list
orders list --json --limit 500 | orders export | orders triage | dead list | dead list --json | quarantine list
quarantine list --json | channel list | backend list | alerts list | demands list | demands list --json | sale list
stock show | stock exposure | orders show till:n-refused | dead show till:n-words | orders show till:none
quarantine show none | demands show none | orders cancel till:n-good --reason no | orders export --customers
forget --email EMAIL --yes | forget --email nobody --yes | quarantine discard none --reason no | events
"""
WRONG = (
    '[channels.shop]\nkind = "shopify"\nsecrets = ["SECRET"]\n',
    '[channels.shop]\nkind = "shopify"\nsecrets = "SECRET"\n',
    '[channels.shop]\nkind = "shopify"\nsecret = "SECRET"\n',
    '[store]\nurl = "redis://flashd:SECRET@127.0.0.1:1/0"\n',
    '[store]\npassword = "SECRET"\n',
    '[admin]\ntokens = [{ name = "x", secret = "SECRET" }]\n',
    '[alerts]\nurl = "https://hook.example/"\nsecret = "SECRET"\n',
)


def printed(flashd: Flashd, *words: str, token: str = SECRETS["reader"]) -> tuple[int, str]:
    """Run a command within this process, a hundredth of the time; what refuses it is printed as `main` prints it."""
    environ = {"FLASHD_CONFIG": str(flashd.path), "FLASHD_TOKEN": token}
    done = CliRunner().invoke(cli, list(words), env=environ)
    told = "" if isinstance(done.exception, SystemExit | None) else str(done.exception)
    assert isinstance(done.exception, SystemExit | FlashdError | None), (words, done.exception)
    return done.exit_code, f"{done.output} {told}"


def what_commands_print(flashd: Flashd) -> dict[str, str]:
    """What every command shows to somebody who may only read, whether it works or is refused."""
    seen, codes = {}, set()
    for line in COMMANDS.replace("\n", "|").split("|"):
        words = [PERSON["email"] if word == "EMAIL" else word for word in line.split()]
        if words:
            code, seen[line] = printed(flashd, *words)
            codes.add(code)
            assert code != 2, (line, seen[line])
    assert {0, 1} <= codes
    _, seen["a wrong token"] = printed(flashd, "status", token=SECRETS["boss"][:-1])
    wrong = flashd.folder / "wrong.toml"
    for number, text in enumerate(WRONG):
        wrong.write_text(text.replace("SECRET", SECRETS["shop"]))
        for command in ("check", "config show --origin", "run"):
            code, seen[f"{command} {number}"] = printed(flashd, *command.split(), "-c", str(wrong))
            assert code, (text, command)
    return seen


def hits(seen: dict[str, str]) -> list[str]:
    """Where each word stands that should stand nowhere, and what is around it."""
    found = []
    for where, text in seen.items():
        low = text.lower()
        for word in WORDS:
            for spelled in {word.lower(), json.dumps(word)[1:-1].lower()}:
                if spelled in low:
                    place = low.index(spelled)
                    found.append(f"{where}: {word}: {text[max(0, place - 80) : place + 160]}")
    return found


async def test_no_secret_and_no_customer_is_seen_outside(flashd: Flashd) -> None:
    for way in REACTIONS:
        admin(flashd, f"/admin/v1/stock/SKU-{way}", method="PUT", body={"on_hand": 1000})
    admin(flashd, "/admin/v1/stock/SKU-none-left", method="PUT", body={"on_hand": 0})
    visitor = Visitor(flashd)
    good_and_refused(visitor)
    broken(visitor)
    await until(lambda: all(Parrot.said[f"SKU-{way}"] for way in REACTIONS), "every order was sent")
    os.kill(int((flashd.folder / "state" / "store" / "pid").read_text()), signal.SIGKILL)
    late = plain_order("n-after", "SKU-good")
    await until(lambda: visitor.native("POST", "/v1/orders", late)[0] in {200, 201}, "the store is there again")
    assert {401, 409, 503} <= set(visitor.statuses)
    assert 500 not in visitor.statuses
    quarantined = ask(flashd, "/admin/v1/quarantine?limit=500")["entries"]
    assert len(quarantined) > 20
    for entry in quarantined:
        assert PERSON["email"] in admin(flashd, f"/admin/v1/quarantine/{entry['id']}"), "the canaries are alive"
        admin(flashd, f"/admin/v1/quarantine/{entry['id']}/discard", method="POST", body={"reason": "a test"})
    seen = await asyncio.to_thread(everything_to_read, flashd, visitor)
    flashd.close()
    seen["log at the end"] = flashd.log.read_text()
    assert not hits(seen), "\n".join(hits(seen))


async def test_a_leak_is_found_wherever_it_is_planted() -> None:
    """The control: each word, as it is and as JSON has it, in any case, within anything."""
    for word in WORDS:
        for spelled in {word, word.upper(), json.dumps(word)[1:-1]}:
            assert hits({"a log": f'{{"event":"x","reason":"before {spelled} behind"}}'}), spelled
    assert not hits({"a log": '{"event":"order.buried","order":"shop:1","reason":"***"}'})


async def test_what_an_admin_may_see_is_what_the_search_looks_for(flashd: Flashd) -> None:
    """The other control: the words are really there, for whoever may see them; and the forgetting takes them away."""
    admin(flashd, "/admin/v1/stock/SKU-good", method="PUT", body={"on_hand": 9})
    visitor = Visitor(flashd)
    assert visitor.webhook("shop", json.dumps(shopify(1, "SKU-good")).encode())[0] == 200
    assert visitor.webhook("shop", b'{"email": "' + PERSON["email"].encode() + b'"')[0] == 200
    path = "/admin/v1/orders/shop/5000000000001"
    await until(lambda: ask(flashd, path)["summary"]["state"] == "delivered", "it is delivered")

    def told() -> dict[str, str]:
        return {
            "order": admin(flashd, path),
            "export": admin(flashd, "/admin/v1/orders/export?customers"),
            "entries": "".join(
                admin(flashd, f"/admin/v1/quarantine/{entry['id']}")
                for entry in ask(flashd, "/admin/v1/quarantine")["entries"]
            ),
        }

    before = told()
    assert {where.partition(":")[0] for where in hits(before)} == {"order", "export", "entries"}
    code, text = printed(flashd, "forget", "--email", PERSON["email"], "--yes", token=SECRETS["boss"])
    assert code == 0, text
    assert "1 orders erased: shop:5000000000001" in text
    assert "1 quarantined bodies erased" in text
    assert "not ours to erase: the copies in erp" in text
    assert "the bytes are gone from its disk" in text
    seen = told() | {"printed": text, "log": flashd.log.read_text()}
    assert not hits(seen), "\n".join(hits(seen))
    assert "customer.forgotten" in seen["log"]
    redact = {
        "shop_id": 1,
        "shop_domain": "any.myshopify.com",
        "customer": {"email": PERSON["email"], "phone": PERSON["phone"]},
        "orders_to_redact": [],
    }
    assert visitor.webhook("shop", json.dumps(shopify(2, "SKU-good")).encode())[0] == 200
    other = "/admin/v1/orders/shop/5000000000002"
    await until(lambda: ask(flashd, other)["summary"]["state"] == "delivered", "the second is delivered")
    assert visitor.webhook("shop", json.dumps(redact).encode(), forged=True)[0] == 401
    status, answer = visitor.webhook("shop", json.dumps(redact).encode())
    assert (status, json.loads(answer)["state"]) == (200, "demanded")
    await until(lambda: ask(flashd, "/admin/v1/demands")["demands"][0]["met_at"] != "", "it is met")
    seen = told() | {
        "order": admin(flashd, other),
        "demands": admin(flashd, "/admin/v1/demands"),
        "events": admin(flashd, "/admin/v1/events?after=0&limit=500"),
        "log": flashd.log.read_text(),
        "answers": "".join(visitor.answers),
    }
    assert not hits(seen), "\n".join(hits(seen))


async def test_the_body_as_it_came_goes_when_the_order_is_delivered(flashd: Flashd) -> None:
    admin(flashd, "/admin/v1/stock/SKU-good", method="PUT", body={"on_hand": 9})
    path = "/admin/v1/orders/shop/5000000000001"
    assert Visitor(flashd).webhook("shop", json.dumps(shopify(1, "SKU-good")).encode())[0] == 200
    await until(lambda: ask(flashd, path)["summary"]["state"] == "delivered", "it is delivered")
    assert ask(flashd, path)["raw"] is None

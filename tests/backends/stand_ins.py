"""Backends in a few lines each, following the documented answers of the real ones: they remember what was written."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64decode
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from tests.backends.fault_server import Reply, Request


@dataclass
class HttpStandIn:
    """A generic order endpoint with an Idempotency-Key, a look-up and cancellations."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    creations: int = 0

    def writes(self, request: Request) -> bool:
        return request.method == "POST" and request.path == "/orders"

    def held(self, key: str) -> int:
        return sum(order["key"] == key for order in self.orders.values())

    def handle(self, request: Request) -> Reply:
        if request.method == "GET" and request.path == "/orders":
            key = request.query.get("key", [""])[0]
            return Reply.of([order for order in self.orders.values() if order["key"] == key])
        if request.method == "POST" and request.path.endswith("/cancel"):
            return Reply.of({"id": request.path.split("/")[-2], "key": request.json["key"]})
        body = request.json
        key = request.headers["idempotency-key"]
        if any(line["sku"].startswith("NO-SUCH") for line in body["lines"]):
            return Reply.of({"error": f"unknown SKU for {body['customer']['name']} <{body['customer']['email']}>"}, 422)
        for order in self.orders.values():
            if order["key"] == key:
                return Reply.of(order, 409)
        self.creations += 1
        number = str(1000 + self.creations)
        self.orders[number] = {
            "id": number,
            "key": key,
            "order_id": body["order_id"],
            "total": body["total"],
            "lines": body["lines"],
        }
        return Reply.of(self.orders[number], 201)


def _decimal(text: object) -> dict[str, str]:
    return {"__class__": "Decimal", "decimal": str(text)}


_TRYTON_STEPS = {
    "quote": ({"draft"}, "quotation"),
    "confirm": ({"quotation"}, "confirmed"),
    "process": ({"confirmed", "processing"}, "processing"),
    "cancel": ({"draft"}, "cancelled"),
}
TRYTON_UNIQUE = "The web ID on the sale must be unique per shop."


class RefusedError(Exception):
    """Tryton's UserError: the transaction is rolled back."""


@dataclass
class TrytonStandIn:
    """The few routes of Tryton's REST API and of its JSON-RPC that the adapter uses."""

    sales: dict[int, dict[str, Any]] = field(default_factory=dict)
    places: list[dict[str, Any]] = field(default_factory=lambda: [{"id": 2, "party": 2}])
    added: Decimal = Decimal(0)  # what Tryton adds of its own, where it is told wrongly
    added_to: set[str] = field(default_factory=set)  # the web ids it adds it to; none: to all
    refuses: str = ""  # the step that it refuses
    refuses_for: set[str] = field(default_factory=set)  # the web ids it refuses it for; none: for all
    poison: int = 0  # a product that no sale can be made with
    processes: bool = False  # what is confirmed, in a transaction of its own right behind it
    unprocessable: set[str] = field(default_factory=set)  # web ids for which that transaction is rolled back
    logins: int = 0
    session: str = ""  # the one that is valid

    def writes(self, request: Request) -> bool:
        models = "/erp/rest/model/sale.sale"
        return request.method == "POST" and request.path in {models, f"{models}/create"}

    def held(self, key: str) -> int:
        return sum(sale["web_id"] == key for sale in self.sales.values())

    def handle(self, request: Request) -> Reply:
        if request.path == "/erp/rpc/":
            return self._rpc(request)
        _, _, _, _, model, *rest = request.path.split("/")
        try:
            if request.method == "GET":
                return Reply.of(self._search(model, self._domain(request)))
            return self._post(model, rest, request.json)
        except RefusedError as refused:
            return Reply.of({"status": 400, "message": str(refused), "description": ""}, 400)

    def _post(self, model: str, rest: list[str], body: dict[str, Any]) -> Reply:
        if rest == ["search_read"]:
            return Reply.of([self._dotted(record) for record in self._search(model, body["domain"])])
        make = self._make_places if model == "party.address" else self._make_sales
        if rest == ["create"]:
            return Reply.of([record["id"] for record in make(body["vlist"])])
        if not rest:
            (made,) = make([body])
            return Reply.of({name: made[name] for name in ("id", "state", "web_id", "total_amount") if name in made})
        sale = self.sales[int(rest[0])]
        state = self._step(rest[1], [sale])
        return Reply.of({"id": sale["id"], "state": state})

    def _rpc(self, request: Request) -> Reply:
        body = request.json
        if body["method"] == "common.db.login":
            user, given, _ = body["params"]
            if (user, given) != ("flashd", {"password": "secret"}):
                return Reply(401)
            self.logins += 1
            self.session = f"session {self.logins}"
            return Reply.of({"id": 1, "result": [3, self.session, None]})
        if b64decode(request.headers["authorization"].partition(" ")[2]).decode() != f"flashd:3:{self.session}":
            return Reply(401)
        _, _, _, name = body["method"].split(".")
        try:
            self._step(name, [self.sales[number] for number in body["params"][0]])
        except RefusedError as refused:
            return Reply.of({"id": 1, "error": ["UserError", [str(refused), "", None]]})
        return Reply.of({"id": 1, "result": None})

    def _step(self, name: str, sales: list[dict[str, Any]]) -> str:
        before, after = _TRYTON_STEPS[name]
        for sale in sales:
            spared = self.refuses_for and sale["web_id"] not in self.refuses_for
            refused = name == self.refuses and not spared
            stuck = name == "process" and sale["web_id"] in self.unprocessable
            if sale["state"] not in before or refused or stuck:
                raise RefusedError(f'You can not call "{name}" for Ada Lovelace')
        for sale in sales:
            sale["state"] = after
        if name == "confirm" and self.processes and not self.unprocessable & {sale["web_id"] for sale in sales}:
            for sale in sales:
                sale["state"] = "processing"
        return after

    def _domain(self, request: Request) -> list[Any]:
        decoded: list[Any] = msgspec.json.decode(urlsafe_b64decode(request.query["d"][0]))
        return decoded

    def _dotted(self, record: dict[str, Any]) -> dict[str, Any]:
        return {f"{name}." if name == "lines" else name: value for name, value in record.items()}

    def _search(self, model: str, domain: list[Any]) -> list[dict[str, Any]]:
        if model == "web.shop":
            return [{"id": 1, "name": "flashd", "company": 1, "warehouses": [5], "guest_party": 3}]
        if model == "product.product":
            codes = [code for clause in domain[1:] if clause[0] == "code" for code in clause[2]]
            return [
                {"id": int(code[4:]), "code": code, "salable": True, "sale_uom": 1}
                for code in codes
                if code.startswith("SKU-")
            ]
        if model == "currency.currency":
            return [{"id": 1}] if domain[0][2] != "ZZZ" else []
        if model == "country.country":
            return [{"id": 1}]
        found = self.places if model == "party.address" else list(self.sales.values())
        return [record for record in found if self._matches(record, domain)]

    def _matches(self, record: dict[str, Any], domain: list[Any]) -> bool:
        if domain[0] == "OR":
            return any(self._matches(record, one) for one in domain[1:])
        return all(
            record.get(name)
            in [one.strip() if isinstance(one, str) else one for one in (value if operator == "in" else [value])]
            for name, operator, value in domain
        )

    def _make_places(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any(body.get("city") == "Nowhere" for body in bodies):
            raise RefusedError("Nowhere is no city for Ada Lovelace")
        made = [
            {"id": len(self.places) + 2 + more}
            | {name: value.strip() if isinstance(value, str) else value for name, value in body.items()}
            for more, body in enumerate(bodies)
        ]
        self.places += made
        return made

    def _make_sales(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for number, body in enumerate(bodies, len(self.sales) + 1):
            if self.held(body["web_id"]):
                raise RefusedError(TRYTON_UNIQUE)
            lines = [
                {
                    **line,
                    "quantity": float(line["quantity"]),
                    "product": {"id": line["product"]} if line["product"] else None,
                }
                for line in body["lines"][0][1]
            ]
            if any(line.get("product") == {"id": self.poison} for line in lines):
                raise RefusedError("The unit is of another category, Ada Lovelace")
            added = self.added if not self.added_to or body["web_id"] in self.added_to else Decimal(0)
            total = sum((Decimal(line["unit_price"]["decimal"]) * int(line["quantity"]) for line in lines), added)
            made.append({**body, "id": number, "state": "draft", "lines": lines, "total_amount": _decimal(total)})
        self.sales |= {sale["id"]: sale for sale in made}
        return made


@dataclass
class OdooStandIn:
    """JSON-2 of Odoo 19 as its documentation has it: `load` upserts by external id and answers 200 with messages."""

    sales: dict[int, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)  # external ids of the module "flashd"
    loads: int = 0
    unit_tax: Decimal = Decimal(0)  # what Odoo adds of its own, where it is told wrongly

    def writes(self, request: Request) -> bool:
        return request.path == "/json/2/sale.order/load"

    def held(self, key: str) -> int:
        return int(key in self.names)

    def handle(self, request: Request) -> Reply:
        if request.headers.get("authorization") != "bearer secret":
            return Reply.of({"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"}, 401)
        _, _, _, model, method = request.path.split("/")
        answer = getattr(self, f"{model}_{method}".replace(".", "_"))(request.json)
        return answer if isinstance(answer, Reply) else Reply.of(answer)

    def ir_model_data_search_read(self, body: dict[str, Any]) -> object:
        wanted = {name: value for name, _, value in body["domain"]}
        assert wanted["module"] == "flashd"
        number = self.names.get(wanted["name"])
        return [] if number is None else [{"id": 7, "res_id": number}]

    def product_product_search_read(self, body: dict[str, Any]) -> object:
        codes = body["domain"][0][2]
        return [
            {"id": int(code[4:]), "default_code": code, "sale_ok": True} for code in codes if code.startswith("SKU-")
        ]

    def sale_order_load(self, body: dict[str, Any]) -> object:
        self.loads += 1
        columns, rows = body["fields"], body["data"]
        first = dict(zip(columns, rows[0], strict=True))
        module, _, name = first["id"].partition(".")
        assert module == "flashd"
        lines: list[dict[str, Any]] = []
        for row in rows:
            line = dict(zip(columns, row, strict=True))
            lines.append(
                {
                    "id": len(lines) + 1,
                    "product_id": [int(line["order_line/product_id/.id"]), "a product"],
                    "product_uom_qty": float(line["order_line/product_uom_qty"]),
                    "price_unit": float(line["order_line/price_unit"]),
                    "display_type": False,
                }
            )
        if any(line["price_unit"] > 1_000_000 for line in lines):
            return {"ids": False, "messages": [{"type": "error", "message": "Too dear for Ada Lovelace"}], "nextrow": 0}
        number = self.names.setdefault(name, len(self.sales) + 1)
        total = sum(Decimal(str(line["price_unit"])) * int(line["product_uom_qty"]) for line in lines)
        self.sales[number] = {
            "id": number,
            "name": f"S{number:05}",
            "state": "draft",
            "client_order_ref": first["client_order_ref"],
            "amount_total": float(total + self.unit_tax),
            "lines": lines,
        }
        return {"ids": [number], "messages": [], "nextrow": 0}

    def sale_order_read(self, body: dict[str, Any]) -> object:
        return [
            {name: value for name, value in self.sales[number].items() if name != "lines"}
            for number in body["ids"]
            if number in self.sales
        ]

    def sale_order_line_search_read(self, body: dict[str, Any]) -> object:
        return self.sales[body["domain"][0][2]]["lines"]

    def sale_order_action_confirm(self, body: dict[str, Any]) -> object:
        return self._step(body["ids"][0], {"draft", "sent"}, "sale")

    def sale_order_action_cancel(self, body: dict[str, Any]) -> object:
        return self._step(body["ids"][0], {"draft", "sent"}, "cancel")

    def _step(self, number: int, allowed: set[str], after: str) -> object:
        if self.sales[number]["state"] not in allowed:
            return Reply.of({"name": "odoo.exceptions.UserError", "message": "wrong state"}, 422)
        self.sales[number]["state"] = after
        return True

"""What the Tryton adapter must know before it can write a sale: the record ids behind SKUs, currencies and places."""

from __future__ import annotations

import itertools
import math
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flashd.backends.exchange import Answer, EndedError, Link, by_status, plain, unread
from flashd.domain.count import Count, CountKind
from flashd.domain.delivery import Away, Declined, Doubtful, Later
from flashd.domain.order import Address, Order

PAGE = 500  # products read at a time
EXTRA = "\x1f"  # before the name of an extra line in Products: no SKU begins so
Products = Mapping[str, tuple[int, int]]  # SKU or extra -> (product, unit)
# Of an address, what nearly always differs from place to place
_TELLING = ("party_name", "street_unstructured", "postal_code", "city")
_Measure = tuple[object, ...]


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """What an order takes from its web shop."""

    id: int
    name: str
    company: int
    warehouse: int | None
    party: int  # who buys, as configured
    address: int


def encode_domain(domain: Sequence[object] | Mapping[str, object]) -> str:
    """Return a search clause, or a context, as Tryton wants it in an address or a header."""
    return urlsafe_b64encode(msgspec.json.encode(domain)).decode()


def encode_address(to: Address, party: int, country: int | None) -> dict[str, Any]:
    """Return all fields that tell addresses of a party apart; what the place lacks is None."""
    fields = {
        "party_name": to.company or to.name,
        "attn": to.name if to.company else "",
        "street_unstructured": "\n".join(part for part in (to.street, to.street2) if part),
        "postal_code": to.postcode,
        "city": to.city,
        "country": country,
    }
    return {"party": party} | {name: value or None for name, value in fields.items()}


def decode_refusal(answer: Answer) -> str | None:
    """Return the message of a UserError or UserWarning, or None where *answer* is something else."""
    body = answer.json
    if answer.status == 400 and isinstance(body, dict) and isinstance(body.get("message"), str):
        return f"{body['message']} {body.get('description') or ''}"
    return None


class Catalogue:
    """Reads records, and remembers what rarely changes: the shop, products, currencies and countries."""

    def __init__(
        self,
        link: Link,
        model: str,
        *,
        shop: int,
        party: int,
        address: int | None,
        products: Mapping[str, int],
    ) -> None:
        self._link = link
        self._model = model
        self._shop_id, self._party, self._address_id = shop, party, address
        self._configured = products
        self._extras = [name for name in products if name.startswith(EXTRA)]
        self._shop: Shop | None = None
        self._products: dict[str, tuple[int, int]] = {}
        self._ids: dict[tuple[str, str], int | None] = {}

    async def search(
        self,
        model: str,
        domain: Sequence[object],
        fields: Sequence[str] = (),
        *,
        first: bool = False,
        page: tuple[int, int] | None = None,
        context: Mapping[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """
        Return the records that match, with their ids and *fields*; or only the *first* that was ever made, or one page.

        Args:
            model: Which records.
            domain: Which of them.
            fields: What of them.
            first: Only the one with the lowest id.
            page: (offset, size) of a page, by id.
            context: Tryton's own, such as the locations that quantities are of.

        Raises:
            EndedError: The answer was none that can be read.
        """
        query = "".join(f"&f={name}" for name in fields or ("id",))
        if first:
            query += f"&s=1&o={encode_domain([['id', 'ASC']])}"
        if page is not None:
            query += f"&p={page[0]}&s={page[1]}&o={encode_domain([['id', 'ASC']])}"
        headers = {"X-Tryton-Context": encode_domain(context)} if context is not None else None
        answer = await self._link.get(f"{self._model}/{model}?d={encode_domain(domain)}{query}", headers=headers)
        return _records(model, answer)

    async def gather(self, model: str, domain: Sequence[object], fields: Sequence[str]) -> list[dict[str, Any]]:
        """
        Return what `search` would, where *domain* may be long: gunicorn takes an address of 4,094 bytes at most.

        Raises:
            EndedError: The answer was none that can be read.
        """
        asked = {"domain": domain, "fields_names": list(fields)}
        answer = await self._link.post(f"{self._model}/{model}/search_read", asked)
        # What is read through another record stands under "name." here, and under "name" where `search` reads.
        return [{name.removesuffix("."): value for name, value in record.items()} for record in _records(model, answer)]

    async def counts(self, kind: CountKind, *, source: str, now_ms: int) -> list[Count]:
        """
        Return what the shop's warehouse has of every product that is sold under a code or a configured SKU.

        `quantity` lacks what was shipped, `forecast_quantity` what was promised; parts of a unit are left out. Raises
        as above.
        """
        warehouse = (await self.shop()).warehouse
        context = {"locations": [warehouse] if warehouse is not None else [], "stock_date_end": None}
        field = "quantity" if kind is CountKind.PHYSICAL else "forecast_quantity"
        names = {product: sku for sku, product in self._configured.items() if not sku.startswith(EXTRA)}
        counts: list[Count] = []
        for offset in itertools.count(0, PAGE):
            page = (offset, PAGE)
            found = await self.search(
                "product.product", [["salable", "=", True]], ("code", field), page=page, context=context
            )
            for record in found:
                sku, units = names.get(record["id"]) or record.get("code"), record.get(field)
                if isinstance(sku, str) and sku and isinstance(units, int | float):
                    counts.append(
                        Count(
                            sku=sku,
                            location="",
                            quantity=math.floor(units),
                            kind=kind,
                            as_of_ms=now_ms,
                            source=source,
                        )
                    )
            if len(found) < PAGE:
                break
        return counts

    async def shop(self) -> Shop:
        """Return the web shop, read once. Raises as above."""
        if self._shop is None:
            self._shop = await self.read_shop()
        return self._shop

    async def read_shop(self) -> Shop:
        """Read the web shop and the buyer's address, or say what the configuration names wrongly. Raises as above."""
        fields = ("name", "company", "warehouses", "guest_party")
        found = await self.search("web.shop", [["id", "=", self._shop_id]], fields)
        if not found:
            raise EndedError(Away(reason=f"there is no web.shop {self._shop_id}: mend shop"))
        shop = found[0]
        if shop.get("guest_party") == self._party:
            raise EndedError(
                Away(reason=f"party {self._party} is the shop's guest party, which cannot buy: mend party")
            )
        address = self._address_id
        if address is None:
            places = await self.search("party.address", [["party", "=", self._party]], first=True)
            if not places:
                raise EndedError(Away(reason=f"party {self._party} has no address: mend party or address"))
            address = places[0]["id"]
        warehouses = shop.get("warehouses") or [None]
        return Shop(
            id=self._shop_id,
            name=plain(str(shop.get("name"))),
            company=shop["company"],
            warehouse=warehouses[0],
            party=self._party,
            address=address,
        )

    @property
    def known(self) -> Products:
        """Product and unit of each SKU and each extra line that was read."""
        return self._products

    async def products(self, order: Order) -> Products:
        """
        Return product and unit of each line and each extra line; what is not known yet is read in one request.

        Raises:
            EndedError: As above, or declined, since a SKU is not known or not for sale.
        """
        declined = self.lacks(order, await self.learn([order]))
        if declined is not None:
            raise EndedError(declined)
        return self._products

    async def learn(self, orders: Sequence[Order]) -> dict[str, str]:
        """
        Read what is not known yet of the products of *orders*, in one request.

        Returns:
            What is the matter with those that cannot be sold, by SKU or extra line.

        Raises:
            EndedError: As above.
        """
        skus = (line.sku for order in orders for line in order.lines)
        missing = [name for name in dict.fromkeys([*skus, *self._extras]) if name not in self._products]
        if not missing:
            return {}
        ids = {self._configured[name] for name in missing if name in self._configured}
        codes = [name for name in missing if name not in self._configured]
        domain = ["OR", ["id", "in", sorted(ids)], ["code", "in", codes]]
        found = await self.gather("product.product", domain, ("code", "salable", "sale_uom"))
        by_id = {record["id"]: record for record in found}
        by_code = {record.get("code"): record for record in found}
        lacking = {}
        for name in missing:
            record = by_id.get(self._configured[name]) if name in self._configured else by_code.get(name)
            if record is None or not record.get("salable") or not isinstance(record.get("sale_uom"), int):
                lacking[name] = "not known" if record is None else "not for sale"
            else:
                self._products[name] = (record["id"], record["sale_uom"])
        return lacking

    def lacks(self, order: Order, lacking: Mapping[str, str]) -> Declined | None:
        """Say which of *lacking*, as `learn` tells it, keeps *order* out."""
        for name in (*(line.sku for line in order.lines), *self._extras):
            if name in lacking:
                return Declined(reason=plain(f"{name.strip(EXTRA)} is {lacking[name]} in Tryton"))
        return None

    def forget(self, order: Order) -> None:
        """Read the products of *order* again next time."""
        for line in order.lines:
            self._products.pop(line.sku, None)

    async def currency(self, code: str) -> int:
        """Return the id of a currency. Raises as above, declined where Tryton lacks it."""
        found = await self._id("currency.currency", code)
        if found is None:
            raise EndedError(Declined(reason=plain(f"currency {code} is not known in Tryton")))
        return found

    async def address(self, to: Address, shop: Shop) -> int:
        """
        Return the buyer's address for that place; made where there is none, else used again.

        Asking again after an answer was lost finds the address that was made, so doubt makes no second one.
        """
        if not (to.street or to.city):
            return shop.address
        fields = await self._place(to)
        same = [[name, "=", value] for name, value in fields.items()]
        found = await self.search("party.address", same, first=True)
        if found:
            return int(found[0]["id"])
        made = {name: value for name, value in fields.items() if value is not None}
        answer = await self._link.post(f"{self._model}/party.address?f=party", made)
        if not isinstance(answer, Answer):
            raise EndedError(answer)
        body, refusal = answer.json, decode_refusal(answer)
        if refusal is not None:
            raise EndedError(Declined(reason="Tryton refused the address"))
        if answer.status == 200 and isinstance(body, dict) and isinstance(body.get("id"), int):
            return int(body["id"])
        raise EndedError(by_status(answer) or unread(answer))

    async def addresses(self, places: Sequence[Address], shop: Shop) -> dict[Address, int | Declined]:
        """
        Return what `address` would of each place, with one or two requests for all of them.

        Raises:
            EndedError: As above.
        """
        ids: dict[Address, int | Declined] = {to: shop.address for to in places if not (to.street or to.city)}
        fields = {to: await self._place(to) for to in dict.fromkeys(places) if to not in ids}
        if fields:
            known = await self._there(list(fields.values()))
            lacking = {_measure(place): place for place in fields.values() if _measure(place) not in known}
            known |= await self._make(lacking) if lacking else {}
            ids |= {to: known[_measure(place)] for to, place in fields.items() if _measure(place) in known}
        for to in fields:
            if to not in ids:  # one of them was refused, and with it all
                try:
                    ids[to] = await self.address(to, shop)
                except EndedError as ended:
                    if not isinstance(ended.outcome, Declined):
                        raise
                    ids[to] = ended.outcome
        return ids

    async def _place(self, to: Address) -> dict[str, Any]:
        return encode_address(to, self._party, await self._id("country.country", to.country) if to.country else None)

    async def _there(self, places: Sequence[Mapping[str, Any]]) -> dict[_Measure, int]:
        # One list of values a field, not one clause a place: a party may have very many addresses, and Tryton's
        # database would try each clause on each of them. What is found beyond these places does no harm.
        within = [["party", "=", self._party]]
        within += [[name, "in", list(dict.fromkeys(place[name] for place in places))] for name in _TELLING]
        found = await self.gather("party.address", within, [*places[0]])
        return {
            _measure({name: record.get(name) for name in places[0]}): record["id"] for record in _newest_first(found)
        }

    async def _make(self, places: Mapping[_Measure, Mapping[str, Any]]) -> dict[_Measure, int]:
        """Make all of these addresses, or, where one of them is refused, none."""
        # What a place lacks is told too: Tryton inserts at once what has the same fields.
        answer = await self._link.post(f"{self._model}/party.address/create", {"vlist": [*places.values()]})
        if not isinstance(answer, Answer):
            raise EndedError(answer)
        if decode_refusal(answer) is not None:
            return {}
        ids = answer.json
        if answer.status != 200 or not isinstance(ids, list) or [*map(type, ids)] != [int] * len(places):
            raise EndedError(by_status(answer) or unread(answer))
        return dict(zip(places, ids, strict=True))  # in the order of what was asked for

    async def _id(self, model: str, code: str) -> int | None:
        known = (model, code)
        if self._ids.get(known) is None:
            found = await self.search(model, [["code", "=", code]])
            self._ids[known] = found[0]["id"] if found else None
        return self._ids[known]


def _records(model: str, answer: Answer | Later | Doubtful) -> list[dict[str, Any]]:
    if not isinstance(answer, Answer):
        raise EndedError(answer)
    trouble, refusal, body = by_status(answer), decode_refusal(answer), answer.json
    if trouble is None and refusal is not None:
        trouble = Away(reason=plain(f"{model} cannot be read with this key: {refusal}"))
    if trouble is not None:
        raise EndedError(trouble)
    if answer.status != 200 or not isinstance(body, list):
        raise EndedError(unread(answer))
    if not all(isinstance(record, dict) and isinstance(record.get("id"), int) for record in body):
        raise EndedError(unread(answer))
    return body


def _measure(fields: Mapping[str, Any]) -> _Measure:
    """What tells two addresses apart: Tryton cuts blanks off at both ends."""
    return tuple((value.strip() or None) if isinstance(value, str) else value for value in fields.values())


def _newest_first(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda record: -record["id"])

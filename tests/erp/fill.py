"""
Fill a fresh Tryton database: company, chart of accounts, a web shop, products with stock, a key for the REST API.

Run by the Python of Tryton's own virtual environment (`python fill.py trytond.conf erp ids.json`), never imported.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from proteus import Model, config  # type: ignore[import-not-found]  # lives elsewhere
from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, get_accounts  # type: ignore[import-not-found]  # lives elsewhere
from trytond.modules.account_invoice.tests.tools import set_fiscalyear_invoice_sequences  # type: ignore[import-not-found]  # lives elsewhere
from trytond.modules.company.tests.tools import create_company  # type: ignore[import-not-found]  # lives elsewhere

PRODUCTS = 20
STOCK = 10_000.0


def fill_accounts() -> Any:
    create_company()
    create_chart()
    fiscal_year = set_fiscalyear_invoice_sequences(create_fiscalyear())
    fiscal_year.click("create_period")
    accounts = get_accounts()
    defaults = Model.get("account.configuration")(1)
    defaults.default_category_account_revenue = accounts["revenue"]
    defaults.default_category_account_expense = accounts["expense"]
    defaults.save()
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_expense = accounts["expense"]
    category.account_revenue = accounts["revenue"]
    category.save()
    return category


def fill_products(category: Any) -> dict[str, Any]:
    (unit,) = Model.get("product.uom").find([("name", "=", "Unit")])
    names = [(f"SKU-{number:02}", "goods") for number in range(1, PRODUCTS + 1)]
    names += [("SHIPPING", "service"), ("DISCOUNT", "service"), ("TAX", "service")]
    made = {}
    for name, type_ in names:
        template = Model.get("product.template")()
        template.name = f"Product {name}"
        template.default_uom = unit
        template.type = type_
        template.salable = True
        template.list_price = Decimal("99.99")  # no order has this price: a repriced line is seen
        template.account_category = category
        template.code = name
        template.save()
        (made[name],) = template.products
    (storage,) = Model.get("stock.location").find([("code", "=", "STO")])
    inventory = Model.get("stock.inventory")()
    inventory.location = storage
    for name, product in made.items():
        if name.startswith("SKU-"):
            line = inventory.lines.new(product=product)
            line.quantity = STOCK
            line.expected_quantity = 0.0
    inventory.click("confirm")
    return made


def fill_party(name: str) -> Any:
    party = Model.get("party.party")(name=name)
    if party.addresses:
        party.addresses[0].city = "Springfield"
    else:
        party.addresses.new(city="Springfield")
    party.save()
    return party


def fill_countries() -> None:
    for code, name in (("DE", "Germany"), ("US", "United States"), ("GB", "United Kingdom")):
        Model.get("country.country")(code=code, name=name).save()


def main(settings: str, database: str, out: str) -> None:
    config.set_trytond(database=database, config_file=settings)
    products = fill_products(fill_accounts())
    fill_countries()
    buyer, guest = fill_party("Web customers"), fill_party("Guest of the web shop")
    shop = Model.get("web.shop")(name="flashd", guest_party=guest)
    shop.warehouses.extend(Model.get("stock.location").find([("code", "=", "WH")]))
    shop.save()
    application = Model.get("res.user.application")(application="rest")
    (application.user,) = Model.get("res.user").find([("login", "=", "admin")])
    application.save()
    ids = {
        "key": application.key,
        "party": buyer.id,
        "address": buyer.addresses[0].id,
        "guest": guest.id,
        "shop": shop.id,
        "company": shop.company.id,
        "currency": shop.currency.id,
        "currency_code": shop.currency.code,
        "warehouse": shop.warehouses[0].id,
        "products": {name: product.id for name, product in products.items()},
    }
    Path(out).write_text(json.dumps(ids, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

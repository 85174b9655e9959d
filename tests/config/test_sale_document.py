"""A sale as people write it: what is right is read, what is wrong is told with its path, all at once."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from flashd.config.sale import BadSale, Form, parse_sale, read_sale
from flashd.domain.publication import Threshold
from flashd.domain.sale import PRODUCTS, Sale, SaleProduct

POOLS = {"main": ("shop", "till"), "outlet": ("kiosk",)}
EXAMPLE = (Path(__file__).parents[2] / "config" / "sale.example.toml").read_text()
UNCOMMENTED = re.sub(r"(?m)^#(?=[a-z\[])", "", EXAMPLE)
RIGHT: dict[str, Any] = {
    "name": "friday",
    "pool": "main",
    "start": "2026-11-27T08:00:00+01:00",
    "end": "2026-11-27T20:00:00+01:00",
    "products": [{"sku": "TEE", "quota": 5, "price": "9.90"}],
}


def faults(document: dict[str, Any]) -> str:
    with pytest.raises(BadSale) as caught:
        read_sale(document, POOLS)
    return caught.value.detail


def test_the_same_sale_is_read_from_toml_and_from_json() -> None:
    toml = b"""
        name = "friday"
        pool = "main"
        start = 2026-11-27T08:00:00+01:00
        end = 2026-11-27T20:00:00+01:00
        products = [{ sku = "TEE", quota = 5, price = "9.90" }]
    """
    read = [
        read_sale(parse_sale(toml, "toml"), POOLS),
        read_sale(parse_sale(json.dumps(RIGHT).encode(), "json"), POOLS),
    ]
    assert read[0] == read[1]
    assert read[0].start == datetime(2026, 11, 27, 7, tzinfo=UTC)
    assert read[0].products == (SaleProduct(sku="TEE", quota=5, price="9.90"),)


def test_the_example_is_a_right_sale() -> None:
    sale = read_sale(parse_sale(EXAMPLE.encode(), "toml"), {"main": ("shop",)})
    assert (sale.name, len(sale.products)) == ("friday", 2)


def test_the_example_shows_every_key_at_its_default() -> None:
    document = parse_sale(UNCOMMENTED.encode(), "toml")
    sale = read_sale(document, {"main": ("shop",)})
    for shape, table in ((Sale, document), (SaleProduct, document["products"][0]), (Threshold, document["threshold"])):
        assert set(table) == {field.encode_name for field in fields(shape)}
    shown = {field.name: (getattr(sale, field.name), field.default) for field in fields(Sale) if not field.required}
    assert shown.pop("threshold") == (Threshold(), None)
    assert {name: value for name, (value, _) in shown.items()} == {name: usual for name, (_, usual) in shown.items()}
    first = sale.products[0]
    usual = SaleProduct(sku=first.sku, threshold=Threshold())
    assert first == usual


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"end": "2026-11-27T08:00:00+01:00"}, "end = 2026-11-27T08:00:00+01:00: must be after start"),
        ({"start": "2026-11-27T08:00:00"}, 'start = "2026-11-27T08:00:00": write a time with its time zone'),
        ({"start": "soon"}, 'start = "soon": write a time'),
        ({"start": "1960-01-01T00:00:00Z"}, "start = 1960-01-01T00:00:00+00:00: write a year from 1971"),
        ({"nam": "x"}, 'nam: there is no such key; did you mean "name"?'),
        ({"name": "Black Friday"}, 'name = "Black Friday": write a name of 1 to 63 letters'),
        ({"pool": "mian"}, 'pool = "mian": there is no such pool; write one of main, outlet; did you mean "main"?'),
        ({"channels": ["shp"]}, 'channels[0] = "shp": pool main has no such channel'),
        ({"channels": ["shp"]}, 'it has: shop, till; did you mean "shop"?'),
        ({"channels": ["kiosk"]}, "pool main has no such channel; it has: shop, till"),
        ({"channels": ["shop", "shop"]}, 'channels[1] = "shop": stands there twice'),
        ({"limit": -1}, "limit = -1: write a whole number of at least 0"),
        ({"outside": "ajar"}, 'outside = "ajar": write one of "closed", "open"'),
        ({"title": "Black\nFriday"}, "title = 'Black\\nFriday': leave out line breaks"),
        ({"products": []}, "products = []: name at least one"),
        ({"products": [{"quota": 1}]}, "products[0].sku = (missing): is needed"),
        ({"products": [{"sku": "TEE", "quota": -3}]}, "products[0].quota = -3: write a whole number of at least 0"),
        ({"products": [{"sku": "TEE", "qouta": 3}]}, 'products[0].qouta: there is no such key; did you mean "quota"?'),
        (
            {"products": [{"sku": "TEE"}, {"sku": "A"}, {"sku": "TEE"}]},
            'products[2].sku = "TEE": stands in products[0]',
        ),
        ({"products": [{"sku": "T\x1fE"}]}, "products[0].sku = 'T\\x1fE': leave out line breaks"),
        ({"products": [{"sku": "TEE", "price": 9.9}]}, "products[0].price = 9.9: write an amount as decimal text"),
        ({"products": [{"sku": "TEE", "price": "9,90"}]}, 'products[0].price = "9,90": write an amount as'),
        ({"products": [{"sku": "TEE", "price": "-1"}]}, 'products[0].price = "-1"'),
        ({"products": [{"sku": "TEE", "compare_at": "9"}]}, 'products[0].compare_at = "9": needs a price beside it'),
        ({"products": [{"sku": "TEE", "price": "9.90", "compare_at": "9.9"}]}, "must be above the price, 9.90"),
        ({"products": [{"sku": "TEE", "threshold": {"percent": 101}}]}, "products[0].threshold.percent = 101"),
        ({"products": [{"sku": f"S{n}"} for n in range(PRODUCTS + 1)]}, f"write at most {PRODUCTS}"),
    ],
)
def test_what_is_wrong_is_told_with_its_path_and_what_is_allowed(change: dict[str, Any], said: str) -> None:
    assert said in faults(RIGHT | change)


def test_all_faults_are_told_at_once() -> None:
    said = faults(RIGHT | {"start": "soon", "limit": "many", "products": [{"sku": "TEE", "quota": 1.5}, {}]})
    assert [line.partition(" ")[0] for line in said.splitlines()] == [
        "start",
        "products[0].quota",
        "products[1].sku",
        "limit",
    ]


@pytest.mark.parametrize("missing", ["name", "start", "end", "products"])
def test_what_is_needed_and_missing_is_told(missing: str) -> None:
    document = {key: value for key, value in RIGHT.items() if key != missing}
    assert f"{missing} = (missing): is needed" in faults(document)


def test_a_document_without_a_pool_is_of_the_only_one() -> None:
    document = {key: value for key, value in RIGHT.items() if key != "pool"}
    assert read_sale(document, {"outlet": ("kiosk",)}).pool == "outlet"
    with pytest.raises(BadSale, match=r"pool = .missing.: is needed; write one of a, b"):
        read_sale(document, {"a": (), "b": ()})


@pytest.mark.parametrize(
    ("body", "form", "said"),
    [
        (b"name = ", "toml", "is not valid TOML"),
        (b"{", "json", "is not valid JSON"),
        (b"[1]", "json", "write a table"),
        (b"name = '\xff'", "toml", "is not UTF-8"),
        (b"[" * 100_000, "json", "is not valid JSON"),
    ],
)
def test_what_is_no_document_is_told(body: bytes, form: Form, said: str) -> None:
    with pytest.raises(BadSale, match=said):
        parse_sale(body, form)

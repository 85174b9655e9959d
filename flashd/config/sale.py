"""
A sale's document, read as people write it: every fault at once, each with its path, its value and what is allowed.

TOML from a file, JSON from a program; the same keys in both, in config/sale.example.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from flashd.config.decode import walk
from flashd.config.problem import AT_ONCE, did_you_mean, one_of
from flashd.domain.sale import Fault, Sale, faults_of
from flashd.errors import Refused

Form = Literal["toml", "json"]
_MONEY = 'write an amount as decimal text in quotes, such as "9.90"'


class BadSale(Refused):
    """A document with faults; *problems* holds each of them."""

    status = 422
    title = "invalid"

    def __init__(self, faults: Collection[Fault]) -> None:
        told = [str(fault) for fault in faults][:AT_ONCE]
        if len(faults) > AT_ONCE:
            told.append(f"... and {len(faults) - AT_ONCE} more")
        super().__init__("\n".join(told), problems=[msgspec.to_builtins(fault) for fault in faults])


def parse_sale(body: bytes, form: Form) -> dict[str, Any]:
    """
    Return the document's keys and values, unchecked.

    Raises:
        BadSale: It is no TOML or JSON, or no table.
    """
    try:
        document = tomllib.loads(body.decode("utf-8-sig")) if form == "toml" else msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise BadSale([Fault("the document", "", "is not UTF-8: save it as UTF-8")]) from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise BadSale([Fault("the document", "", f"is not valid {form.upper()}: {error}")]) from error
    if not isinstance(document, dict):
        raise BadSale([Fault("the document", "", "write a table of keys, such as name, start, end and products")])
    return document


def read_sale(document: Mapping[str, Any], pools: Mapping[str, Collection[str]]) -> Sale:
    """
    Return the sale that a document describes.

    Args:
        document: Its keys and values.
        pools: The channels of each pool. A document that names no pool is of the only one.

    Raises:
        BadSale: It has faults; all are told at once.
    """
    given = dict(document)
    if "pool" not in given and len(pools) == 1:
        given["pool"] = next(iter(pools))
    faults: list[Fault] = []

    def report(path: str, value: str, allowed: str) -> None:
        if path.endswith((".price", ".compare_at")):
            allowed = _MONEY
        faults.append(Fault(path.removeprefix("."), value, allowed))

    walk("", given, Sale, report)
    if given.get("products") == []:
        report("products", "[]", "name at least one")
    if "pool" not in given and "main" not in pools:
        report("pool", "(missing)", f"is needed; write one of {one_of(pools)}")
    if faults:
        raise BadSale(faults)
    sale = msgspec.convert(given, Sale)
    if sale.pool not in pools:
        meant = did_you_mean(sale.pool, pools)
        raise BadSale([Fault("pool", f'"{sale.pool}"', f"there is no such pool; write one of {one_of(pools)}{meant}")])
    if found := faults_of(sale, pools[sale.pool]):
        raise BadSale([_with_guess(fault, pools[sale.pool]) for fault in found])
    return sale


def _with_guess(fault: Fault, channels: Collection[str]) -> Fault:
    if not fault.path.startswith("channels["):
        return fault
    return Fault(fault.path, fault.value, fault.allowed + did_you_mean(fault.value.strip('"'), channels))

"""Tables that people send as CSV: under a header, in UTF-8, every fault named by its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from flashd.config.problem import allowed_by, shown
from flashd.domain.catalogue import Component, Entry, Kit
from flashd.web.native import checked_id
from flashd.web.problem import Malformed

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

ROWS = 20_000
_COLUMN = re.compile(r"`\$\.([a-z_]+)`")


def read_rows(body: bytes, *, fits: Callable[[set[str]], bool], header: str) -> Iterator[tuple[int, dict[str, str]]]:
    """
    Hand out the line number and the fields of each row; an empty field is left out.

    Args:
        body: The file.
        fits: Whether these are the columns that are wanted.
        header: How the first line should read.

    Raises:
        Malformed: It is not what it should be; the message names the line.
    """
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
    except UnicodeDecodeError as error:
        raise Malformed("the file is not UTF-8: save it as CSV in UTF-8") from error
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if len(set(names)) != len(names) or not fits(set(names)):
            raise Malformed(f"line 1: write {header}, with commas between")
        for fields in reader:
            if None in fields or None in fields.values():
                raise Malformed(f"line {reader.line_num}: it has another number of fields than the header")
            yield reader.line_num, {name.strip(): text.strip() for name, text in fields.items() if text.strip()}
    except csv.Error as error:
        raise Malformed(f"line {reader.line_num}: it is not valid CSV") from error


def fitted(line: int, fields: dict[str, str], kind: type[S]) -> S:
    """
    Read one row as *kind*.

    Raises:
        Malformed: It is not what it should be; the message names line, column, value and what is allowed.
    """
    columns = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, column in columns.items():
        if column.required and name not in fields:
            raise Malformed(f"line {line}: {name} is empty")
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        found = _COLUMN.search(str(error))
        allowed = allowed_by(columns[found[1]].type) if found else ""
        if found is None or not allowed.startswith("write a whole number"):
            raise Malformed(f"line {line}: {error}") from error
        raise Malformed(f"line {line}: {found[1]} = {shown(fields[found[1]])}: {allowed.replace('_', ',')}") from error


def read_map(body: bytes) -> list[Entry]:
    """
    Read a channel's map: ``sku``, ``title`` where wanted, and a column for each id.

    Raises:
        Malformed: As above, or a SKU stands there twice.
    """
    header = "sku,title and a column for each id, such as sku,product,variation"
    found: dict[str, Entry] = {}
    for line, fields in read_rows(body, fits=lambda names: "sku" in names and "" not in names, header=header):
        sku = _sku(fields, "sku", line)
        if sku in found:
            raise Malformed(f"line {line}: {sku} stands there twice")
        ids = {name: text for name, text in fields.items() if name not in ("sku", "title")}
        found[sku] = Entry(sku=sku, ids=ids, title=fields.get("title", ""), source="csv")
    return list(_bounded(found).values())


def read_kits(body: bytes) -> list[Kit]:
    """
    Read kits: a row for each component, ``kit,component,quantity``.

    Raises:
        Malformed: As above, or a component stands there twice in one kit.
    """
    found: dict[str, dict[str, int]] = {}
    columns = {"kit", "component", "quantity"}
    for line, fields in read_rows(body, fits=lambda names: names == columns, header="kit,component,quantity"):
        kit, part, quantity = _sku(fields, "kit", line), _sku(fields, "component", line), fields.get("quantity", "")
        if not (quantity.isascii() and quantity.isdigit() and 1 <= int(quantity) <= 10**6):
            raise Malformed(f"line {line}: quantity must be a whole number from 1 to {10**6}")
        if part in found.setdefault(kit, {}):
            raise Malformed(f"line {line}: {part} stands in {kit} twice")
        found[kit][part] = int(quantity)
    return [
        Kit(sku, tuple(Component(part, quantity) for part, quantity in parts.items()))
        for sku, parts in _bounded(found).items()
    ]


def _sku(fields: dict[str, str], column: str, line: int) -> str:
    if column not in fields:
        raise Malformed(f"line {line}: {column} is empty")
    return checked_id(fields[column], f"line {line}: {column}")


def _bounded(found: dict[str, T]) -> dict[str, T]:
    if not 1 <= len(found) <= ROWS:
        raise Malformed(f"an import has 1 to {ROWS} rows; this one has {len(found)}")
    return found

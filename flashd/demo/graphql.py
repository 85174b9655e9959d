"""
As much of GraphQL as a simulated shop needs: documents, variables, fragments, directives, validation and cost.

A document is validated against the schema before anything runs, so that a mutation with an unknown field changes
nothing. The cost rules are Shopify's (shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits): scalars are free, an
object costs 1, a connection is sized by ``first``, a mutation costs 10.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

MUTATION_COST = 10
CONNECTION_COST = 2
PAGE_AT_MOST = 250

_TOKEN = re.compile(
    r'\s+|,|#[^\n]*|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<number>-?[0-9]+(?:\.[0-9]+)?)'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>\.\.\.|[{}()\[\]:=!$@|])"
)
_DECLARED = re.compile(r"(\w+)(?:\(([\w ]*)\))?(?::(\[?)(\w+))?")


class GraphqlError(Exception):
    """The document is refused as a whole; *code* stands in the error's extensions."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    def shown(self) -> dict[str, Any]:
        """Return the member of ``errors``."""
        return {"message": str(self)} | ({"extensions": {"code": self.code}} if self.code else {})


class Field(msgspec.Struct, kw_only=True):
    """One selected field, or an inline fragment (*on* set)."""

    name: str = ""
    alias: str = ""
    arguments: dict[str, Any] = {}
    directives: dict[str, dict[str, Any]] = {}
    on: str = ""
    selection: list[Field] = []


class Operation(msgspec.Struct, kw_only=True):
    """What a document asks for, its variables filled in."""

    kind: str
    selection: list[Field]


class Declared(msgspec.Struct, frozen=True):
    """A field of the schema."""

    type: str
    arguments: frozenset[str]
    many: bool


class Schema:
    """Types and their fields, read from lines such as ``Order: id name lineItems(first after):LineItemConnection``."""

    def __init__(self, text: str) -> None:
        self.types: dict[str, dict[str, Declared]] = {}
        for line in text.strip().splitlines():
            name, _, fields = line.partition(":")
            self.types[name.strip()] = {
                found[1]: Declared(found[4] or "", frozenset((found[2] or "").split()), bool(found[3]))
                for found in _DECLARED.finditer(fields)
            }
        for name in [name for name in self.types if f":{name}Connection" in text]:
            self.types[f"{name}Connection"] = {
                "nodes": Declared(name, frozenset(), many=True),
                "edges": Declared(f"{name}Edge", frozenset(), many=True),
                "pageInfo": Declared("PageInfo", frozenset(), many=False),
            }
            self.types[f"{name}Edge"] = {
                "node": Declared(name, frozenset(), many=False),
                "cursor": Declared("", frozenset(), many=False),
            }
        page = ("hasNextPage", "hasPreviousPage", "startCursor", "endCursor")
        self.types["PageInfo"] = {name: Declared("", frozenset(), many=False) for name in page}

    def requested_cost(self, operation: Operation) -> int:
        """
        Validate, and return what it may cost at most.

        Raises:
            GraphqlError: It asks for what is not in the schema.
        """
        root = "Mutation" if operation.kind == "mutation" else "QueryRoot"
        cost = self._cost(operation.selection, root)
        return MUTATION_COST * len(operation.selection) if operation.kind == "mutation" else cost

    def _cost(self, selection: list[Field], kind: str) -> int:
        own, fragments = 0, [0]
        for field in selection:
            if field.on:
                if field.on not in self.types:
                    raise GraphqlError(f"No such type {field.on}, so it can't be a fragment condition", "undefinedType")
                fragments.append(self._cost(field.selection, field.on))
            elif field.name != "__typename":
                own += self._field_cost(field, kind)
        return own + max(fragments)

    def _field_cost(self, field: Field, kind: str) -> int:
        declared = self.types[kind].get(field.name)
        if declared is None:
            raise GraphqlError(f"Field '{field.name}' doesn't exist on type '{kind}'", "undefinedField")
        for argument in field.arguments:
            if argument not in declared.arguments:
                raise GraphqlError(f"Field '{field.name}' doesn't accept argument '{argument}'", "argumentNotAccepted")
        if not declared.type:
            return 0
        if not field.selection:
            raise GraphqlError(f"Field must have selections (field '{field.name}' returns {declared.type})")
        return _object_cost(field, declared.type, self._cost(field.selection, declared.type))


def _object_cost(field: Field, kind: str, below: int) -> int:
    if kind == "PageInfo":
        return 0
    if kind.endswith("Edge"):
        return below
    if kind.endswith("Connection"):
        size = field.arguments.get("first")
        if not isinstance(size, int) or not 1 <= size <= PAGE_AT_MOST:
            raise GraphqlError(f"you must provide `first` of 1 to {PAGE_AT_MOST} to '{field.name}'", "BAD_REQUEST")
        return CONNECTION_COST + size * below
    ids = field.arguments.get("ids")
    return (1 + below) * (len(ids) if isinstance(ids, list) else 1)


def execute(selection: list[Field], source: Mapping[str, Any], spent: list[int]) -> dict[str, Any]:
    """
    Return what *selection* wants of *source*: mappings whose members may be functions of the arguments.

    *spent* counts the objects that were handed out: the actual cost.
    """
    found: dict[str, Any] = {}
    for field in selection:
        if field.on:
            if source.get("__typename") == field.on:
                found |= execute(field.selection, source, spent)
            continue
        value = source[field.name]
        if callable(value):
            value = value(**field.arguments)
        found[field.alias or field.name] = _shown(value, field, spent)
    return found


def _shown(value: Any, field: Field, spent: list[int]) -> Any:
    if isinstance(value, list):
        return [_shown(member, field, spent) for member in value]
    if isinstance(value, Mapping):
        if field.name not in {"pageInfo", "edges"}:
            spent[0] += 1
        return execute(field.selection, value, spent)
    return value


def connection(
    rows: list[Any], node: Callable[[Any], Mapping[str, Any]], cursor: Callable[[Any], str], *, more: bool
) -> dict[str, Any]:
    """Return one page of a connection."""
    return {
        "nodes": lambda: [node(row) for row in rows],
        "edges": lambda: [{"node": node(row), "cursor": cursor(row)} for row in rows],
        "pageInfo": {
            "hasNextPage": more,
            "hasPreviousPage": False,
            "startCursor": cursor(rows[0]) if rows else None,
            "endCursor": cursor(rows[-1]) if rows else None,
        },
    }


# ------------------------------------------------------------------------------------------------------------ parsing


def parse(text: str, variables: Mapping[str, Any]) -> Operation:
    """
    Read a document with one operation.

    Raises:
        GraphqlError: It is no such document, or a variable is missing or not declared.
    """
    parser = _Parser(text, variables)
    try:
        return parser.document()
    except IndexError:
        raise GraphqlError("syntax error, unexpected end of file") from None


class _Parser:
    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        self._given = variables
        self._declared: dict[str, Any] = {}
        self._fragments: dict[str, tuple[str, list[Field]]] = {}
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise GraphqlError(f"syntax error, unexpected {text[place]!r}")
            place = match.end()
            if match.lastgroup:
                self._tokens.append((match.lastgroup, match.group()))

    def _peek(self) -> str:
        return self._tokens[self._at][1]

    def _take(self, wanted: str = "") -> str:
        kind, text = self._tokens[self._at]
        self._at += 1
        if wanted and wanted not in {text, kind}:
            raise GraphqlError(f"syntax error, unexpected {text!r}, expecting {wanted}")
        return text

    def _takes(self, mark: str) -> bool:
        if self._at < len(self._tokens) and self._peek() == mark:
            self._at += 1
            return True
        return False

    def document(self) -> Operation:
        operation: Operation | None = None
        while self._at < len(self._tokens):
            if self._takes("fragment"):
                name = self._take("name")
                self._take("on")
                self._fragments[name] = (self._take("name"), self._selection())
            else:
                operation = self._operation()
        if operation is None:
            raise GraphqlError("A query must be provided", "BAD_REQUEST")
        self._spread(operation.selection)
        return operation

    def _operation(self) -> Operation:
        if self._peek() == "{":
            return Operation(kind="query", selection=self._selection())
        kind = self._take("name")
        if kind not in {"query", "mutation"}:
            raise GraphqlError(f"syntax error, unexpected {kind!r}")
        if self._tokens[self._at][0] == "name":
            self._take()
        if self._takes("("):
            while not self._takes(")"):
                self._variable()
        return Operation(kind=kind, selection=self._selection())

    def _variable(self) -> None:
        self._take("$")
        name = self._take("name")
        self._take(":")
        while self._takes("["):
            pass
        self._take("name")
        needed = False
        while self._peek() in {"]", "!"}:
            needed = self._take() == "!"
        default = self._value() if self._takes("=") else None
        if needed and self._given.get(name) is None:
            raise GraphqlError(f"Variable ${name} was provided invalid value", "INVALID_VARIABLE")
        self._declared[name] = self._given.get(name, default)

    def _selection(self) -> list[Field]:
        self._take("{")
        fields = []
        while not self._takes("}"):
            fields.append(self._fragment() if self._takes("...") else self._field())
        return fields

    def _fragment(self) -> Field:
        if self._takes("on"):
            return Field(on=self._take("name"), selection=self._selection())
        return Field(name="...", alias=self._take("name"))

    def _field(self) -> Field:
        name, alias = self._take("name"), ""
        if self._takes(":"):
            alias, name = name, self._take("name")
        arguments = self._arguments()
        directives = {}
        while self._takes("@"):
            directive = self._take("name")
            directives[directive] = self._arguments()
        selection = self._selection() if self._at < len(self._tokens) and self._peek() == "{" else []
        return Field(name=name, alias=alias, arguments=arguments, directives=directives, selection=selection)

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._takes("("):
            while not self._takes(")"):
                name = self._take("name")
                self._take(":")
                found[name] = self._value()
        return found

    def _value(self) -> Any:
        kind, text = self._tokens[self._at]
        self._at += 1
        if text == "$":
            name = self._take("name")
            if name not in self._declared:
                raise GraphqlError(f"Variable ${name} is used but not declared", "variableNotDefined")
            return self._declared[name]
        if text == "[":
            members = []
            while not self._takes("]"):
                members.append(self._value())
            return members
        if text == "{":
            found = {}
            while not self._takes("}"):
                name = self._take("name")
                self._take(":")
                found[name] = self._value()
            return found
        if kind in {"string", "number"}:
            return msgspec.json.decode(text)
        if kind == "name":
            return {"true": True, "false": False, "null": None}.get(text, text)
        raise GraphqlError(f"syntax error, unexpected {text!r}")

    def _spread(self, selection: list[Field]) -> None:
        """Put the named fragments where they are used."""
        for field in selection:
            if field.name == "...":
                if field.alias not in self._fragments:
                    raise GraphqlError(f"Fragment {field.alias} was used, but not defined", "useAndDefineFragment")
                field.name, (field.on, field.selection) = "", self._fragments[field.alias]
            self._spread(field.selection)

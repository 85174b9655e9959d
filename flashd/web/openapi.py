"""The OpenAPI document: made from the endpoints themselves, so it cannot forget one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flashd import __version__
from flashd.web.endpoint import Endpoint
from flashd.web.problem import MEDIA, Problem
from flashd.web.tokens import Scope

_PARAMETER = re.compile(r"\{(\w+)\}")
_TEXT = {"type": "string"}
_BINARY: dict[str, Any] = {}


def document(listeners: Mapping[str, Sequence[Endpoint]]) -> dict[str, Any]:
    """Describe all listeners in one document; the tag of an operation names its listener."""
    shapes = _shapes(each for endpoints in listeners.values() for each in endpoints)
    schemas, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    by_shape = dict(zip(map(repr, shapes), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for listener, endpoints in listeners.items():
        for endpoint in endpoints:
            operations = paths.setdefault(endpoint.path, {})
            operations[endpoint.method.lower()] = _operation(listener, endpoint, by_shape)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flashd",
            "version": __version__,
            "description": "Two listeners: intake for sales channels, admin for operators. Problems are RFC 9457.",
        },
        "servers": [
            {"url": "http://127.0.0.1:8787", "description": "intake"},
            {"url": "http://127.0.0.1:8788", "description": "admin"},
        ],
        "tags": [{"name": name} for name in listeners],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _shapes(endpoints: Any) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for endpoint in endpoints:
        for shape in (endpoint.takes, *endpoint.answers.values()):
            if shape not in {None, str, bytes}:
                found[repr(shape)] = shape
    return list(found.values())


def _operation(listener: str, endpoint: Endpoint, schemas: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [listener],
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint),
        "responses": {
            **{str(status): _content(shape, endpoint.media, schemas) for status, shape in endpoint.answers.items()},
            "default": {
                "description": "a problem; its title is the word to script against",
                "content": {MEDIA: {"schema": schemas[repr(Problem)]}},
            },
        },
        "security": [{"token": []}] if endpoint.scope is not None else [],
    }
    if endpoint.scope is not None and listener == "admin":
        operation["x-scope"] = Scope(endpoint.scope).name.lower()
    if endpoint.takes is not None:
        media = endpoint.takes_media if endpoint.takes_media != "*/*" else "application/octet-stream"
        operation["requestBody"] = {"required": True, "content": {media: {"schema": _schema(endpoint.takes, schemas)}}}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _PARAMETER.findall(endpoint.path)
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "description": says, "schema": _TEXT}
        for name, says in endpoint.query.items()
    ]
    return [*in_path, *in_query]


def _content(shape: Any, media: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    name = getattr(shape, "__name__", "an object")
    return {"description": name, "content": {media: {"schema": _schema(shape, schemas)}}}


def _schema(shape: Any, schemas: Mapping[str, Any]) -> Any:
    if shape is str:
        return _TEXT
    if shape is bytes:
        return _BINARY
    return schemas[repr(shape)]

"""The files in config/: complete, current, and true about the defaults."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest
from msgspec.structs import FieldInfo, fields

from flashd.config import Config, Loaded, Secret, load, schema
from flashd.config.decode import bare_type
from flashd.plugins import backend_kinds, channel_kinds
from flashd.web.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "config"
REFERENCE = (FOLDER / "flashd.toml").read_text()
UNCOMMENTED = re.sub(r"(?m)^#(?=[a-z\[])", "", REFERENCE)
CHANNELS = {name: kind for name, kind in channel_kinds().items() if kind.__module__.startswith("flashd.")}
BACKENDS = {name: kind for name, kind in backend_kinds().items() if kind.__module__.startswith("flashd.")}
KINDS: dict[str, Mapping[str, type[msgspec.Struct]]] = {"channels": CHANNELS, "backends": BACKENDS}


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "flashd.toml"
    path.write_text(UNCOMMENTED)
    for name in re.findall(r'(?:file|cert|key) = "([^"]+)"', UNCOMMENTED):
        (tmp_path / name).write_text("secret")
        (tmp_path / name).chmod(0o640)
    return load(path, environ={}, channel_kinds=CHANNELS, backend_kinds=BACKENDS)


def _shapes() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every Struct with the key path at which the reference shows it."""
    for table, kinds in KINDS.items():
        for name, kind in kinds.items():
            yield f"{table}:{name}", kind
    for field in fields(Config):
        bare = bare_type(field.type)
        inner = get_args(bare)[-1 if get_origin(bare) is dict else 0] if get_args(bare) else bare
        if field.name not in KINDS:
            yield field.name, inner
            yield from ((f"{field.name}.{one.name}", of) for one in fields(inner) if (of := _struct_of(one)))


def _struct_of(field: FieldInfo) -> type[msgspec.Struct] | None:
    bare = bare_type(field.type)
    inner = get_args(bare)[0] if get_args(bare) else bare
    return inner if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and inner is not Secret else None


def _tables(data: dict[str, Any], at: str) -> list[dict[str, Any]]:
    """Return the tables of the reference that show the Struct at *at*; a channel's common keys are shown once."""
    if ":" in at:
        table, _, kind = at.partition(":")
        sections: list[dict[str, Any]] = list(data[table].values())
        return [section for section in sections if section["kind"] == kind] + sections[:1]
    found: Any = data
    for part in at.split("."):
        found = found[part]
    return found if isinstance(found, list) else [found["main"]] if at == "pools" else [found]


@pytest.mark.parametrize(("at", "shape"), list(_shapes()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_key_stands_in_the_reference_at_its_default(at: str, shape: type[msgspec.Struct]) -> None:
    tables = _tables(tomllib.loads(UNCOMMENTED), at)
    shown = {key: value for table in reversed(tables) for key, value in table.items()}
    for field in fields(shape):
        if (field.name == "tokens" and at.startswith("channels")) or field.name == "kind":
            continue  # shown with the channel that needs them; said of each
        assert field.name in shown, f"write #{field.name} = ... with its reason into config/flashd.toml, {at}"
        default = field.default
        if isinstance(default, str | int | float) and default != "" and not field.required:
            assert shown[field.name] == default, f"{at}.{field.name}"


def test_the_reference_loads_as_it_is_and_with_every_key_uncommented(loaded: Loaded, tmp_path: Path) -> None:
    assert {"shop", "woo", "partner", "till"} <= set(loaded.config.channels)
    assert [warning for warning in loaded.warnings if "no route leads" not in warning] == []
    path = tmp_path / "shipped.toml"
    path.write_text(REFERENCE)
    shipped = load(path, environ={}, channel_kinds=CHANNELS, backend_kinds=BACKENDS)
    assert msgspec.structs.replace(shipped.config, pools={}) == Config()


def test_the_schema_is_current() -> None:
    made = json.dumps(schema(CHANNELS, BACKENDS), indent=2) + "\n"
    committed = (FOLDER / "flashd.schema.json").read_text()
    assert committed == made, "write it again: flashd config schema > config/flashd.schema.json"


def test_each_table_of_the_schema_is_closed_and_a_secret_has_one_source() -> None:
    made = schema(CHANNELS, BACKENDS)
    parts = made["$defs"]
    assert all(part["additionalProperties"] is False for part in parts.values())
    assert (parts["Secret"]["minProperties"], parts["Secret"]["maxProperties"]) == (1, 1)
    assert parts["channels.shopify"]["properties"]["kind"] == {"const": "shopify"}
    assert {"$ref": "#/$defs/backends.http"} in made["properties"]["backends"]["additionalProperties"]["anyOf"]
    for reference in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(made)):
        assert reference in parts


def test_every_alert_asks_for_metrics_that_flashd_has() -> None:
    rules = (FOLDER / "prometheus-rules.yml").read_text()
    families = {family.name: family for family in Metrics().registry.collect()}
    for name in set(re.findall(r"\bflashd_\w+", rules)):
        assert re.sub(r"_(total|bucket)$", "", name) in families
    assert rules.count("- alert: ") == rules.count("summary: ") == rules.count("severity: ") == rules.count("expr: ")


def test_no_time_may_be_without_an_end() -> None:
    endless = list(_endless("", json.loads((FOLDER / "flashd.schema.json").read_text())))
    assert not endless  # TOML can write inf


def _endless(path: str, schema: Any) -> Iterator[str]:
    """Find each number that is no integer and has no upper bound."""
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _endless(f"{path}/{index}", part)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "number" and not schema.keys() & {"maximum", "exclusiveMaximum"}:
        yield path
    for name, part in schema.items():
        yield from _endless(f"{path}/{name}", part)

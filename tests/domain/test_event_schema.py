from __future__ import annotations

import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import msgspec
import pytest

from flashd.domain.event import Event, Topic, message_of
from flashd.domain.event_schema import KINDS, MEMBERS, json_schema

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text()


def test_the_page_lists_every_kind_with_its_members_as_the_table_does() -> None:
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| (.+) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    told = {
        kind: (says, tuple(re.findall(r"`(\w+)`", always)), tuple(re.findall(r"`(\w+)`", maybe)))
        for kind, says, always, maybe in rows
    }
    assert told == {kind: (fact.says, fact.always, fact.maybe) for kind, fact in KINDS.items()}


def test_the_page_explains_every_member() -> None:
    for name, schema in MEMBERS.items():
        assert f"| `{name}` | {schema['description']} |" in PAGE


def test_every_kind_belongs_to_a_topic_and_names_known_members_once() -> None:
    for kind, fact in KINDS.items():
        assert kind.partition(".")[0] in set(Topic)
        names = (*fact.always, *fact.maybe)
        assert len(names) == len(set(names))
        assert set(names) <= MEMBERS.keys()


@pytest.mark.parametrize("folder", ["actors", "web", "daemon", "store"])
def test_every_kind_that_the_code_names_is_known(folder: str) -> None:
    announced = set()
    for path in (ROOT / "flashd" / folder).rglob("*.*"):
        if path.suffix in (".py", ".lua"):
            text = path.read_text()
            announced |= set(re.findall(r"announce\(\s*(?:[\w\[\].]+,\s*)?[\"']([a-z]+\.[a-z_]+)[\"']", text))
            if path.suffix == ".lua":
                announced |= set(re.findall(r"'((?:order|stock|hold|channel)\.[a-z_]+)'", text))
    assert announced <= KINDS.keys()


def test_the_schema_takes_a_message_and_refuses_a_wrong_one() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    event = Event.from_entry("main", "1000-0", "stock.fell_negative", b'"sku":"A","location":"main","deficit":2')
    message = msgspec.json.decode(message_of(event))
    validator = jsonschema.Draft202012Validator(schema)  # once: jsonschema.validate checks the schema each time anew
    validator.validate(message)
    validator.validate(message | {"kind": "stock.unheard_of"})
    for wrong in ({"deficit": -1}, {"v": 2}, {"kind": "weather.changed"}, {"kind": "stock.changed"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(message | wrong)

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "flashd").rglob("*.py"))
BANNED = re.compile(r"(utils?|helpers?|common|misc|base|managers?|services?|processors?)\.py$")


def rooms() -> list[str]:
    """The packages and modules right under flashd/."""
    found = {path.relative_to(ROOT / "flashd").parts[0].removesuffix(".py") for path in SOURCES}
    return sorted(found - {"__init__"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_the_fence(path: Path) -> None:
    assert path.read_text().count("\n") <= 400, f"{path}: split it by nouns"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_has_a_shelf_name(path: Path) -> None:
    assert not BANNED.search(path.name), f"{path}: name it after what it holds"


def test_every_room_stands_in_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")
    assert layers["exhaustive"] is True
    named = {room.strip() for floor in layers["layers"] for room in floor.split("|")}
    assert named == set(rooms())


def test_architecture_tells_a_newcomer_about_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert [room for room in rooms() if f"`{room}`" not in text] == []


def test_every_file_that_architecture_names_is_there() -> None:
    """A file is named from flashd/ on, or by its own name within the room that the sentence is about."""
    named = set(re.findall(r"`([\w/]+\.(?:py|lua))`", (ROOT / "ARCHITECTURE.md").read_text()))
    there = [f"/{path.relative_to(ROOT)}" for path in (ROOT / "flashd").rglob("*.*")]
    assert len(named) > 20
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in there)] == []


def test_every_noun_of_the_domain_is_told_where_to_find() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("| noun in `domain/` |")[2]
    nouns = [path.stem for path in (ROOT / "flashd" / "domain").glob("*.py") if path.stem != "__init__"]
    assert [noun for noun in nouns if f"`{noun}`" not in text.partition("\n\n")[0]] == []


def test_only_the_store_names_redis_in_an_import() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(r"^\s*(from|import) redis\b", path.read_text(), re.MULTILINE)
        and "store" not in path.relative_to(ROOT / "flashd").parts
    ]
    assert guilty == []

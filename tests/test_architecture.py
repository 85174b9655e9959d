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


def test_only_the_store_names_redis_in_an_import() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(r"^\s*(from|import) redis\b", path.read_text(), re.MULTILINE)
        and "store" not in path.relative_to(ROOT / "flashd").parts
    ]
    assert guilty == []

"""The locks hold what pyproject.toml wants, hashed; who asks for advisories says what it does not know."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "requirements"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAMES = ("core", "demo", "test", "dev", "fuzz", "bench", "supply")
_PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)")


def pins(name: str) -> dict[str, list[str]]:
    """Return every package of a lock, and its versions: several where a marker decides."""
    found: dict[str, list[str]] = {}
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if match := _PIN.match(line):
            found.setdefault(canonicalize_name(match["name"]), []).append(match["version"])
    return found


def wanted(extra: str) -> list[Requirement]:
    """Return what the project and that extra ask for, with the extras that it builds on."""
    project = PROJECT["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    left = [extra] if extra != "core" else []
    while left:
        for text in project["optional-dependencies"][left.pop()]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                left += requirement.extras
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_holds_a_version_of_everything_that_is_wanted(name: str) -> None:
    held = pins(name)
    for requirement in wanted(name):
        versions = held.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not in requirements/{name}.txt: make lock"
        assert all(Version(one) in requirement.specifier for one in versions), (
            f"{requirement}, not {versions}: make lock"
        )


def test_the_build_backend_is_locked_as_well() -> None:
    (backend,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert [Version(one) in backend.specifier for one in pins("build")[backend.name]] == [True]


@pytest.mark.parametrize("name", [*NAMES, "build"])
def test_every_pin_has_the_hashes_of_its_files_and_comes_from_no_address(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert blocks
    for block in blocks:
        assert _PIN.match(block), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]
    assert "://" not in text
    assert "--index" not in text


def test_all_locks_agree_on_each_version() -> None:
    known: dict[str, list[str]] = {}
    for name in NAMES:
        for package, versions in pins(name).items():
            assert known.setdefault(package, versions) == versions, f"{package} in {name}.txt"


def test_what_an_extra_brings_is_more_than_what_it_builds_on() -> None:
    assert pins("core").keys() < pins("demo").keys() < pins("test").keys() < pins("dev").keys()


def test_every_extra_has_a_lock() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) | {"core"} == set(NAMES)


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", LOCKS / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FINE = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "1", "vulns": [{"id": "GHSA-x", "fix_versions": ["2"]}]}


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ([FINE], 0, "no known vulnerability"),
        ([FINE, BAD, UNKNOWN], 1, "c 1: GHSA-x, mended in 2"),
        ([FINE, UNKNOWN], 75, "nothing is known of 1 of 2 packages: b"),
        ([UNKNOWN], 75, "cannot be reached here"),
        ([], 75, "cannot be reached here"),
    ],
)
def test_who_could_not_be_asked_gives_no_all_clear(
    audit: ModuleType, capfd: pytest.CaptureFixture[str], asked: list[dict[str, Any]], code: int, said: str
) -> None:
    assert audit.judge("dev", asked) == code
    assert said in "".join(capfd.readouterr())

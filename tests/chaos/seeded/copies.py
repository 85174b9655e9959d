"""A copy of the package and of its tests, in which a bug may be planted, and checks run against it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.seeded.bugs import Bug, Edit
from tests.chaos.seeded.checks import CHECKS

ROOT = Path(__file__).parents[3]
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


class PlantingError(Exception):
    """The text that a bug replaces is not there: the product changed, and so must the bug."""


def copy(folder: Path, root: Path = ROOT) -> Path:
    """Copy package and tests into *folder*, which a check takes for the whole project; return it."""
    for name in ("flashd", "tests", "config"):
        shutil.copytree(root / name, folder / name, ignore=_LEFT_OUT)
    shutil.copy(root / "pyproject.toml", folder)
    return folder


def plant(bug: Bug, package: Path) -> None:
    """
    Plant a bug into the copy of the package in *package*.

    Raises:
        PlantingError: A text that it replaces is not there exactly once.
    """
    for edit in bug.edits:
        path = package / edit.path
        path.write_text(planted(bug, edit, path.read_text()))


def planted(bug: Bug, edit: Edit, text: str) -> str:
    """Return a file's text with the bug in it."""
    if (times := text.count(edit.old)) != 1:
        raise PlantingError(f"{bug.name!r}: {edit.path} has {times} times, not once:\n{edit.old}")
    return text.replace(edit.old, edit.new)


@dataclass(frozen=True)
class Outcome:
    """How a check ended."""

    passed: bool
    failed: bool  # a test of it said no; neither: it did not get as far
    said: str
    took_s: float

    @property
    def verdict(self) -> str:
        """What the test said that failed, as pytest marks it: not its own source, in which the words stand anyway."""
        return "\n".join(line[1:].strip() for line in self.said.splitlines() if line.startswith("E "))

    def caught(self, bug: Bug) -> bool:
        """Say whether it failed, and for the reason that it should."""
        return self.failed and bug.says in self.verdict


def run(check: str, project: Path, folder: Path) -> Outcome:
    """Run a check in a copy of the project."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "pytest", *CHECKS[check], "-x", "-q", "-m", "slow or not slow", "-p"]
    command += ["no:cacheprovider", "--basetemp", str(folder), "--override-ini", "timeout=240", "-rN"]
    environ = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False, timeout=300)
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(said.returncode == 0, said.returncode == 1, said.stdout + said.stderr, time.monotonic() - began_s)


def checks_of(bugs: Sequence[Bug]) -> list[str]:
    """Return the checks that these bugs are put to, each once."""
    return list(dict.fromkeys(bug.check for bug in bugs))

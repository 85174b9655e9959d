"""Reads the steps of docs/operations.md and takes them: bash for what a shell can, this process for `systemctl`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_STEP = re.compile(r"<!-- step: ([a-z ]+) -->\n```sh\n(.*?)```", re.DOTALL)
# Words of the page that are another program here.
_OURS = 'flashd() { "$PYTHON" -m flashd "$@"; }\n'


def steps() -> dict[str, str]:
    """Return the blocks of the page by name."""
    found = _STEP.findall(PAGE.read_text())
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


class Runbook:
    """
    One operator on one host.

    Args:
        names: The values of the names that the page begins with, as they are here.
        units: What `systemctl VERB UNIT` and other programs of the host do, by their words.
    """

    def __init__(
        self, folder: Path, names: Mapping[str, str], units: Mapping[str, Callable[[], object]], config: Path
    ) -> None:
        self._folder = folder
        self._units = dict(units)
        self._steps = steps()
        self.environ = {**os.environ, "PYTHON": sys.executable, "FLASHD_CONFIG": str(config)}
        self.taken: list[str] = []
        for name, value in names.items():
            assert re.search(rf"(?m)^{name}=", self._steps["names"]), f"the page does not say {name}"
            self.environ[name] = value

    def take(self, step: str) -> str:
        """Do what a step says, line by line; return what was printed. A line that fails, fails the test."""
        said = ""
        left: list[str] = []
        for line in self._steps[step].splitlines():
            words = " ".join(shlex.split(line, comments=True)) if not line.startswith((" ", "while", "done")) else ""
            if words in self._units:
                said += self._shell(left)
                left = []
                self._units[words]()
            else:
                left.append(line)
        self.taken.append(step)
        return said + self._shell(left)

    def _shell(self, lines: list[str]) -> str:
        if not lines:
            return ""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", _OURS + "\n".join(lines)],
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=self.environ,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{lines}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

"""
Write the locks: every package that an install of each extra brings, with its version and the hashes of its files.

    make lock                    # as little as possible changes: what still fits is kept
    make lock UPGRADE=yes        # everything as new as pyproject.toml lets it be

One lock is good for CPython 3.11 and later on every platform: what only some need bears a marker.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = {
    "core": "",
    "demo": "demo",
    "test": "test",
    "dev": "dev",
    "fuzz": "fuzz",
    "bench": "bench",
    "supply": "supply",
}
BUILD = "build"  # what pyproject.toml's build backend is


def main(*, upgrade: bool) -> None:
    """Write all of them; dev first, so that the others follow its versions."""
    sources = HERE.parent / "pyproject.toml"
    for name in sorted(EXTRAS, key=lambda one: one != "dev"):
        extra = EXTRAS[name]
        _compile(name, [str(sources), *(["--extra", extra] if extra else [])], upgrade=upgrade)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted:
        wanted.write("setuptools>=77\n")
        wanted.flush()
        _compile(BUILD, [wanted.name], upgrade=upgrade)


def _compile(name: str, sources: list[str], *, upgrade: bool) -> None:
    target = HERE / f"{name}.txt"
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--output-file", str(target)]
    if name not in ("dev", BUILD):
        command += ["--constraint", str(HERE / "dev.txt")]
    command += ["--upgrade"] if upgrade else []
    subprocess.run([str(Path(sys.executable).parent / command[0]), *command[1:], *sources], check=True)  # noqa: S603
    text = target.read_text()
    target.write_text(
        f"# {name}: written by `make lock`, for CPython 3.11 and later on every platform. Not by hand.\n{text}"
    )
    print(f"{target.name}: {text.count('==')} packages")


if __name__ == "__main__":
    main(upgrade="--upgrade" in sys.argv[1:])

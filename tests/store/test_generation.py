"""What a daemon remembers of its stores outlives whoever writes beside it."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flashd.errors import ConfigError
from flashd.store.generation import GenerationFile, Met

WRITERS, POOLS = 4, 30
_WRITE = """
import sys
from pathlib import Path
from flashd.store.generation import GenerationFile, Met
known = GenerationFile(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    known.note(sys.argv[2], f"pool{number}", Met("one", f"{number}-0"), durable=False)
"""


def _write(folder: Path, store: str) -> int:
    done = subprocess.run([sys.executable, "-c", _WRITE, folder, store, str(POOLS)], timeout=60, check=False)
    return done.returncode


def test_processes_that_share_the_folder_lose_nothing_of_what_another_noted(tmp_path: Path) -> None:
    with ThreadPoolExecutor(WRITERS) as together:
        wrote = list(together.map(lambda number: _write(tmp_path, f"store{number}"), range(WRITERS)))
    assert wrote == [0] * WRITERS
    known = GenerationFile(tmp_path)
    for number in range(WRITERS):
        met = [known.get(f"store{number}", f"pool{pool}") for pool in range(POOLS)]
        assert met == [Met("one", f"{pool}-0") for pool in range(POOLS)]


def test_a_folder_that_cannot_be_made_is_said_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"generation\.json: Not a directory; set \[store\] state_dir to a writable"):
        GenerationFile(tmp_path / "file" / "state").note("store", "main", Met("one"))


def test_the_folder_is_nobody_elses(tmp_path: Path) -> None:
    GenerationFile(tmp_path / "state").note("store", "main", Met("one"))
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_what_is_forgotten_is_named_and_gone(tmp_path: Path) -> None:
    known = GenerationFile(tmp_path)
    known.note("store", "main", Met("one"))
    known.note("other", "main", Met("two"))
    assert known.forget("store") == ["main"]
    assert known.get("store", "main") is None
    assert known.get("other", "main") == Met("two")
    assert known.forget("store") == []

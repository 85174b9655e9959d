from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from flashd.config import Config, IntakeConfig
from flashd.daemon.process_limits import needed

# In a process of its own, for limits that were lowered cannot be raised again.
_CHILD = """
import resource, sys
from flashd.config import Config
from flashd.daemon.process_limits import claim_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
said = claim_descriptors(Config())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_CORE), said, sep="|")
"""


def granted(soft: int, hard: int) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(soft), str(hard)], capture_output=True, text=True, check=True, timeout=30
    )
    files, core, said = done.stdout.strip().split("|")
    return int(files), core, said


def test_the_limit_of_a_shell_is_raised_and_no_core_is_written() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < needed(Config()):
        pytest.skip(f"this machine grants {hard} files")
    files, core, said = granted(1024, hard)
    assert files >= needed(Config())
    assert (core, said) == ("(0, 0)", "")


def test_a_hard_limit_that_is_too_low_is_said_with_its_mend() -> None:
    files, _, said = granted(256, 1024)
    assert files == 1024
    assert "[intake] connections is 4096" in said
    assert f"LimitNOFILE={needed(Config())}" in said


def test_each_configured_connection_wants_a_descriptor() -> None:
    few, many = Config(intake=IntakeConfig(connections=10)), Config(intake=IntakeConfig(connections=1010))
    assert needed(many) - needed(few) == 1000

"""SIGKILL for daemon, Redis, backend and proxies, under load and other faults: a minute of what `make chaos` does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.kill_loop import Run, Terms
from tests.servers import find_server, missing


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("kind", "backend"), [("valkey", "keys"), ("redis7", "lookup")])
def test_a_minute_of_kills_loses_nothing_and_doubles_nothing(tmp_path: Path, kind: str, backend: str) -> None:
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    seed = random.SystemRandom().randrange(1 << 20)
    print(f"seed {seed}")
    verdict = Run(tmp_path, Terms(60, seed, kind, backend, rate=30)).play()
    print(verdict["figures"], verdict["sometimes"])
    assert verdict["breaches"] == []
    assert verdict["never"] == []

"""Thirty pauses past the lease: nothing is booked twice, nothing is lost, and the fence was needed."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.fleet import missing
from tests.chaos.pauses import Verdict, play
from tests.servers import find_server
from tests.servers import missing as missing_server

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("frozen", [False, True], ids=["paused", "paused with its clock"])
def test_thirty_pauses_past_the_lease_book_nothing_twice(tmp_path: Path, frozen: bool) -> None:  # noqa: FBT001  # a column
    """Half of them on each server, beside each other."""
    kinds = ("valkey", "redis7")
    for kind in kinds:
        if find_server(kind) is None:
            pytest.skip(missing_server(kind))
    seed = random.SystemRandom().randrange(1 << 20)
    print(f"seed {seed}")

    def half(kind: str) -> Verdict:
        (tmp_path / kind).mkdir()
        return play(tmp_path / kind, seed, pauses=15, frozen=frozen, kind=kind)

    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(half, kinds))
    for verdict in verdicts:
        print({name: value if name != "above" else len(value) for name, value in asdict(verdict).items()})
        assert verdict.twice == []
        assert verdict.missing == []
        assert verdict.audit == "clean"
        assert verdict.pauses == 15
        assert verdict.fenced > 0, "never: a result or a claim that was refused"
        assert frozen or verdict.above == []

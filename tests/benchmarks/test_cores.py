from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.cores import seated, seats

WAIT = [sys.executable, "-c", "input()"]


@pytest.mark.parametrize(
    ("cores", "wanted"),
    [
        ([3], ({3}, {3}, {3})),
        ([0, 1], ({0}, {1}, {1})),
        ([0, 2, 4, 5], ({0}, {2}, {4, 5})),
    ],
)
def test_who_is_asked_has_a_core_to_itself_where_there_are_two(
    cores: list[int], wanted: tuple[set[int], set[int], set[int]]
) -> None:
    assert seats(cores) == wanted


def test_all_go_where_they_like_afterwards() -> None:
    before = os.sched_getaffinity(0)
    asked, store, load = seats(sorted(before))
    with (
        subprocess.Popen(WAIT, stdin=subprocess.PIPE) as side,
        subprocess.Popen(WAIT, stdin=subprocess.PIPE) as server,
    ):
        with seated({"flashd": [side.pid], "store": [server.pid]}):
            assert [os.sched_getaffinity(pid) for pid in (side.pid, server.pid, 0)] == [asked, store, load]
        assert [os.sched_getaffinity(pid) for pid in (side.pid, server.pid, 0)] == [before] * 3
        for child in (side, server):
            child.communicate(b"\n")

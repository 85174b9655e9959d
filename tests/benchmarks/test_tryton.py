"""How many orders the benchmark of a real Tryton sends each way, and what it reckons they cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.tryton import Drive, share, used_by

_BUSY = "import time\nwhile time.process_time() < 0.2: pass"
# A parent that has had one busy child, and ends when its input does
_PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BUSY!r}])\nprint(flush=True)\ninput()"


@pytest.mark.parametrize(
    ("orders", "batch", "rounds", "each"),
    [
        (1000, 50, 2, 500),
        (1000, 100, 2, 600),
        (1000, 100, 1, 1000),
        (1000, 100, 3, 400),
        (450, 50, 1, 500),
        (20, 200, 1, 400),
    ],
)
def test_both_requests_under_way_get_whole_batches(orders: int, batch: int, rounds: int, each: int) -> None:
    assert share(orders, batch=batch, rounds=rounds) == each


def test_the_time_of_a_worker_that_has_ended_is_still_reckoned() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        used_s = used_by(parent.pid)
        parent.communicate(b"\n", timeout=20)
    assert used_s >= 0.2


def test_what_an_order_costs_is_tryton_and_its_database_together() -> None:
    assert Drive(100, 200, took_s=20.0, right=200, used_s=(30.0, 4.0)).cpu_s == pytest.approx(0.17)

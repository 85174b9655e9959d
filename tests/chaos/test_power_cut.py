"""A power cut takes nothing that was answered 2xx; where less was asked for, it does, and so the test can see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.power_cut import Cut, cut_again_and_again, missing
from tests.servers import KINDS, find_server
from tests.servers import missing as missing_server

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def told(cuts: list[Cut]) -> str:
    lost, acknowledged = sum(len(cut.lost) for cut in cuts), sum(cut.acknowledged for cut in cuts)
    torn = sum(cut.written - cut.kept for cut in cuts)
    return f"{len(cuts)} cuts took {torn} bytes of the log: {lost} of {acknowledged} orders answered 2xx lost"


def needs(kind: str) -> None:
    if find_server(kind) is None:
        pytest.skip(missing_server(kind))


def test_a_few_power_cuts_lose_nothing_that_was_answered(tmp_path: Path) -> None:
    needs("valkey")
    cuts = cut_again_and_again(tmp_path, "valkey", fsync="always", cuts=3, work_s=0.2)
    print(told(cuts))
    assert all(cut.acknowledged for cut in cuts)
    assert [order for cut in cuts for order in cut.lost] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_power_cuts_under_four_writers_lose_nothing_that_was_answered(tmp_path: Path, kind: str) -> None:
    needs(kind)
    cuts = cut_again_and_again(tmp_path, kind, fsync="always", cuts=20, work_s=0.6)
    print(told(cuts))
    assert all(cut.acknowledged for cut in cuts)
    assert [order for cut in cuts for order in cut.lost] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_with_everysec_a_power_cut_loses_some(tmp_path: Path, kind: str) -> None:
    """The control: an instrument that cannot see a loss would call everything safe."""
    needs(kind)
    cuts = cut_again_and_again(tmp_path, kind, fsync="everysec", cuts=5, work_s=0.8)
    print(told(cuts))
    assert sum(len(cut.lost) for cut in cuts) > 0

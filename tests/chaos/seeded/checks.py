"""
What bugs are put to: tests of the promises, by the names that pytest gives them, and two runs that are made for this.

The two are found by their names only; they run in a copy of the project, in which a bug was planted or none.
"""

from __future__ import annotations

import random
from pathlib import Path

import flashd
from tests.chaos.kill_loop import Run, Terms
from tests.chaos.power_cut import cut_again_and_again

_HERE = "tests/chaos/seeded/checks.py"

CHECKS: dict[str, tuple[str, ...]] = {
    "in doubt": ("tests/promises/test_in_doubt.py::test_a_doubt_is_never_a_second_booking",),
    "settling": (
        "tests/actors/test_backend.py::test_what_is_booked_until_the_settling_time_is_over_is_never_sent_again",
    ),
    "lost replies": ("tests/store/test_connection.py::test_a_lost_reply_is_not_asked_for_again[valkey]",),
    "kill loop": (f"{_HERE}::test_kills_and_cuts_lose_nothing_and_double_nothing",),
    "power cut": (f"{_HERE}::test_a_server_that_fsyncs_once_a_second_is_refused_or_nothing_is_lost",),
    "any window": ("tests/chaos/test_pace.py::test_after_a_quiet_while_no_window_holds_more_than_the_rate",),
    "fence": ("tests/promises/test_fence.py",),
    "recount": ("tests/promises/test_recount.py::test_counting_while_selling_is_exact",),
    "hold clock": ("tests/promises/test_hold_clock.py",),
    "forged": ("tests/e2e/test_recorded.py::test_one_bit_changed_in_body_or_signature_is_401_and_writes_nothing",),
    "delivery ids": ("tests/promises/test_delivery_ids.py",),
}


def test_it_is_the_copy_that_is_tested() -> None:
    assert Path(flashd.__file__).parents[1] == Path.cwd()


def test_kills_and_cuts_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """
    A short kill loop, judged by what is counted: not by the time, for two of these may run at once.

    Which faults came is not asked either: the run is too short to claim them all.
    """
    test_it_is_the_copy_that_is_tested()
    seed = random.SystemRandom().randrange(1 << 20)
    print(f"seed {seed}")
    verdict = Run(tmp_path, Terms(25, seed, "valkey", "lookup", rate=40)).play()
    print(verdict["figures"], verdict["sometimes"])
    breaches = [one for one in verdict["breaches"] if not one.startswith("the backlog of ")]
    assert not breaches, "\n".join(["", *breaches])


def test_a_server_that_fsyncs_once_a_second_is_refused_or_nothing_is_lost(tmp_path: Path) -> None:
    """With ``durability = "fsync"`` a 2xx is on the disk: who accepts such a server must not lose one."""
    test_it_is_the_copy_that_is_tested()
    try:
        cuts = cut_again_and_again(tmp_path, "valkey", fsync="everysec", cuts=4, work_s=0.8, durability="fsync")
    except AssertionError as error:  # it did not start
        if "appendfsync is everysec; wanted: always" in str(error):
            return
        raise
    assert sum(cut.acknowledged for cut in cuts) > 0
    lost = [order for cut in cuts for order in cut.lost]
    assert not lost, f"{len(lost)} orders answered 2xx are lost"

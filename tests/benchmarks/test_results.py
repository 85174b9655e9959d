from __future__ import annotations

from pathlib import Path

from benchmarks import goals, results
from benchmarks.goals import GOALS, Finding
from benchmarks.section import Section, Sheet, failed


def test_a_new_run_takes_the_place_of_its_own_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    results.put("bench", ["first"], path)
    results.put("bench-growth", ["curves"], path)
    results.put("bench", ["second"], path)
    text = path.read_text()
    assert "second" in text
    assert "curves" in text
    assert "first" not in text
    assert text.index("second") < text.index("curves")


def test_the_goals_stand_at_the_top_and_each_of_them_once(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    results.put("bench", ["figures"], path)
    goals.put([Finding("holds", "0.80", met=True)], "bench", "2026-11-22", path)
    text = path.read_text()
    assert text.startswith(goals.HEADING)
    assert [text.count(f"| {what} |") for what, _ in GOALS.values()] == [1] * len(GOALS)


def test_a_run_leaves_the_goals_that_it_did_not_measure(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    goals.put([Finding("holds", "0.80", met=True), Finding("calls", "0.3", met=False)], "bench", "2026-11-22", path)
    goals.put([Finding("tryton", "9.1 | all once", met=True)], "bench-tryton", "2026-11-23", path)
    goals.put([Finding("calls", "0.05", met=True)], "bench", "2026-11-24", path)
    rows = {line.split(" | ")[0].strip("| "): line for line in path.read_text().splitlines() if line.startswith("| ")}
    assert "0.80 | met | `make bench`, 2026-11-22" in rows[GOALS["holds"][0]]
    assert "9.1 / all once | met | `make bench-tryton`, 2026-11-23" in rows[GOALS["tryton"][0]]
    assert "0.05 | met | `make bench`, 2026-11-24" in rows[GOALS["calls"][0]]
    assert "not measured" in rows[GOALS["bytes"][0]]
    assert f"3 of {len(GOALS)} are met" in path.read_text()


def test_a_goal_that_is_missed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    goals.put([Finding("holds", "0.20", met=False)], "bench", "2026-11-22", path)
    assert "0.20 | **not met** |" in path.read_text()


def test_a_section_that_fails_keeps_what_it_measured() -> None:
    section = Section("Holds", sheets=[Sheet(("what", "how many"), [("holds", "7")])])
    text = "\n".join(failed(section, RuntimeError("the store\nhung up")).lines())
    assert "DID NOT COME TO ITS END: RuntimeError: the store hung up" in text
    assert "| holds | 7 |" in text

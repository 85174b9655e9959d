"""The oracle sees the bugs that are planted for it, and nothing where there is none."""

from __future__ import annotations

import pytest

from tests.chaos.seeded.__main__ import put_to_the_test, table
from tests.chaos.seeded.bugs import BUGS, Bug, Edit
from tests.chaos.seeded.checks import CHECKS
from tests.chaos.seeded.copies import ROOT, PlantingError, planted


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_bug_can_still_be_planted(bug: Bug) -> None:
    texts: dict[str, str] = {}
    for edit in bug.edits:
        before = texts.get(edit.path) or (ROOT / "flashd" / edit.path).read_text()
        texts[edit.path] = planted(bug, edit, before)
        assert texts[edit.path] != before
        if edit.path.endswith(".py"):
            compile(texts[edit.path], edit.path, "exec")
    for name in CHECKS[bug.check]:
        assert (ROOT / name.partition("::")[0]).exists()
        test = name.partition("::")[2].partition("[")[0]
        assert f"def {test}(" in (ROOT / name.partition("::")[0]).read_text() or not test


def test_a_bug_whose_text_is_gone_is_said_loudly() -> None:
    bug = Bug("b", "fence", "", (Edit("errors.py", "what nobody wrote", ""),))
    with pytest.raises(PlantingError, match=r"errors\.py has 0 times, not once"):
        planted(bug, bug.edits[0], (ROOT / "flashd/errors.py").read_text())
    with pytest.raises(PlantingError, match="not once"):
        planted(bug, Edit("errors.py", "class", "klass"), (ROOT / "flashd/errors.py").read_text())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_oracle_sees_the_bugs_that_are_planted_for_it() -> None:
    bare, found = put_to_the_test()
    print(table(BUGS, found))
    assert {check: outcome.said[-2000:] for check, outcome in bare.items() if not outcome.passed} == {}
    missed = {bug.name: found[bug.name].said[-2000:] for bug in BUGS if not found[bug.name].caught(bug)}
    assert len(BUGS) - len(missed) >= 12, missed

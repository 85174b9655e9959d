"""Plant each bug, run its check, and print which of them the oracle saw."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.seeded.bugs import BUGS, Bug
from tests.chaos.seeded.copies import Outcome, checks_of, copy, plant, run


def sound(check: str, folder: Path) -> Outcome:
    """Run a check against the package as it is: it must pass, or its failures mean nothing."""
    place = check.replace(" ", "-")  # LD_PRELOAD, by which some checks record, takes a space for a separator
    return run(check, copy(folder / f"sound-{place}"), folder / f"runs-{place}")


def seeded(bug: Bug, folder: Path) -> Outcome:
    """Run its check against the package with *bug* in it."""
    number = BUGS.index(bug)
    project = copy(folder / f"bug-{number}")
    plant(bug, project / "flashd")
    return run(bug.check, project, folder / f"runs-{number}")


def put_to_the_test(bugs: Sequence[Bug] = BUGS, at_once: int = 2) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Return how each check ended with no bug planted, and with each."""
    with tempfile.TemporaryDirectory(prefix="seeded-") as name, ThreadPoolExecutor(at_once) as pool:
        folder = Path(name)
        bare = {check: pool.submit(sound, check, folder) for check in checks_of(bugs)}
        found = {bug.name: pool.submit(seeded, bug, folder) for bug in bugs}
        return {one: done.result() for one, done in bare.items()}, {one: done.result() for one, done in found.items()}


def table(bugs: Sequence[Bug], found: dict[str, Outcome]) -> str:
    rows = ["| bug | check | caught | s | what it said |", "|---|---|---|--:|---|"]
    for bug in bugs:
        outcome = found[bug.name]
        caught = "yes" if outcome.caught(bug) else "**NO**"
        words = next((line for line in outcome.verdict.splitlines() if bug.says in line), "")
        rows.append(f"| {bug.name} | {bug.check} | {caught} | {outcome.took_s:.0f} | {words[:90]} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.seeded", description=__doc__)
    parser.add_argument("words", nargs="*", help="Only bugs whose name has one of these in it.")
    parser.add_argument("--at-once", type=int, default=2, help="So many checks run beside each other.")
    parser.add_argument("--say", action="store_true", help="Print what a check said that did not end as it should.")
    wish = parser.parse_args(arguments)
    bugs = [bug for bug in BUGS if not wish.words or any(word in bug.name for word in wish.words)]
    began_s = time.monotonic()
    bare, found = put_to_the_test(bugs, wish.at_once)
    red = [check for check, outcome in bare.items() if not outcome.passed]
    missed = [bug.name for bug in bugs if not found[bug.name].caught(bug)]
    if wish.say:
        for outcome in [bare[check] for check in red] + [found[name] for name in missed]:
            print(outcome.said[-4000:])
    print(table(bugs, found))
    print(f"{len(bugs) - len(missed)} of {len(bugs)} caught, in {time.monotonic() - began_s:.0f} s", end="; ")
    print(f"without a bug {len(bare) - len(red)} of {len(bare)} checks pass", *red, sep=" ")
    sys.exit(1 if red or missed else 0)


if __name__ == "__main__":
    main()

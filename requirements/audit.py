"""
Ask the advisory service about every package of a lock.

Exit 1 where it knows of a vulnerability, 75 where it could not be asked (about all, or about some): that is no finding,
and no all-clear either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
AWAY = 75  # EX_TEMPFAIL of sysexits(3)


def main(lock: str = "dev") -> int:
    """Ask about that lock; return the exit code."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "--disable-pip", "--require-hashes", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "20", "--requirement", str(HERE / f"{lock}.txt")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603  # as it is
    except subprocess.TimeoutExpired:
        return say("the advisory service does not answer: nothing is known", AWAY)
    try:
        asked = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return say(f"the advisory service cannot be reached: nothing is known ({last})", AWAY)
    return judge(lock, asked)


def judge(lock: str, asked: list[dict[str, object]]) -> int:
    """Say what was found, and return the exit code."""
    found = [one for one in asked if one.get("vulns")]
    unknown = [str(one["name"]) for one in asked if one.get("skip_reason")]
    for one in found:
        for flaw in one["vulns"]:  # type: ignore[attr-defined]  # of pip-audit
            mended = ", ".join(flaw["fix_versions"]) or "no version yet"
            say(f"{one['name']} {one['version']}: {flaw['id']}, mended in {mended}", 1)
    if found:
        return say(f"{len(found)} of {len(asked)} packages of {lock}.txt are vulnerable: make lock UPGRADE=yes", 1)
    if not asked or len(unknown) == len(asked):
        return say("the advisory service cannot be reached here: nothing is known of any package", AWAY)
    if unknown:
        return say(f"nothing is known of {len(unknown)} of {len(asked)} packages: {', '.join(unknown)}", AWAY)
    return say(f"{len(asked)} packages of {lock}.txt: no known vulnerability", 0)


def say(text: str, code: int) -> int:
    """Print it; return the code."""
    print(text, file=sys.stderr if code else sys.stdout, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""
Fuzz a daemon as a process for SECONDS: bent bodies, every route with every token, schemathesis, the decoders.

    make fuzz SECONDS=60
    python -m tests.fuzz --seconds 60 --seed 7

Exit 1 on the first 5xx, crash, growth of memory or difference in the books. The seed is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.house import SECRETS, Fuzzed, bearer, fuzzed
from tests.fuzz.traffic import put_stock, send_bodies, send_requests

# What schemathesis cannot ask: a stream without end, and lines of JSON; `send_requests` asks them.
LEFT_OUT = ("/events", "/v1/orders:batch")
CALLERS = (
    ("admin", "admin"),
    ("intake", "till"),
    ("admin", "operate"),
    ("admin", "read"),
    ("admin", ""),
    ("intake", ""),
)
_COUNT = re.compile(r"(\d+) generated, (\d+) passed")
_TESTED = re.compile(r"Selected: (\d+)/\d+\s+Tested: (\d+)")


def ask_schemathesis(fuzz: Fuzzed, folder: Path, seed: int, seconds: float) -> None:
    """
    Let schemathesis ask every operation with every token.

    Those who may do most ask each operation some times, however long that takes; the others for their part of the time.
    """
    if importlib.util.find_spec("schemathesis") is None:
        print("schemathesis is not installed: pip install -e '.[fuzz]'")
        return
    flashd = fuzz.flashd
    _, document, _ = flashd.call("GET", "/openapi.json", None, bearer("read"), port=flashd.admin)
    (folder / "openapi.json").write_bytes(document)
    for index, (listener, token) in enumerate(CALLERS):
        port = flashd.intake if listener == "intake" else flashd.admin
        whole = index < 2
        share = max(3, round(seconds / (len(CALLERS) - 2)))
        arguments = [
            "run",
            str(folder / "openapi.json"),
            "--url",
            f"http://127.0.0.1:{port}",
            "--include-tag",
            listener,
        ]
        arguments += [word for path in LEFT_OUT for word in ("--exclude-path", path)]
        arguments += ["--checks", "not_a_server_error", "--seed", str(seed + index), "--request-timeout", "20"]
        arguments += ["--phases", "fuzzing" if whole else "coverage,fuzzing", "--no-color"]
        arguments += ["--max-examples", str(max(3, round(seconds / 3)) if whole else 50)]
        arguments += [] if whole else ["--max-time", str(share)]
        arguments += ["--suppress-health-check", "all", "--generation-database", "none", "--warnings", "off"]
        if token:
            arguments += ["--header", f"Authorization: Bearer {SECRETS[token]}"]
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", *arguments],
            capture_output=True, text=True, cwd=folder, check=False, timeout=1200,
        )  # fmt: skip
        found, tested = _COUNT.search(done.stdout), _TESTED.search(done.stdout)
        over = f" over {tested[2]} of {tested[1]} operations" if tested else ""
        said = f"{found[0]}{over}" if found else "nothing asked"
        print(f"schemathesis, {listener} with {token or 'no token'}: {said}", flush=True)
        if done.returncode or found is None or (whole and (tested is None or tested[1] != tested[2])):
            fuzz.broken.append(done.stdout[-3000:] + done.stderr[-1000:])


def main() -> int:
    """Fuzz; return the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    part = given.seconds / 4
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, fuzzed(Path(name)) as fuzz:
        put_stock(fuzz)
        asyncio.run(send_bodies(fuzz, given.seed, 2))  # what it grows by when it is warm is what counts
        before = fuzz.resident
        asyncio.run(send_bodies(fuzz, given.seed + 1, part))
        asked = asyncio.run(send_requests(fuzz, given.seed + 2, part))
        print(f"{sum(asked.values())} requests over {len(asked)} operations, each {min(asked.values())} times or more")
        ask_schemathesis(fuzz, Path(name), given.seed + 3, part)
        fuzz.judge(before)
    began_s = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.decoders", str(max(1, round(part))), str(given.seed)]
    decoders = subprocess.run(command, check=False, timeout=part + 300, capture_output=True, text=True)
    print("\n".join((decoders.stdout + decoders.stderr).splitlines()[-12:]))
    print(f"decoders: {time.monotonic() - began_s:.0f} s, exit {decoders.returncode}")
    return decoders.returncode


if __name__ == "__main__":
    sys.exit(main())

"""The whole demo, in small: the real daemon as a process, between shops that sign and an ERP that lies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from flashd.demo.chaos import DECKS, Chaos
from flashd.demo.purchase import BLOCKED

RUN = """
import sys, msgspec
from flashd.demo.run import DemoOptions, run_demo
sys.exit(run_demo(msgspec.convert(msgspec.json.decode(sys.argv[1]), DemoOptions)))
"""


def start(folder: Path, **options: Any) -> subprocess.Popen[str]:
    environ = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def left_behind(folder: Path) -> list[str]:
    """Processes that still work in the demo's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        text = " ".join(process.info["cmdline"] or []) + (process.info["cwd"] or "")
        if str(folder) in text and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(text)
    return found


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")  # short: a socket lies in it


@pytest.mark.e2e
@pytest.mark.parametrize("chaos", [pytest.param(Chaos.NONE, marks=pytest.mark.slow), Chaos.ALL])
def test_a_small_demo_ends_in_pass_and_leaves_nothing_behind(folder: Path, chaos: Chaos) -> None:
    demo = start(folder, orders=60, buyers=20, stock=40, erp_rate=40, chaos=chaos, seed=3, as_json=True)
    out, progress = demo.communicate(timeout=280)
    assert demo.returncode == 0, out + progress
    report = json.loads(out)
    assert report["verdict"] == "oversold 0  lost 0  duplicated 0  over limit 0  PASS"
    assert (report["seed"], report["passed"], report["problems"]) == (3, True, [])
    assert report["acknowledged"] > 30
    assert 0 < report["booked"] <= report["acknowledged"] + report["never_acknowledged"]
    assert report["max_in_a_second"] <= 40
    assert report["states"]["delivered"] == report["booked"]
    for fault in DECKS[chaos]:
        assert report["faults"][fault] > 0
    if chaos is Chaos.ALL:
        assert report["faults"]["daemon_killed"] == 1
        assert report["states"]["dead"] == 2, f"both orders of {BLOCKED} were refused"
    assert left_behind(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.e2e
def test_ctrl_c_ends_every_process(folder: Path) -> None:
    demo = start(folder, orders=2000, buyers=5, chaos="none", seed=1)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "flashd is ready" in line:
            break
    assert len(left_behind(folder)) >= 3, "flashd, its Redis and the ERP run"
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=120)
    assert demo.returncode == 130
    assert left_behind(folder) == []
    assert list(folder.iterdir()) == []

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flashd.config import load
from flashd.demo.chaos import DECKS, Progress, deck_size
from flashd.demo.child import Child
from flashd.demo.ledger import Ledger, Tail
from flashd.demo.simulated_erp import SimulatedErp
from flashd.demo.site import Site, paced
from flashd.domain.rate import Rate
from flashd.plugins import backend_kinds, channel_kinds


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    erp = SimulatedErp(tmp_path)
    erp.port = 12345  # nothing listens there: only its address is wanted
    site = Site(tmp_path, erp, limit=40)
    yield site
    site.close()


def test_the_demo_writes_a_configuration_that_the_daemon_takes(site: Site) -> None:
    loaded = load(site.config, environ={}, channel_kinds=channel_kinds(), backend_kinds=backend_kinds())
    assert set(loaded.config.channels) == set(site.secrets)
    assert loaded.config.backends["erp"].rate == "192/5s"


def test_its_secrets_are_for_the_owner_only(site: Site) -> None:
    for path in [*site.folder.glob("*.secret"), site.folder / "admin.token", site.config]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("limit", [1, 5, 7, 40, 50, 333])
def test_the_pace_keeps_within_the_limit_in_any_second(limit: int) -> None:
    rate = Rate.parse(paced(limit))
    assert rate.count * 100 == 96 * limit * rate.window_s
    assert -(-1_000_000 // rate.spacing_us) <= limit


@pytest.mark.parametrize("orders", [1, 30, 600])
def test_every_deck_has_room_for_its_faults(orders: int) -> None:
    for chaos, deck in DECKS.items():
        assert sum(deck.values()) < deck_size(chaos, orders)


async def test_a_deed_waits_for_its_moment_and_happens_at_the_end_at_the_latest() -> None:
    progress = Progress(100)
    early = asyncio.create_task(progress.past(purchases=0.25))
    late = asyncio.create_task(progress.past(booked=0.9))
    progress.move(purchases=24, booked=0)
    await asyncio.sleep(0)
    assert not early.done()
    progress.move(purchases=25, booked=89)
    await asyncio.wait_for(early, 30)
    assert not late.done()
    progress.sold()
    await asyncio.wait_for(late, 30)


def test_what_a_killed_child_left_behind_is_ended_with_it(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    child = Child("a parent", ["-c", code], log=tmp_path / "log")
    child.start(pipe=True)
    orphan = int(child.first_line(10))
    child.kill()
    assert left(orphan) is not None
    child.close()
    psutil.wait_procs([process for process in (left(orphan),) if process], timeout=10)
    assert left(orphan) is None


def left(pid: int) -> psutil.Process | None:
    """The process, if it still runs; nobody may have waited for an orphan yet."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def test_a_child_that_says_nothing_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Child("a mute", ["-c", "import sys; sys.exit('no such thing')"], log=tmp_path / "log")
    child.start(pipe=True)
    with pytest.raises(ChildProcessError, match="no such thing"):
        child.first_line(10)
    child.close()


def test_stopping_what_ignores_sigterm_kills_it(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    child = Child("a deaf", ["-c", code], log=tmp_path / "log")
    child.start(pipe=True)
    child.first_line(10)
    assert child.stop(0.2) is None
    assert not child.is_alive
    child.close()


def test_the_store_is_killed_by_its_pid_only_if_it_works_in_our_folder(site: Site) -> None:
    store = site.folder / "state" / "store"
    store.mkdir(parents=True)
    command = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as stranger,
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=store) as ours,
    ):
        assert stranger.stdout is not None
        assert ours.stdout is not None
        stranger.stdout.readline()
        ours.stdout.readline()
        (store / "pid").write_text(str(stranger.pid))
        assert not site.kill_store()
        assert stranger.poll() is None
        stranger.kill()
        (store / "pid").write_text(f"{ours.pid}\n")
        assert site.kill_store()
        assert ours.wait(10) == -signal.SIGKILL
    assert not site.kill_store(), "it is gone"


def test_a_tail_hands_out_whole_entries_once(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "ledger")
    assert tail.new() == []
    ledger = Ledger(tmp_path / "ledger")
    ledger.note("one")
    ledger.flush()
    with (tmp_path / "ledger").open("ab") as file:
        file.write(b'{"kind":"tw')
    assert [entry["kind"] for entry in tail.new()] == ["one"]
    with (tmp_path / "ledger").open("ab") as file:
        file.write(b'o"}\n')
    assert [entry["kind"] for entry in tail.new()] == ["two"]
    assert tail.new() == []
    ledger.close()

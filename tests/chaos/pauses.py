"""
A leader is paused until its lease is over, another leads, and then it goes on as if nothing had happened.

Its clock goes on meanwhile, as with SIGSTOP or a machine that swaps; or it does not, as in a virtual machine that was
paused: then the process believes that it leads, and nothing but the fence in the store tells it otherwise.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.fleet import Fleet
from tests.chaos.pace import Phase, Rate, excess
from tests.e2e.process import Flashd

RATE = Rate(30, 1)
AWHILE = 12  # orders that are booked between one step and the next


@dataclass
class Verdict:
    pauses: int = 0
    leaders: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    fenced: int = 0  # results and claims of an overtaken leader that were refused
    above: list[str] = field(default_factory=list)  # windows at the sender that held more than the rate
    audit: str = ""


def play(folder: Path, seed: int, *, pauses: int, frozen: bool, kind: str = "valkey") -> Verdict:
    """
    Pause whoever leads, again and again, and judge by the backend's books.

    Args:
        frozen: The clock of who is paused stands still. The backend heeds keys then: what is written between the last
            check and the fence only the backend can tell apart, and the documentation says so.
    """
    fleet, verdict, dice = Fleet(folder, str(RATE), ("one", "two"), kind, keys=frozen), Verdict(), random.Random(seed)
    with fleet.running():
        began_s = time.monotonic()
        for _ in range(pauses):
            if len(fleet.sold) < len(fleet.bookings()) + 400:
                fleet.sell(600, fleet.leader())
            _pause(fleet, verdict, dice, frozen=frozen)
        fleet.until(lambda: set(fleet.sold) <= set(fleet.bookings()), "all is booked", 120)
        fleet.until(lambda: _settled(fleet.daemons[0]), "all is settled", 60)
        booked = Counter(fleet.bookings())
        verdict.twice = [name for name, times in booked.items() if times > 1]
        verdict.missing = sorted(set(fleet.sold) - set(booked))
        verdict.fenced = sum(_fenced(daemon) for daemon in fleet.daemons)
        verdict.above = excess([one.at_s for one in fleet.sent()], [Phase(began_s - 60, RATE)])
        for daemon in fleet.daemons:
            daemon.terminate()
        said = fleet.daemons[0].run("audit")
        verdict.audit = "clean" if said.returncode == 0 else said.stdout + said.stderr
    return verdict


def _pause(fleet: Fleet, verdict: Verdict, dice: random.Random, *, frozen: bool) -> None:
    leader = fleet.leader()
    [other] = [daemon for daemon in fleet.daemons if daemon is not leader]
    _awhile(fleet)
    time.sleep(dice.uniform(0, 0.2))
    assert leader.process is not None
    leader.process.send_signal(signal.SIGSTOP)
    paused_s = time.monotonic()
    fleet.until(lambda: fleet.flow(other)["leading"], f"{other.name} leads", 30)
    if not frozen:
        _awhile(fleet)
    else:
        fleet.slept(leader, time.monotonic() - paused_s)
    leader.process.send_signal(signal.SIGCONT)
    fleet.until(lambda: not fleet.flow(leader)["leading"], f"{leader.name} knows that it leads no more", 30)
    verdict.pauses += 1
    verdict.leaders[leader.name] += 1


def _awhile(fleet: Fleet) -> None:
    before = len(fleet.bookings())
    fleet.until(lambda: len(fleet.bookings()) >= before + AWHILE, "orders are booked", 30)


def _fenced(daemon: Flashd) -> int:
    return sum("fenced" in line for line in daemon.log.read_text().splitlines())


def _settled(daemon: Flashd) -> bool:
    orders = daemon.ask_admin("GET", "/admin/v1/status")["pools"]["main"]["orders"]
    return bool(orders["queued"] + orders["in_flight"] == 0)

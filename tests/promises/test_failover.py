"""
A Sentinel takes the primary away under load, again and again: what was answered 2xx.

With a replica that has each write (R = 1) nothing is lost and nothing doubled. Without (R = 0) what the elected server
lacks is lost; then each such order is named and counted, and what the shop can be asked about comes back by a poll.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.chaos.judge import Key
from tests.deployments.node import DURABLE, Node
from tests.deployments.sentinel import SentinelTrio
from tests.deployments.trial import Terms, Trial
from tests.servers import KINDS, find_server, missing

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(500)]

FAILOVERS = 5
ALONE = (2, 4)  # before these failovers the primary loses its replicas
LOSSES = 3
CUT_S = 1.5  # how long the primary goes on alone before it dies


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    if find_server(found) is None:
        pytest.skip(missing(found))
    return found


@pytest.fixture
def seed() -> int:
    drawn = random.SystemRandom().randrange(1 << 20)
    print(f"seed {drawn}")
    return drawn


async def test_with_a_replica_that_has_each_write_five_failovers_lose_and_double_nothing(
    kind: str, seed: int, tmp_path: Path
) -> None:
    dice, kills = random.Random(seed), []
    terms = Terms(seconds=80, seed=seed, backend="lookup", store="replicas = 1")
    async with SentinelTrio(kind, replicas=2) as trio:
        with Trial(tmp_path, trio.url, terms) as trial:
            for number in range(FAILOVERS):
                await asyncio.sleep(dice.uniform(2.5, 4.5))
                primary = await trio.primary()
                if number in ALONE:  # what it takes from now on, nobody else has: it may promise nothing
                    for replica in await trio.replicas():
                        await trio.cut(replica)
                    await asyncio.sleep(CUT_S)
                kills.append(time.time())
                primary.kill()
                await trio.failed_over(primary)
                # Once it comes back as the primary that it was, which nobody may believe.
                await trio.rejoined(primary, told=number != 1)
            assert trial.is_selling, "the failovers took longer than the sale"
            verdict = await asyncio.to_thread(trial.end)
    silent = [trial.silence("main", kill) for kill in kills]
    print(verdict.figures, f"failovers {len(kills)}, seconds without intake {[round(one, 1) for one in silent]}")
    assert verdict.breaches == []
    assert trial.forgotten == set()
    assert verdict.figures["answered 2xx"] > 1000
    assert all(one > 0.3 for one in silent), "a primary died and nobody was kept waiting: it was not the one in use"
    assert len(trial.refused("main", kills[0], kills[-1] + 10)) > 0


@pytest.mark.parametrize(("poll_s", "backend"), [(1.0, "lookup"), (0.0, "keys")], ids=["polled", "control"])
async def test_without_such_a_replica_each_lost_order_is_named_and_a_poll_brings_the_shops_back(
    kind: str, seed: int, tmp_path: Path, poll_s: float, backend: str
) -> None:
    lost: list[set[Key]] = []  # by each failover
    kills = []
    terms = Terms(seconds=35, seed=seed, backend=backend, pace=40, poll_s=poll_s, stories=("sell", "webhook"))
    async with SentinelTrio(kind, replicas=1) as trio:
        with Trial(tmp_path, trio.url, terms) as trial:
            for number in range(LOSSES):
                await asyncio.sleep(3)
                primary, [replica] = await trio.primary(), await trio.replicas()
                await trio.cut(replica)
                had = await orders_in(replica)
                await asyncio.sleep(CUT_S)
                kills.append(time.time())
                primary.kill()
                lost.append(await orders_of_the_dead(primary, tmp_path / f"dead-{number}") - had)
                await trio.failed_over(primary)
                await trio.rejoined(primary)
            assert trial.is_selling, "the failovers took longer than the sale"
            verdict = await asyncio.to_thread(trial.end)
    answered, every = trial.promises(), set[Key]().union(*lost)
    # What was lost before it was answered may have come again, and was promised by who came after.
    promised = {key for keys, kill in zip(lost, kills, strict=True) for key in keys if answered.get(key, kill) < kill}
    gone = {key for key in promised if key not in trial.states}
    of_the_shop = {key for key in promised if key[0] == "hook"}
    told = (
        f"{len(every)} lost, of them answered 2xx {len(promised)}, named {len(trial.forgotten)}, for good {len(gone)}"
    )
    silent = [round(trial.silence("hook", kill), 1) for kill in kills]
    print(verdict.figures, told, f"of the polled shop {len(of_the_shop)}, seconds without intake {silent}")
    assert trial.successions == LOSSES, "a server was elected for which none was killed: Sentinels had too little time"
    assert len(promised) > 30 * LOSSES, "hardly anything was lost: the run proves nothing"
    assert promised <= trial.forgotten <= every
    assert verdict.figures["twice in the backend"] == 0
    # What a lost order had taken may be sold a second time; but no counter of the daemon's goes below zero.
    assert all(level["on_hand"] >= level["held"] + level["sold"] for level in trial.levels["main"])
    if poll_s:
        assert {key for key in gone if key[0] == "hook"} == set()
    else:
        assert {key for key in gone if key[0] == "hook"} == of_the_shop
    assert of_the_shop


async def orders_in(node: Node) -> set[Key]:
    """Return the orders that a server holds, read from its keys."""
    names = await node.call("KEYS", "fd:{main}:ord:*")
    return {(name.split(":")[3], name.split(":", 4)[4]) for name in names if "\x1f" not in name}


async def orders_of_the_dead(node: Node, folder: Path) -> set[Key]:
    """Return the orders that stand in the log of a server that was killed."""
    shutil.copytree(node.folder / "appendonlydir", folder / "appendonlydir")
    ghost = await Node(node.kind, folder, dict(DURABLE)).start()
    try:
        return await orders_in(ghost)
    finally:
        await ghost.close()

"""
A Cluster of three primaries with five pools: a slot moves away under load, and a node dies.

The pools of the dead node answer 503 until it is back, or its replica was elected; the others notice nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.deployments.cluster import ClusterOfThree, slot_of
from tests.deployments.trial import Terms, Trial
from tests.servers import KINDS, find_server, missing
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(500)]

POOLS = ("north", "west", "south", "web", "east")  # two, two and one on the three nodes
BEFORE_S = 8.0
DEAD_S = 8.0
ENOUGH = 20  # orders of a pool before its slot moves


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


@pytest.mark.parametrize("dead", ["north", "east"])  # east: the node that keeps the backend's gate as well
async def test_a_slot_moves_and_a_node_dies_and_only_its_own_pools_wait(
    kind: str, dead: str, seed: int, tmp_path: Path
) -> None:
    async with ClusterOfThree(kind) as cluster:
        with Trial(tmp_path, cluster.url, Terms(seconds=45, seed=seed, pools=POOLS)) as trial:
            await until(lambda: len(trial.answers("south")) > ENOUGH, "south has orders")
            began_s, moved_s, keys = await reshard(cluster, "south", "web")
            await asyncio.sleep(BEFORE_S)
            node, gate = await cluster.node_of(dead), await cluster.node_of("b:erp")
            hit = [pool for pool in POOLS if await cluster.node_of(pool) is node]
            killed_s = time.time()
            node.kill()
            await asyncio.sleep(DEAD_S)
            back_s = time.time()
            await node.start()
            await cluster.well()
            assert trial.is_selling
            verdict = await asyncio.to_thread(trial.end)
    elsewhere = [pool for pool in POOLS if pool not in hit]
    before = {pool: counted(trial, pool, killed_s - BEFORE_S, killed_s) for pool in POOLS}
    during = {pool: counted(trial, pool, killed_s + 2, back_s) for pool in POOLS}
    refused = {pool: len(trial.refused(pool, killed_s, back_s + 5)) for pool in POOLS}
    silent = {pool: round(trial.silence(pool, killed_s), 1) for pool in POOLS}
    sent_before, sent = trial.delivered(killed_s - BEFORE_S, killed_s), trial.delivered(killed_s + 2, back_s)
    on_the_move = {pool: len(trial.refused(pool, began_s, moved_s + 1)) for pool in POOLS}
    print(verdict.figures, f"{keys} keys moved in {moved_s - began_s:.1f} s; on the dead node {hit}")
    print(f"refused while the slot moved {on_the_move}; delivered before {sent_before}, during {sent}")
    print(f"2xx in {BEFORE_S} s before {before}, in the last {DEAD_S - 2} s of the dead node {during}")
    print(f"refused {refused}, seconds without intake {silent}")
    assert verdict.breaches == []
    assert keys > ENOUGH
    assert on_the_move["south"] > 0
    for pool in elsewhere:
        assert_undisturbed(trial, pool, killed_s, back_s + 5, refused[hit[0]])
        assert during[pool] > 0.5 * before[pool] * (DEAD_S - 2) / BEFORE_S
        assert node is gate or sent[pool] > 0.5 * sent_before[pool] * (DEAD_S - 2) / BEFORE_S
    for pool in hit:
        assert refused[pool] > 0
        assert (during[pool], sent[pool]) == (0, 0)
    assert node is not gate or not sent


async def test_with_replicas_a_dead_nodes_pools_go_on_elsewhere_and_lose_nothing(
    kind: str, seed: int, tmp_path: Path
) -> None:
    terms = Terms(seconds=45, seed=seed, rate=30, pools=POOLS, store="replicas = 1")  # nine servers are at work
    async with ClusterOfThree(kind, replicas=2) as cluster:
        with Trial(tmp_path, cluster.url, terms) as trial:
            await until(lambda: len(trial.answers("south")) > ENOUGH, "south has orders")
            _, _, keys = await reshard(cluster, "south", "east")
            await asyncio.sleep(4)
            node = await cluster.node_of("north")
            hit = [pool for pool in POOLS if await cluster.node_of(pool) is node]
            killed_s = time.time()
            node.kill()
            elected_s = await cluster.elected("north", node)
            await asyncio.sleep(5)
            await node.start()
            await cluster.well()
            assert trial.is_selling
            verdict = await asyncio.to_thread(trial.end)
    refused = {pool: len(trial.refused(pool, killed_s, killed_s + 15)) for pool in POOLS}
    silent = {pool: round(trial.silence(pool, killed_s), 1) for pool in POOLS}
    print(verdict.figures, f"{keys} keys moved; elected after {elected_s:.1f} s; on the dead node {hit}")
    print(f"refused {refused}, seconds without intake {silent}")
    assert verdict.breaches == []
    assert trial.forgotten == set()
    assert all(refused[pool] > 0 for pool in hit)
    for pool in POOLS:
        if pool not in hit:
            assert_undisturbed(trial, pool, killed_s, killed_s + 15, refused[hit[0]])


async def reshard(cluster: ClusterOfThree, pool: str, other: str) -> tuple[float, float, int]:
    """Move the slot of *pool* to another node than its own and that of *other*; return from when to when."""
    taken = [await cluster.node_of(pool), await cluster.node_of(other)]
    to = next(node for node in cluster.nodes[:3] if node not in taken)
    began_s = time.time()
    keys = await cluster.move_slot(slot_of(pool), to, batch=2, pause_s=0.1)
    return began_s, time.time(), keys


def assert_undisturbed(trial: Trial, pool: str, since_s: float, until_s: float, of_the_dead: int) -> None:
    """
    Assert that a pool was refused nothing for the dead node's sake.

    A machine that has no time for a server may close a pool for a second as well; then it says that, and is rare.
    """
    said = [one["said"] for one in trial.refused(pool, since_s, until_s)]
    assert not [one for one in said if f"of pool {pool} " in one and ("CLUSTERDOWN" in one or "refused" in one)]
    assert len(said) < 0.5 * of_the_dead


def counted(trial: Trial, pool: str, since_s: float, until_s: float) -> int:
    """Return how many orders of a pool were answered 2xx in that time."""
    return sum(since_s <= answer.at_s < until_s for answer in trial.answers(pool))

"""Where the primary is: whom to believe, how long, and when to ask again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from flashd.store.address import Node
from flashd.store.line import Command
from flashd.store.locator import Elected, Fixed, Misplaced, Unlocated, cluster_map, sentinels

A, B, C = Node("a", 1), Node("b", 2), Node("c", 3)
ONE, TWO = Node("one", 6379), Node("two", 6379)


class Witnesses:
    """Who is asked: each says what it is told to, raises it, or hangs (None)."""

    def __init__(self, **said: Any) -> None:
        self.said = said
        self.asked: list[str] = []
        self.ended = 0

    async def ask(self, node: Node, command: Command) -> Any:
        assert command in (("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"), ("CLUSTER", "SLOTS"))
        self.asked.append(node.host)
        try:
            await asyncio.sleep(0)
            answer = self.said.get(node.host, AWAY)
            if answer is HANGS:
                await asyncio.Event().wait()
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.ended += 1


HANGS: Any = object()
SAYS_ONE, SAYS_TWO = [b"one", b"6379"], [b"two", b"6379"]
AWAY = RedisConnectionError("refused")


def watched(witnesses: Witnesses, timeout_s: float = 0.05) -> Elected:
    return sentinels([A, B, C], "shop", witnesses.ask, timeout_s=timeout_s)


async def test_what_most_say_is_believed_and_who_hangs_delays_nobody() -> None:
    witnesses = Witnesses(a=HANGS, b=SAYS_TWO, c=SAYS_TWO)
    async with asyncio.timeout(2):
        assert await watched(witnesses, timeout_s=60).primary(None) == TWO
    assert witnesses.ended == 3, "a question was left open"


async def test_one_who_is_behind_is_outvoted() -> None:
    assert await watched(Witnesses(a=SAYS_ONE, b=SAYS_TWO, c=SAYS_TWO)).primary(17) == TWO


async def test_where_most_are_away_the_one_that_answers_is_believed() -> None:
    assert await watched(Witnesses(a=AWAY, b=HANGS, c=SAYS_ONE)).primary(None) == ONE


async def test_where_nobody_answers_nobody_is_located_and_the_next_asks_again() -> None:
    witnesses = Witnesses(a=AWAY, b=AWAY, c=HANGS)
    locator = watched(witnesses)
    with pytest.raises(Unlocated, match="nobody of a:1, b:2, c:3 says: refused") as caught:
        await locator.primary(None)
    assert not isinstance(caught.value, Misplaced)
    witnesses.said = {"a": SAYS_ONE, "b": SAYS_ONE, "c": SAYS_ONE}
    assert await locator.primary(None) == ONE


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "watches no 'shop'"),
        (AuthenticationError("NOAUTH Authentication required."), "does not let us ask"),
        (ResponseError("ERR unknown command 'SENTINEL'"), "does not know the question"),
        (b"PONG", "which is no answer"),
    ],
)
async def test_a_question_that_nobody_can_ever_answer_is_a_mistake_of_the_file(answer: Any, says: str) -> None:
    witnesses = Witnesses(a=answer, b=answer, c=answer)
    with pytest.raises(Misplaced, match=says):
        await watched(witnesses).primary(None)
    witnesses.said["b"] = AWAY
    with pytest.raises(Unlocated) as caught:
        await watched(witnesses).primary(None)
    assert not isinstance(caught.value, Misplaced), "b may know it when it is back"


async def test_an_answer_is_kept_until_it_is_doubted_and_shared_by_all_who_wait() -> None:
    witnesses = Witnesses(a=SAYS_ONE, b=SAYS_ONE, c=SAYS_ONE)
    locator = watched(witnesses)
    assert locator.known(5) is None
    assert set(await asyncio.gather(*(locator.primary(slot) for slot in range(50)))) == {ONE}
    assert len(witnesses.asked) == 3
    assert locator.known(5) == ONE
    locator.doubt(5, TWO)  # a connection to another, which was left long ago
    assert locator.known(5) == ONE
    locator.doubt(5, ONE)
    witnesses.said = {"a": SAYS_TWO, "b": SAYS_TWO, "c": SAYS_TWO}
    assert locator.known(5) is None
    assert await locator.primary(5) == TWO


async def test_where_nobody_elects_the_last_one_is_tried_on() -> None:
    witnesses = Witnesses(a=SAYS_ONE, b=SAYS_ONE, c=SAYS_ONE)
    locator = watched(witnesses)
    await locator.primary(None)
    witnesses.said = {"a": AWAY, "b": AWAY, "c": HANGS}
    locator.doubt(None, None)
    assert await locator.primary(None) == ONE
    locator.doubt(None, ONE)
    asked = len(witnesses.asked)
    await locator.primary(None)
    assert len(witnesses.asked) > asked, "it was not asked again"


async def test_whoever_is_cancelled_takes_no_answer_from_the_others() -> None:
    locator = watched(Witnesses(a=SAYS_ONE, b=SAYS_ONE, c=SAYS_ONE))
    leaving, staying = (asyncio.create_task(locator.primary(None)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == ONE


async def test_closing_ends_a_question_that_nobody_answers() -> None:
    locator = watched(Witnesses(a=HANGS, b=HANGS, c=HANGS), timeout_s=60)
    asking = asyncio.create_task(locator.primary(None))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await locator.close()
        await asyncio.gather(asking, return_exceptions=True)
    await locator.close()


SLOTS = [
    [5461, 10922, [b"two", 6379, b"id"], [b"replica", 6379, b"id"]],
    [0, 5460, [b"one", 6379, b"id", []]],
]


async def test_a_slot_is_at_home_where_the_map_says() -> None:
    locator = cluster_map([A], Witnesses(a=SLOTS).ask, timeout_s=5)
    assert [await locator.primary(slot) for slot in (0, 5460, 5461, 10922)] == [ONE, ONE, TWO, TWO]
    assert await locator.primary(None) == ONE
    with pytest.raises(Unlocated, match="no server holds slot 10923"):
        await locator.primary(10923)


@pytest.mark.parametrize("host", [None, b"", b"?"])
async def test_a_server_that_does_not_know_its_own_name_is_called_as_it_was(host: bytes | None) -> None:
    locator = cluster_map([A], Witnesses(a=[[0, 16383, [host, 7001, b"id"]]]).ask, timeout_s=5)
    assert await locator.primary(3) == Node("a", 7001)


async def test_what_a_server_says_of_a_moved_slot_holds_until_the_map_is_read_again() -> None:
    locator = cluster_map([A], Witnesses(a=SLOTS).ask, timeout_s=5)
    await locator.primary(0)
    locator.note(7, TWO)
    assert (locator.known(7), locator.known(8)) == (TWO, ONE)
    locator.doubt(7, TWO)
    assert await locator.primary(7) == ONE


async def test_the_primaries_of_a_cluster_are_asked_too_where_its_named_servers_are_gone() -> None:
    witnesses = Witnesses(a=SLOTS, one=SLOTS, two=SLOTS)
    locator = cluster_map([A], witnesses.ask, timeout_s=5)
    await locator.primary(0)
    moved = [[0, 16383, [b"two", 6379, b"id"]]]
    witnesses.said = {"a": AWAY, "one": AWAY, "two": moved}
    locator.doubt(0, ONE)
    assert await locator.primary(0) == TWO


async def test_one_server_is_where_the_url_says_whatever_is_said_of_it() -> None:
    locator = Fixed(ONE)
    locator.doubt(None, ONE)
    locator.note(3, TWO)
    assert await locator.primary(3) == locator.known(3) == ONE

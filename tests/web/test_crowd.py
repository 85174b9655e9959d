from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flashd.errors import Busy, Transient
from flashd.web.answer import Answer
from flashd.web.crowd import ENOUGH, Crowd, Post

OK = Answer(200, b"{}")


class Teller:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Answer | BaseException] = []

    def answer(self, answer: Answer) -> None:
        self.told.append(answer)

    def fail(self, error: BaseException) -> None:
        self.told.append(error)


class Closed(Teller):
    """Cannot be told any more."""

    def answer(self, answer: Answer) -> None:
        super().answer(answer)
        raise RuntimeError("the handler is closed")

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        raise RuntimeError("the handler is closed")


def post(name: str, waiter: Teller | None = None) -> Post:
    return Post(name, {}, b"", waiter or Teller())


def names(posts: Sequence[Post]) -> list[str]:
    return [one.name for one in posts]


@pytest.fixture
async def heard() -> list[dict[str, Any]]:
    """What the loop's handler is told."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def test_those_of_one_turn_are_taken_together_at_its_end() -> None:
    taken: list[list[str]] = []
    crowd = Crowd(lambda posts: taken.append(names(posts)))
    crowd.join(post("1"))
    crowd.join(post("2"))
    assert taken == []
    await asyncio.sleep(0)
    assert taken == [["1", "2"]]
    crowd.join(post("3"))
    await asyncio.sleep(0)
    assert taken == [["1", "2"], ["3"]]


async def test_enough_do_not_wait_for_the_end_of_the_turn() -> None:
    taken: list[list[str]] = []
    crowd = Crowd(lambda posts: taken.append(names(posts)))
    for number in range(ENOUGH + 2):
        crowd.join(post(str(number)))
    assert [len(one) for one in taken] == [ENOUGH]
    await asyncio.sleep(0)
    assert [len(one) for one in taken] == [ENOUGH, 2]
    assert [name for one in taken for name in one] == [str(number) for number in range(ENOUGH + 2)]


async def test_a_bug_answers_those_who_have_no_answer_yet_and_the_next_crowd_is_taken() -> None:
    bug = ZeroDivisionError("a bug")

    def take(posts: Sequence[Post]) -> None:
        posts[0].answer(OK)
        if posts[0].name == "1":
            raise bug

    crowd, tellers = Crowd(take), [Teller() for _ in range(3)]
    for name, teller in zip("123", tellers, strict=True):
        crowd.join(post(name, teller))
    await asyncio.sleep(0)
    assert [teller.told for teller in tellers] == [[OK], [bug], [bug]]
    crowd.join(post("4", late := Teller()))
    await asyncio.sleep(0)
    assert late.told == [OK]


async def test_an_answer_is_given_once() -> None:
    one = post("1", teller := Teller())
    one.answer(OK)
    one.answer(Answer(500, b""))
    one.fail(Busy("no"))
    assert teller.told == [OK]


@pytest.mark.parametrize("word", ["answer", "fail"])
async def test_who_cannot_be_told_is_the_loops_to_report_and_keeps_nobody_waiting(
    word: str, heard: list[dict[str, Any]]
) -> None:

    def take(posts: Sequence[Post]) -> None:
        for one in posts:
            if word == "answer":
                one.answer(OK)
            else:
                one.fail(Busy("no"))

    crowd = Crowd(take)
    crowd.join(post("1", Closed()))
    crowd.join(post("2", teller := Teller()))
    await asyncio.sleep(0)
    assert len(teller.told) == 1
    assert [str(context["exception"]) for context in heard] == ["the handler is closed"]


async def test_who_was_cut_off_by_the_end_of_the_daemon_hears_that_nothing_is_known() -> None:
    post("1", teller := Teller()).fail(asyncio.CancelledError())
    assert [type(one) for one in teller.told] == [Transient]


async def test_who_asks_gets_the_answer_or_the_error() -> None:
    def take(posts: Sequence[Post]) -> None:
        for one in posts:
            if one.name == "good":
                one.answer(OK)
            else:
                one.fail(Busy("no"))

    crowd = Crowd(take)
    good, bad = await asyncio.gather(crowd.ask("good", {}, b""), crowd.ask("bad", {}, b""), return_exceptions=True)
    assert good is OK
    assert isinstance(bad, Busy)


async def test_who_asked_and_went_away_is_no_error(heard: list[dict[str, Any]]) -> None:
    waiting: list[Post] = []
    crowd = Crowd(waiting.extend)
    asking = [asyncio.ensure_future(crowd.ask(name, {}, b"")) for name in ("1", "2")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    waiting[0].answer(OK)
    waiting[1].fail(Busy("no"))
    assert heard == []

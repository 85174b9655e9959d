from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from flashd.errors import Busy, NotFound, StoreUnavailable
from flashd.ports import Soon
from flashd.web.answer import Answer
from flashd.web.crowd import Post
from flashd.web.party import Parties
from tests.fakes.doors import DoorHouse
from tests.web.test_crowd import Teller


class World:
    """Four posts to two channels."""

    def __init__(self, house: DoorHouse) -> None:
        self.replies: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked: list[list[str]] = []
        self.tellers: dict[str, Teller] = {}
        self.parties: Parties[str] = Parties()
        for wanted, channel in (("a", "shop"), ("b", "till"), ("c", "shop"), ("d", "shop")):
            self.tellers[wanted] = Teller()
            door = house.doors.channels[channel]
            self.parties.add(door, Post("", {}, b"", self.tellers[wanted]), wanted)

    def ask(self, wants: Sequence[str]) -> Soon[Sequence[Any]]:
        self.asked.append(list(wants))
        return Soon(self.replies, asyncio.Future.result)

    def told(self, *wants: str) -> list[Any]:
        return [one.body if isinstance(one, Answer) else one for want in wants for one in self.tellers[want].told]


def answer_of(wanted: str, reply: str) -> Answer:
    if reply == "none":
        raise NotFound("there is none")
    return Answer(200, f"{wanted}={reply}".encode())


async def test_each_channel_is_asked_once_and_each_post_has_its_own_answer(house: DoorHouse) -> None:
    world = World(house)
    shop, till = world.parties
    assert (shop.door.name, till.door.name) == ("shop", "till")
    shop.ask(world.ask, answer_of)
    assert world.asked == [["a", "c", "d"]]
    world.replies.set_result(["1", "none", "3"])
    await asyncio.sleep(0)
    assert world.told("a", "d") == [b"a=1", b"d=3"]
    assert [type(one) for one in world.told("c")] == [NotFound]
    assert world.told("b") == []


async def test_what_all_were_refused_with_is_the_answer_of_all(house: DoorHouse) -> None:
    world = World(house)
    shop, _ = world.parties

    def refuse(_: Sequence[str]) -> Soon[Sequence[Any]]:
        raise Busy("slow down")

    shop.ask(refuse, answer_of)
    assert [str(one) for one in world.told("a", "c", "d")] == ["slow down"] * 3


async def test_what_the_call_ended_with_is_the_answer_of_all(house: DoorHouse) -> None:
    world = World(house)
    shop, _ = world.parties
    shop.ask(world.ask, answer_of)
    world.replies.set_exception(StoreUnavailable("away"))
    await asyncio.sleep(0)
    assert [type(one) for one in world.told("a", "c", "d")] == [StoreUnavailable] * 3


async def test_a_ledger_that_replies_to_too_few_leaves_nobody_without_an_answer(house: DoorHouse) -> None:
    world = World(house)
    shop, _ = world.parties
    shop.ask(world.ask, answer_of)
    world.replies.set_result(["1", "2"])
    await asyncio.sleep(0)
    assert world.told("a", "c") == [b"a=1", b"c=2"]
    assert [type(one) for one in world.told("d")] == [ValueError]

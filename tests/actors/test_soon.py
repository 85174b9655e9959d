"""flashd/ports/soon.py has no loop of its own; what it does for its users is tried where a loop is."""

from __future__ import annotations

import asyncio

import pytest

from flashd.ports import Soon


def settle(answer: asyncio.Future[int]) -> int:
    return answer.result() * 2


async def test_it_is_awaited_or_told() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    told: list[int] = []
    heard = asyncio.Event()

    def hear(soon: Soon[int]) -> None:
        told.append(soon.result())
        heard.set()

    Soon(future, settle).then(lambda soon: soon.result() + 1).tell(hear)
    future.set_result(4)
    assert await Soon(future, settle) == 8
    await asyncio.wait_for(heard.wait(), 30)
    assert told == [9]


async def test_an_error_goes_through_whoever_finishes() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    ended: list[str] = []

    def finish(soon: Soon[int]) -> int:
        try:
            return soon.result()
        finally:
            ended.append("accounts are closed")

    future.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await Soon(future, settle).then(finish)
    assert ended == ["accounts are closed"]


@pytest.mark.parametrize("moment", ["before the answer", "with the answer there"])
async def test_a_cancellation_is_never_lost(moment: str) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    finished: list[bool] = []

    def finish(answer: asyncio.Future[int]) -> int:
        finished.append(True)
        return answer.result()

    async def wait() -> int:
        return await Soon(future, finish)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    if moment == "with the answer there":
        future.set_result(1)  # its caller is woken, and cancelled before it runs
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert finished == [True]
    assert future.cancelled() is (moment == "before the answer")

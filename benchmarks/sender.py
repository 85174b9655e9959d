"""
A bare aiohttp client loop: so many coroutines that each post the next order as soon as the last was answered.

Arguments: the address, the file with the body, how many at once, for how many seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path

import aiohttp
import uvloop


async def _send(url: str, body: bytes, at_once: int, seconds: float) -> int:
    numbers, until_s = itertools.count(time.time_ns()), time.monotonic() + seconds
    sent = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def one() -> None:
            nonlocal sent
            while time.monotonic() < until_s:
                headers = {"Idempotency-Key": str(next(numbers)), "Content-Type": "application/json"}
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
                    assert answer.status == 201
                sent += 1

        await asyncio.gather(*(one() for _ in range(at_once)))
    return sent


if __name__ == "__main__":
    _url, _body, _at_once, _seconds = sys.argv[1:]
    print(uvloop.run(_send(_url, Path(_body).read_bytes(), int(_at_once), float(_seconds))))

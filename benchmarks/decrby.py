"""A plain loop of DECRBY, one for each hold, on a durable server: no HTTP, no lines, no deadline, no second try."""

from __future__ import annotations

import asyncio
import socket
import time

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import UnixDomainSocketConnection

from benchmarks.hearing import packed

_COMMAND = packed("DECRBY", "stock", 1)


async def through_client(path: str, *, at_once: int, seconds: float) -> float:
    """Return DECRBYs a second of redis-py: so many coroutines that each await one after the other."""
    pool = BlockingConnectionPool(
        connection_class=UnixDomainSocketConnection, path=path, max_connections=at_once, timeout=10
    )
    client, done = Redis.from_pool(pool), 0
    until_s = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < until_s:
            await client.decrby("stock", 1)
            done += 1

    began_s = time.perf_counter()
    try:
        await asyncio.gather(*(one() for _ in range(at_once)))
        return done / (time.perf_counter() - began_s)
    finally:
        await client.aclose()


def through_socket(path: str, *, at_once: int, seconds: float) -> float:
    """Return DECRBYs a second of one socket: for each answer that came the next one goes out, hiredis reads."""
    reader, done = hiredis.Reader(), 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10.0)
        connection.connect(path)
        began_s = time.perf_counter()
        connection.sendall(_COMMAND * at_once)
        while (took_s := time.perf_counter() - began_s) < seconds:
            reader.feed(connection.recv(1 << 16))
            count = 0
            while reader.gets() is not False:
                count += 1
            done += count
            connection.sendall(_COMMAND * count)
        return done / took_s

"""
Slow clients, as a process of their own, so that it is not their own lag that good requests are measured by.

    python -m tests.promises.slow_crowd COUNT SECONDS "VERB PORT PATH TOKEN" ...

Opens COUNT connections, evenly over SECONDS, to each address in turn: a third trickles its head, a third its body, a
third says nothing. Prints `open` when all stand, and when the last is closed what became of them, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from contextlib import suppress

KINDS = ("head", "body", "idle")


class Slow:
    """One that dawdles until the other side closes."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        verb, port, path, token = address.split()
        self.port = int(port)
        self.head = f"{verb} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n".encode()
        self.said = b""
        self.open_s = 0.0

    async def dawdle(self, opened: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        began_s = time.monotonic()
        trickle = asyncio.create_task(self._trickle(writer))
        opened.set()
        try:
            while piece := await reader.read(4096):
                self.said += piece
        except ConnectionError:
            pass
        finally:
            trickle.cancel()
            self.open_s = time.monotonic() - began_s
            writer.transport.abort()

    async def _trickle(self, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            if self.kind == "head":
                writer.write(self.head)
            elif self.kind == "body":
                writer.write(self.head + b"Content-Length: 500\r\n\r\n{")
            while True:
                await asyncio.sleep(1)
                if self.kind != "idle":
                    writer.write(b"X-A: b\r\n" if self.kind == "head" else b" ")


async def main(count: int, seconds: float, addresses: list[str]) -> None:
    """Open them all, wait for all, and tell."""
    crowd, tasks, opened = [], [], []
    began_s = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began_s + number * seconds / count - time.monotonic()))
        slow, event = Slow(KINDS[number // len(addresses) % 3], addresses[number % len(addresses)]), asyncio.Event()
        crowd.append(slow)
        opened.append(event)
        tasks.append(asyncio.create_task(slow.dawdle(event)))
    await asyncio.gather(*(event.wait() for event in opened))
    print("open", flush=True)
    await asyncio.gather(*tasks)
    answers = Counter(f"{slow.kind} {slow.said[9:12].decode() or 'cut'}" for slow in crowd)
    longest_s = {kind: round(max(slow.open_s for slow in crowd if slow.kind == kind), 1) for kind in KINDS}
    print(json.dumps({"answers": answers, "longest_s": longest_s}), flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))

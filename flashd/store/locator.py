"""
Where is the primary of a slot now? Asked by whoever opens a connection: docs/adr/0030.

flashd does no electing of its own. Sentinels or the nodes of a Cluster are asked, and what most of them say is
believed until a connection tells that it is no longer so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from flashd.store.address import Node
from flashd.store.line import Command

log = structlog.get_logger()

SLOTS = 16384
_WITNESSES = 7  # nodes of a Cluster that are asked at most

Chart = tuple[tuple[int, int, Node], ...]
"""First slot, last slot, primary."""
Ask = Callable[[Node, Command], Awaitable[Any]]
"""Puts one question to one server over a connection of its own."""
Read = Callable[[Node, Any], Chart]
"""Makes a chart of what a server answered. Raises Misplaced."""


class Unlocated(RedisConnectionError):  # noqa: N818  # an error's name says what the caller knows, as in errors.py
    """Nobody says now where the primary is: ask again."""


class Misplaced(Unlocated):
    """Who was asked can never tell: the URL, or the login, is wrong."""


class Locator(Protocol):
    """One per deployment; what it knows is shared by all connections."""

    async def primary(self, slot: int | None) -> Node:
        """
        Return the primary of *slot*, or of any (None).

        Raises:
            Unlocated: Nobody says so now.
        """
        ...

    def known(self, slot: int | None) -> Node | None:
        """Return what `primary` would answer without asking anybody, None where it would ask."""
        ...

    def note(self, slot: int, node: Node) -> None:
        """A server told that *node* is the primary of *slot* (MOVED)."""
        ...

    def doubt(self, slot: int | None, node: Node | None) -> None:
        """*node* may be the primary of *slot* no more (None: whichever it is): ask before the next answer."""
        ...

    async def close(self) -> None:
        """Ask no more; fine to call twice."""
        ...


class Fixed:
    """The server that the URL names, whatever it says."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def primary(self, slot: int | None) -> Node:  # noqa: ARG002  # the port's
        """Return the one server."""
        return self._node

    def known(self, slot: int | None) -> Node | None:  # noqa: ARG002  # the port's
        """Return the one server."""
        return self._node

    def note(self, slot: int, node: Node) -> None:
        """Nothing changes: the URL has the last word."""

    def doubt(self, slot: int | None, node: Node | None) -> None:
        """Nothing changes, as above."""

    async def close(self) -> None:
        """Nothing is asked."""


class Elected:
    """
    Asks several at once and believes the most of them; its answer is kept until somebody doubts it.

    Args:
        nodes: Who is asked.
        command: The question.
        read: What an answer means.
        ask: How to put the question.
        timeout_s: How long to wait for those who do not answer, where no majority has.
        follows: Whether the primaries themselves may be asked too, as in a Cluster.
    """

    def __init__(
        self, nodes: Sequence[Node], command: Command, read: Read, ask: Ask, *, timeout_s: float, follows: bool = False
    ) -> None:
        self._nodes = tuple(nodes)
        self._command = command
        self._read = read
        self._ask = ask
        self._timeout_s = timeout_s
        self._follows = follows
        self._chart: Chart = ()
        self._noted: dict[int, Node] = {}
        self._is_doubted = True
        self._asking: asyncio.Task[None] | None = None

    async def primary(self, slot: int | None) -> Node:
        """Return what is known, else ask; those who come meanwhile wait for the same answer."""
        node = self.known(slot)
        if node is not None:
            return node
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._learn())
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # all may have left
        await asyncio.shield(self._asking)
        node = self._find(slot)
        if node is None:
            raise Unlocated(f"no server holds slot {slot} now, say {_names(self._nodes)}")
        return node

    def known(self, slot: int | None) -> Node | None:
        """Return the primary that was last heard of, unless it is doubted."""
        return None if self._is_doubted else self._find(slot)

    def note(self, slot: int, node: Node) -> None:
        """Believe the server that MOVED a call."""
        self._noted[slot] = node

    def doubt(self, slot: int | None, node: Node | None) -> None:
        """Ask before the next answer, unless another node is known already."""
        if node is None or self._find(slot) == node:
            self._is_doubted = True

    async def close(self) -> None:
        """Let go of a question that is being asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _find(self, slot: int | None) -> Node | None:
        if slot is None:
            return self._chart[0][2] if self._chart else None
        if slot in self._noted:
            return self._noted[slot]
        return next((node for first, last, node in self._chart if first <= slot <= last), None)

    async def _learn(self) -> None:
        try:
            chart = await self._elect()
            if chart != self._chart:
                log.info("store.located", primaries=list(dict.fromkeys(str(node) for _, _, node in chart)))
            self._chart = chart
            self._noted.clear()
        except Unlocated as error:
            if not self._chart:
                raise
            # Where nobody elects, nobody else was elected: what was known is tried, and must still say that it leads.
            log.warning("store.not_located", reason=str(error))
        finally:
            self._asking = None
        self._is_doubted = False

    def _witnesses(self) -> list[Node]:
        known = [node for _, _, node in self._chart] if self._follows else []
        return list(dict.fromkeys((*self._nodes, *known)))[:_WITNESSES]

    async def _elect(self) -> Chart:
        witnesses = self._witnesses()
        asking = [asyncio.ensure_future(self._hear(node)) for node in witnesses]
        votes: Counter[Chart] = Counter()
        failures: list[RedisError] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                for answer in asyncio.as_completed(asking):
                    try:
                        chart = await answer
                    except RedisError as error:
                        failures.append(error)
                        continue
                    votes[chart] += 1
                    if votes[chart] * 2 > len(witnesses):
                        return chart
        except TimeoutError:
            pass
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if votes:
            return votes.most_common(1)[0][0]
        kind = Misplaced if failures and all(isinstance(one, Misplaced) for one in failures) else Unlocated
        said = "; ".join(dict.fromkeys(map(str, failures))) or f"no answer within {self._timeout_s:g} s"
        raise kind(f"where the primary is, nobody of {_names(witnesses)} says: {said}")

    async def _hear(self, node: Node) -> Chart:
        answer = None
        try:
            answer = await self._ask(node, self._command)
            return self._read(node, answer)
        except (AuthenticationError, NoPermissionError) as error:
            raise Misplaced(f"{node} does not let us ask ({error})") from error
        except ResponseError as error:
            raise Misplaced(f"{node} does not know the question ({error})") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise Misplaced(f"{node} said {answer!r:.100}, which is no answer") from error


def sentinels(nodes: Sequence[Node], service: str, ask: Ask, *, timeout_s: float) -> Elected:
    """Return the locator of a primary that Sentinels watch under the name *service*."""

    def read(node: Node, answer: Any) -> Chart:
        if answer is None:
            raise Misplaced(f"{node} watches no {service!r}")
        host, port = answer
        return ((0, SLOTS - 1, Node(host.decode(), int(port))),)

    return Elected(nodes, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service), read, ask, timeout_s=timeout_s)


def cluster_map(nodes: Sequence[Node], ask: Ask, *, timeout_s: float) -> Elected:
    """Return the locator of the primaries of a Cluster, of which *nodes* are some."""

    def read(node: Node, answer: Any) -> Chart:
        chart = []
        for first, last, (host, port, *_), *_ in answer:
            name = (host or b"").decode()
            chart.append((int(first), int(last), Node(node.host if name in ("", "?") else name, int(port))))
        return tuple(sorted(chart, key=lambda part: part[0]))

    return Elected(nodes, ("CLUSTER", "SLOTS"), read, ask, timeout_s=timeout_s, follows=True)


def _names(nodes: Sequence[Node]) -> str:
    return ", ".join(map(str, nodes))

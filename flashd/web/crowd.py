"""
POSTs that arrived in the same turn of the loop, and are taken together.

One step of all goes before the next step of any (prove, read, keep): code that has just run runs faster again, and what
is alike for all is done once. Drawn in docs/adr/0037.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from flashd.errors import Transient
from flashd.web.answer import Answer

ENOUGH = 16  # are taken without waiting for the end of the turn: the store works on them while the rest is read


class Waiter(Protocol):
    """Who waits for an answer."""

    def answer(self, answer: Answer) -> None:
        """Take it."""

    def fail(self, error: BaseException) -> None:
        """Take what stands in its place."""


class Post(msgspec.Struct):
    """A POST that is all there; *name* is what its path ends with, where several paths are of one crowd."""

    name: str
    headers: Mapping[str, str]  # looked up by lower-case names
    body: bytes
    waiter: Waiter | None  # until it is answered

    def answer(self, answer: Answer) -> None:
        """Answer; once. What goes wrong with that is for the loop's handler: it must not keep the others waiting."""
        waiter, self.waiter = self.waiter, None
        if waiter is None:
            return
        try:
            waiter.answer(answer)
        except Exception as error:  # noqa: BLE001  # as above
            _report(error)

    def fail(self, error: BaseException) -> None:
        """Answer with an error; not any more where it is answered."""
        waiter, self.waiter = self.waiter, None
        if waiter is None:
            return
        cut_off = isinstance(error, asyncio.CancelledError)  # the daemon ends: nothing is known
        try:
            waiter.fail(Transient("cut off in the middle") if cut_off else error)
        except Exception as trouble:  # noqa: BLE001  # as above
            _report(trouble)


def _report(error: Exception) -> None:
    context = {"message": "a request could not be answered", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)


def fail_all(posts: Iterable[Post], error: BaseException) -> None:
    """Answer with an error whoever has no answer yet."""
    for post in posts:
        post.fail(error)


class Crowd:
    """
    Those who wait to be taken; they are at the end of the turn, or when there are ENOUGH.

    Args:
        take: Takes all of them, and answers each now or later; what it raises answers those who have no answer yet.
    """

    def __init__(self, take: Callable[[Sequence[Post]], None]) -> None:
        self._take = take
        self._posts: list[Post] = []
        self._is_due = False

    def join(self, post: Post) -> None:
        """Let *post* be taken with the others; it may be answered before this returns."""
        self._posts.append(post)
        if len(self._posts) >= ENOUGH:
            self._go()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_in_time)

    async def ask(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """
        Let a POST be taken; return the answer.

        Raises:
            Exception: What stands in its place.
        """
        waiter = _Asker()
        self.join(Post(name, headers, body, waiter))
        return await waiter.future

    def _go_in_time(self) -> None:
        self._is_due = False
        if self._posts:
            self._go()

    def _go(self) -> None:
        posts, self._posts = self._posts, []
        try:
            self._take(posts)
        except Exception as error:  # noqa: BLE001  # each has a right to an answer, and a bug is logged with it
            fail_all(posts, error)


class _Asker:
    """Who awaits the answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(self, answer: Answer) -> None:
        if not self.future.done():  # its client may be gone
            self.future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

"""Those of a crowd who go to one channel together: what they want is asked for at once, and each has its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from flashd.ports import Soon
from flashd.web.answer import Answer
from flashd.web.crowd import Post, fail_all
from flashd.web.doors import ChannelDoor

T = TypeVar("T")
R = TypeVar("R")


class Party(Generic[T]):
    """Posts to one channel, and what each of them wants."""

    __slots__ = ("door", "posts", "wants")

    def __init__(self, door: ChannelDoor) -> None:
        self.door = door
        self.posts: list[Post] = []
        self.wants: list[T] = []

    def ask(
        self,
        ask: Callable[[Sequence[T]], Soon[Sequence[R]]],
        answer_of: Callable[[T, R], Answer],
        *,
        heard: Callable[[Sequence[R]], object] = lambda _: None,
        failed: Callable[[Sequence[Post], BaseException], object] = fail_all,
    ) -> None:
        """
        Ask for all at once.

        Args:
            ask: Returns one reply for each, on their way.
            answer_of: Puts a reply into words; its error is that one's answer.
            heard: Told of the replies, before anybody is answered.
            failed: Answers everybody who has no answer yet with what went wrong for all.
        """

        def hear(soon: Soon[Sequence[R]]) -> None:
            try:
                replies = soon.result()
                heard(replies)
                self._answer(replies, answer_of)
            except BaseException as error:  # noqa: BLE001  # it is everybody's answer
                failed(self.posts, error)

        try:
            ask(self.wants).tell(hear)
        except Exception as error:  # noqa: BLE001  # as above
            failed(self.posts, error)

    def _answer(self, replies: Sequence[R], answer_of: Callable[[T, R], Answer]) -> None:
        for post, wanted, reply in zip(self.posts, self.wants, replies, strict=True):
            try:
                answer = answer_of(wanted, reply)
            except Exception as error:  # noqa: BLE001  # it is this one's answer
                post.fail(error)
            else:
                post.answer(answer)


class Parties(Generic[T]):
    """The parties of one crowd, by their channels."""

    __slots__ = ("_parties",)

    def __init__(self) -> None:
        self._parties: dict[str, Party[T]] = {}

    def add(self, door: ChannelDoor, post: Post, wanted: T) -> None:
        """Let *post* go with the others of its channel."""
        party = self._parties.get(door.name)
        if party is None:
            party = self._parties[door.name] = Party(door)
        party.posts.append(post)
        party.wants.append(wanted)

    def __iter__(self) -> Iterator[Party[T]]:
        return iter(self._parties.values())

"""An answer that is on its way: it may be awaited, or told to somebody when it is there, who then needs no task."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Future(Protocol):
    """What of a loop's future is used here."""

    def result(self) -> Any:
        """Return its result, or raise its error."""

    def add_done_callback(self, heard: Callable[[Any], object], /) -> None:
        """Call *heard* with it when it is done, never before this returns."""

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for it."""


class Soon(Generic[T_co]):
    """
    A future, and what makes the answer of it.

    *finish* is called once, when the future is done, whether it holds a result, an error or a cancellation: what was
    begun with the asking ends there.
    """

    __slots__ = ("_finish", "_future", "_heard")

    def __init__(self, future: Future, finish: Callable[[Any], T_co]) -> None:
        self._future = future
        self._finish = finish

    def __await__(self) -> Generator[Any, None, T_co]:
        """Wait for the answer; whoever is cancelled meanwhile cancels what it is waited for."""
        try:
            yield from self._future.__await__()
        except GeneratorExit:  # the waiting itself was thrown away, and the future may not be done
            raise
        except BaseException:
            self._finish(self._future)  # raises the same, but for a cancellation that came when the answer was there
            raise
        return self._finish(self._future)

    def then(self, finish: Callable[[Soon[T_co]], U]) -> Soon[U]:
        """Return the answer that *finish* makes of this one, by its `result`."""
        return Soon(self._future, lambda _: finish(self))

    def tell(self, heard: Callable[[Soon[T_co]], object]) -> None:
        """Call *heard* when the answer is there, never before this returns; many may be told in one turn."""
        self._heard = heard
        self._future.add_done_callback(self._done)

    def result(self) -> T_co:
        """
        Return the answer; only for whoever was told that it is there, and once.

        Raises:
            BaseException: Whatever it ended with.
        """
        return self._finish(self._future)

    def _done(self, _: object) -> None:
        self._heard(self)

"""How long and how often is measured."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

Say = Callable[[str], None]  # tells whoever watches what is going on


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The switches of `python -m benchmarks`."""

    rounds: int = 3
    seconds: int = 3  # of load, each side of each round; some sections take so many more rounds instead
    connections: tuple[int, ...] = (64, 256)
    outflow_s: int = 60
    published_s: int = 20

"""What all who work on one channel's figures share: the publisher, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flashd.actors.channel_line import ChannelLine
from flashd.actors.channel_rules import PoolBooks, PublisherRules
from flashd.actors.slate import Slate
from flashd.ports import ChannelApi, Clock


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """
    One channel's workbench.

    Args:
        rules: As they are now.
        ask_poll: Told up to when orders must be seen, so that a figure can settle.
    """

    api: ChannelApi
    books: PoolBooks
    line: ChannelLine
    slate: Slate
    rules: Callable[[], PublisherRules]
    clock: Clock
    ask_poll: Callable[[int], None]

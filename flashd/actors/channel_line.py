"""
The line to one channel's own API: who leads, at what pace requests leave, and whether anybody answers.

Publisher and poller share it, so that they are one leader, keep one rate and wait out one outage.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from flashd.actors.leadership import Leadership
from flashd.domain.backoff import outage_delay_s
from flashd.domain.lease import Term
from flashd.domain.rate import Rate
from flashd.errors import StoreUnavailable
from flashd.ports import Announcer, BackendGate, Clock
from flashd.runtime.actor import Actor

TOLD_AFTER = 3  # failures in a row are an outage

log = structlog.get_logger()


class ChannelLine(Actor[None]):
    """
    Stands for election as the one process that talks to a channel's API. Start it before publisher and poller.

    Args:
        channel: The channel's name.
        pool: Whose journal is told of outages.
        gate: Lease, bucket and pause of the channel, shared by all processes.
        rate: How many requests may leave; a reload may change what it returns.
        owner: Who this is, for the operator's eye.
    """

    def __init__(
        self,
        channel: str,
        pool: str,
        gate: BackendGate,
        *,
        clock: Clock,
        announcer: Announcer,
        rate: Callable[[], Rate],
        owner: str,
        lease_s: float = 6.0,
    ) -> None:
        super().__init__(f"line:{channel}", clock=clock, mailbox_size=1)
        self.channel = channel
        self.pool = pool
        self.announcer = announcer
        self.last_error = ""
        self.leadership = Leadership(
            gate, owner, clock=clock, lease_s=lambda: lease_s, prepare=_nothing, what="channel"
        )
        self._gate = gate
        self._rate = rate
        self._outages = 0
        self._until_s = 0.0

    @property
    def term(self) -> Term | None:
        """The term in which requests may leave now, if there is one."""
        return self.leadership.term

    def leads(self) -> bool:
        """Say whether requests may leave now."""
        return self.leadership.term is not None

    @property
    def away(self) -> bool:
        """Whether the channel did not answer several times in a row."""
        return self._outages >= TOLD_AFTER

    async def on_start(self) -> None:
        """Stand for election."""
        self.spawn(self.leadership.run(), name="lead")

    async def on_stop(self) -> None:
        """Let another lead at once."""
        await self.end_children()
        await self.leadership.leave()

    async def drop(self) -> float:
        """Take a drop: 0 where one request may leave now, else seconds to wait before asking again."""
        left_s = self._until_s - self.clock.monotonic_s()
        if left_s > 0:
            return left_s
        drop = await self._gate.drop(self._rate().spacing_us)
        return drop.wait_ms / 1000

    async def ready_to_send(self) -> None:
        """Wait until one request may leave."""
        while wait_s := await self.drop():
            await self.clock.sleep(wait_s)

    async def failed(self, reason: str) -> None:
        """Leave the channel alone for a while: it did not answer, or asked for a pause."""
        self._outages += 1
        self.last_error = reason
        self._until_s = self.clock.monotonic_s() + outage_delay_s(self._outages)
        if self._outages == TOLD_AFTER:
            log.error("channel.went_away", channel=self.channel, reason=reason)
            await self.announce("channel.went_away", {"reason": reason})

    async def answered(self) -> None:
        """Take note of an answer."""
        was_away, self._outages = self.away, 0
        if was_away:
            log.info("channel.came_back", channel=self.channel)
            await self.announce("channel.came_back", {})

    async def announce(self, kind: str, data: dict[str, object]) -> None:
        """Say a fact of this channel; one that cannot be said now is in the log and the metrics only."""
        try:
            await self.announcer.announce(self.pool, kind, {"channel": self.channel, **data})
        except StoreUnavailable as error:
            log.warning("event.not_announced", kind=kind, reason=str(error))


async def _nothing(_epoch: int) -> None:
    pass

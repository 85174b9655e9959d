"""Whether a channel's webhooks still come: by what the platform says of them, and by what polls found without them."""

from __future__ import annotations

import math

import structlog

from flashd.actors.channel_line import ChannelLine
from flashd.ports import ChannelApi, Clock, RestoringApi, Subscription

MISSED_POLLS = 2  # polls in a row that found orders nobody had told of
RESTORE_EVERY_S = 600.0  # a platform that takes them away again and again has its reason
GRACE_S = 20.0  # so long may a webhook be on its way

log = structlog.get_logger()


class WebhookWatch:
    """
    One channel's webhooks: silent as soon as one sign says so, returned when no sign does.

    The signs are what the platform says of its subscriptions, and what polls find: orders that a webhook had told
    already prove that webhooks come, to whichever process; polls that find only orders nobody told of prove the
    opposite. A few that got lost among others are lost, and no silence.
    """

    def __init__(self, api: ChannelApi, line: ChannelLine, *, clock: Clock) -> None:
        self.silent = ""  # why they are taken for dead
        self.checked_s = -math.inf
        self._api = api
        self._line = line
        self._clock = clock
        self._subscriptions = ""  # what is wrong with them
        self._had_some = False
        self._restored_s = -math.inf
        self._missed_polls = 0
        self._untold_s = math.inf  # since when polls find only what nobody told of

    async def check(self) -> None:
        """Ask the platform for its subscriptions, with a drop in hand. Raises ChannelUnavailable."""
        self.checked_s = self._clock.monotonic_s()
        found = await self._api.subscriptions()
        self._had_some = self._had_some or bool(found)
        self._subscriptions = _what_is_wrong(found)
        if not found and (self._had_some or self._untold_s < math.inf):  # a platform may be unable to list any
            self._subscriptions = "the platform has no webhook for orders"
        await self._judge()
        if self._subscriptions:
            await self._restore()

    async def _restore(self) -> None:
        """Put back what the platform took away, where the channel's section lets us; say so loudly."""
        if not isinstance(self._api, RestoringApi):
            return
        now_s = self._clock.monotonic_s()
        if now_s - self._restored_s < RESTORE_EVERY_S:
            return
        self._restored_s = now_s
        channel = self._line.channel
        for one in await self._api.restore():
            if not one.alive:
                log.error("webhook.not_restored", channel=channel, topic=one.topic, reason=one.reason)
                continue
            self.checked_s = -math.inf  # look again, soon
            reason = f"{one.topic} to {one.address} was put back: the platform had taken it away"
            log.error("webhook.restored", channel=channel, topic=one.topic, reason=reason)
            await self._line.announce("channel.webhooks_restored", {"reason": reason, "alert": True})

    async def polled(self, *, missed: int, early: int, told: int) -> None:
        """
        Take note of a poll.

        Args:
            missed: Orders that nobody had told of although there was time.
            early: Orders that nobody had told of yet: their webhook may be on its way.
            told: Orders that the poll saw for the first time, and a webhook had told already.
        """
        now_s = self._clock.monotonic_s()
        if told:
            self._missed_polls, self._untold_s = 0, math.inf
        elif missed or early:
            self._untold_s = min(self._untold_s, now_s)
            self._missed_polls += 1 if missed or now_s - self._untold_s >= GRACE_S else 0
        await self._judge()

    @property
    def doubtful(self) -> bool:
        """Whether the platform should be asked soon: the last poll found what nobody had told of."""
        return self._untold_s < math.inf and not self.silent

    async def _judge(self) -> None:
        why = self._subscriptions
        if not why and self._missed_polls >= MISSED_POLLS:
            why = "polls find orders that no webhook told of"
        if bool(why) == bool(self.silent):
            self.silent = why
            return
        self.silent = why
        if why:
            log.error("webhooks.fell_silent", channel=self._line.channel, reason=why)
            await self._line.announce("channel.webhooks_silent", {"reason": why, "alert": True})
        else:
            log.info("webhooks.returned", channel=self._line.channel)
            await self._line.announce("channel.webhooks_returned", {})


def _what_is_wrong(found: list[Subscription]) -> str:
    """Return what is wrong with the subscriptions, or ""."""
    dead = [one for one in found if not one.alive]
    if dead and not any(one.alive and one.topic == dead[0].topic for one in found):
        reason = f": {dead[0].reason}" if dead[0].reason else ""
        whither = f" to {dead[0].address}" if dead[0].address else ""
        return f"the platform has switched off {dead[0].topic}{whither}{reason}"
    return ""

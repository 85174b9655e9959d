"""The way out for alerts: one message after the other, tried until it is taken, never faster than is wanted."""

from __future__ import annotations

import structlog

from flashd.domain.alert import Message, Receiver
from flashd.domain.backoff import outage_delay_s
from flashd.ports import Clock, Messenger, Sent, SentCode

log = structlog.get_logger()


class Teller:
    """Remembers how it goes with one receiver; *messenger* None: nobody is told."""

    def __init__(self, messenger: Messenger | None, *, clock: Clock) -> None:
        self.messenger = messenger
        self._clock = clock
        self._off = self._last_error = ""
        self._failures = self._taken = 0
        self._not_before_s = float("-inf")

    @property
    def is_ready(self) -> bool:
        """Whether a message may be sent now."""
        return self.messenger is not None and not self._off and self._clock.monotonic_s() >= self._not_before_s

    async def send(self, message: Message) -> bool:
        """Send a message once, whether or not it may be; say whether it was taken."""
        if self.messenger is None:
            return False
        return self._note(message.id, await self.messenger.send(message.id, message.body))

    async def try_out(self, message_id: str, body: bytes) -> Sent | None:
        """Send past all waiting; what is taken proves that the receiver is there again. None: nobody is told."""
        if self.messenger is None:
            return None
        sent = await self.messenger.send(message_id, body)
        if sent.code is SentCode.TAKEN:
            self._off = ""
            self._note(message_id, sent)
        return sent

    def _note(self, message_id: str, sent: Sent) -> bool:
        if sent.code is SentCode.TAKEN:
            if self._failures:
                log.info("alerts.receiver_came_back", after=self._failures)
            self._failures, self._last_error, self._not_before_s = 0, "", float("-inf")
            self._taken += 1
            return True
        self._last_error = sent.reason
        if sent.code is SentCode.GONE:
            self._off = sent.reason
            log.error(
                "alerts.switched_off",
                reason=sent.reason,
                mend="mend [alerts] url and restart, or see to the receiver and run flashd alerts test",
            )
            return False
        self._failures += 1
        wait_s = max(outage_delay_s(self._failures), sent.wait_s or 0.0)
        self._not_before_s = self._clock.monotonic_s() + wait_s
        log.warning("alert.not_told", message=message_id, reason=sent.reason, failures=self._failures, wait_s=wait_s)
        return False

    def seen(self, *, leading: bool) -> Receiver:
        """Say how it goes; costs no I/O."""
        return Receiver(
            configured=self.messenger is not None,
            leading=leading,
            off=self._off,
            failures=self._failures,
            last_error=self._last_error,
            messages=self._taken,
        )
